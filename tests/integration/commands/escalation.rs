//! Escalation, decision and settlement, from the quarrel to the payment.

use std::time::Duration;

use dispute_service::proto::v1;
use tonic::Code;

use crate::support::callers::refusal;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    a_quarrel_is_escalated_decided_and_paid,
    support_cancels_a_completed_order_without_it_counting,
    who_escalated_takes_it_back,
    the_parties_agree_while_support_has_it,
    an_extension_is_agreed_on_and_superseded_by_the_delivery,
    silence_grants_the_first_extension_only,
    the_same_report_again_is_no_event,
);

async fn the_parties_agree_while_support_has_it(service: Service) {
    let declined = declined(&service, "o1").await;
    let id = declined.dispute_id.as_str();
    let (mut ann, mut bob, mut support) = (service.user("ann"), service.user("bob"), service.support());
    let mut watch = support.watch(v1::WatchDisputesRequest::default()).await;
    let escalated = ann.escalate(escalate(id)).await.unwrap();
    let refund = v1::DisputeOutcome { refund: Some(usd(1_000)), ..Default::default() };
    assert_eq!(escalated.awaiting(), v1::PartyRole::Buyer);
    assert_eq!((escalated.if_accepted, escalated.if_silent), (Some(refund.clone()), None));
    // Long after the window of the offer.
    service.clock.advance(Duration::from_secs(10 * 86_400));
    assert_eq!(bob.accept(accept(id)).await.unwrap_err(), refusal(Code::PermissionDenied, "WRONG_ROLE", &[]));
    let with_support = refusal(Code::FailedPrecondition, "STATUS_NOT_ALLOWED", &[("status", "ESCALATED")]);
    assert_eq!(ann.decline(decline(id)).await.unwrap_err(), with_support);
    let agreed = ann.accept(accept(id)).await.unwrap();
    assert_eq!((agreed.status(), agreed.resolved_by()), (v1::DisputeStatus::Accepted, v1::ResolvedBy::Responder));
    assert_eq!((agreed.outcome, agreed.awaiting), (Some(refund), v1::PartyRole::Unspecified.into()));
    assert_eq!((agreed.answer_message.as_str(), agreed.revision), ("Too little.", 4));

    let heard = watch.take(2).await;
    assert_eq!(
        (heard[1].r#type(), heard[1].previous_status()),
        (v1::EventType::Accepted, v1::DisputeStatus::Escalated)
    );
    assert_eq!(heard[1].actor.as_ref().unwrap().role(), v1::ActorRole::Buyer);
    let over = refusal(Code::FailedPrecondition, "STATUS_NOT_ALLOWED", &[("status", "ACCEPTED")]);
    assert_eq!(support.decide(no_action(id)).await.unwrap_err(), over);
    assert!(!bob.order("o1").await.completion_hold);
}

/// An offer of bob's that ann has declined.
async fn declined(service: &Service, id: &str) -> v1::Dispute {
    let offered = service.order_with_offer(id, 1_000).await;
    let request = v1::DeclineDisputeRequest { message: "Too little.".to_owned(), ..decline(&offered.dispute_id) };
    service.user("ann").decline(request).await.unwrap()
}

async fn a_quarrel_is_escalated_decided_and_paid(service: Service) {
    let declined = declined(&service, "o1").await;
    let id = declined.dispute_id.as_str();
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let (mut support, mut platform) = (service.support(), service.platform());
    let mut watch = ann.watch(v1::WatchDisputesRequest::default()).await;
    service.clock.advance(Duration::from_secs(60));

    let escalated = ann.escalate(v1::EscalateDisputeRequest { etag: declined.etag, ..escalate(id) }).await.unwrap();
    assert_eq!((escalated.status(), escalated.escalated_by()), (v1::DisputeStatus::Escalated, v1::ActorRole::Buyer));
    assert_eq!(escalated.escalation_message, "We cannot agree.");
    assert_eq!(escalated.answer_message, "Too little.", "what was said stays");
    assert_eq!((escalated.resolve_time, escalated.outcome), (None, None));
    let actions = [v1::DisputeAction::Accept, v1::DisputeAction::Withdraw].map(i32::from);
    assert_eq!(escalated.allowed_actions, actions);
    let order = bob.order("o1").await;
    assert!(order.completion_hold);
    assert_eq!(order.open_dispute_ids, [id]);
    let in_the_way = refusal(Code::FailedPrecondition, "OPEN_DISPUTE_EXISTS", &[("disputeId", id)]);
    assert_eq!(ann.cancel(cancellation("o1")).await.unwrap_err(), in_the_way);

    let range = [("minAmount", "0.01"), ("maxAmount", "100.00"), ("currency", "USD")];
    let too_much = refusal(Code::InvalidArgument, "AMOUNT_OUT_OF_RANGE", &range).about("refund");
    assert_eq!(support.decide(refund(id, 10_001)).await.unwrap_err(), too_much);
    let decided = support.decide(refund(id, 8_000)).await.unwrap();
    assert_eq!((decided.status(), decided.resolved_by()), (v1::DisputeStatus::Decided, v1::ResolvedBy::Support));
    assert_eq!((decided.decided_by.as_str(), decided.decision_message.as_str()), ("agent", "We looked into it."));
    let outcome = v1::DisputeOutcome { refund: Some(usd(8_000)), ..Default::default() };
    assert_eq!(decided.outcome, Some(outcome));
    assert_eq!(decided.resolve_time, Some(at(60)));
    for mut other in [ann.clone(), bob.clone(), platform.clone()] {
        let seen = other.dispute(id).await;
        assert_eq!(seen.decided_by, "", "the agent's name is for support only");
        assert_eq!(seen.decision_message, "We looked into it.", "the message is shown to both");
    }
    let order = ann.order("o1").await;
    assert_eq!((order.refunded, order.completion_hold), (Some(usd(8_000)), false));

    let due = platform.dispute(id).await.settlement.unwrap();
    assert_eq!((due.status(), due.amount), (v1::SettlementStatus::Due, Some(usd(8_000))));
    let failed = platform.report(failed(id, "The card expired.")).await.unwrap().settlement.unwrap();
    assert_eq!((failed.status(), failed.detail.as_str()), (v1::SettlementStatus::Failed, "The card expired."));
    assert_ne!(failed.idempotency_key, due.idempotency_key, "the next attempt has a key of its own");
    assert_eq!(support.dispute(id).await.settlement.unwrap().detail, "The card expired.");
    assert_eq!(ann.dispute(id).await.settlement.unwrap().detail, "", "why it failed is not for the parties");
    let settled = platform.report(settled(id, "pay-77")).await.unwrap();
    let settlement = settled.settlement.clone().unwrap();
    assert_eq!((settlement.status(), settlement.reference.as_str()), (v1::SettlementStatus::Settled, "pay-77"));
    assert_eq!(ann.dispute(id).await.settlement.unwrap().reference, "pay-77");
    assert_eq!(settled.status(), v1::DisputeStatus::Decided);

    let events = watch.take(4).await;
    let heard: Vec<_> = events.iter().map(|event| (event.r#type(), event.actor.clone().unwrap())).collect();
    let actor = |role: v1::ActorRole, id: &str| v1::Actor { role: role.into(), id: id.to_owned() };
    let expected = [
        (v1::EventType::Escalated, actor(v1::ActorRole::Buyer, "ann")),
        (v1::EventType::Decided, actor(v1::ActorRole::Support, "")),
        (v1::EventType::SettlementFailed, actor(v1::ActorRole::Platform, "shop")),
        (v1::EventType::Settled, actor(v1::ActorRole::Platform, "shop")),
    ];
    assert_eq!(heard, expected);
    assert!(!format!("{events:?}").contains("The card expired."), "nothing in an event depends on the viewer");
    assert!(!format!("{events:?}").contains("agent"));
}

async fn support_cancels_a_completed_order_without_it_counting(service: Service) {
    let declined = declined(&service, "o1").await;
    let mut support = service.support();
    support.escalate(escalate(&declined.dispute_id)).await.unwrap();
    let mut platform = service.platform();
    let done = v1::Order { status: v1::OrderStatus::Completed.into(), source_version: 2, ..order("o1") };
    assert!(platform.upsert(done).await.completion_hold, "an escalated dispute stays with support");
    let request =
        v1::DecideDisputeRequest { counts_against_completion_rate: Some(false), ..cancel_order(&declined.dispute_id) };
    let decided = support.decide(request).await.unwrap();
    let outcome = v1::DisputeOutcome { refund: Some(usd(10_000)), order_cancelled: true, ..Default::default() };
    assert_eq!(decided.outcome, Some(outcome));
    let order = platform.order("o1").await;
    assert_eq!((order.status(), order.cancellation_counts), (v1::OrderStatus::Cancelled, Some(false)));
    assert_eq!(order.cancelled_by_dispute_id, declined.dispute_id);
}

async fn who_escalated_takes_it_back(service: Service) {
    let declined = declined(&service, "o1").await;
    let id = declined.dispute_id.as_str();
    service.user("ann").escalate(escalate(id)).await.unwrap();
    let wrong_role = refusal(Code::PermissionDenied, "WRONG_ROLE", &[]);
    assert_eq!(service.user("bob").withdraw(withdraw(id)).await.unwrap_err(), wrong_role);
    assert_eq!(service.support().withdraw(withdraw(id)).await.unwrap_err(), wrong_role);
    let withdrawn = service.user("ann").withdraw(withdraw(id)).await.unwrap();
    assert_eq!(
        (withdrawn.status(), withdrawn.resolved_by()),
        (v1::DisputeStatus::Withdrawn, v1::ResolvedBy::Responder)
    );
    let over = refusal(Code::FailedPrecondition, "STATUS_NOT_ALLOWED", &[("status", "WITHDRAWN")]);
    assert_eq!(service.user("ann").escalate(escalate(id)).await.unwrap_err(), over, "at most once");
}

async fn an_extension_is_agreed_on_and_superseded_by_the_delivery(service: Service) {
    let mut platform = service.platform();
    platform.upsert(v1::Order { due_time: Some(at(864_000)), ..order("o1") }).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let asked = bob.extend(extension("o1", 900_000)).await.unwrap();
    assert_eq!((asked.kind(), asked.new_due_time), (v1::DisputeKind::DeliveryExtension, Some(at(900_000))));
    let promised = v1::DisputeOutcome { new_due_time: Some(at(900_000)), ..Default::default() };
    assert_eq!((asked.if_accepted.as_ref(), asked.if_silent.as_ref()), (Some(&promised), Some(&promised)));
    let seen = ann.dispute(&asked.dispute_id).await;
    assert_eq!(seen.reason(), v1::Reason::UnexpectedEvent, "its reason is shared");
    let accepted = ann.accept(accept(&asked.dispute_id)).await.unwrap();
    assert_eq!((accepted.outcome, accepted.settlement), (Some(promised), None));
    let order_now = ann.order("o1").await;
    assert_eq!((order_now.due_time, order_now.agreed_due_time), (Some(at(864_000)), Some(at(900_000))));
    let again = bob.extend(extension("o1", 900_000)).await.unwrap_err();
    assert_eq!((again.code, again.fields), (Code::InvalidArgument, vec!["new_due_time".to_owned()]));

    let second = bob.extend(extension("o1", 900_001)).await.unwrap();
    assert_eq!(second.silence_rule(), v1::SilenceRule::NoEffect, "silence grants the first one only");
    let status = v1::OrderStatus::Delivered.into();
    platform.upsert(v1::Order { status, source_version: 2, due_time: Some(at(864_000)), ..order("o1") }).await;
    let superseded = bob.dispute(&second.dispute_id).await;
    assert_eq!(superseded.status(), v1::DisputeStatus::Superseded);
    assert_eq!(superseded.resolved_by(), v1::ResolvedBy::OrderStatus);
    let delivered = refusal(Code::FailedPrecondition, "ORDER_STATUS_NOT_ALLOWED", &[("status", "DELIVERED")]);
    assert_eq!(bob.extend(extension("o1", 950_000)).await.unwrap_err(), delivered);
}

async fn silence_grants_the_first_extension_only(service: Service) {
    service.platform().upsert(order("o1")).await;
    let mut bob = service.user("bob");
    let mut watch = bob.watch(v1::WatchDisputesRequest::default()).await;
    for (until, agreed) in [(500_000, Some(at(500_000))), (600_000, None)] {
        bob.extend(extension("o1", until)).await.unwrap();
        watch.event().await;
        service.clock.advance(Duration::from_secs(172_800));
        let expired = watch.event().await.dispute.unwrap();
        assert_eq!(expired.status(), v1::DisputeStatus::Expired);
        assert_eq!(expired.outcome, Some(v1::DisputeOutcome { new_due_time: agreed, ..Default::default() }));
    }
    assert_eq!(bob.order("o1").await.agreed_due_time, Some(at(500_000)));
}

async fn the_same_report_again_is_no_event(service: Service) {
    let offered = service.order_with_offer("o1", 1_000).await;
    let id = offered.dispute_id.as_str();
    service.user("ann").accept(accept(id)).await.unwrap();
    let mut platform = service.platform();
    let first = platform.report(settled(id, "pay-1")).await.unwrap();
    let request_id = "0190f000-0000-7000-8000-000000000001".to_owned();
    let again = v1::ReportSettlementRequest { request_id, ..settled(id, "pay-1") };
    assert_eq!(platform.report(again.clone()).await.unwrap(), first);
    assert_eq!(platform.report(again).await.unwrap(), first);
    assert_eq!(platform.events().await.len(), 3);
    let settled_before = refusal(Code::FailedPrecondition, "STATUS_NOT_ALLOWED", &[("status", "SETTLED")]);
    assert_eq!(platform.report(settled(id, "pay-2")).await.unwrap_err(), settled_before);
    assert_eq!(platform.report(failed(id, "no")).await.unwrap_err(), settled_before);
    assert_eq!(service.user("ann").order("o1").await.refunded, Some(usd(1_000)));
}
