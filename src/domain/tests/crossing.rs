//! The two exceptions to "one open dispute": crossed cancellations merge, and an offer cannot block the buyer's
//! cancellation.

use std::time::Duration;

use super::fixtures::*;
use crate::domain::PartyRole::{Buyer, Seller};
use crate::domain::*;

#[test]
fn crossed_cancellations_merge_either_way() {
    for (first, second) in [(Buyer, Seller), (Seller, Buyer)] {
        let mut story = Story::new(OrderStatus::InProgress);
        story.done(&party(first), &cancellation(1, first));
        let mut crossing = opening(2, Terms::Cancellation { no_fault: false }, second);
        crossing.message = "Me too.".to_owned();
        let answered = story.done(&party(second), &open(crossing));
        assert_eq!(answered.id, dispute_id(1), "the answer is the first dispute");
        assert_eq!(story.ending(1), (DisputeStatus::Accepted, ResolvedBy::Crossed, cancelled(10_000)));
        assert_eq!(answered.answer_message, "Me too.");
        let given = reasons(DisputeKind::Cancellation, first)[0];
        assert_eq!(answered.reason.map(|reason| reason.code), Some(given.into()), "the second reason is dropped");
        assert_eq!(story.aggregate().disputes.len(), 1, "there is no second dispute");
        assert_eq!(story.order().status, OrderStatus::Cancelled);
        assert_eq!(story.order().cancelled_by, Some(dispute_id(1)));
        assert_eq!(story.events.last().unwrap().actor, Actor::Party(second, party(second).user));
    }
}

#[test]
fn a_crossing_cancellation_is_validated_like_any_opening() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &cancellation(1, Seller));
    let mut wrong_reason = opening(2, Terms::Cancellation { no_fault: false }, Buyer);
    wrong_reason.reason = Some(Reason { code: ReasonCode::UnableToComplete.into(), detail: String::new() });
    assert_eq!(story.refused(&buyer(), &open(wrong_reason)), Refusal::ReasonNotValid);
    let mut silent = opening(2, Terms::Cancellation { no_fault: false }, Buyer);
    silent.message = String::new();
    assert_eq!(story.refused(&buyer(), &open(silent)), Refusal::MessageRequired);
}

#[test]
fn an_offer_cannot_block_the_buyers_cancellation() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 100));
    let opened = story.done(&buyer(), &cancellation(2, Buyer));
    assert_eq!(opened.id, dispute_id(2));
    assert_eq!(story.ending(1), (DisputeStatus::Declined, ResolvedBy::Responder, Outcome::Nothing));
    assert!(story.dispute(2).is_pending());
    let expected = [(EventType::Declined, dispute_id(1)), (EventType::Opened, dispute_id(2))];
    assert_eq!(story.happened(1), expected, "the offer is declined, then the cancellation opens");
}

#[test]
fn a_cancellation_that_is_overdue_is_not_crossed() {
    for (first, second) in [(Buyer, Seller), (Seller, Buyer)] {
        let overdue = |status| {
            let mut story = Story::new(status);
            story.done(&party(first), &cancellation(1, first));
            story.now = at(172_800);
            story
        };
        let mut accepted = overdue(OrderStatus::InProgress);
        let refusal = accepted.refused(&party(second), &cancellation(2, second));
        let cancelled_order = Refusal::OrderStatusNotAllowed { status: OrderStatus::Cancelled };
        assert_eq!(refusal, cancelled_order, "silence has accepted the first");
        assert_eq!(accepted.ending(1), (DisputeStatus::Expired, ResolvedBy::Deadline, cancelled(10_000)));

        let mut without_effect = overdue(OrderStatus::Delivered);
        let opened = without_effect.done(&party(second), &cancellation(2, second));
        assert_eq!((opened.id, opened.opener, opened.status()), (dispute_id(2), second, DisputeStatus::Pending));
        assert_eq!(opened.respond_by, at(2 * 172_800));
        assert_eq!(without_effect.ending(1), (DisputeStatus::Expired, ResolvedBy::Deadline, Outcome::Nothing));
        let events = [(EventType::DeadlineExpired, dispute_id(1)), (EventType::Opened, dispute_id(2))];
        assert_eq!(without_effect.happened(1), events, "the second opens anew");
    }
}

#[test]
fn an_offer_that_is_overdue_expires_and_is_not_declined() {
    for (rule, outcome, left) in
        [(SilenceRule::NoEffect, Outcome::Nothing, 10_000), (SilenceRule::Accept, Outcome::Refund(usd(2_500)), 7_500)]
    {
        let mut story = Story::new(OrderStatus::InProgress);
        story.policy.partial_refund.silence_rule = rule;
        story.done(&seller(), &offer(1, 2_500));
        story.now = at(172_800);
        story.done(&buyer(), &cancellation(2, Buyer));
        assert_eq!(story.ending(1), (DisputeStatus::Expired, ResolvedBy::Deadline, outcome), "{rule:?}");
        let events = [(EventType::DeadlineExpired, dispute_id(1)), (EventType::Opened, dispute_id(2))];
        assert_eq!(story.happened(1), events, "{rule:?}");
        assert_eq!(story.view(&seller(), 2).consequences.if_accepted, Some(cancelled(left)), "{rule:?}");
    }
}

#[test]
fn a_crossing_cancellation_is_not_possible_while_the_kind_is_off() {
    for (first, second) in [(Buyer, Seller), (Seller, Buyer)] {
        let mut story = Story::new(OrderStatus::InProgress);
        story.done(&party(first), &cancellation(1, first));
        story.policy.cancellation.kind.enabled = false;
        assert_eq!(story.refused(&party(second), &cancellation(2, second)), Refusal::WrongRole);
        let offered = options(story.aggregate(), second, None, &story.policy, story.now);
        assert!(offered.iter().all(|option| option.kind != DisputeKind::Cancellation));
        story.done(&party(second), &accept(1));
    }
}

#[test]
fn a_crossing_cancellation_is_limited_like_any_attempt() {
    let mut story = Story::new(OrderStatus::InProgress);
    let attempts = Attempts { cool_down: Span(Duration::from_secs(3_600)), max: 1 };
    story.policy.cancellation.kind.attempts = attempts;
    story.done(&seller(), &cancellation(1, Seller));
    story.done(&buyer(), &decline(1));
    story.done(&buyer(), &cancellation(2, Buyer));
    let cool_down = Refusal::CoolDown { retry_time: at(3_600) };
    let too_many = Refusal::TooManyAttempts { attempts: 1, max: 1 };
    for (now, expected) in [(3_599, vec![cool_down, too_many.clone()]), (3_600, vec![too_many])] {
        story.now = at(now);
        let offered = options(story.aggregate(), Seller, None, &story.policy, story.now);
        let option = offered.into_iter().find(|option| option.kind == DisputeKind::Cancellation).unwrap();
        assert_eq!((option.accepts, option.if_accepted), (None, None), "it cannot be chosen");
        assert_eq!(story.refused(&seller(), &cancellation(3, Seller)), expected[0]);
        assert_eq!(option.blockers, expected);
    }
    assert!(story.dispute(2).is_pending());
    story.done(&seller(), &accept(2));
}
