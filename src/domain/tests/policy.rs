//! What an operator can turn: attempts, immediate cancellations, kinds that are off.

use std::time::Duration;

use super::fixtures::*;
use crate::domain::PartyRole::{Buyer, Seller};
use crate::domain::*;

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn a_cool_down_follows_what_was_declined_withdrawn_or_left_without_an_answer() {
    type End = fn(&mut Story);
    let ends: [(&str, End, u64); 3] = [
        ("declined", |story| drop(story.done(&buyer(), &decline(1))), 0),
        ("withdrawn", |story| drop(story.done(&seller(), &withdraw(1))), 0),
        (
            "expired",
            |story| {
                story.now = at(172_800);
                story.first_the_clock();
            },
            172_800,
        ),
    ];
    for (name, end, ended) in ends {
        let mut story = Story::new(OrderStatus::InProgress);
        story.policy.partial_refund.kind.attempts.cool_down = HOUR;
        story.done(&seller(), &offer(1, 100));
        end(&mut story);
        let retry_time = at(ended + 3_600);
        story.now = retry_time.minus(MICROSECOND);
        assert_eq!(story.refused(&seller(), &offer(2, 100)), Refusal::CoolDown { retry_time }, "{name}");
        story.now = retry_time;
        story.done(&seller(), &offer(2, 100));
    }
}

#[test]
fn without_a_cool_down_there_is_none_though_the_clock_was_set_back() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.policy.partial_refund.kind.attempts.max = 2;
    story.now = at(10);
    story.done(&seller(), &offer(1, 100));
    story.done(&buyer(), &decline(1));
    story.now = at(9);
    story.done(&seller(), &offer(2, 100));
}

#[test]
fn a_cool_down_is_of_the_same_order_kind_and_opener_only() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.policy.cancellation.kind.attempts.cool_down = HOUR;
    story.done(&buyer(), &cancellation(1, Buyer));
    story.done(&seller(), &decline(1));
    let retry_time = at(3_600);
    assert_eq!(story.clone().refused(&buyer(), &cancellation(2, Buyer)), Refusal::CoolDown { retry_time });
    story.clone().done(&seller(), &cancellation(2, Seller));
    story.clone().done(&buyer(), &update(2));
    // What ended in another way does not count.
    let mut superseded = Story::new(OrderStatus::InProgress);
    superseded.policy = story.policy.clone();
    superseded.done(&buyer(), &cancellation(1, Buyer));
    superseded.status(OrderStatus::Completed);
    superseded.status(OrderStatus::InProgress);
    superseded.done(&buyer(), &cancellation(2, Buyer));
    // Nor what is not over: it went to support.
    story.done(&buyer(), &escalate(1));
    story.done(&support(), &rule(1, Ruling::NoAction));
    story.done(&buyer(), &cancellation(2, Buyer));
}

#[test]
fn the_same_can_be_tried_so_often() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.policy.order_update.attempts.max = 2;
    for number in 1..=2 {
        story.done(&buyer(), &update(number));
        story.done(&buyer(), &withdraw(number));
    }
    assert_eq!(story.refused(&buyer(), &update(3)), Refusal::TooManyAttempts { attempts: 2, max: 2 });
    let mut answered = Story::new(OrderStatus::InProgress);
    answered.policy = story.policy.clone();
    for number in 1..=5 {
        answered.done(&buyer(), &update(number));
        answered.done(&seller(), &reply(number));
    }
}

#[test]
fn attempts_are_judged_last() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.policy.partial_refund.kind.attempts = Attempts { cool_down: HOUR, max: 1 };
    story.done(&seller(), &offer(1, 100));
    story.done(&buyer(), &decline(1));
    let range = Refusal::AmountOutOfRange { min: usd(1), max: usd(6_000) };
    assert_eq!(story.refused(&seller(), &offer(2, 6_001)), range);
    let mut no_reason = opening(2, Terms::PartialRefund { amount: usd(100) }, Seller);
    no_reason.reason = None;
    assert_eq!(story.refused(&seller(), &open(no_reason)), Refusal::ReasonNotValid);
    assert_eq!(story.refused(&seller(), &offer(2, 100)), Refusal::CoolDown { retry_time: at(3_600) });
    story.now = at(3_600);
    assert_eq!(story.refused(&seller(), &offer(2, 100)), Refusal::TooManyAttempts { attempts: 1, max: 1 });
}

