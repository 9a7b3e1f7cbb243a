//! First the clock: what silence does.

use super::fixtures::*;
use super::given::*;
use crate::domain::PartyRole::{Buyer, Seller};
use crate::domain::*;

/// What silence makes of a dispute that is opened on an order in one status and runs out in another.
fn silence(
    opened: OrderStatus,
    at_deadline: OrderStatus,
    caller: &Caller,
    command: &Command,
    policy: &Policy,
) -> Story {
    let mut story = Story::new(opened);
    story.policy = policy.clone();
    story.done(caller, command);
    if at_deadline != opened {
        story.status(at_deadline);
    }
    story.now = at(172_800);
    story.expire_overdue();
    story
}

#[test]
fn silence_does_what_its_rule_says() {
    use OrderStatus::*;
    let default = Policy::default();
    let mut accepting = Policy::default();
    accepting.partial_refund.silence_rule = SilenceRule::Accept;
    accepting.cancellation.silence_rule_after_delivery = SilenceRule::Accept;
    let nothing = Outcome::Nothing;
    let cases = [
        (
            "a buyer's cancellation is accepted",
            InProgress,
            InProgress,
            buyer(),
            cancellation(1, Buyer),
            &default,
            cancelled(10_000),
        ),
        (
            "a seller's cancellation is accepted",
            InProgress,
            InProgress,
            seller(),
            cancellation(1, Seller),
            &default,
            cancelled(10_000),
        ),
        (
            "a cancellation before the work begins is accepted",
            RequirementsPending,
            RequirementsPending,
            buyer(),
            cancellation(1, Buyer),
            &default,
            cancelled(10_000),
        ),
        (
            "not once the work was delivered at the opening",
            Delivered,
            Delivered,
            buyer(),
            cancellation(1, Buyer),
            &default,
            nothing,
        ),
        ("nor in revision", InRevision, InRevision, seller(), cancellation(1, Seller), &default, nothing),
        (
            "nor if it is delivered by the deadline",
            InProgress,
            Delivered,
            buyer(),
            cancellation(1, Buyer),
            &default,
            nothing,
        ),
        (
            "nor if it was delivered at the opening and is not any more",
            Delivered,
            InProgress,
            buyer(),
            cancellation(1, Buyer),
            &default,
            nothing,
        ),
        ("an offer has no effect, no money moves", InProgress, InProgress, seller(), offer(1, 100), &default, nothing),
        ("a request for an update has no effect", InProgress, InProgress, buyer(), update(1), &default, nothing),
        (
            "by policy an offer is accepted",
            InProgress,
            InProgress,
            seller(),
            offer(1, 100),
            &accepting,
            Outcome::Refund(usd(100)),
        ),
        (
            "by policy a cancellation is accepted after delivery",
            InProgress,
            Delivered,
            buyer(),
            cancellation(1, Buyer),
            &accepting,
            cancelled(10_000),
        ),
    ];
    for (name, opened, at_deadline, caller, command, policy, outcome) in cases {
        let story = silence(opened, at_deadline, &caller, &command, policy);
        assert_eq!(story.ending(1), (DisputeStatus::Expired, ResolvedBy::Deadline, outcome), "{name}");
        assert_eq!(story.order().cancelled_by.is_some(), matches!(outcome, Outcome::Cancellation { .. }), "{name}");
        let last = story.events.last().unwrap();
        assert_eq!((&last.actor, last.time), (&Actor::System, at(172_800)), "{name}");
    }
}

#[test]
fn before_silence_accepts_an_offer_it_judges_again_what_accepting_judges() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.policy.partial_refund.silence_rule = SilenceRule::Accept;
    story.done(&seller(), &offer(1, 6_000));
    story.upsert(OrderReport { refunded_elsewhere: usd(4_001), ..report(OrderStatus::InProgress, 2) }).unwrap();
    story.now = at(172_800);
    story.expire_overdue();
    assert_eq!(story.ending(1), (DisputeStatus::Expired, ResolvedBy::Deadline, Outcome::Nothing));
    assert_eq!(story.order().refunded, usd(0));
}

#[test]
fn the_window_is_half_open() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 100));
    assert_eq!(expire_overdue(story.aggregate(), at(172_800).minus(MICROSECOND)), []);
    story.now = at(172_800);
    story.expire_overdue();
    assert_eq!(story.dispute(1).status(), DisputeStatus::Expired);
    assert_eq!(expire_overdue(story.aggregate(), at(999_999)), [], "an expiry happens once");
}

#[test]
fn what_is_overdue_expires_earliest_first_and_the_first_can_end_the_second() {
    let story = given(OrderStatus::InProgress)
        .with(buyer(), cancellation(1, Buyer))
        .at(1)
        .with(buyer(), update(2))
        .when_time_comes(999_999)
        .then([fact::expired(1, 999_999, cancelled(10_000)), fact::superseded(2, 999_999, ResolvedBy::OtherDispute)]);
    let expected = [(EventType::DeadlineExpired, dispute_id(1)), (EventType::Superseded, dispute_id(2))];
    assert_eq!(story.happened(2), expected);

    let story = given(OrderStatus::InProgress)
        .with(buyer(), update(2))
        .at(1)
        .with(buyer(), cancellation(1, Buyer))
        .when_time_comes(999_999)
        .then([fact::expired(2, 999_999, Outcome::Nothing), fact::expired(1, 999_999, cancelled(10_000))]);
    let expected = [(EventType::DeadlineExpired, dispute_id(2)), (EventType::DeadlineExpired, dispute_id(1))];
    assert_eq!(story.happened(2), expected);
}

#[test]
fn an_expiry_stands_in_the_way_of_nothing() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 100));
    story.now = at(172_800);
    story.done(&seller(), &offer(2, 100));
    assert_eq!(story.dispute(1).status(), DisputeStatus::Expired);
    assert!(story.dispute(2).is_pending());
}

#[test]
fn the_clock_comes_before_an_upsert() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&buyer(), &cancellation(1, Buyer));
    story.now = at(172_800);
    let order = story.status(OrderStatus::Delivered);
    assert_eq!(story.ending(1).2, cancelled(10_000), "the delivery came too late");
    assert_eq!(order.status, OrderStatus::Cancelled);
}
