//! The deal: counter-offers, refunds that a buyer asks for, and cancellations that are nobody's fault.

use std::time::Duration;

use dispute_service::proto::v1;
use dispute_service::proto::v1::{DisputeAction, DisputeStatus, EventType, PartyRole, ResolvedBy};
use tonic::Code;

use crate::support::callers::{Facts, Party, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    the_parties_meet_in_the_middle,
    an_amount_that_diverges_is_told_what_is_between,
    the_round_past_the_limit_is_refused,
    of_two_answers_at_once_one_counts,
    silence_at_any_round_moves_no_money,
    a_buyer_asks_for_a_refund_where_the_policy_lets_it,
    the_buyers_cancellation_ends_what_is_bargained_over,
    a_no_fault_cancellation_leaves_the_rate_as_it_was,
    the_options_say_when_the_quota_is_used_up,
    a_quota_is_exact_however_many_ask_at_once,
    a_no_fault_cancellation_is_agreed_on_while_support_has_it_if_there_is_a_place,
    a_bargain_is_read_back_as_it_was_after_a_restart,
    twenty_rounds_with_the_longest_messages_are_shown_everywhere,
);

const WINDOW: i64 = 172_800;

/// Counter-offers, requests of buyers and no-fault cancellations are on.
async fn with(service: &mut Service, rounds: u32, quota: u32) {
    let policy = format!(
        "[partial_refund]\nbuyer_may_ask = true\nmax_counter_offers = {rounds}\n\
         [cancellation]\nno_fault_per_window = {quota}"
    );
    service.restart_with_policy(&policy).await;
}

async fn option(party: &mut Party, order: &str, kind: v1::DisputeKind) -> v1::DisputeOption {
    party.options(order).await.options.into_iter().find(|option| option.kind() == kind).unwrap()
}

async fn standing(service: &Service) -> v1::SellerStanding {
    let request = v1::GetSellerStandingRequest { seller_id: "bob".to_owned() };
    service.user("bob").orders.get_seller_standing(request).await.unwrap().into_inner().standing.unwrap()
}

