//! No-fault cancellations: by the buyer's word, within the seller's quota.

use super::fixtures::*;
use super::given::*;
use crate::domain::PartyRole::{Buyer, Seller};
use crate::domain::*;

/// So many no-fault cancellations can be had.
fn quota(max: u32) -> Given {
    given(OrderStatus::InProgress).by_policy(|policy| policy.cancellation.no_fault_per_window = max)
}

/// The seller has so many on other orders.
fn with_others(given: Given, used: u32) -> Given {
    given.change(|story| story.no_fault_elsewhere = used)
}

fn not_available(used: Option<u32>, max: u32) -> Refusal {
    Refusal::NoFaultNotAvailable { used, max }
}

/// What was agreed: whether the order is cancelled so that it counts, and what the dispute and the order then show.
fn agreed(story: &Story) -> (Option<bool>, bool, bool) {
    let outcome = story.dispute(1).resolution.as_ref().map(|end| end.outcome);
    let counts = match outcome {
        Some(Outcome::Cancellation { counts, .. }) => Some(counts),
        _ => None,
    };
    (counts, story.dispute(1).terms.is_no_fault(), story.order().cancelled_no_fault)
}

#[test]
fn it_does_not_count_if_the_buyer_has_said_so() {
    let second = |command: Command| {
        let Command::Open(opening) = command else { unreachable!() };
        open(Opening { dispute: dispute_id(2), ..*opening })
    };
    let (no, yes) = (cancellation, no_fault);
    type Way = fn(Given) -> Given;
    let accepted_by_buyer: Way = |given| given.with(buyer(), accept(1));
    let accepted_by_seller: Way = |given| given.with(seller(), accept(1));
    let silence: Way = |given| given.at(172_800).swept();
    let cases = [
        ("the buyer asked for it", buyer(), yes(1, Buyer), accepted_by_seller, (Some(false), true, true)),
        ("the buyer accepts it", seller(), yes(1, Seller), accepted_by_buyer, (Some(false), true, true)),
        ("nobody has said so", buyer(), no(1, Buyer), accepted_by_seller, (Some(true), false, false)),
        ("the seller's silence", buyer(), yes(1, Buyer), silence, (Some(false), true, true)),
        ("the buyer's silence", seller(), yes(1, Seller), silence, (Some(true), false, false)),
        ("the buyer declines", seller(), yes(1, Seller), |given| given.with(buyer(), decline(1)), (None, true, false)),
        (
            "the buyer takes it back",
            buyer(),
            yes(1, Buyer),
            |given| given.with(buyer(), withdraw(1)),
            (None, true, false),
        ),
        (
            "support decides that it does not count",
            buyer(),
            yes(1, Buyer),
            |given| given.with(support(), escalate(1)).with(support(), rule(1, Ruling::CancelOrder { counts: false })),
            (Some(false), false, false),
        ),
        (
            "agreed on while support has it",
            seller(),
            yes(1, Seller),
            |given| given.with(support(), escalate(1)).with(buyer(), accept(1)),
            (Some(false), true, true),
        ),
    ];
    for (name, opener, opening, then, expected) in cases {
        let story = then(quota(1).named(name).with(opener, opening)).story();
        assert_eq!(agreed(&story), expected, "{name}");
    }
    // In a crossed cancellation the buyer's word decides.
    let crossed = [
        (buyer(), yes(1, Buyer), no(2, Seller), (Some(false), true, true)),
        (buyer(), yes(1, Buyer), yes(2, Seller), (Some(false), true, true)),
        (buyer(), no(1, Buyer), yes(2, Seller), (Some(true), false, false)),
        (seller(), yes(1, Seller), no(2, Buyer), (Some(true), false, false)),
        (seller(), yes(1, Seller), yes(2, Buyer), (Some(false), true, true)),
        (seller(), no(1, Seller), yes(2, Buyer), (Some(false), true, true)),
    ];
    for (first, opening, crossing, expected) in crossed {
        let name = format!("{opening:?} crossed by {crossing:?}");
        let other = if first == buyer() { seller() } else { buyer() };
        let story = quota(1).named(&name).with(first, opening).with(other, second(crossing)).story();
        assert_eq!(agreed(&story), expected, "{name}");
        assert_eq!(story.ending(1).1, ResolvedBy::Crossed);
    }
    let immediate = quota(1).by_policy(|policy| policy.cancellation.immediate_before_start = true);
    let story = immediate.moved_to(OrderStatus::RequirementsPending).with(buyer(), yes(1, Buyer)).story();
    assert_eq!((agreed(&story), story.ending(1).1), ((Some(false), true, true), ResolvedBy::Immediate));
}

#[test]
fn silence_that_has_no_effect_agrees_on_nothing() {
    for (opener, command, is_no_fault) in [(buyer(), no_fault(1, Buyer), true), (seller(), no_fault(1, Seller), false)]
    {
        let delivered = quota(1).with(opener, command).moved_to(OrderStatus::Delivered);
        let story = delivered.when_time_comes(172_800).then([fact::expired(1, 172_800, Outcome::Nothing)]);
        assert_eq!(agreed(&story), (None, is_no_fault, false));
    }
}