#[test]
fn the_buyer_cancels_alone_before_the_work_has_started_if_the_policy_says_so() {
    let on = |status| {
        let mut story = Story::new(status);
        story.policy.cancellation.immediate_before_start = true;
        story
    };
    let mut story = on(OrderStatus::RequirementsPending);
    let dispute = story.done(&buyer(), &cancellation(1, Buyer));
    assert_eq!(story.ending(1), (DisputeStatus::Accepted, ResolvedBy::Immediate, cancelled(10_000)));
    assert_eq!(dispute.revision, 2);
    let events = [(EventType::Opened, dispute_id(1)), (EventType::Accepted, dispute_id(1))];
    assert_eq!(story.happened(0), events);
    assert_eq!(story.events[1].event.actor, Actor::Party(Buyer, buyer().user));
    assert_eq!(story.order().status, OrderStatus::Cancelled);
    assert!(on(OrderStatus::RequirementsPending).done(&seller(), &cancellation(1, Seller)).is_pending());
    assert!(on(OrderStatus::InProgress).done(&buyer(), &cancellation(1, Buyer)).is_pending());
    let mut off = Story::new(OrderStatus::RequirementsPending);
    assert!(off.done(&buyer(), &cancellation(1, Buyer)).is_pending(), "off by default");
}

#[test]
fn the_buyer_cancels_alone_when_the_order_is_late_with_nothing_delivered_if_the_policy_says_so() {
    let late_by = |seconds: u64, status, due| {
        let mut story = Story::with_report(OrderReport { due_time: due, ..report(status, 1) });
        story.policy.cancellation.immediate_when_late = HOUR;
        story.now = at(1_000 + seconds);
        story.done(&buyer(), &cancellation(1, Buyer)).status()
    };
    let due = Some(at(1_000));
    assert_eq!(late_by(3_601, OrderStatus::InProgress, due), DisputeStatus::Accepted);
    assert_eq!(late_by(3_600, OrderStatus::InProgress, due), DisputeStatus::Pending, "not by more than that");
    assert_eq!(late_by(9_999, OrderStatus::Delivered, due), DisputeStatus::Pending, "it was delivered");
    assert_eq!(late_by(9_999, OrderStatus::InRevision, due), DisputeStatus::Pending, "it was delivered");
    assert_eq!(late_by(9_999, OrderStatus::InProgress, None), DisputeStatus::Pending, "nothing was due");
    // What was agreed on counts.
    let mut story = Story::with_report(OrderReport { due_time: due, ..report(OrderStatus::InProgress, 1) });
    story.policy.cancellation.immediate_when_late = HOUR;
    story.done(&seller(), &extension(1, 50_000));
    story.done(&buyer(), &accept(1));
    story.now = at(10_000);
    assert!(story.done(&buyer(), &cancellation(2, Buyer)).is_pending());
}

#[test]
fn who_cancels_alone_still_merges_with_the_sellers_cancellation_and_declines_the_offer() {
    let mut story = Story::new(OrderStatus::RequirementsPending);
    story.policy.cancellation.immediate_before_start = true;
    story.done(&seller(), &cancellation(1, Seller));
    story.done(&buyer(), &cancellation(2, Buyer));
    assert_eq!(story.ending(1), (DisputeStatus::Accepted, ResolvedBy::Crossed, cancelled(10_000)));

    let mut story = Story::with_report(OrderReport { due_time: Some(at(0)), ..report(OrderStatus::InProgress, 1) });
    story.policy.cancellation.immediate_when_late = HOUR;
    story.now = at(4_000);
    story.done(&seller(), &offer(1, 100));
    story.done(&buyer(), &cancellation(2, Buyer));
    assert_eq!(story.dispute(1).status(), DisputeStatus::Declined);
    assert_eq!(story.ending(2).1, ResolvedBy::Immediate);
}

#[test]
fn a_kind_that_is_off_is_for_nobody_and_what_is_open_goes_on() {
    let cases = [
        ("partial_refund", seller(), offer(2, 100), DisputeKind::PartialRefund),
        ("cancellation", buyer(), cancellation(2, Buyer), DisputeKind::Cancellation),
        ("order_update", buyer(), update(2), DisputeKind::OrderUpdate),
        ("delivery_extension", seller(), extension(2, 99_999), DisputeKind::DeliveryExtension),
    ];
    for (name, caller, command, kind) in cases {
        let mut story = Story::new(OrderStatus::InProgress);
        match kind {
            DisputeKind::PartialRefund => story.policy.partial_refund.kind.enabled = false,
            DisputeKind::Cancellation => story.policy.cancellation.kind.enabled = false,
            DisputeKind::OrderUpdate => story.policy.order_update.enabled = false,
            DisputeKind::DeliveryExtension => story.policy.delivery_extension.kind.enabled = false,
        }
        assert_eq!(story.refused(&caller, &command), Refusal::WrongRole, "{name}");
        let offered = options(story.case(), if caller == buyer() { Buyer } else { Seller }, None, &story.policy, at(0));
        assert!(offered.iter().all(|option| option.kind != kind), "{name}");
    }
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 100));
    story.policy.partial_refund.kind.enabled = false;
    story.done(&buyer(), &accept(1));
}
