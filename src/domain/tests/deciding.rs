//! What support makes of what is escalated.

use super::fixtures::*;
use super::given::*;
use crate::domain::*;

#[test]
fn support_decides_one_of_three() {
    let cases = [
        ("no action", Ruling::NoAction, Outcome::Nothing, OrderStatus::InProgress, 0),
        ("a refund", Ruling::Refund(usd(9_000)), Outcome::Refund(usd(9_000)), OrderStatus::InProgress, 9_000),
        (
            "everything that is left",
            Ruling::Refund(usd(10_000)),
            Outcome::Refund(usd(10_000)),
            OrderStatus::InProgress,
            10_000,
        ),
        (
            "a cancellation that counts",
            Ruling::CancelOrder { counts: true },
            cancelled(10_000),
            OrderStatus::Cancelled,
            10_000,
        ),
        (
            "a cancellation that does not count",
            Ruling::CancelOrder { counts: false },
            Outcome::Cancellation { refund: Some(usd(10_000)), counts: false },
            OrderStatus::Cancelled,
            10_000,
        ),
    ];
    for (name, ruling, outcome, status, refunded) in cases {
        let story = given(escalated())
            .named(name)
            .at(9_000)
            .when(support(), rule(1, ruling))
            .then([fact::decided(1, 9_000, outcome)]);
        let decided = story.dispute(1).clone();
        assert_eq!(story.ending(1), (DisputeStatus::Decided, ResolvedBy::Support, outcome), "{name}");
        let ruled = Ruled { agent: support().user, message: "Answer.".to_owned() };
        assert_eq!(decided.escalation.unwrap().ruling, Some(ruled), "{name}");
        assert_eq!(decided.resolution.unwrap().time, at(9_000), "resolve_time is set by what ends it: {name}");
        let order = story.order();
        assert_eq!((order.status, order.refunded), (status.into(), usd(refunded)), "{name}");
        assert_eq!(order.refund_accepted, None, "no offer was accepted: {name}");
        let counts = outcome != Outcome::Cancellation { refund: Some(usd(10_000)), counts: false };
        assert_eq!(order.cancellation_counts, counts, "{name}");
    }
}

#[test]
fn a_decision_never_refunds_more_than_what_is_left() {
    let spent = |elsewhere| {
        let mut story = escalated();
        story.upsert(OrderReport { refunded_elsewhere: usd(elsewhere), ..report(OrderStatus::InProgress, 2) }).unwrap();
        story
    };
    for (left, amount) in [(6_000, 6_001), (6_000, 0), (6_000, -1), (0, 1)] {
        let refusal = spent(10_000 - left).refused(&support(), &rule(1, Ruling::Refund(usd(amount))));
        assert_eq!(refusal, Refusal::AmountOutOfRange { min: usd(1), max: usd(left) }, "{amount} of {left}");
    }
    let eur = Money::new(100, Currency::from_code("EUR").unwrap());
    let other = Refusal::CurrencyNotOfOrder { amount: AmountOf::Ruling, expected: usd(0).currency };
    assert_eq!(spent(0).refused(&support(), &rule(1, Ruling::Refund(eur))), other);
    let mut story = spent(10_000);
    story.done(&support(), &rule(1, Ruling::CancelOrder { counts: true }));
    assert_eq!(story.ending(1).2, cancelled(0), "a cancellation refunds what is left");
}

#[test]
fn a_decided_refund_does_not_use_up_the_one_offer() {
    let mut story = escalated();
    story.done(&support(), &rule(1, Ruling::Refund(usd(1_000))));
    story.done(&seller(), &offer(2, 6_000));
    story.done(&buyer(), &accept(2));
    assert_eq!(story.order().refunded, usd(7_000));
}

#[test]
fn each_guard_of_deciding_refuses_in_its_order() {
    let decide = rule(1, Ruling::NoAction);
    let declined = given(declined());
    let cases = [
        (stranger(), decide.clone(), Refusal::DisputeNotFound { dispute: dispute_id(1) }),
        (buyer(), decide.clone(), Refusal::WrongRole),
        (seller(), decide.clone(), Refusal::WrongRole),
        (platform(), decide.clone(), Refusal::WrongRole),
        (support(), seen("9", decide.clone()), Refusal::EtagMismatch { etag: "2".to_owned() }),
        (support(), decide, Refusal::StatusNotAllowed { status: DisputeStatus::Declined }),
    ];
    for (caller, command, refusal) in cases {
        declined.clone().when(caller, command).then_refused(refusal);
    }
}