async fn the_parties_meet_in_the_middle(mut service: Service) {
    with(&mut service, 4, 0).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let opened = service.order_with_offer("o1", 2_000).await;
    let id = &opened.dispute_id;
    assert_eq!((opened.awaiting(), opened.rounds_left), (PartyRole::Buyer, 4));
    assert_eq!(ann.dispute(id).await.counter_min, Some(usd(2_001)));
    assert_eq!(ann.dispute(id).await.counter_max, Some(usd(6_000)));
    assert_eq!(bob.dispute(id).await.counter_min, None, "nobody answers the own offer");

    service.clock.advance(Duration::from_secs(100));
    let message = "Half of the price.".to_owned();
    let asked = ann.counter(v1::CounterOfferRequest { message, ..counter(id, 5_000) }).await.unwrap();
    assert_eq!((asked.status(), asked.awaiting(), asked.rounds_left), (DisputeStatus::Pending, PartyRole::Seller, 3));
    assert_eq!((asked.refund_amount.clone(), asked.respond_by), (Some(usd(5_000)), Some(at(100 + WINDOW))));
    assert_eq!(asked.silence_rule(), v1::SilenceRule::NoEffect);
    assert_eq!(asked.if_silent, Some(v1::DisputeOutcome::default()));
    let seen = bob.dispute(id).await;
    assert_eq!((seen.counter_min.clone(), seen.counter_max.clone()), (Some(usd(2_001)), Some(usd(4_999))));
    let actions = [DisputeAction::Accept, DisputeAction::Decline, DisputeAction::Counter, DisputeAction::Withdraw];
    assert_eq!(seen.allowed_actions().collect::<Vec<_>>(), actions);

    service.clock.advance(Duration::from_secs(100));
    let met = bob.counter(v1::CounterOfferRequest { etag: seen.etag, ..counter(id, 3_500) }).await.unwrap();
    assert_eq!((met.awaiting(), met.respond_by), (PartyRole::Buyer, Some(at(200 + WINDOW))));
    let accepted = ann.accept(accept(id)).await.unwrap();
    assert_eq!((accepted.status(), accepted.resolved_by()), (DisputeStatus::Accepted, ResolvedBy::Responder));
    assert_eq!(accepted.outcome.clone().unwrap().refund, Some(usd(3_500)));
    assert_eq!((accepted.dispute_id.as_str(), accepted.revision), (id.as_str(), 4));
    assert_eq!(accepted.awaiting(), PartyRole::Unspecified);
    let offers: Vec<_> = accepted.offers.iter().map(|offer| (offer.number, offer.by(), offer.amount.clone())).collect();
    let expected = [(1, PartyRole::Seller, 2_000), (2, PartyRole::Buyer, 5_000), (3, PartyRole::Seller, 3_500)];
    assert_eq!(offers, expected.map(|(number, by, cents)| (number, by, Some(usd(cents)))));
    assert_eq!(accepted.offers[0].message, accepted.message);
    assert_eq!(
        (accepted.offers[1].message.as_str(), accepted.offers[1].create_time),
        ("Half of the price.", Some(at(100)))
    );
    assert_eq!(service.platform().order("o1").await.refunded, Some(usd(3_500)));

    let events = ann.events().await;
    let types: Vec<_> = events.iter().map(v1::DisputeEvent::r#type).collect();
    assert_eq!(types, [EventType::Opened, EventType::Countered, EventType::Countered, EventType::Accepted]);
    assert_eq!(events.iter().map(|event| event.revision).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for event in &events {
        let dispute = event.dispute.as_ref().unwrap();
        assert_eq!((dispute.reason, &dispute.counter_min, &dispute.counter_max), (0, &None, &None), "of no viewer");
    }
    assert_eq!(events[1].dispute.as_ref().unwrap().offers.len(), 2);
    assert_eq!(ann.dispute(id).await.reason, 0, "the seller's reason stays so through all rounds");
    assert_ne!(bob.dispute(id).await.reason, 0);
}

async fn an_amount_that_diverges_is_told_what_is_between(mut service: Service) {
    with(&mut service, 20, 0).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let id = service.order_with_offer("o1", 2_000).await.dispute_id;
    let out_of = |min: &str, max: &str| {
        let bounds = [("minAmount", min), ("maxAmount", max), ("currency", "USD")];
        refusal(Code::InvalidArgument, "AMOUNT_OUT_OF_RANGE", &bounds).about("amount")
    };
    for cents in [1_999, 2_000, 6_001] {
        assert_eq!(ann.counter(counter(&id, cents)).await, Err(out_of("20.01", "60.00")), "{cents}");
    }
    ann.counter(counter(&id, 5_000)).await.unwrap();
    for cents in [2_000, 5_000] {
        assert_eq!(bob.counter(counter(&id, cents)).await, Err(out_of("20.01", "49.99")), "{cents}");
    }
    let wrong_role = refusal(Code::PermissionDenied, "WRONG_ROLE", &[]);
    assert_eq!(ann.counter(counter(&id, 4_000)).await, Err(wrong_role.clone()), "it is not her turn");
    assert_eq!(ann.accept(accept(&id)).await, Err(wrong_role.clone()));
    assert_eq!(ann.decline(decline(&id)).await, Err(wrong_role));
    let declined = bob.decline(decline(&id)).await.unwrap();
    assert_eq!((declined.status(), declined.resolved_by()), (DisputeStatus::Declined, ResolvedBy::Opener));
    let over = refusal(Code::FailedPrecondition, "STATUS_NOT_ALLOWED", &[("status", "DECLINED")]);
    assert_eq!(bob.counter(counter(&id, 3_000)).await, Err(over));
    let cancellation = ann.cancel(cancellation("o1")).await.unwrap().dispute_id;
    let wrong_kind = refusal(Code::FailedPrecondition, "WRONG_KIND", &[("kind", "CANCELLATION")]);
    assert_eq!(bob.counter(counter(&cancellation, 3_000)).await, Err(wrong_kind));
    let not_found = refusal(Code::NotFound, "DISPUTE_NOT_FOUND", &[("disputeId", id.as_str())]);
    assert_eq!(service.user("eve").counter(counter(&id, 3_000)).await, Err(not_found));
}

async fn the_round_past_the_limit_is_refused(mut service: Service) {
    with(&mut service, 1, 0).await;
    let id = service.order_with_offer("o1", 2_000).await.dispute_id;
    service.user("ann").counter(counter(&id, 5_000)).await.unwrap();
    let too_many = |max| refusal(Code::FailedPrecondition, "TOO_MANY_ROUNDS", &[("max", max)]);
    assert_eq!(service.user("bob").counter(counter(&id, 3_000)).await, Err(too_many("1")));
    assert!(!service.user("bob").dispute(&id).await.allowed_actions().any(|action| action == DisputeAction::Counter));
    // The maximum is that of the opening.
    with(&mut service, 0, 0).await;
    let id = service.order_with_offer("o2", 2_000).await.dispute_id;
    assert_eq!(service.user("ann").counter(counter(&id, 5_000)).await, Err(too_many("0")));
}

async fn of_two_answers_at_once_one_counts(mut service: Service) {
    with(&mut service, 20, 0).await;
    for round in 0..8 {
        let id = service.order_with_offer(&format!("o{round}"), 2_000).await.dispute_id;
        let (mut first, mut second, mut third) = (service.user("ann"), service.user("ann"), service.user("ann"));
        let (countering, accepting, again) =
            tokio::join!(first.counter(counter(&id, 5_000)), second.accept(accept(&id)), third.accept(accept(&id)));
        let accepted = [&accepting, &again].into_iter().filter(|result| result.is_ok()).count();
        assert_eq!(accepted + usize::from(countering.is_ok()), 1, "{countering:?} {accepting:?} {again:?}");
        let dispute = service.user("ann").dispute(&id).await;
        let (status, cents) =
            if accepted == 1 { (DisputeStatus::Accepted, 2_000) } else { (DisputeStatus::Pending, 5_000) };
        assert_eq!((dispute.status(), dispute.refund_amount, dispute.revision), (status, Some(usd(cents)), 2));
    }
}

async fn silence_at_any_round_moves_no_money(mut service: Service) {
    with(&mut service, 20, 0).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    for (order, rounds) in [("o0", 0), ("o1", 1), ("o2", 2)] {
        let id = service.order_with_offer(order, 2_000).await.dispute_id;
        if rounds > 0 {
            ann.counter(counter(&id, 5_000)).await.unwrap();
        }
        if rounds > 1 {
            bob.counter(counter(&id, 3_000)).await.unwrap();
        }
        service.clock.advance(Duration::from_secs(WINDOW.try_into().unwrap()));
        let mut answering = if rounds == 1 { service.user("bob") } else { service.user("ann") };
        let late = answering.accept(accept(&id)).await.unwrap_err();
        assert_eq!(late.reason, "DEADLINE_PASSED", "{rounds} rounds");
        let expired = ann.dispute(&id).await;
        assert_eq!((expired.status(), expired.outcome), (DisputeStatus::Expired, Some(v1::DisputeOutcome::default())));
        assert_eq!(service.platform().order(order).await.refunded, Some(usd(0)));
    }
}

async fn a_buyer_asks_for_a_refund_where_the_policy_lets_it(mut service: Service) {
    service.platform().upsert(order("o1")).await;
    let wrong_role = || Err(refusal(Code::PermissionDenied, "WRONG_ROLE", &[]));
    assert_eq!(service.user("ann").ask_refund(refund_request("o1", 1_000)).await, wrong_role());
    with(&mut service, 1, 0).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    assert_eq!(bob.ask_refund(refund_request("o1", 1_000)).await, wrong_role());
    assert_eq!(ann.offer(offer("o1", 1_000)).await, wrong_role(), "each by its own request");
    let offered = option(&mut ann, "o1", v1::DisputeKind::PartialRefund).await;
    assert_eq!((offered.label.as_str(), offered.available), ("Ask for a partial refund", true));
    assert_eq!(offered.silence_rule(), v1::SilenceRule::NoEffect);
    assert!(offered.reasons.iter().all(|reason| !reason.confidential));
    let asked = ann.ask_refund(refund_request("o1", 3_000)).await.unwrap();
    assert_eq!((asked.opened_by(), asked.awaiting()), (PartyRole::Buyer, PartyRole::Seller));
    let seen = bob.dispute(&asked.dispute_id).await;
    assert_eq!(seen.reason(), v1::Reason::DeliveredPartially, "the seller may know why");
    let events = bob.events().await;
    assert_eq!(events[0].dispute.as_ref().unwrap().reason(), v1::Reason::DeliveredPartially);
    // An offer beside it is refused, and the option says what to do instead.
    let in_the_way = refusal(Code::FailedPrecondition, "OPEN_DISPUTE_EXISTS", &[("disputeId", &asked.dispute_id)]);
    assert_eq!(bob.offer(offer("o1", 1_000)).await, Err(in_the_way));
    let instead = option(&mut bob, "o1", v1::DisputeKind::PartialRefund).await;
    assert_eq!((instead.available, instead.counters_dispute_id), (false, asked.dispute_id.clone()));
    bob.counter(counter(&asked.dispute_id, 1_500)).await.unwrap();
    let accepted = ann.accept(accept(&asked.dispute_id)).await.unwrap();
    assert_eq!((accepted.resolved_by(), accepted.outcome.unwrap().refund), (ResolvedBy::Opener, Some(usd(1_500))));
}

async fn the_buyers_cancellation_ends_what_is_bargained_over(mut service: Service) {
    with(&mut service, 5, 0).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let offered = service.order_with_offer("o1", 2_000).await.dispute_id;
    ann.counter(counter(&offered, 5_000)).await.unwrap();
    ann.cancel(cancellation("o1")).await.unwrap();
    let ended = bob.dispute(&offered).await;
    assert_eq!((ended.status(), ended.resolved_by()), (DisputeStatus::Declined, ResolvedBy::Responder));
    service.platform().upsert(order("o2")).await;
    let asked = ann.ask_refund(refund_request("o2", 3_000)).await.unwrap().dispute_id;
    ann.cancel(cancellation("o2")).await.unwrap();
    let ended = bob.dispute(&asked).await;
    assert_eq!((ended.status(), ended.resolved_by()), (DisputeStatus::Withdrawn, ResolvedBy::Opener));
}

async fn a_no_fault_cancellation_leaves_the_rate_as_it_was(mut service: Service) {
    with(&mut service, 0, 3).await;
    let completed = v1::Order { status: v1::OrderStatus::Completed.into(), end_time: Some(at(0)), ..order("done") };
    service.platform().upsert(completed).await;
    for id in ["o1", "o2", "o3"] {
        service.platform().upsert(order(id)).await;
    }
    assert_eq!(standing(&service).await.completion_rate_bps, Some(10_000));
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let asked = ann.cancel(no_fault("o1")).await.unwrap();
    assert!(asked.no_fault && bob.dispute(&asked.dispute_id).await.no_fault, "both see it");
    assert!(!asked.if_accepted.unwrap().counts_against_completion_rate);
    let agreed = bob.accept(accept(&asked.dispute_id)).await.unwrap();
    assert!(agreed.no_fault && agreed.outcome.unwrap().order_cancelled);
    let after = standing(&service).await;
    assert_eq!((after.completion_rate_bps, after.cancelled, after.cancelled_not_counted), (Some(10_000), 0, 1));

    // The buyer's silence on the seller's request cancels, and counts.
    let asked = bob.cancel(no_fault("o2")).await.unwrap();
    assert!(asked.if_silent.unwrap().counts_against_completion_rate);
    assert!(!asked.if_accepted.unwrap().counts_against_completion_rate);
    service.clock.advance(Duration::from_secs(WINDOW.try_into().unwrap()));
    let expired = bob.withdraw(withdraw(&asked.dispute_id)).await.unwrap_err();
    assert_eq!(expired.reason, "DEADLINE_PASSED");
    assert!(!bob.dispute(&asked.dispute_id).await.no_fault);
    assert_eq!(standing(&service).await.completion_rate_bps, Some(5_000));

    // Crossed: the buyer's word decides.
    bob.cancel(no_fault("o3")).await.unwrap();
    let crossed = ann.cancel(cancellation("o3")).await.unwrap();
    assert_eq!((crossed.resolved_by(), crossed.no_fault), (ResolvedBy::Crossed, false));
    assert!(crossed.outcome.unwrap().counts_against_completion_rate);
}

fn not_available(facts: &[(&str, &str)]) -> Facts {
    refusal(Code::FailedPrecondition, "NO_FAULT_NOT_AVAILABLE", facts)
}

async fn the_options_say_when_the_quota_is_used_up(mut service: Service) {
    with(&mut service, 0, 1).await;
    for id in ["o1", "o2"] {
        service.platform().upsert(order(id)).await;
    }
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let kind = v1::DisputeKind::Cancellation;
    assert!(option(&mut ann, "o1", kind).await.no_fault_available);
    assert!(option(&mut bob, "o1", kind).await.no_fault_available);
    let first = ann.cancel(no_fault("o1")).await.unwrap();
    for party in [&mut ann, &mut bob] {
        let option = option(party, "o2", kind).await;
        assert!(!option.no_fault_available && option.available && option.blockers.is_empty());
    }
    assert_eq!(ann.cancel(no_fault("o2")).await, Err(not_available(&[("max", "1")])), "only the seller is told more");
    assert_eq!(bob.cancel(no_fault("o2")).await, Err(not_available(&[("max", "1"), ("used", "1")])));
    ann.withdraw(withdraw(&first.dispute_id)).await.unwrap();
    let second = ann.cancel(no_fault("o2")).await.unwrap();
    bob.accept(accept(&second.dispute_id)).await.unwrap();
    assert!(!option(&mut ann, "o1", kind).await.no_fault_available);
    service.clock.advance(Duration::from_secs(60 * 86_400));
    assert!(option(&mut ann, "o1", kind).await.no_fault_available, "it has left the window");
    ann.cancel(no_fault("o1")).await.unwrap();
}

async fn a_quota_is_exact_however_many_ask_at_once(mut service: Service) {
    with(&mut service, 0, 3).await;
    let replica = service.replica().await;
    let mut asking = Vec::new();
    for number in 0..24 {
        let id = format!("o{number}");
        service.platform().upsert(order(&id)).await;
        let mut party = if number % 2 == 0 { service.user("ann") } else { replica.user("bob") };
        asking.push(tokio::spawn(async move { party.cancel(no_fault(&id)).await }));
    }
    let mut granted = 0;
    for asked in asking {
        match asked.await.unwrap() {
            Ok(_) => granted += 1,
            Err(facts) => assert_eq!(facts.reason, "NO_FAULT_NOT_AVAILABLE"),
        }
    }
    assert_eq!(granted, 3);
}

async fn a_no_fault_cancellation_is_agreed_on_while_support_has_it_if_there_is_a_place(mut service: Service) {
    with(&mut service, 0, 1).await;
    for id in ["o1", "o2"] {
        service.platform().upsert(order(id)).await;
    }
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let id = bob.cancel(no_fault("o1")).await.unwrap().dispute_id;
    let escalated = service.support().escalate(escalate(&id)).await.unwrap();
    assert!(escalated.no_fault && !escalated.if_accepted.unwrap().counts_against_completion_rate);
    let other = ann.cancel(no_fault("o2")).await.unwrap().dispute_id;
    assert_eq!(ann.accept(accept(&id)).await, Err(not_available(&[("max", "1")])));
    assert!(!ann.dispute(&id).await.allowed_actions().any(|action| action == DisputeAction::Accept));
    let listed = ann.list(v1::ListDisputesRequest { order_id: "o1".to_owned(), ..Default::default() }).await;
    assert!(!listed.disputes[0].allowed_actions().any(|action| action == DisputeAction::Accept));
    ann.withdraw(withdraw(&other)).await.unwrap();
    assert!(ann.dispute(&id).await.allowed_actions().any(|action| action == DisputeAction::Accept));
    let agreed = ann.accept(accept(&id)).await.unwrap();
    assert!(agreed.no_fault && !agreed.outcome.unwrap().counts_against_completion_rate);
}

async fn a_bargain_is_read_back_as_it_was_after_a_restart(mut service: Service) {
    with(&mut service, 3, 0).await;
    let id = service.order_with_offer("o1", 2_000).await.dispute_id;
    let message = "« Moitié »\n\"quoted\"".to_owned();
    service.user("ann").counter(v1::CounterOfferRequest { message, ..counter(&id, 5_000) }).await.unwrap();
    let before = service.user("bob").dispute(&id).await;
    service.restart().await;
    assert_eq!(service.user("bob").dispute(&id).await, before);
}

async fn twenty_rounds_with_the_longest_messages_are_shown_everywhere(mut service: Service) {
    with(&mut service, 20, 0).await;
    let long = "\u{1F600}".repeat(2_000);
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    service.platform().upsert(order("o1")).await;
    let id = bob
        .offer(v1::OfferPartialRefundRequest { message: long.clone(), ..offer("o1", 100) })
        .await
        .unwrap()
        .dispute_id;
    for round in 0..20 {
        let (party, cents) = if round % 2 == 0 { (&mut ann, 5_000 - round) } else { (&mut bob, 100 + round) };
        let message = long.clone();
        let request = v1::CounterOfferRequest { message, ..counter(&id, cents) };
        let countered = party.counter(request.clone()).await.unwrap();
        assert_eq!(countered.rounds_left, 19 - i32::try_from(round).unwrap());
    }
    let shown = ann.dispute(&id).await;
    assert_eq!((shown.offers.len(), shown.revision), (21, 21));
    assert!(shown.offers.iter().all(|offer| offer.message == long));
    let too_many = refusal(Code::FailedPrecondition, "TOO_MANY_ROUNDS", &[("max", "20")]);
    assert_eq!(ann.counter(counter(&id, 2_000)).await, Err(too_many));
    let listed = ann.list(v1::ListDisputesRequest::default()).await;
    assert_eq!(listed.disputes, std::slice::from_ref(&shown));
    let mut watch = ann.watch(from_beginning()).await;
    let events = watch.take(21).await;
    assert_eq!(events, ann.events().await);
    assert_eq!(events.last().unwrap().dispute.as_ref().unwrap().offers, shown.offers);
    let include_snapshot = true;
    let mut snapshot = bob.watch(v1::WatchDisputesRequest { include_snapshot, ..Default::default() }).await;
    assert_eq!(snapshot.event().await.dispute.unwrap().offers, shown.offers);
}
