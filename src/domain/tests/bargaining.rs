//! Counter-offers, and partial refunds that a buyer asks for.

use super::fixtures::*;
use super::given::*;
use crate::domain::PartyRole::{Buyer, Seller};
use crate::domain::*;

/// So many counter-offers can be made.
fn rounds(max: u32) -> Given {
    given(OrderStatus::InProgress).by_policy(|policy| {
        policy.partial_refund.max_counter_offers = Rounds(max);
        policy.partial_refund.buyer_may_ask = true;
    })
}

fn out_of(min: i64, max: i64) -> Refusal {
    Refusal::AmountOutOfRange { min: usd(min), max: usd(max) }
}

#[test]
fn the_parties_meet_in_the_middle() {
    let story = rounds(4)
        .with(seller(), offer(1, 2_000))
        .at(100)
        .with(buyer(), counter(1, 5_000))
        .at(200)
        .with(seller(), counter(1, 3_500))
        .at(300)
        .when(buyer(), accept(1))
        .then([fact::accepted(1, 300, Outcome::Refund(usd(3_500)))]);
    let dispute = story.dispute(1);
    let offers: Vec<_> = dispute.offers().map(|offer| (offer.by, offer.amount, offer.time)).collect();
    let expected = [(Seller, usd(2_000), at(0)), (Buyer, usd(5_000), at(100)), (Seller, usd(3_500), at(200))];
    assert_eq!(offers, expected);
    assert_eq!(dispute.message, "Because.", "the opener's text stays");
    assert_eq!(dispute.offers().map(|offer| offer.message).collect::<Vec<_>>(), ["Because.", "Answer.", "Answer."]);
    assert_eq!((dispute.revision, dispute.bargain.rounds_left()), (4, 2));
    assert_eq!(dispute.respond_by, at(200).plus(WINDOW), "each round has a window of its own");
    assert_eq!(story.order().refunded, usd(3_500));
}

#[test]
fn a_counter_offer_passes_the_turn_and_begins_the_window_and_the_reminders_anew() {
    let countered = Event::Countered {
        dispute: dispute_id(1),
        time: at(172_799),
        amount: usd(500),
        message: "Answer.".to_owned(),
        respond_by: at(172_799).plus(WINDOW),
        remind_at: Some(at(172_799 + 86_400)),
    };
    let mut story =
        rounds(2).with(seller(), offer(1, 100)).at(172_799).when(buyer(), counter(1, 500)).then([countered]);
    let last = story.events.last().unwrap();
    assert_eq!((last.event_type, last.previous_status), (EventType::Countered, Some(DisputeStatus::Pending)));
    assert_eq!(story.dispute(1).awaiting(), Some(Seller));
    story.now = at(172_799 + 86_400);
    story.sweep();
    assert_eq!(story.events.last().unwrap().event_type, EventType::DeadlineApproaching, "the reminders come again");
}

#[test]
fn who_has_to_answer_answers_and_nobody_the_own_offer() {
    // By whom it was opened, how often it was countered, and which side has to answer.
    let cases = [
        (Seller, 0, ResolvedBy::Responder),
        (Seller, 1, ResolvedBy::Opener),
        (Seller, 2, ResolvedBy::Responder),
        (Buyer, 0, ResolvedBy::Responder),
        (Buyer, 1, ResolvedBy::Opener),
        (Buyer, 2, ResolvedBy::Responder),
    ];
    for (opener, rounds_made, side) in cases {
        let name = format!("opened by {opener:?}, countered {rounds_made} times");
        let mut before = rounds(3).named(&name);
        let amounts = match opener {
            Seller => [offer(1, 1_000), counter(1, 5_000), counter(1, 2_000)],
            Buyer => [ask(1, 5_000), counter(1, 1_000), counter(1, 3_000)],
        };
        let mut turn = opener;
        for amount in amounts.into_iter().take(rounds_made + 1) {
            before = before.with(party(turn), amount);
            turn = turn.other();
        }
        for command in [accept(1), decline(1), counter(1, 2_500)] {
            before.clone().when(party(turn.other()), command).then_refused(Refusal::WrongRole);
        }
        let answering = party(turn);
        let declined = before.clone().with(answering.clone(), decline(1)).story();
        assert_eq!(declined.ending(1), (DisputeStatus::Declined, side, Outcome::Nothing), "{name}");
        let accepted = before.clone().with(answering, accept(1)).story();
        let amount = before.story().dispute(1).terms.amount().unwrap();
        assert_eq!(accepted.ending(1), (DisputeStatus::Accepted, side, Outcome::Refund(amount)), "{name}");
        let withdrawn = before.with(party(opener), withdraw(1)).story();
        assert_eq!(withdrawn.ending(1), (DisputeStatus::Withdrawn, ResolvedBy::Opener, Outcome::Nothing), "{name}");
    }
}

