//! Answering: who first, then what, then when.

use super::fixtures::*;
use super::given::*;
use crate::domain::PartyRole::{Buyer, Seller};
use crate::domain::*;

/// A pending offer 1, and a request for an update 2.
fn story() -> Story {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 2_500));
    story.done(&buyer(), &update(2));
    story
}

#[test]
fn each_answer_does_what_it_says() {
    use DisputeStatus::*;
    let refund = Outcome::Refund(usd(2_500));
    let nothing = Outcome::Nothing;
    let (responder, opener) = (ResolvedBy::Responder, ResolvedBy::Opener);
    // What happens; and the dispute after it: status, what ended it, outcome, and the text of the answer.
    let cases = [
        (
            "the buyer accepts the offer",
            (buyer(), accept(1), 1),
            fact::accepted(1, 5, refund),
            (Accepted, responder, refund, ""),
        ),
        (
            "the buyer declines the offer",
            (buyer(), decline(1), 1),
            fact::declined(1, 5, "Answer."),
            (Declined, responder, nothing, "Answer."),
        ),
        (
            "the seller withdraws the offer",
            (seller(), withdraw(1), 1),
            fact::withdrawn(1, 5, opener),
            (Withdrawn, opener, nothing, ""),
        ),
        (
            "the seller answers the request",
            (seller(), reply(2), 2),
            fact::answered(2, 5, "Answer."),
            (Answered, responder, nothing, "Answer."),
        ),
        (
            "the buyer withdraws the request",
            (buyer(), withdraw(2), 2),
            fact::withdrawn(2, 5, opener),
            (Withdrawn, opener, nothing, ""),
        ),
    ];
    for (name, (caller, command, dispute), event, (status, by, outcome, answer_message)) in cases {
        let before = story().dispute(dispute).clone();
        let story = given(story()).named(name).at(5).when(caller, command).then([event]);
        let expected = Dispute {
            update_time: at(5),
            revision: 2,
            remind_at: None,
            answer_message: answer_message.to_owned(),
            resolution: Some(Resolution::new(status, at(5), by, outcome)),
            ..before
        };
        assert_eq!(*story.dispute(dispute), expected, "{name}");
        assert_eq!(story.events.last().unwrap().previous_status, Some(Pending), "{name}");
    }
}

#[test]
fn an_accepted_refund_grows_refunded_and_the_order_goes_on() {
    let mut story = story();
    let before = story.order().clone();
    story.done(&buyer(), &accept(1));
    let expected =
        Order { refunded: usd(2_500), refund_accepted: Some(dispute_id(1)), revision: before.revision + 1, ..before };
    assert_eq!(*story.order(), expected, "and the completion rate is not affected");
}

#[test]
fn an_accepted_cancellation_refunds_what_is_left_and_ends_what_is_pending() {
    let story = given(story())
        .with(buyer(), accept(1))
        .with(seller(), cancellation(3, Seller))
        .when(buyer(), accept(3))
        // What causes others comes first.
        .then([fact::accepted(3, 0, cancelled(7_500)), fact::superseded(2, 0, ResolvedBy::OtherDispute)]);
    assert_eq!(story.ending(3), (DisputeStatus::Accepted, ResolvedBy::Responder, cancelled(7_500)));
    assert_eq!(story.ending(2), (DisputeStatus::Superseded, ResolvedBy::OtherDispute, Outcome::Nothing));
    let order = story.order();
    assert_eq!(
        (order.status.known().unwrap(), order.refunded, order.left()),
        (OrderStatus::Cancelled, usd(10_000), usd(0))
    );
    assert_eq!(
        (order.end_time, order.cancelled_by, order.cancellation_counts),
        (Some(at(0)), Some(dispute_id(3)), true)
    );
    let expected = [(EventType::Accepted, dispute_id(3)), (EventType::Superseded, dispute_id(2))];
    assert_eq!(story.happened(4), expected, "and so it is logged");
    assert_eq!(story.events.last().unwrap().actor, Actor::Party(Buyer, buyer().user), "by who caused it");
}

#[test]
fn a_cancellation_with_nothing_left_refunds_nothing() {
    given(OrderReport { refunded_elsewhere: usd(10_000), ..report(OrderStatus::InProgress, 1) })
        .with(buyer(), cancellation(1, Buyer))
        .when(seller(), accept(1))
        .then([fact::accepted(1, 0, Outcome::Cancellation { refund: None, counts: true })]);
}

