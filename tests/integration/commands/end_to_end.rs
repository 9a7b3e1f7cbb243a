//! Commands, end to end: what they answer, what they do to the order, and that they happen once.

use std::collections::BTreeSet;

use dispute_service::proto::v1;
use tonic::Code;

use crate::support::callers::{facts, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    a_refund_is_offered_and_accepted,
    a_cancellation_is_requested_and_accepted,
    an_update_is_requested_and_answered,
    a_declined_and_a_withdrawn_dispute_change_nothing,
    crossed_cancellations_merge,
    an_offer_cannot_block_the_buyers_cancellation,
    a_request_id_has_one_effect,
    a_request_id_cannot_be_used_for_something_else,
    a_refused_request_id_is_judged_afresh,
    an_etag_must_be_the_current_one,
    the_options_say_what_can_be_asked_for,
    of_many_answers_at_once_one_counts,
    of_many_openings_at_once_one_counts,
    one_request_id_sent_many_times_at_once_has_one_effect,
);

async fn a_refund_is_offered_and_accepted(service: Service) {
    service.platform().upsert(order("o1")).await;
    let mut bob = service.user("bob");
    let opened = bob.disputes.offer_partial_refund(offer("o1", 2_550)).await.unwrap().into_inner().dispute.unwrap();
    let expected = v1::Dispute {
        dispute_id: opened.dispute_id.clone(),
        order_id: "o1".to_owned(),
        kind: v1::DisputeKind::PartialRefund.into(),
        status: v1::DisputeStatus::Pending.into(),
        buyer_id: "ann".to_owned(),
        seller_id: "bob".to_owned(),
        opened_by: v1::PartyRole::Seller.into(),
        message: "Sorry for the delay.".to_owned(),
        reason: v1::Reason::DelayCompensation.into(),
        refund_amount: Some(usd(2_550)),
        respond_by: Some(at(172_800)),
        silence_rule: v1::SilenceRule::NoEffect.into(),
        create_time: Some(at(0)),
        update_time: Some(at(0)),
        if_accepted: Some(v1::DisputeOutcome { refund: Some(usd(2_550)), ..v1::DisputeOutcome::default() }),
        if_silent: Some(v1::DisputeOutcome::default()),
        revision: 1,
        etag: opened.etag.clone(),
        allowed_actions: vec![v1::DisputeAction::Withdraw.into()],
        awaiting: v1::PartyRole::Buyer.into(),
        offers: vec![v1::Offer {
            number: 1,
            by: v1::PartyRole::Seller.into(),
            amount: Some(usd(2_550)),
            message: "Sorry for the delay.".to_owned(),
            create_time: Some(at(0)),
        }],
        ..v1::Dispute::default()
    };
    assert_eq!(opened, expected, "the opener sees the reason");
    assert_eq!(uuid::Uuid::parse_str(&opened.dispute_id).unwrap().get_version_num(), 7);

    let mut ann = service.user("ann");
    let actions = |dispute: &v1::Dispute, actions: &[v1::DisputeAction]| {
        let allowed_actions = actions.iter().map(|action| i32::from(*action)).collect();
        v1::Dispute { allowed_actions, ..dispute.clone() }
    };
    let hidden = v1::Dispute { reason: v1::Reason::Unspecified.into(), ..expected.clone() };
    let for_ann = actions(&hidden, &[v1::DisputeAction::Accept, v1::DisputeAction::Decline]);
    assert_eq!(ann.dispute(&opened.dispute_id).await, for_ann, "the responder does not");
    assert_eq!(service.platform().dispute(&opened.dispute_id).await, actions(&hidden, &[]), "nor does the platform");
    let for_support = actions(&expected, &[v1::DisputeAction::Escalate, v1::DisputeAction::Postpone]);
    assert_eq!(service.support().dispute(&opened.dispute_id).await, for_support, "support does");

    service.clock.advance(std::time::Duration::from_secs(60));
    let accepted = ann.disputes.accept_dispute(accept(&opened.dispute_id)).await.unwrap().into_inner().dispute.unwrap();
    let expected = v1::Dispute {
        status: v1::DisputeStatus::Accepted.into(),
        update_time: Some(at(60)),
        resolve_time: Some(at(60)),
        resolved_by: v1::ResolvedBy::Responder.into(),
        outcome: hidden.if_accepted.clone(),
        if_accepted: None,
        if_silent: None,
        awaiting: v1::PartyRole::Unspecified.into(),
        settlement: Some(v1::Settlement {
            status: v1::SettlementStatus::Due.into(),
            amount: Some(usd(2_550)),
            idempotency_key: format!("refund-{}-1", opened.dispute_id),
            attempt: 1,
            ..v1::Settlement::default()
        }),
        revision: 2,
        etag: accepted.etag.clone(),
        ..actions(&hidden, &[])
    };
    assert_eq!(accepted, expected);
    assert_ne!(accepted.etag, opened.etag);
    let order = ann.order("o1").await;
    assert_eq!(order.refunded, Some(usd(2_550)));
    assert_eq!((order.status(), order.revision), (v1::OrderStatus::InProgress, 2));
    let again = bob.disputes.offer_partial_refund(offer("o1", 1)).await.unwrap_err();
    let expected = refusal(Code::FailedPrecondition, "REFUND_ALREADY_ACCEPTED", &[("disputeId", &opened.dispute_id)]);
    assert_eq!(facts(&again), expected);
}