#[test]
fn amounts_only_converge() {
    let cap = 6_000;
    // The seller has offered, the buyer has asked for; what can be offered now.
    let cases = [
        (vec![offer(1, 2_000)], 2_001, cap),
        (vec![offer(1, 2_000), counter(1, 5_000)], 2_001, 4_999),
        (vec![offer(1, 2_000), counter(1, 5_000), counter(1, 3_500)], 3_501, 4_999),
        (vec![ask(1, 5_000)], 1, 4_999),
        (vec![ask(1, 5_000), counter(1, 1_000)], 1_001, 4_999),
        (vec![ask(1, 5_000), counter(1, 1_000), counter(1, 1_002)], 1_001, 1_001),
    ];
    for (offers, min, max) in cases {
        let name = format!("{} offers, {min} to {max}", offers.len());
        let mut before = rounds(20).named(&name);
        let mut turn =
            if matches!(&offers[0], Command::Open(opening) if opening.by == Some(Buyer)) { Buyer } else { Seller };
        for command in offers {
            before = before.with(party(turn), command);
            turn = turn.other();
        }
        assert_eq!(before.story().view(&party(turn), 1).counter_range, Some((usd(min), usd(max))), "{name}");
        assert_eq!(before.story().view(&party(turn.other()), 1).counter_range, None, "{name}");
        for amount in [min - 1, max + 1] {
            before.clone().when(party(turn), counter(1, amount)).then_refused(out_of(min, max));
        }
        for amount in [min, max] {
            let story = before.clone().with(party(turn), counter(1, amount)).story();
            assert_eq!(story.dispute(1).terms.amount(), Some(usd(amount)), "{name}");
        }
    }
}

#[test]
fn what_lies_between_is_as_the_order_and_the_policy_are_now() {
    let offered = rounds(5).with(seller(), offer(1, 2_000));
    let less_left = OrderReport { refunded_elsewhere: usd(6_500), ..report(OrderStatus::InProgress, 2) };
    offered.clone().reported(less_left).when(buyer(), counter(1, 3_501)).then_refused(out_of(2_001, 3_500));
    let nothing_left = OrderReport { refunded_elsewhere: usd(8_000), ..report(OrderStatus::InProgress, 2) };
    let mut stuck = offered.clone().reported(nothing_left).story();
    assert_eq!(stuck.refused(&buyer(), &counter(1, 2_001)), out_of(2_001, 2_000), "nothing lies between");
    assert_eq!(stuck.actions(&buyer(), 1), [DisputeAction::Accept, DisputeAction::Decline], "so nothing is promised");
    let smallest = |policy: &mut Policy| {
        policy.partial_refund.smallest_refund.insert(CurrencyCode("USD".to_owned()), MinorUnits(3_000));
    };
    offered.by_policy(smallest).when(buyer(), counter(1, 2_999)).then_refused(out_of(3_000, 6_000));
}

