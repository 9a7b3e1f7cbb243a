//! What an operator can turn: attempts, immediate cancellations, kinds that are off.

use std::time::Duration;

use super::fixtures::*;
use crate::domain::PartyRole::{Buyer, Seller};
use crate::domain::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// What can be set for a kind.
fn of(policy: &mut Policy, kind: DisputeKind) -> &mut KindPolicy {
    match kind {
        DisputeKind::PartialRefund => &mut policy.partial_refund.kind,
        DisputeKind::Cancellation => &mut policy.cancellation.kind,
        DisputeKind::OrderUpdate => &mut policy.order_update,
        DisputeKind::DeliveryExtension => &mut policy.delivery_extension.kind,
    }
}

fn windows(policy: &mut Policy, window: Duration) {
    for kind in DisputeKind::ALL {
        of(policy, kind).response_window = Some(Window(window));
    }
}

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
                story.expire_overdue();
            },
            172_800,
        ),
    ];
    for (name, end, ended) in ends {
        let mut story = Story::new(OrderStatus::InProgress);
        story.policy.partial_refund.kind.attempts.cool_down = Span(HOUR);
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
    story.policy.cancellation.kind.attempts.cool_down = Span(HOUR);
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
fn a_cool_down_is_counted_from_the_last_end() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.policy.order_update.attempts.cool_down = Span(HOUR);
    story.done(&buyer(), &update(1));
    story.done(&buyer(), &withdraw(1));
    story.now = at(5_000);
    story.done(&buyer(), &update(2));
    story.now = at(6_000);
    story.done(&buyer(), &withdraw(2));
    assert_eq!(story.refused(&buyer(), &update(3)), Refusal::CoolDown { retry_time: at(9_600) });
}

#[test]
fn each_kind_that_is_limited_has_attempts_of_its_own() {
    let mut both = Story::new(OrderStatus::InProgress);
    both.policy.partial_refund.kind.attempts = Attempts { cool_down: Span(HOUR), max: 2 };
    both.policy.cancellation.kind.attempts = Attempts { cool_down: Span(HOUR * 2), max: 3 };
    both.done(&seller(), &offer(1, 100));
    both.done(&buyer(), &decline(1));
    both.clone().done(&seller(), &cancellation(2, Seller));
    both.now = at(1_000);
    both.done(&seller(), &cancellation(2, Seller));
    both.done(&buyer(), &decline(2));
    assert_eq!(both.refused(&seller(), &offer(3, 100)), Refusal::CoolDown { retry_time: at(3_600) });
    assert_eq!(both.refused(&seller(), &cancellation(3, Seller)), Refusal::CoolDown { retry_time: at(8_200) });
    both.now = at(3_600);
    both.done(&seller(), &offer(3, 100));
    both.done(&seller(), &withdraw(3));
    both.now = at(8_200);
    let too_many = Refusal::TooManyAttempts { attempts: 2, max: 2 };
    assert_eq!(both.refused(&seller(), &offer(4, 100)), too_many, "two offers, and a cancellation that is none");
    both.done(&seller(), &cancellation(4, Seller));
}

#[test]
fn how_often_is_counted_for_each_opener() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.policy.cancellation.kind.attempts.max = 2;
    for number in 1..=2 {
        story.done(&buyer(), &cancellation(number, Buyer));
        story.done(&seller(), &decline(number));
    }
    let too_many = Refusal::TooManyAttempts { attempts: 2, max: 2 };
    assert_eq!(story.refused(&buyer(), &cancellation(3, Buyer)), too_many);
    for number in 3..=4 {
        story.done(&seller(), &cancellation(number, Seller));
        story.done(&seller(), &withdraw(number));
    }
    assert_eq!(story.refused(&seller(), &cancellation(5, Seller)), too_many);
    assert_eq!(story.refused(&buyer(), &cancellation(5, Buyer)), too_many, "still two");
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
    assert_eq!(story.events[1].actor, Actor::Party(Buyer, buyer().user));
    assert_eq!(story.order().status, OrderStatus::Cancelled);
    assert!(on(OrderStatus::RequirementsPending).done(&seller(), &cancellation(1, Seller)).is_pending());
    assert!(on(OrderStatus::InProgress).done(&buyer(), &cancellation(1, Buyer)).is_pending());
    let mut off = Story::new(OrderStatus::RequirementsPending);
    assert!(off.done(&buyer(), &cancellation(1, Buyer)).is_pending(), "off by default");
}