#[test]
fn a_seller_has_so_many_in_the_window_of_its_standing() {
    quota(0).named("off by default").when(buyer(), no_fault(1, Buyer)).then_refused(not_available(None, 0));
    quota(0).when(seller(), no_fault(1, Seller)).then_refused(not_available(Some(0), 0));
    let full = with_others(quota(2), 2);
    full.clone()
        .named("only the seller learns how many")
        .when(buyer(), no_fault(1, Buyer))
        .then_refused(not_available(None, 2));
    full.clone().when(seller(), no_fault(1, Seller)).then_refused(not_available(Some(2), 2));
    let last = with_others(quota(2), 1);
    for role in PartyRole::ALL {
        assert!(!full.story().option(role, DisputeKind::Cancellation).unwrap().no_fault_available);
        assert!(
            full.story().option(role, DisputeKind::Cancellation).unwrap().blockers.is_empty(),
            "it can still be asked for"
        );
        assert!(last.story().option(role, DisputeKind::Cancellation).unwrap().no_fault_available);
    }
    full.clone().with(buyer(), cancellation(1, Buyer)).with(seller(), accept(1));
    last.with(buyer(), no_fault(1, Buyer));
}

#[test]
fn the_quota_is_the_last_guard_of_an_opening() {
    let Command::Open(opening) = no_fault(1, Buyer) else { unreachable!() };
    let silent = open(Opening { message: String::new(), ..*opening.clone() });
    quota(0).when(buyer(), silent).then_refused(Refusal::MessageRequired);
    let unreasonable = open(Opening { reason: None, ..*opening });
    quota(0).when(buyer(), unreasonable).then_refused(Refusal::ReasonNotValid);
}

#[test]
fn who_crosses_needs_a_place_only_if_the_first_has_none() {
    let with_place = with_others(quota(1).with(seller(), no_fault(1, Seller)), 0);
    let option = with_place.story().option(Buyer, DisputeKind::Cancellation).unwrap();
    assert_eq!((option.accepts, option.no_fault_available), (Some(dispute_id(1)), true));
    with_place.with(buyer(), no_fault(2, Buyer));
    let without = with_others(quota(1).with(seller(), cancellation(1, Seller)), 1);
    without.clone().when(buyer(), no_fault(2, Buyer)).then_refused(not_available(None, 1));
    without.with(buyer(), cancellation(2, Buyer));
}

#[test]
fn what_is_with_support_has_no_place_and_needs_one_again_to_be_agreed_on() {
    let escalated = quota(1).with(seller(), no_fault(1, Seller)).with(support(), escalate(1));
    let place = |given: &Given| given.story().aggregate().no_fault_places(&Policy::default(), at(0));
    assert_eq!(place(&quota(1).with(seller(), no_fault(1, Seller))), 1);
    assert_eq!(place(&escalated), 0);
    let full = with_others(escalated.clone(), 1);
    assert!(!full.story().actions(&buyer(), 1).contains(&DisputeAction::Accept), "nothing is promised that is refused");
    full.when(buyer(), accept(1)).then_refused(not_available(None, 1));
    let accepted = escalated.with(buyer(), accept(1));
    assert_eq!(place(&accepted), 1);
    assert_eq!(agreed(&accepted.story()), (Some(false), true, true));
}

#[test]
fn whether_an_expiry_has_been_recorded_never_matters() {
    let over = at(172_800);
    let delivered = |given: Given| given.moved_to(OrderStatus::Delivered);
    let cases = [
        ("the seller's request, on which the buyer was silent", quota(2).with(seller(), no_fault(1, Seller)), 0),
        ("the buyer's, whose silence cancels", quota(2).with(buyer(), no_fault(1, Buyer)), 1),
        ("the buyer's, whose silence has no effect", delivered(quota(2).with(buyer(), no_fault(1, Buyer))), 0),
    ];
    for (name, given, places) in cases {
        let mut story = given.story();
        let before = |now| story.aggregate().no_fault_places(&Policy::default(), now);
        assert_eq!((before(over.minus(MICROSECOND)), before(over)), (1, places), "{name}");
        story.now = over;
        story.expire_overdue();
        assert_eq!(story.aggregate().no_fault_places(&Policy::default(), over), places, "{name}, recorded");
    }
}

#[test]
fn who_is_about_to_cross_is_told_what_the_buyer_has_said() {
    for (first, second, counts) in [
        (no_fault(1, Buyer), Seller, false),
        (cancellation(1, Buyer), Seller, true),
        (no_fault(1, Seller), Buyer, true),
    ] {
        let story = quota(1).with(party(second.other()), first).story();
        let option = story.option(second, DisputeKind::Cancellation).unwrap();
        let Some(Outcome::Cancellation { counts: said, .. }) = option.if_accepted else { panic!("{option:?}") };
        assert_eq!(said, counts, "{second:?} crosses");
    }
}

#[test]
fn a_place_is_free_again_once_the_order_has_left_the_window_or_nothing_came_of_it() {
    let policy = Policy::default();
    let window = policy.standing_window.get();
    let agreed = quota(1).with(buyer(), no_fault(1, Buyer)).with(seller(), accept(1)).story();
    let places = |now| agreed.aggregate().no_fault_places(&policy, now);
    assert_eq!((places(at(0)), places(at(0).plus(window)), places(at(0).plus(window).minus(MICROSECOND))), (1, 0, 1));
    let withdrawn = quota(1).with(buyer(), no_fault(1, Buyer)).with(buyer(), withdraw(1)).story();
    assert_eq!(withdrawn.aggregate().no_fault_places(&policy, at(0)), 0);
    let decided = quota(1)
        .with(buyer(), no_fault(1, Buyer))
        .with(support(), escalate(1))
        .with(support(), rule(1, Ruling::CancelOrder { counts: false }))
        .story();
    assert_eq!(decided.aggregate().no_fault_places(&policy, at(0)), 0, "what support decides uses nothing");
}