async fn a_cancellation_is_requested_and_accepted(service: Service) {
    service.platform().upsert(order("o1")).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let update = ann.disputes.request_order_update(update("o1")).await.unwrap().into_inner().dispute.unwrap();
    let opened = bob.disputes.request_cancellation(cancellation("o1")).await.unwrap().into_inner().dispute.unwrap();
    assert_eq!(opened.silence_rule(), v1::SilenceRule::Accept);
    let seen = ann.dispute(&opened.dispute_id).await;
    assert_eq!(seen.reason(), v1::Reason::OrderedByMistake, "a seller's reason to cancel is shared");
    let accepted = ann.disputes.accept_dispute(accept(&opened.dispute_id)).await.unwrap().into_inner().dispute.unwrap();
    let outcome = v1::DisputeOutcome {
        refund: Some(usd(10_000)),
        order_cancelled: true,
        counts_against_completion_rate: true,
        new_due_time: None,
    };
    assert_eq!(accepted.outcome, Some(outcome));
    let order = bob.order("o1").await;
    assert_eq!(order.status(), v1::OrderStatus::Cancelled);
    assert_eq!(order.cancelled_by_dispute_id, opened.dispute_id);
    assert_eq!((order.refunded, order.end_time), (Some(usd(10_000)), Some(at(0))));
    let update = ann.dispute(&update.dispute_id).await;
    assert_eq!(
        (update.status(), update.resolved_by()),
        (v1::DisputeStatus::Superseded, v1::ResolvedBy::OtherDispute),
        "nothing stays open on an order that is over"
    );
}

async fn an_update_is_requested_and_answered(service: Service) {
    service.platform().upsert(order("o1")).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let opened = ann.disputes.request_order_update(update("o1")).await.unwrap().into_inner().dispute.unwrap();
    let answered =
        bob.disputes.answer_order_update(answer(&opened.dispute_id)).await.unwrap().into_inner().dispute.unwrap();
    assert_eq!(answered.status(), v1::DisputeStatus::Answered);
    assert_eq!(answered.answer_message, "Nearly done.");
    assert_eq!(answered.outcome, Some(v1::DisputeOutcome::default()));
    assert_eq!(ann.order("o1").await.revision, 1, "the order is unchanged");
}