#[test]
fn the_buyer_cancels_alone_when_the_order_is_late_with_nothing_delivered_if_the_policy_says_so() {
    let late_by = |seconds: u64, status, due, role| {
        let mut story = Story::with_report(OrderReport { due_time: due, ..report(status, 1) });
        story.policy.cancellation.immediate_when_late = Span(HOUR);
        story.now = at(1_000 + seconds);
        story.tell(&party(role), &cancellation(1, role)).map(|dispute| dispute.unwrap().status())
    };
    let due = Some(at(1_000));
    let pending = Ok(DisputeStatus::Pending);
    let refused = |status| Err(Refusal::OrderStatusNotAllowed { status });
    for (status, by_the_buyer, by_the_seller) in [
        (OrderStatus::RequirementsPending, Ok(DisputeStatus::Accepted), pending.clone()),
        (OrderStatus::InProgress, Ok(DisputeStatus::Accepted), pending.clone()),
        (OrderStatus::Delivered, pending.clone(), pending.clone()),
        (OrderStatus::InRevision, pending.clone(), pending.clone()),
        (OrderStatus::Completed, refused(OrderStatus::Completed), refused(OrderStatus::Completed)),
        (OrderStatus::Cancelled, refused(OrderStatus::Cancelled), refused(OrderStatus::Cancelled)),
    ] {
        assert_eq!(late_by(3_601, status, due, Buyer), by_the_buyer, "{status:?}");
        assert_eq!(late_by(3_601, status, due, Seller), by_the_seller, "never the seller: {status:?}");
    }
    assert_eq!(late_by(3_600, OrderStatus::InProgress, due, Buyer), pending, "not by more than that");
    assert_eq!(late_by(9_999, OrderStatus::InProgress, None, Buyer), pending, "nothing was due");
    // What was agreed on counts.
    let mut story = Story::with_report(OrderReport { due_time: due, ..report(OrderStatus::InProgress, 1) });
    story.policy.cancellation.immediate_when_late = Span(HOUR);
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
    story.policy.cancellation.immediate_when_late = Span(HOUR);
    story.now = at(4_000);
    story.done(&seller(), &offer(1, 100));
    story.done(&buyer(), &cancellation(2, Buyer));
    assert_eq!(story.dispute(1).status(), DisputeStatus::Declined);
    assert_eq!(story.ending(2).1, ResolvedBy::Immediate);
}

#[test]
fn a_kind_that_is_off_is_for_nobody_and_what_is_pending_goes_on() {
    for (name, kind, opener) in OPENINGS {
        let mut off = Story::new(OrderStatus::InProgress).asking();
        of(&mut off.policy, kind).enabled = false;
        assert_eq!(off.refused(&party(opener), &asking(2, kind, opener)), Refusal::WrongRole, "{name}");
        let offered: Vec<_> = options(off.aggregate(), opener, None, &off.policy, off.now);
        assert!(!offered.is_empty() && offered.iter().all(|option| option.kind != kind), "{name}");

        let mut pending = Story::new(OrderStatus::InProgress).asking();
        pending.done(&party(opener), &asking(1, kind, opener));
        let mut off = pending.clone();
        of(&mut off.policy, kind).enabled = false;
        let (opener, responder) = (party(opener), party(opener.other()));
        assert_eq!(off.view(&responder, 1), pending.view(&responder, 1), "{name}");
        let answers = match kind {
            DisputeKind::OrderUpdate => vec![(&responder, reply(1))],
            _ => vec![(&responder, accept(1)), (&responder, decline(1))],
        };
        for (caller, command) in answers.into_iter().chain([(&opener, withdraw(1))]) {
            let ended = off.clone().done(caller, &command);
            assert!(!ended.is_open(), "{name}: {command:?}");
            assert_eq!(ended, pending.clone().done(caller, &command), "{name}");
        }
        for story in [&mut off, &mut pending] {
            story.now = at(172_800);
            story.expire_overdue();
        }
        assert_eq!(off.ending(1).0, DisputeStatus::Expired, "{name}");
        assert_eq!(off.aggregate(), pending.aggregate(), "{name}");
    }
}

