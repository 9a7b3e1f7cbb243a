//! What is shown before the click: options, consequences, allowed actions, and the seller's standing.

use std::time::Duration;

use super::fixtures::*;
use crate::domain::DisputeAction::*;
use crate::domain::PartyRole::{Buyer, Seller};
use crate::domain::*;

fn standing(completed: u64, cancelled: u64) -> SellerStanding {
    SellerStanding {
        seller: seller().user,
        completed,
        cancelled,
        cancelled_not_counted: 7,
        window_start: at(0),
        window_end: at(60),
    }
}

fn option(story: &Story, role: PartyRole, kind: DisputeKind) -> DisputeOption {
    let standing = standing(9, 0);
    let standing = (role == Seller).then_some(&standing);
    let all = options(story.aggregate(), role, standing, &story.policy, story.now);
    all.into_iter().find(|option| option.kind == kind).unwrap()
}

#[test]
fn each_role_has_its_options() {
    let story = Story::new(OrderStatus::InProgress);
    let kinds = |role| {
        let all = options(story.aggregate(), role, None, &story.policy, story.now);
        all.iter().map(|option| option.kind).collect::<Vec<_>>()
    };
    use DisputeKind::*;
    assert_eq!(kinds(Seller), [PartialRefund, Cancellation, DeliveryExtension]);
    assert_eq!(kinds(Buyer), [Cancellation, OrderUpdate]);
}

#[test]
fn every_blocker_is_told_and_not_only_the_first() {
    let small = OrderReport { price: usd(1), paid: usd(1), ..report(OrderStatus::InProgress, 1) };
    let mut story = Story::with_report(small);
    story.policy.partial_refund.kind.attempts = Attempts { cool_down: Span(Duration::from_secs(60)), max: 1 };
    story.policy.partial_refund.cap_bps = BasisPoints(10_000);
    story.done(&seller(), &offer(1, 1));
    story.done(&buyer(), &decline(1));
    story.policy.partial_refund.cap_bps = BasisPoints(6_000);
    story.done(&buyer(), &cancellation(2, Buyer));
    story.done(&support(), &escalate(2));
    let blocked = |story: &Story| option(story, Seller, DisputeKind::PartialRefund).blockers;
    let expected = [
        Refusal::OpenDisputeExists { dispute: dispute_id(2) },
        Refusal::RefundCapBelowMinimum { cap: usd(0) },
        Refusal::CoolDown { retry_time: at(60) },
        Refusal::TooManyAttempts { attempts: 1, max: 1 },
    ];
    assert_eq!(blocked(&story), expected);
    let completed = report(OrderStatus::Completed, 2);
    story.upsert(OrderReport { price: usd(1), paid: usd(1), ..completed }).unwrap();
    assert_eq!(blocked(&story)[0], Refusal::OrderStatusNotAllowed { status: OrderStatus::Completed });
    assert_eq!(blocked(&story)[1..], expected);
    let mut late = Story::with_report(OrderReport { due_time: Some(at(0)), ..report(OrderStatus::InProgress, 1) });
    late.now = at(30 * 86_400);
    let too_late = Refusal::NewDueTimeOutOfRange { after: late.now, latest: late.now };
    assert_eq!(option(&late, Seller, DisputeKind::DeliveryExtension).blockers, [too_late]);
}