#[test]
fn an_escalated_dispute_stays_when_the_order_is_completed_and_support_can_still_cancel_it() {
    let mut story = escalated();
    story.done(&buyer(), &update(2));
    story.status(OrderStatus::Completed);
    assert_eq!(story.dispute(1).status(), DisputeStatus::Escalated);
    assert_eq!(story.dispute(2).status(), DisputeStatus::Superseded);
    story.now = at(99_000);
    story.done(&support(), &rule(1, Ruling::CancelOrder { counts: true }));
    assert_eq!(story.order().status, OrderStatus::Cancelled);
    assert_eq!(story.order().end_time, Some(at(99_000)));
    // What a dispute cancelled stays cancelled.
    assert_eq!(story.status(OrderStatus::Completed).status, OrderStatus::Cancelled);
}

#[test]
fn what_is_decided_on_a_completed_order_takes_effect() {
    let uncounted = Outcome::Cancellation { refund: Some(usd(10_000)), counts: false };
    // The decision, its outcome, the order's status, when it ended, and what is refunded.
    let cases = [
        (Ruling::NoAction, Outcome::Nothing, OrderStatus::Completed, 5_000, 0),
        (Ruling::Refund(usd(10_000)), Outcome::Refund(usd(10_000)), OrderStatus::Completed, 5_000, 10_000),
        (Ruling::CancelOrder { counts: true }, cancelled(10_000), OrderStatus::Cancelled, 9_000, 10_000),
        (Ruling::CancelOrder { counts: false }, uncounted, OrderStatus::Cancelled, 9_000, 10_000),
    ];
    for (ruling, outcome, status, ended, refunded) in cases {
        let mut story = escalated();
        story.now = at(5_000);
        story.status(OrderStatus::Completed);
        story.now = at(9_000);
        story.done(&support(), &rule(1, ruling));
        assert_eq!(story.ending(1), (DisputeStatus::Decided, ResolvedBy::Support, outcome), "{ruling:?}");
        let order = story.order();
        assert_eq!((order.status, order.end_time), (status.into(), Some(at(ended))), "{ruling:?}");
        assert_eq!(order.refunded, usd(refunded), "{ruling:?}");
        let cancelled_by = (status == OrderStatus::Cancelled).then(|| dispute_id(1));
        assert_eq!(order.cancelled_by, cancelled_by, "{ruling:?}");
        assert_eq!(order.cancellation_counts, outcome != uncounted, "{ruling:?}");
    }
}

#[test]
fn deciding_to_cancel_supersedes_whatever_else_is_open_oldest_first() {
    let story = given(escalated())
        .at(4_000)
        .with(buyer(), update(9))
        .at(5_000)
        .with(seller(), extension(2, 999_999))
        .with(support(), escalate(2));
    // Nothing else ends with this one.
    let no_action = rule(1, Ruling::NoAction);
    story.clone().when(support(), no_action).then([fact::decided(1, 5_000, Outcome::Nothing)]);

    let by = ResolvedBy::OtherDispute;
    let story = story
        .when(support(), rule(1, Ruling::CancelOrder { counts: true }))
        // What causes others comes first, then a pending and an escalated one.
        .then([
            fact::decided(1, 5_000, cancelled(10_000)),
            fact::superseded(9, 5_000, by),
            fact::superseded(2, 5_000, by),
        ]);
    let before = story.events.len() - 3;
    let expected = [
        (EventType::Decided, dispute_id(1)),
        (EventType::Superseded, dispute_id(9)),
        (EventType::Superseded, dispute_id(2)),
    ];
    assert_eq!(story.happened(before), expected, "and so they are logged");
    for recorded in &story.events[before..] {
        assert_eq!(recorded.actor, Actor::Support(support().user), "by who caused it");
    }
    for number in [9, 2] {
        let superseded = (DisputeStatus::Superseded, ResolvedBy::OtherDispute, Outcome::Nothing);
        assert_eq!(story.ending(number), superseded, "{number}");
    }
    assert_eq!(story.aggregate().order_view().open_disputes, []);
}