async fn a_declined_and_a_withdrawn_dispute_change_nothing(service: Service) {
    service.platform().upsert(order("o1")).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let first = bob.disputes.offer_partial_refund(offer("o1", 100)).await.unwrap().into_inner().dispute.unwrap();
    let request = v1::DeclineDisputeRequest { message: "  Not enough.\r\n".to_owned(), ..decline(&first.dispute_id) };
    let declined = ann.disputes.decline_dispute(request).await.unwrap().into_inner().dispute.unwrap();
    assert_eq!((declined.status(), declined.answer_message.as_str()), (v1::DisputeStatus::Declined, "Not enough."));
    let second = bob.disputes.offer_partial_refund(offer("o1", 200)).await.unwrap().into_inner().dispute.unwrap();
    let withdrawn =
        bob.disputes.withdraw_dispute(withdraw(&second.dispute_id)).await.unwrap().into_inner().dispute.unwrap();
    assert_eq!((withdrawn.status(), withdrawn.resolved_by()), (v1::DisputeStatus::Withdrawn, v1::ResolvedBy::Opener));
    let order = ann.order("o1").await;
    assert_eq!((order.refunded, order.revision), (Some(usd(0)), 1));
}

async fn crossed_cancellations_merge(service: Service) {
    service.platform().upsert(order("o1")).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let first = bob.disputes.request_cancellation(cancellation("o1")).await.unwrap().into_inner().dispute.unwrap();
    let options = v1::GetDisputeOptionsRequest { order_id: "o1".to_owned(), ..Default::default() };
    let options = ann.disputes.get_dispute_options(options).await.unwrap().into_inner();
    assert_eq!(options.options[0].accepts_dispute_id, first.dispute_id, "the options say so beforehand");
    let request = v1::RequestCancellationRequest { message: "Me too.".to_owned(), ..cancellation("o1") };
    let merged = ann.disputes.request_cancellation(request).await.unwrap().into_inner().dispute.unwrap();
    assert_eq!(merged.dispute_id, first.dispute_id);
    assert_eq!((merged.status(), merged.resolved_by()), (v1::DisputeStatus::Accepted, v1::ResolvedBy::Crossed));
    assert_eq!(merged.answer_message, "Me too.");
    assert_eq!(service.platform().events().await.len(), 2, "opened and accepted, and nothing else");
}

