//! Deadlines, by a clock that the test moves.

use std::time::Duration;

use dispute_service::proto::v1;
use tonic::Code;

use crate::support::callers::{facts, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    silence_expires_a_dispute_at_the_instant_and_not_before,
    an_answer_one_microsecond_before_the_deadline_counts,
    a_late_answer_never_wins_whether_or_not_the_expiry_is_recorded,
    a_command_on_an_order_expires_what_is_overdue_first,
    what_became_overdue_in_a_downtime_expires_at_the_start,
    many_deadlines_at_once_expire_each_once,
    a_short_window_of_the_policy_ends_early,
    a_dispute_that_cannot_be_expired_does_not_block_the_rest,
);

const WINDOW: Duration = Duration::from_secs(172_800);
const MICROSECOND: Duration = Duration::from_micros(1);

async fn opened(service: &Service, id: &str) -> v1::Dispute {
    service.platform().upsert(order(id)).await;
    let response = service.user("ann").disputes.request_cancellation(cancellation(id)).await.unwrap();
    response.into_inner().dispute.unwrap()
}

async fn silence_expires_a_dispute_at_the_instant_and_not_before(service: Service) {
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    let dispute = opened(&service, "o1").await;
    watch.event().await;
    service.hand.advance(WINDOW - MICROSECOND);
    assert_eq!(service.platform().dispute(&dispute.dispute_id).await.status(), v1::DisputeStatus::Pending);
    service.hand.advance(MICROSECOND);
    let event = watch.event().await;
    assert_eq!(event.r#type(), v1::EventType::DeadlineExpired);
    assert_eq!(event.event_time, dispute.respond_by, "at the instant itself");
    assert_eq!(event.previous_status(), v1::DisputeStatus::Pending);
    let actor = event.actor.unwrap();
    assert_eq!((actor.role(), actor.id.as_str()), (v1::ActorRole::System, ""));
    let expired = service.user("ann").dispute(&dispute.dispute_id).await;
    assert_eq!((expired.status(), expired.resolved_by()), (v1::DisputeStatus::Expired, v1::ResolvedBy::Deadline));
    assert!(expired.outcome.unwrap().order_cancelled, "silence accepts a cancellation");
    assert_eq!(service.user("bob").order("o1").await.status(), v1::OrderStatus::Cancelled);
}

async fn an_answer_one_microsecond_before_the_deadline_counts(service: Service) {
    let dispute = opened(&service, "o1").await;
    service.hand.advance(WINDOW - MICROSECOND);
    service.user("bob").disputes.decline_dispute(decline(&dispute.dispute_id)).await.unwrap();
    service.hand.advance(WINDOW);
    assert_eq!(service.user("bob").dispute(&dispute.dispute_id).await.status(), v1::DisputeStatus::Declined);
    assert_eq!(service.platform().events().await.len(), 2);
}

async fn a_late_answer_never_wins_whether_or_not_the_expiry_is_recorded(mut service: Service) {
    let mut disputes = Vec::new();
    for number in 0..20 {
        disputes.push(opened(&service, &format!("o{number}")).await);
    }
    service.restart().await;
    // The answers race with the sweep.
    service.hand.advance(WINDOW);
    let tasks: Vec<_> = disputes
        .iter()
        .map(|dispute| {
            let (mut bob, id) = (service.user("bob"), dispute.dispute_id.clone());
            tokio::spawn(async move { bob.disputes.decline_dispute(decline(&id)).await.unwrap_err() })
        })
        .collect();
    let passed = refusal(Code::FailedPrecondition, "DEADLINE_PASSED", &[("respondBy", "2026-01-03T00:00:00.000000Z")]);
    for task in tasks {
        assert_eq!(facts(&task.await.unwrap()), passed);
    }
    for dispute in disputes {
        assert_eq!(service.user("bob").dispute(&dispute.dispute_id).await.status(), v1::DisputeStatus::Expired);
    }
}

async fn a_command_on_an_order_expires_what_is_overdue_first(service: Service) {
    service.platform().upsert(order("o1")).await;
    let mut bob = service.user("bob");
    bob.disputes.offer_partial_refund(offer("o1", 100)).await.unwrap();
    service.hand.advance(WINDOW);
    // The overdue offer does not stand in the way of the next one.
    bob.disputes.offer_partial_refund(offer("o1", 200)).await.unwrap();
    let types: Vec<_> = service.platform().events().await.iter().map(v1::DisputeEvent::r#type).collect();
    assert_eq!(types, [v1::EventType::Opened, v1::EventType::DeadlineExpired, v1::EventType::Opened]);
}

async fn what_became_overdue_in_a_downtime_expires_at_the_start(mut service: Service) {
    let first = opened(&service, "o1").await;
    service.hand.advance(Duration::from_secs(1));
    let second = opened(&service, "o2").await;
    let token = service.platform().watch(v1::WatchDisputesRequest::default()).await.token;
    service.stop().await;
    service.hand.advance(WINDOW * 3);
    service.start().await;
    let mut watch = service.platform().watch_from(&token).await;
    let expired = watch.take(2).await;
    let ids: Vec<_> = expired.iter().map(|event| event.dispute.clone().unwrap().dispute_id).collect();
    assert_eq!(ids, [first.dispute_id, second.dispute_id], "earliest first");
    assert!(expired.iter().all(|event| event.r#type() == v1::EventType::DeadlineExpired));
}

async fn many_deadlines_at_once_expire_each_once(service: Service) {
    let mut platform = service.platform();
    let orders = (0..400).map(|number| order(&format!("o{number}"))).collect();
    platform.orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let tasks: Vec<_> = (0..400)
        .map(|number| {
            let mut ann = service.user("ann");
            tokio::spawn(async move { ann.disputes.request_order_update(update(&format!("o{number}"))).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut watch = platform.watch(v1::WatchDisputesRequest::default()).await;
    service.hand.advance(WINDOW);
    let expired = watch.take(400).await;
    let ids: std::collections::BTreeSet<_> =
        expired.iter().map(|event| &event.dispute.as_ref().unwrap().order_id).collect();
    assert_eq!(ids.len(), 400);
    assert_eq!(platform.events().await.len(), 800);
}

async fn a_short_window_of_the_policy_ends_early(mut service: Service) {
    let before = opened(&service, "o1").await;
    service.restart_with_policy("[cancellation]\nresponse_window = \"10s\"").await;
    let after = opened(&service, "o2").await;
    assert_eq!(after.respond_by, Some(at(10)));
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.hand.advance(Duration::from_secs(10));
    assert_eq!(watch.event().await.dispute.unwrap().dispute_id, after.dispute_id);
    let unchanged = service.user("ann").dispute(&before.dispute_id).await;
    assert_eq!(unchanged.respond_by, Some(at(172_800)), "a change of policy never alters a pending dispute");
    assert_eq!(unchanged.status(), v1::DisputeStatus::Pending);
}

async fn a_dispute_that_cannot_be_expired_does_not_block_the_rest(service: Service) {
    let broken = opened(&service, "o1").await;
    let whole = opened(&service, "o2").await;
    service.execute("UPDATE orders SET currency = '???' WHERE order_id = 'o1'").await;
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.hand.advance(WINDOW);
    assert_eq!(watch.event().await.dispute.unwrap().dispute_id, whole.dispute_id);
    let refused = service.user("bob").disputes.accept_dispute(accept(&broken.dispute_id)).await.unwrap_err();
    let facts = facts(&refused);
    assert_eq!((facts.code, facts.reason.as_str()), (Code::Internal, "INTERNAL"));
    assert_eq!(facts.metadata.keys().collect::<Vec<_>>(), ["correlationId"]);
    // Repaired, it expires with the next attempt.
    service.execute("UPDATE orders SET currency = 'USD' WHERE order_id = 'o1'").await;
    service.hand.advance(Duration::from_secs(60));
    assert_eq!(watch.event().await.dispute.unwrap().dispute_id, broken.dispute_id);
}