#[test]
fn each_guard_of_answering_refuses_in_its_order() {
    let not_found = |dispute| Refusal::DisputeNotFound { dispute: dispute_id(dispute) };
    let mismatch = Refusal::EtagMismatch { etag: "1".to_owned() };
    let passed = Refusal::DeadlinePassed { respond_by: at(172_800) };
    let resolved = |status| Refusal::StatusNotAllowed { status };
    let story = || given(story());
    let later = |seconds| story().at(seconds);
    let after = |caller: Caller, command: Command| story().with(caller, command);
    let cases: Vec<(&str, Given, Caller, Command, Refusal)> = vec![
        ("an unknown dispute", story(), buyer(), accept(9), not_found(9)),
        ("a stranger finds none", story(), stranger(), accept(1), not_found(1)),
        ("a stranger who would be the seller if it were not the buyer", story(), stranger(), withdraw(1), not_found(1)),
        ("a stranger learns nothing of the deadline", later(172_800), stranger(), accept(1), not_found(1)),
        ("support is no party", story(), support(), accept(1), Refusal::WrongRole),
        ("the platform is no party", story(), platform(), decline(1), Refusal::WrongRole),
        ("the opener does not accept", story(), seller(), accept(1), Refusal::WrongRole),
        ("the opener does not decline", story(), seller(), decline(1), Refusal::WrongRole),
        ("the opener does not answer", story(), buyer(), reply(2), Refusal::WrongRole),
        ("the responder does not withdraw", story(), buyer(), withdraw(1), Refusal::WrongRole),
        ("the role comes before the kind", story(), buyer(), accept(2), Refusal::WrongRole),
        (
            "an update is not accepted",
            story(),
            seller(),
            accept(2),
            Refusal::WrongKind { kind: DisputeKind::OrderUpdate },
        ),
        (
            "an update is not declined",
            story(),
            seller(),
            decline(2),
            Refusal::WrongKind { kind: DisputeKind::OrderUpdate },
        ),
        (
            "an offer is not answered with a message",
            story(),
            buyer(),
            reply(1),
            Refusal::WrongKind { kind: DisputeKind::PartialRefund },
        ),
        (
            "the kind comes before the deadline",
            later(172_800),
            buyer(),
            reply(1),
            Refusal::WrongKind { kind: DisputeKind::PartialRefund },
        ),
        ("an old etag", story(), buyer(), seen("0", accept(1)), mismatch),
        (
            "the etag comes before the deadline",
            later(172_800),
            buyer(),
            seen("1", accept(1)),
            Refusal::EtagMismatch { etag: "2".to_owned() },
        ),
        ("too late to accept", later(172_800), buyer(), accept(1), passed.clone()),
        ("too late to decline", later(172_800), buyer(), decline(1), passed.clone()),
        ("too late to answer", later(172_800), seller(), reply(2), passed.clone()),
        ("too late to withdraw", later(172_800), seller(), withdraw(1), passed.clone()),
        ("much too late", later(999_999), buyer(), accept(1), passed),
        (
            "what was accepted is not declined",
            after(buyer(), accept(1)),
            buyer(),
            decline(1),
            resolved(DisputeStatus::Accepted),
        ),
        (
            "what was declined is not accepted",
            after(buyer(), decline(1)),
            buyer(),
            accept(1),
            resolved(DisputeStatus::Declined),
        ),
        (
            "what was withdrawn is not accepted",
            after(seller(), withdraw(1)),
            buyer(),
            accept(1),
            resolved(DisputeStatus::Withdrawn),
        ),
        (
            "what was answered is not withdrawn",
            after(seller(), reply(2)),
            buyer(),
            withdraw(2),
            resolved(DisputeStatus::Answered),
        ),
    ];
    for (name, given, caller, command, expected) in cases {
        given.named(name).when(caller, command).then_refused(expected);
    }
    let refund = Outcome::Refund(usd(2_500));
    story().when(buyer(), seen("1", accept(1))).then([fact::accepted(1, 0, refund)]);
}

#[test]
fn accepting_judges_again_what_can_have_changed() {
    given(story())
        .reported(OrderReport { refunded_elsewhere: usd(7_501), ..report(OrderStatus::InProgress, 2) })
        .when(buyer(), accept(1))
        // Less is left than was offered.
        .then_refused(Refusal::AmountOutOfRange { min: usd(1), max: usd(2_499) });
}