async fn an_offer_cannot_block_the_buyers_cancellation(service: Service) {
    service.platform().upsert(order("o1")).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let offer = bob.disputes.offer_partial_refund(offer("o1", 100)).await.unwrap().into_inner().dispute.unwrap();
    let opened = ann.disputes.request_cancellation(cancellation("o1")).await.unwrap().into_inner().dispute.unwrap();
    assert_eq!(opened.status(), v1::DisputeStatus::Pending);
    assert_eq!(bob.dispute(&offer.dispute_id).await.status(), v1::DisputeStatus::Declined);
    let events = service.platform().events().await;
    let types: Vec<_> = events.iter().map(v1::DisputeEvent::r#type).collect();
    assert_eq!(types, [v1::EventType::Opened, v1::EventType::Declined, v1::EventType::Opened]);
}

const REQUEST: &str = "0192f0c1-2b1e-7c2a-8f00-000000000001";

async fn a_request_id_has_one_effect(service: Service) {
    service.platform().upsert(order("o1")).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let request = v1::OfferPartialRefundRequest { request_id: REQUEST.to_owned(), ..offer("o1", 100) };
    let first = bob.disputes.offer_partial_refund(request.clone()).await.unwrap().into_inner().dispute.unwrap();
    let again = bob.disputes.offer_partial_refund(request.clone()).await.unwrap().into_inner().dispute.unwrap();
    assert_eq!(first, again);
    // However the same id is written.
    let spelled = v1::OfferPartialRefundRequest { request_id: REQUEST.to_uppercase(), ..request.clone() };
    assert_eq!(bob.offer(spelled).await.unwrap().dispute_id, first.dispute_id);
    // The id is the caller's own: ann's is another one.
    let theirs = v1::AcceptDisputeRequest { request_id: REQUEST.to_owned(), ..accept(&first.dispute_id) };
    ann.disputes.accept_dispute(theirs.clone()).await.unwrap();
    let now = bob.disputes.offer_partial_refund(request).await.unwrap().into_inner().dispute.unwrap();
    assert_eq!(now.dispute_id, first.dispute_id);
    assert_eq!(now.status(), v1::DisputeStatus::Accepted, "the answer is the dispute as it is now");
    let accepted = ann.disputes.accept_dispute(theirs).await.unwrap().into_inner().dispute.unwrap();
    assert_eq!(accepted.status(), v1::DisputeStatus::Accepted, "accepting again is no error either");
    assert_eq!(service.platform().events().await.len(), 2);
    assert_eq!(ann.order("o1").await.refunded, Some(usd(100)));
}

async fn a_request_id_cannot_be_used_for_something_else(service: Service) {
    service.platform().upsert(order("o1")).await;
    let mut bob = service.user("bob");
    let request = v1::OfferPartialRefundRequest { request_id: REQUEST.to_owned(), ..offer("o1", 100) };
    let opened = bob.disputes.offer_partial_refund(request.clone()).await.unwrap().into_inner().dispute.unwrap();
    let reused = refusal(Code::InvalidArgument, "REQUEST_ID_REUSED", &[]).about("request_id");
    let other_amount = v1::OfferPartialRefundRequest { amount: Some(usd(101)), ..request };
    assert_eq!(facts(&bob.disputes.offer_partial_refund(other_amount).await.unwrap_err()), reused);
    let other_rpc = v1::WithdrawDisputeRequest { request_id: REQUEST.to_owned(), ..withdraw(&opened.dispute_id) };
    assert_eq!(facts(&bob.disputes.withdraw_dispute(other_rpc).await.unwrap_err()), reused);
    assert_eq!(service.platform().events().await.len(), 1);
}

async fn a_refused_request_id_is_judged_afresh(service: Service) {
    let mut bob = service.user("bob");
    let request = v1::OfferPartialRefundRequest { request_id: REQUEST.to_owned(), ..offer("o1", 100) };
    let unknown = bob.disputes.offer_partial_refund(request.clone()).await.unwrap_err();
    assert_eq!(facts(&unknown), refusal(Code::NotFound, "ORDER_NOT_FOUND", &[("orderId", "o1")]));
    service.platform().upsert(order("o1")).await;
    bob.disputes.offer_partial_refund(request).await.unwrap();
}

async fn an_etag_must_be_the_current_one(service: Service) {
    service.platform().upsert(order("o1")).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let opened = bob.disputes.offer_partial_refund(offer("o1", 100)).await.unwrap().into_inner().dispute.unwrap();
    assert_eq!(opened.etag, ann.dispute(&opened.dispute_id).await.etag, "the same for every viewer");
    let stale = v1::AcceptDisputeRequest { etag: "stale".to_owned(), ..accept(&opened.dispute_id) };
    let mismatch = refusal(Code::Aborted, "ETAG_MISMATCH", &[("etag", &opened.etag)]);
    assert_eq!(facts(&ann.disputes.accept_dispute(stale).await.unwrap_err()), mismatch);
    let current = v1::AcceptDisputeRequest { etag: opened.etag, ..accept(&opened.dispute_id) };
    ann.disputes.accept_dispute(current).await.unwrap();
}

async fn the_options_say_what_can_be_asked_for(service: Service) {
    service.platform().upsert(order("o1")).await;
    let request = || v1::GetDisputeOptionsRequest { order_id: "o1".to_owned(), ..Default::default() };
    let mut bob = service.user("bob");
    let options = bob.disputes.get_dispute_options(request()).await.unwrap().into_inner();
    assert_eq!(options.role(), v1::PartyRole::Seller);
    assert_eq!(options.server_time, Some(at(0)));
    let kinds: Vec<_> = options.options.iter().map(v1::DisputeOption::kind).collect();
    use v1::DisputeKind::{Cancellation, DeliveryExtension, PartialRefund};
    assert_eq!(kinds, [PartialRefund, Cancellation, DeliveryExtension]);
    let refund = &options.options[0];
    assert!(refund.available && refund.blockers.is_empty() && refund.message_required);
    assert_eq!((refund.min_amount.clone(), refund.max_amount.clone()), (Some(usd(1)), Some(usd(6_000))));
    assert!(refund.reasons.iter().all(|reason| reason.confidential));
    assert_eq!(refund.reasons.len(), 7);
    assert_eq!(refund.response_window, Some(prost_types::Duration { seconds: 172_800, nanos: 0 }));
    assert!(!options.options[1].message_required, "a seller's note is optional");

    let opened = bob.disputes.offer_partial_refund(offer("o1", 100)).await.unwrap().into_inner().dispute.unwrap();
    let blocked = bob.disputes.get_dispute_options(request()).await.unwrap().into_inner();
    let refund = &blocked.options[0];
    assert!(!refund.available);
    assert_eq!(refund.blockers[0].reason(), v1::ErrorReason::OpenDisputeExists);
    assert_eq!(refund.blockers[0].dispute_id, opened.dispute_id);
    assert_eq!(blocked.open_disputes, std::slice::from_ref(&opened));
    let theirs = service.user("ann").disputes.get_dispute_options(request()).await.unwrap().into_inner();
    assert_eq!(theirs.role(), v1::PartyRole::Buyer);
    assert!(theirs.options[0].available, "an offer does not block the buyer's cancellation");
    assert_eq!(theirs.open_disputes[0].reason(), v1::Reason::Unspecified, "whose confidential reason is hidden");
}

async fn of_many_answers_at_once_one_counts(service: Service) {
    service.platform().upsert(order("o1")).await;
    let (ann, mut bob) = (service.user("ann"), service.user("bob"));
    let opened = bob.disputes.offer_partial_refund(offer("o1", 100)).await.unwrap().into_inner().dispute.unwrap();
    let mut tasks = Vec::new();
    for number in 0..40 {
        let (mut ann, mut bob, id) = (ann.clone(), bob.clone(), opened.dispute_id.clone());
        tasks.push(tokio::spawn(async move {
            match number % 4 {
                0 => ann.disputes.accept_dispute(accept(&id)).await.map(drop),
                1 | 2 => ann.disputes.decline_dispute(decline(&id)).await.map(drop),
                _ => bob.disputes.withdraw_dispute(withdraw(&id)).await.map(drop),
            }
        }));
    }
    let mut done = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => done += 1,
            Err(status) => assert_eq!(facts(&status).reason, "STATUS_NOT_ALLOWED"),
        }
    }
    assert_eq!(done, 1);
    assert_eq!(service.platform().events().await.len(), 2);
}