#[test]
fn the_guards_of_countering_come_in_their_order() {
    let offered = rounds(1).with(seller(), offer(1, 2_000));
    let stale = |command| seen("7", command);
    let etag = |etag: &str| Refusal::EtagMismatch { etag: etag.to_owned() };
    let cases: [(&str, Given, Caller, Command, Refusal); 9] = [
        ("a stranger", offered.clone(), stranger(), counter(1, 1), Refusal::DisputeNotFound { dispute: dispute_id(1) }),
        ("support", offered.clone(), support(), counter(1, 1), Refusal::WrongRole),
        ("the own offer", offered.clone(), seller(), stale(counter(1, 1)), Refusal::WrongRole),
        (
            "no partial refund",
            rounds(1).with(seller(), cancellation(1, Seller)),
            buyer(),
            stale(counter(1, 1)),
            Refusal::WrongKind { kind: DisputeKind::Cancellation },
        ),
        ("it has changed", offered.clone().at(172_800), buyer(), stale(counter(1, 1)), etag("2")),
        (
            "too late",
            offered.clone().at(172_800),
            buyer(),
            counter(1, 1),
            Refusal::DeadlinePassed { respond_by: at(172_800) },
        ),
        (
            "it is with support",
            offered.clone().with(support(), escalate(1)),
            buyer(),
            counter(1, 1),
            Refusal::StatusNotAllowed { status: DisputeStatus::Escalated },
        ),
        (
            "the round past the limit",
            offered.clone().with(buyer(), counter(1, 3_000)),
            seller(),
            counter(1, 1),
            Refusal::TooManyRounds { max: 1 },
        ),
        ("out of range", offered, buyer(), counter(1, 1), out_of(2_001, 6_000)),
    ];
    for (name, before, caller, command, refusal) in cases {
        before.named(name).when(caller, command).then_refused(refusal);
    }
    given(OrderStatus::InProgress)
        .named("off by default")
        .with(seller(), offer(1, 2_000))
        .when(buyer(), counter(1, 3_000))
        .then_refused(Refusal::TooManyRounds { max: 0 });
}

#[test]
fn the_maximum_is_that_of_the_opening() {
    let story = rounds(1)
        .with(seller(), offer(1, 2_000))
        .by_policy(|policy| policy.partial_refund.max_counter_offers = Rounds(0))
        .with(buyer(), counter(1, 3_000))
        .story();
    assert_eq!(story.dispute(1).bargain.max_counter_offers, 1);
    assert!(!story.actions(&seller(), 1).contains(&DisputeAction::Counter));
}

#[test]
fn silence_at_any_round_moves_no_money() {
    let accepting = |policy: &mut Policy| policy.partial_refund.silence_rule = SilenceRule::Accept;
    let opened = rounds(3).by_policy(accepting).with(seller(), offer(1, 2_000));
    let refund = Outcome::Refund(usd(2_000));
    assert_eq!(
        opened.story().view(&buyer(), 1).consequences.if_silent,
        Some(refund),
        "by policy, before any other offer"
    );
    let mut countered = opened.with(buyer(), counter(1, 4_000));
    for next in [counter(1, 3_000), counter(1, 3_500)] {
        let story = countered.story();
        assert_eq!(story.dispute(1).silence, Silence::always(SilenceRule::NoEffect));
        assert_eq!(story.view(&buyer(), 1).consequences.if_silent, Some(Outcome::Nothing));
        let silent = countered.clone().when_time_comes(172_800).then([fact::expired(1, 172_800, Outcome::Nothing)]);
        assert_eq!(silent.order().refunded, usd(0));
        let turn = story.dispute(1).awaiting().unwrap();
        countered = countered.with(party(turn), next);
    }
    let asked = rounds(0).by_policy(accepting).with(buyer(), ask(1, 2_000));
    asked.when_time_comes(172_800).then([fact::expired(1, 172_800, Outcome::Nothing)]);
}

#[test]
fn a_buyer_asks_where_the_operator_lets_it_and_each_party_by_its_own_request() {
    let off = given(OrderStatus::InProgress);
    assert!(off.story().option(Buyer, DisputeKind::PartialRefund).is_none());
    off.when(buyer(), ask(1, 1_000)).then_refused(Refusal::WrongRole);
    for (name, caller, command) in
        [("the seller asks", seller(), ask(1, 1_000)), ("the buyer offers", buyer(), offer(1, 1_000))]
    {
        rounds(0).named(name).when(caller, command).then_refused(Refusal::WrongRole);
    }
    let story = rounds(0).with(buyer(), ask(1, 6_000)).story();
    let dispute = story.dispute(1);
    assert_eq!((dispute.opener, dispute.awaiting()), (Buyer, Some(Seller)));
    assert!(dispute.public_reason().is_some(), "the seller may know why");
    assert_eq!(dispute.reason_for(&seller()), dispute.reason.as_ref());
    rounds(0).when(buyer(), ask(1, 6_001)).then_refused(out_of(1, 6_000));
    let wrong = Reason { code: ReasonCode::Goodwill.into(), detail: String::new() };
    let Command::Open(opening) = ask(1, 100) else { unreachable!() };
    let wrong = open(Opening { reason: Some(wrong), ..*opening });
    rounds(0).when(buyer(), wrong).then_refused(Refusal::ReasonNotValid);
}