#[test]
fn what_acceptance_judges_again_is_judged_in_its_order_and_after_the_deadline_and_the_status() {
    type Change = fn(&mut Order);
    let already = Refusal::RefundAlreadyAccepted { dispute: dispute_id(7) };
    let not_allowed = Refusal::OrderStatusNotAllowed { status: OrderStatus::Completed };
    // By hand: commands cannot bring an order there while an offer is pending.
    let cases: [(&str, Change, Refusal); 4] = [
        ("what is left", |order| order.paid = usd(2_499), Refusal::AmountOutOfRange { min: usd(1), max: usd(2_499) }),
        ("another offer was accepted", |order| order.refund_accepted = Some(dispute_id(7)), already.clone()),
        (
            "that comes before what is left",
            |order| {
                order.refund_accepted = Some(dispute_id(7));
                order.paid = usd(0);
            },
            already,
        ),
        (
            "the order's status comes before both",
            |order| {
                order.status = OrderStatus::Completed.into();
                order.refund_accepted = Some(dispute_id(7));
                order.paid = usd(0);
            },
            not_allowed,
        ),
    ];
    for (name, change, expected) in cases {
        let mut story = Story::new(OrderStatus::InProgress);
        story.policy.partial_refund.silence_rule = SilenceRule::Accept;
        story.done(&seller(), &offer(1, 2_500));
        change(&mut story.aggregate.as_mut().unwrap().order);
        assert_eq!(story.refused(&buyer(), &accept(1)), expected, "{name}");
        assert_eq!(story.refused(&buyer(), &seen("0", accept(1))), Refusal::EtagMismatch { etag: "1".to_owned() });
        let nothing = Consequences { if_accepted: None, if_silent: Some(Outcome::Nothing) };
        assert_eq!(story.view(&buyer(), 1).consequences, nothing, "nothing is promised: {name}");
        assert_eq!(story.actions(&buyer(), 1), [DisputeAction::Decline], "{name}");

        let mut withdrawn = story.clone();
        withdrawn.done(&seller(), &withdraw(1));
        let resolved = Refusal::StatusNotAllowed { status: DisputeStatus::Withdrawn };
        assert_eq!(withdrawn.refused(&buyer(), &accept(1)), resolved, "{name}");

        let order = story.order().clone();
        story.now = at(172_800);
        let passed = Refusal::DeadlinePassed { respond_by: at(172_800) };
        assert_eq!(story.refused(&buyer(), &accept(1)), passed, "{name}");
        assert_eq!(story.ending(1), (DisputeStatus::Expired, ResolvedBy::Deadline, Outcome::Nothing), "{name}");
        assert_eq!(*story.order(), order, "silence has no effect either: {name}");
    }
}

#[test]
fn a_refund_by_support_can_take_what_a_pending_offer_was_about() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.policy.partial_refund.silence_rule = SilenceRule::Accept;
    story.done(&seller(), &offer(1, 6_000));
    story.done(&buyer(), &update(2));
    story.done(&support(), &escalate(2));
    let consequences = |story: &Story| story.view(&buyer(), 1).consequences;
    let refund = Outcome::Refund(usd(6_000));
    let both = Consequences { if_accepted: Some(refund), if_silent: Some(refund) };
    // As much as is left goes to the offer; one cent less does not.
    let mut enough = story.clone();
    enough.done(&support(), &rule(2, Ruling::Refund(usd(4_000))));
    assert_eq!(consequences(&enough), both);
    enough.done(&buyer(), &accept(1));
    assert_eq!((enough.order().refunded, enough.order().left()), (usd(10_000), usd(0)));

    story.done(&support(), &rule(2, Ruling::Refund(usd(4_001))));
    assert!(story.dispute(1).is_pending(), "the offer stays");
    assert_eq!(consequences(&story), Consequences { if_accepted: None, if_silent: Some(Outcome::Nothing) });
    let too_much = Refusal::AmountOutOfRange { min: usd(1), max: usd(5_999) };
    assert_eq!(story.refused(&buyer(), &accept(1)), too_much);
    story.now = at(172_800);
    story.expire_overdue();
    assert_eq!(story.ending(1), (DisputeStatus::Expired, ResolvedBy::Deadline, Outcome::Nothing));
    assert_eq!(story.order().refunded, usd(4_001));
    story.done(&buyer(), &escalate(1));
}

#[test]
fn an_answer_counts_until_one_microsecond_before_the_deadline() {
    let respond_by = at(172_800);
    let mut in_time = story();
    in_time.now = respond_by.minus(MICROSECOND);
    in_time.done(&buyer(), &accept(1));
    let mut late = story();
    late.now = respond_by;
    let unrecorded = decide(late.aggregate.as_ref(), &buyer(), &accept(1), &late.policy, late.now);
    assert_eq!(unrecorded, Err(Refusal::DeadlinePassed { respond_by }), "also before the expiry is recorded");
    assert_eq!(late.refused(&buyer(), &accept(1)), Refusal::DeadlinePassed { respond_by });
    assert_eq!(late.dispute(1).status(), DisputeStatus::Expired, "the expiry stands though the command is refused");
}