async fn of_many_openings_at_once_one_counts(service: Service) {
    service.platform().upsert(order("o1")).await;
    let bob = service.user("bob");
    let tasks: Vec<_> = (1..=40)
        .map(|cents| {
            let mut bob = bob.clone();
            tokio::spawn(async move { bob.disputes.offer_partial_refund(offer("o1", cents)).await })
        })
        .collect();
    let mut opened = BTreeSet::new();
    let mut stood_in_the_way = BTreeSet::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(response) => drop(opened.insert(response.into_inner().dispute.unwrap().dispute_id)),
            Err(status) => {
                let facts = facts(&status);
                assert_eq!(facts.reason, "OPEN_DISPUTE_EXISTS");
                stood_in_the_way.insert(facts.metadata["disputeId"].clone());
            }
        }
    }
    assert_eq!(opened.len(), 1);
    assert_eq!(opened, stood_in_the_way, "two commands of a batch see each other");
}

async fn one_request_id_sent_many_times_at_once_has_one_effect(service: Service) {
    service.platform().upsert(order("o1")).await;
    let ann = service.user("ann");
    let request = v1::RequestOrderUpdateRequest { request_id: REQUEST.to_owned(), ..update("o1") };
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let (mut ann, request) = (ann.clone(), request.clone());
            tokio::spawn(async move { ann.disputes.request_order_update(request).await })
        })
        .collect();
    let mut answers = BTreeSet::new();
    for task in tasks {
        answers.insert(task.await.unwrap().unwrap().into_inner().dispute.unwrap().dispute_id);
    }
    assert_eq!(answers.len(), 1);
    assert_eq!(service.platform().events().await.len(), 1);
}