#[test]
fn the_buyers_cancellation_ends_a_partial_refund_whoevers_turn_it_is() {
    let offered = rounds(3).with(seller(), offer(1, 1_000));
    let asked = rounds(3).with(buyer(), ask(1, 5_000));
    let declined = (DisputeStatus::Declined, ResolvedBy::Responder, Outcome::Nothing);
    let withdrawn = (DisputeStatus::Withdrawn, ResolvedBy::Opener, Outcome::Nothing);
    let cases = [
        ("offered", offered.clone(), declined),
        ("offered and countered", offered.with(buyer(), counter(1, 2_000)), declined),
        ("asked for", asked.clone(), withdrawn),
        ("asked for and countered", asked.with(seller(), counter(1, 2_000)), withdrawn),
    ];
    for (name, before, ending) in cases {
        let story = before.named(name).with(buyer(), cancellation(2, Buyer)).story();
        assert_eq!(story.ending(1), ending, "{name}");
        assert!(story.dispute(2).is_pending(), "{name}");
    }
}

#[test]
fn an_offer_beside_a_request_is_refused_and_told_to_counter_instead() {
    let in_the_way = Refusal::OpenDisputeExists { dispute: dispute_id(1) };
    let asked = rounds(1).with(buyer(), ask(1, 5_000));
    let option = asked.story().option(Seller, DisputeKind::PartialRefund).unwrap();
    assert_eq!((option.blockers, option.counters), (vec![in_the_way.clone()], Some(dispute_id(1))));
    asked.clone().when(seller(), offer(2, 1_000)).then_refused(in_the_way.clone());
    assert_eq!(asked.story().option(Buyer, DisputeKind::PartialRefund).unwrap().counters, None, "the own offer");
    let countered = asked.with(seller(), counter(1, 1_000));
    assert_eq!(countered.story().option(Buyer, DisputeKind::PartialRefund).unwrap().counters, None, "no round is left");
    let offered = rounds(1).with(seller(), offer(1, 1_000));
    offered.clone().when(buyer(), ask(2, 2_000)).then_refused(in_the_way);
    assert_eq!(offered.story().option(Buyer, DisputeKind::PartialRefund).unwrap().counters, Some(dispute_id(1)));
}

#[test]
fn after_the_end_roles_are_judged_by_who_last_had_to_answer() {
    let countered =
        rounds(2).with(seller(), offer(1, 1_000)).with(buyer(), counter(1, 3_000)).with(seller(), decline(1));
    let over = Refusal::StatusNotAllowed { status: DisputeStatus::Declined };
    countered.clone().when(seller(), accept(1)).then_refused(over);
    countered.clone().when(buyer(), accept(1)).then_refused(Refusal::WrongRole);
    let escalated = countered.with(buyer(), escalate(1));
    assert_eq!(escalated.story().dispute(1).awaiting(), Some(Seller));
    escalated.clone().when(buyer(), accept(1)).then_refused(Refusal::WrongRole);
    let agreed = escalated.with(seller(), accept(1)).story();
    assert_eq!(agreed.ending(1), (DisputeStatus::Accepted, ResolvedBy::Opener, Outcome::Refund(usd(3_000))));
}

#[test]
fn what_the_last_release_would_misjudge_is_left_to_this_one() {
    let plain = rounds(2).with(seller(), offer(1, 1_000));
    assert_eq!(plain.story().dispute(1).least_release(), 1);
    assert_eq!(plain.with(buyer(), counter(1, 3_000)).story().dispute(1).least_release(), 2);
    assert_eq!(rounds(0).with(buyer(), ask(1, 1_000)).story().dispute(1).least_release(), 2);
}