#[test]
fn an_option_says_what_acceptance_and_silence_will_do() {
    let story = Story::new(OrderStatus::InProgress);
    let window = Duration::from_secs(172_800);
    let cases = [
        (
            Seller,
            DisputeKind::PartialRefund,
            Some(Outcome::Nothing),
            SilenceRule::NoEffect,
            (Some(10_000), Some(10_000)),
        ),
        (Seller, DisputeKind::Cancellation, Some(cancelled(10_000)), SilenceRule::Accept, (Some(10_000), Some(9_000))),
        (
            Seller,
            DisputeKind::DeliveryExtension,
            Some(Outcome::Nothing),
            SilenceRule::Accept,
            (Some(10_000), Some(10_000)),
        ),
        (Buyer, DisputeKind::Cancellation, Some(cancelled(10_000)), SilenceRule::Accept, (None, None)),
        (Buyer, DisputeKind::OrderUpdate, None, SilenceRule::NoEffect, (None, None)),
    ];
    for (role, kind, if_accepted, rule, rates) in cases {
        let option = option(&story, role, kind);
        assert_eq!(option.blockers, []);
        assert_eq!(option.if_accepted, if_accepted, "{kind:?} by {role:?}");
        assert_eq!(option.waits, Some((window, rule)), "{kind:?} by {role:?}");
        assert_eq!((option.rate_before_bps, option.rate_after_bps), rates, "{kind:?} by {role:?}");
    }
    let effects = |kind| option(&story, Seller, kind).effects;
    assert_eq!(effects(DisputeKind::PartialRefund), [Effect::NoFurtherRefund]);
    let all = [Effect::Revenue, Effect::CompletionRate, Effect::SearchVisibility];
    assert_eq!(effects(DisputeKind::Cancellation), all);
    let done = Story::new(OrderStatus::Completed);
    assert_eq!(
        option(&done, Seller, DisputeKind::Cancellation).if_accepted,
        None,
        "nothing is promised that is refused"
    );
}

#[test]
fn what_takes_effect_at_once_waits_for_nobody() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &cancellation(1, Seller));
    let crossing = option(&story, Buyer, DisputeKind::Cancellation);
    assert_eq!((crossing.accepts, crossing.waits), (Some(dispute_id(1)), None));
    let mut story = Story::new(OrderStatus::RequirementsPending);
    story.policy.cancellation.immediate_before_start = true;
    let alone = option(&story, Buyer, DisputeKind::Cancellation);
    assert_eq!((alone.accepts, alone.waits), (None, None));
    assert!(option(&story, Seller, DisputeKind::Cancellation).waits.is_some());
}

#[test]
fn everybody_is_told_what_they_can_do_with_a_dispute_now() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 2_500));
    let expect = |story: &Story, of: [&[DisputeAction]; 5], when: &str| {
        for (caller, expected) in [buyer(), seller(), support(), platform(), stranger()].iter().zip(of) {
            assert_eq!(story.actions(caller, 1), expected, "{when}: {caller:?}");
        }
    };
    expect(&story, [&[Accept, Decline], &[Withdraw], &[Escalate, Postpone], &[], &[]], "pending");
    let mut late = story.clone();
    late.now = at(172_800);
    let escalate_only = [&[Escalate][..], &[Escalate], &[Escalate], &[], &[]];
    expect(&late, escalate_only, "overdue, whether or not that is recorded");
    story.done(&buyer(), &decline(1));
    expect(&story, escalate_only, "declined");
    let mut closed = story.clone();
    closed.now = at(15 * 86_400);
    expect(&closed, [&[]; 5], "the window to escalate is over");
    story.done(&seller(), &escalate(1));
    expect(&story, [&[Accept], &[Withdraw], &[Decide], &[], &[]], "escalated: the parties can still agree");
    story.done(&support(), &rule(1, Ruling::Refund(usd(100))));
    expect(&story, [&[], &[], &[], &[ReportSettlement], &[]], "a refund is due");
    story.done(&platform(), &failed(1, "no"));
    expect(&story, [&[], &[], &[], &[ReportSettlement], &[]], "it failed");
    story.done(&platform(), &settled(1, "yes"));
    expect(&story, [&[], &[], &[], &[ReportSettlement], &[]], "it is settled, and can come back");
    story.done(&platform(), &reported(1, 0, SettlementReport::Returned { detail: "no".to_owned() }));
    expect(&story, [&[], &[], &[], &[ReportSettlement], &[]], "it came back");
    story.done(&platform(), &voided(1, "elsewhere"));
    expect(&story, [&[]; 5], "it will not be paid");
    story.done(&buyer(), &update(2));
    assert_eq!(story.actions(&seller(), 2), [Answer]);
}