#[test]
fn a_change_of_policy_never_alters_a_pending_dispute() {
    type ChangeOfPolicy = fn(&mut Policy);
    let changes: [(&str, ChangeOfPolicy); 15] = [
        ("a lower cap", |policy| policy.partial_refund.cap_bps = BasisPoints(1)),
        ("a greater smallest refund", |policy| {
            policy.partial_refund.smallest_refund = [(CurrencyCode("USD".to_owned()), MinorUnits(999))].into();
        }),
        ("a greater smallest price", |policy| {
            policy.partial_refund.smallest_price = [(CurrencyCode("USD".to_owned()), MinorUnits(99_999))].into();
        }),
        ("a shorter extension", |policy| policy.delivery_extension.max_extension = Window(HOUR)),
        ("no extension granted by silence", |policy| policy.delivery_extension.silent_grants = 0),
        ("more of them granted", |policy| policy.delivery_extension.silent_grants = 9),
        ("silence about an offer", |policy| policy.partial_refund.silence_rule = SilenceRule::Accept),
        ("silence about a cancellation", |policy| policy.cancellation.silence_rule = SilenceRule::NoEffect),
        ("silence after delivery", |policy| policy.cancellation.silence_rule_after_delivery = SilenceRule::Accept),
        ("silence about an extension", |policy| policy.delivery_extension.silence_rule = SilenceRule::NoEffect),
        ("nothing that a buyer asks for", |policy| policy.partial_refund.buyer_may_ask = false),
        ("counter-offers", |policy| policy.partial_refund.max_counter_offers = Rounds(20)),
        ("a quota of no-fault cancellations", |policy| policy.cancellation.no_fault_per_window = 3),
        ("a shorter window", |policy| windows(policy, HOUR)),
        ("a longer window", |policy| windows(policy, WINDOW * 2)),
    ];
    let mut pending: Vec<(&str, Story)> = Vec::new();
    for (name, kind, opener) in OPENINGS {
        let mut story = Story::new(OrderStatus::InProgress).asking();
        story.done(&party(opener), &asking(1, kind, opener));
        let mut delivered = story.clone();
        delivered.status(OrderStatus::InRevision);
        pending.extend([(name, story), (name, delivered)]);
    }
    let mut later_extension = Story::new(OrderStatus::InProgress).asking();
    later_extension.done(&seller(), &extension(2, 999_999));
    later_extension.done(&seller(), &withdraw(2));
    later_extension.done(&seller(), &extension(1, 999_999));
    pending.push(("a later DELIVERY_EXTENSION", later_extension));
    for (name, story) in pending {
        for (what, change) in changes {
            let mut before = story.clone();
            let mut changed = story.clone();
            change(&mut changed.policy);
            assert_ne!(changed.policy, before.policy, "{what}");
            for caller in [buyer(), seller(), support()] {
                assert_eq!(changed.view(&caller, 1), before.view(&caller, 1), "{name}, {what}");
                let accepted = changed.clone().tell(&caller, &accept(1));
                assert_eq!(accepted, before.clone().tell(&caller, &accept(1)), "{name}, {what}");
            }
            for (now, status) in [(172_799, DisputeStatus::Pending), (172_800, DisputeStatus::Expired)] {
                for story in [&mut changed, &mut before] {
                    story.now = at(now);
                    story.expire_overdue();
                }
                assert_eq!(changed.dispute(1).status(), status, "{name}, {what}");
                assert_eq!(changed.aggregate(), before.aggregate(), "{name}, {what}");
            }
        }
    }
}