#[test]
fn a_pending_dispute_says_what_would_come_of_it() {
    let consequences = |story: &Story| story.view(&buyer(), 1).consequences;
    let both = |if_accepted, if_silent| Consequences { if_accepted, if_silent: Some(if_silent) };
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&buyer(), &cancellation(1, Buyer));
    assert_eq!(consequences(&story), both(Some(cancelled(10_000)), cancelled(10_000)));
    story.upsert(OrderReport { refunded_elsewhere: usd(4_000), ..report(OrderStatus::Delivered, 2) }).unwrap();
    assert_eq!(consequences(&story), both(Some(cancelled(6_000)), Outcome::Nothing), "as the order stands");
    story.done(&buyer(), &withdraw(1));
    assert_eq!(consequences(&story), Consequences::default());

    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 6_000));
    assert_eq!(consequences(&story), both(Some(Outcome::Refund(usd(6_000))), Outcome::Nothing));
    story.upsert(OrderReport { refunded_elsewhere: usd(9_000), ..report(OrderStatus::InProgress, 2) }).unwrap();
    assert_eq!(consequences(&story), both(None, Outcome::Nothing), "nothing is promised that is refused");
    assert_eq!(story.actions(&buyer(), 1), [Decline]);

    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&buyer(), &update(1));
    assert_eq!(consequences(&story), both(None, Outcome::Nothing), "an update cannot be accepted");
}

#[test]
fn what_is_overdue_promises_nothing_more_though_it_is_not_recorded_yet() {
    let silent = |if_silent| Consequences { if_accepted: None, if_silent: Some(if_silent) };
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&buyer(), &cancellation(1, Buyer));
    story.now = at(1);
    story.done(&buyer(), &update(2));
    story.done(&seller(), &extension(3, 400_000));
    story.now = at(172_799);
    assert_eq!(story.view(&seller(), 1).consequences.if_accepted, Some(cancelled(10_000)));
    assert_eq!(story.actions(&seller(), 2), [Answer]);
    assert_eq!(story.view(&buyer(), 3).consequences.if_accepted, Some(Outcome::NewDueTime(at(400_000))));
    // The cancellation is over, and takes the others with it; all of them are still stored as pending.
    story.now = at(172_800);
    assert_eq!(story.view(&seller(), 1).consequences, silent(cancelled(10_000)));
    for number in [2, 3] {
        assert_eq!(story.view(&seller(), number).dispute.status(), DisputeStatus::Pending);
        assert_eq!(story.view(&seller(), number).consequences, silent(Outcome::Nothing));
        for caller in [buyer(), seller(), support()] {
            assert_eq!(story.actions(&caller, number), []);
        }
    }
    assert_eq!(story.refused(&seller(), &reply(2)), Refusal::StatusNotAllowed { status: DisputeStatus::Superseded });
}

#[test]
fn the_completion_rate_is_in_basis_points_rounded_down_and_without_orders_there_is_none() {
    let cases = [
        ("no order", 0, 0, None),
        ("all completed", 3, 0, Some(10_000)),
        ("all cancelled", 0, 3, Some(0)),
        ("two of three", 2, 1, Some(6_666)),
        ("never rounded up", 9_999, 1, Some(9_999)),
        ("many", u64::MAX, u64::MAX, Some(5_000)),
    ];
    for (name, completed, cancelled, rate) in cases {
        assert_eq!(standing(completed, cancelled).completion_rate_bps(), rate, "{name}");
    }
    assert_eq!(standing(3, 0).completion_rate_bps_after(cancelled(100)), Some(7_500));
    assert_eq!(standing(0, 0).completion_rate_bps_after(cancelled(0)), Some(0));
    let uncounted = Outcome::Cancellation { refund: None, counts: false };
    for outcome in [Outcome::Nothing, Outcome::Refund(usd(1)), Outcome::NewDueTime(at(1)), uncounted] {
        assert_eq!(standing(3, 1).completion_rate_bps_after(outcome), Some(7_500), "not affected");
    }
}
