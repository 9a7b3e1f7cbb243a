//! Deadlines, by a clock that the test moves.

use std::time::Duration;

use dispute_service::clock::pause;
use dispute_service::proto::v1;
use tonic::Code;

use crate::support::callers::{Watch, facts, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    silence_expires_a_dispute_at_the_instant_and_not_before,
    an_answer_one_microsecond_before_the_deadline_counts,
    a_late_answer_never_wins_whether_or_not_the_expiry_is_recorded,
    a_command_on_an_order_expires_what_is_overdue_first,
    a_repeated_request_is_answered_after_the_clock,
    an_expiry_stands_when_an_upsert_is_refused,
    an_expiry_stands_when_a_batch_of_orders_is_refused,
    what_became_overdue_in_a_downtime_expires_at_the_start,
    many_deadlines_at_once_expire_each_once,
    a_short_window_of_the_policy_ends_early,
    a_dispute_that_cannot_be_expired_does_not_block_the_rest,
    each_reminder_is_sent_once_over_restarts,
    a_reminder_leaves_the_etag_and_of_those_missed_one_is_sent,
    two_replicas_send_each_reminder_and_each_expiry_once,
    a_postponed_deadline_moves_with_its_reminders,
    a_reminder_that_the_policy_no_longer_names_is_not_sent,
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
    service.clock.advance(WINDOW - MICROSECOND);
    assert_eq!(watch.event().await.r#type(), v1::EventType::DeadlineApproaching);
    assert_eq!(service.platform().dispute(&dispute.dispute_id).await.status(), v1::DisputeStatus::Pending);
    service.clock.advance(MICROSECOND);
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
    service.clock.advance(WINDOW - MICROSECOND);
    service.user("bob").disputes.decline_dispute(decline(&dispute.dispute_id)).await.unwrap();
    service.clock.advance(WINDOW);
    let types: Vec<_> = service.platform().events().await.iter().map(v1::DisputeEvent::r#type).collect();
    assert_eq!((types.first(), types.last()), (Some(&v1::EventType::Opened), Some(&v1::EventType::Declined)));
    assert_eq!(service.user("bob").dispute(&dispute.dispute_id).await.status(), v1::DisputeStatus::Declined);
}

async fn a_late_answer_never_wins_whether_or_not_the_expiry_is_recorded(mut service: Service) {
    let mut disputes = Vec::new();
    for number in 0..20 {
        disputes.push(opened(&service, &format!("o{number}")).await);
    }
    service.restart().await;
    // The answers race with the sweep.
    service.clock.advance(WINDOW);
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
    service.clock.advance(WINDOW);
    // The overdue offer does not stand in the way of the next one.
    bob.disputes.offer_partial_refund(offer("o1", 200)).await.unwrap();
    let types: Vec<_> = service.platform().events().await.iter().map(v1::DisputeEvent::r#type).collect();
    assert_eq!(types, [v1::EventType::Opened, v1::EventType::DeadlineExpired, v1::EventType::Opened]);
}

/// Has a cancellation of each of these orders be overdue while the sweep has set them aside for a minute: only a
/// command can record their expiry now. Answers them, and a stream of what follows.
async fn overdue_and_set_aside(service: &mut Service, ids: &[&str]) -> (Vec<v1::Dispute>, Watch) {
    // With reminders the sweep would come to each of them a second time.
    service.restart_with_policy("reminders = []").await;
    let mut aside = Vec::new();
    for id in ids {
        aside.push(opened(service, id).await);
    }
    service.clock.advance(MICROSECOND);
    let whole = opened(service, "whole").await;
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.execute("UPDATE orders SET currency = '???' WHERE order_id <> 'whole'").await;
    service.clock.advance(WINDOW);
    // The sweep does the earliest first: when it has done this, it has set the others aside.
    let event = watch.event().await;
    assert_eq!((event.r#type(), event.dispute.unwrap().dispute_id), (v1::EventType::DeadlineExpired, whole.dispute_id));
    service.execute("UPDATE orders SET currency = 'USD' WHERE order_id <> 'whole'").await;
    for dispute in &aside {
        let stored = service.platform().dispute(&dispute.dispute_id).await;
        assert_eq!(stored.status(), v1::DisputeStatus::Pending, "nothing has recorded it");
    }
    (aside, watch)
}

/// The type of each of the next events, and its dispute.
async fn happened(watch: &mut Watch, count: usize) -> Vec<(v1::EventType, String)> {
    let events = watch.take(count).await;
    events.into_iter().map(|event| (event.r#type(), event.dispute.unwrap().dispute_id)).collect()
}

async fn a_repeated_request_is_answered_after_the_clock(mut service: Service) {
    use v1::EventType::{DeadlineExpired, Superseded};
    for id in ["o1", "o2"] {
        service.platform().upsert(order(id)).await;
    }
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let request_id = "0192f0c1-2b1e-7c2a-8f00-000000000001".to_owned();
    let asks = v1::RequestOrderUpdateRequest { request_id: request_id.clone(), ..update("o1") };
    let asked = ann.ask(asks.clone()).await.unwrap();
    bob.reply(answer(&asked.dispute_id)).await.unwrap();
    let extends = v1::RequestDeliveryExtensionRequest { request_id, ..extension("o2", 999_999) };
    let extended = bob.extend(extends.clone()).await.unwrap();
    service.support().postpone(postpone(&extended.dispute_id, 999_999)).await.unwrap();
    let (cancellations, mut watch) = overdue_and_set_aside(&mut service, &["o1", "o2"]).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let [first, second] = [0, 1].map(|number| cancellations[number].dispute_id.clone());

    // What was answered long ago is answered again, and the cancellation beside it has expired.
    let again = ann.ask(asks).await.unwrap();
    assert_eq!((&again.dispute_id, again.status()), (&asked.dispute_id, v1::DisputeStatus::Answered));
    assert_eq!(happened(&mut watch, 1).await, [(DeadlineExpired, first.clone())]);
    assert_eq!(service.platform().order("o1").await.cancelled_by_dispute_id, first);
    // Here the expiry ends what the request had opened: the answer is that.
    let again = bob.extend(extends).await.unwrap();
    assert_eq!((&again.dispute_id, again.status()), (&extended.dispute_id, v1::DisputeStatus::Superseded));
    assert_eq!(again.resolved_by(), v1::ResolvedBy::OtherDispute);
    assert_eq!(happened(&mut watch, 2).await, [(DeadlineExpired, second), (Superseded, extended.dispute_id)]);
}

async fn an_expiry_stands_when_an_upsert_is_refused(mut service: Service) {
    let (cancellations, mut watch) = overdue_and_set_aside(&mut service, &["o1"]).await;
    let mut platform = service.platform();
    let changed = v1::Order { seller_id: "cid".to_owned(), source_version: 2, ..order("o1") };
    let refused = platform.orders.upsert_order(v1::UpsertOrderRequest { order: Some(changed) }).await.unwrap_err();
    let identity = [("orderId", "o1"), ("field", "seller_id")];
    assert_eq!(facts(&refused), refusal(Code::FailedPrecondition, "ORDER_IDENTITY_CHANGED", &identity));
    let id = cancellations[0].dispute_id.clone();
    assert_eq!(happened(&mut watch, 1).await, [(v1::EventType::DeadlineExpired, id.clone())]);
    assert_eq!(platform.dispute(&id).await.status(), v1::DisputeStatus::Expired);
    let stored = platform.order("o1").await;
    assert_eq!((stored.cancelled_by_dispute_id, stored.seller_id.as_str()), (id, "bob"));
    assert_eq!((stored.source_version, stored.revision), (1, 2), "the upsert itself has done nothing");
}

async fn an_expiry_stands_when_a_batch_of_orders_is_refused(mut service: Service) {
    let (cancellations, mut watch) = overdue_and_set_aside(&mut service, &["o1", "o2"]).await;
    let mut platform = service.platform();
    let orders = vec![
        order("o0"),
        v1::Order { title: "Another".to_owned(), source_version: 2, ..order("o1") },
        v1::Order { price: Some(usd(1)), source_version: 2, ..order("o2") },
    ];
    let batch = v1::BatchUpsertOrdersRequest { orders };
    let refused = platform.orders.batch_upsert_orders(batch).await.unwrap_err();
    let identity = [("orderId", "o2"), ("field", "price")];
    assert_eq!(facts(&refused), refusal(Code::FailedPrecondition, "ORDER_IDENTITY_CHANGED", &identity));
    let expired = cancellations.iter().map(|dispute| (v1::EventType::DeadlineExpired, dispute.dispute_id.clone()));
    assert_eq!(happened(&mut watch, 2).await, expired.collect::<Vec<_>>());
    for cancellation in cancellations {
        let stored = platform.order(&cancellation.order_id).await;
        assert_eq!(stored.cancelled_by_dispute_id, cancellation.dispute_id);
        assert_eq!((stored.title.as_str(), stored.source_version, stored.revision), ("A logo", 1, 2));
    }
    assert_eq!(service.number("SELECT count(*) FROM orders WHERE order_id = 'o0'").await, 0, "all or nothing");
}

async fn what_became_overdue_in_a_downtime_expires_at_the_start(mut service: Service) {
    // Neither in the order of their ids, nor of their orders'.
    let first = opened(&service, "o2").await;
    service.clock.advance(Duration::from_secs(1));
    let second = opened(&service, "o1").await;
    let token = service.platform().watch(v1::WatchDisputesRequest::default()).await.token;
    service.stop().await;
    service.clock.advance(WINDOW * 3);
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
    service.clock.advance(WINDOW);
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
    service.clock.advance(Duration::from_secs(10));
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
    service.clock.advance(WINDOW);
    assert_eq!(watch.event().await.dispute.unwrap().dispute_id, whole.dispute_id);
    let refused = service.user("bob").disputes.accept_dispute(accept(&broken.dispute_id)).await.unwrap_err();
    let facts = facts(&refused);
    assert_eq!((facts.code, facts.reason.as_str()), (Code::Internal, "INTERNAL"));
    assert_eq!(facts.metadata.keys().collect::<Vec<_>>(), ["correlationId"]);
    // Repaired, it expires with the next attempt.
    service.execute("UPDATE orders SET currency = 'USD' WHERE order_id = 'o1'").await;
    service.clock.advance(Duration::from_secs(60));
    assert_eq!(watch.event().await.dispute.unwrap().dispute_id, broken.dispute_id);
}

const HOUR: Duration = Duration::from_secs(3_600);

async fn each_reminder_is_sent_once_over_restarts(mut service: Service) {
    let dispute = opened(&service, "o1").await;
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.clock.advance(24 * HOUR);
    let first = watch.event().await;
    assert_eq!(first.r#type(), v1::EventType::DeadlineApproaching);
    assert_eq!((first.event_time, first.previous_status()), (Some(at(86_400)), v1::DisputeStatus::Pending));
    assert_eq!(first.actor.unwrap().role(), v1::ActorRole::System);
    let token = watch.token;
    service.restart().await;
    let mut watch = service.platform().watch_from(&token).await;
    service.clock.advance(22 * HOUR);
    assert_eq!(watch.event().await.event_time, Some(at(46 * 3_600)));
    service.restart().await;
    let mut watch = service.platform().watch_from(&watch.token).await;
    service.clock.advance(2 * HOUR);
    let last = watch.event().await;
    assert_eq!(last.r#type(), v1::EventType::DeadlineExpired);
    assert_eq!(last.revision, 4, "opened, reminded twice, expired");
    assert_eq!(last.dispute.unwrap().dispute_id, dispute.dispute_id);
}

async fn a_reminder_leaves_the_etag_and_of_those_missed_one_is_sent(mut service: Service) {
    let dispute = opened(&service, "o1").await;
    let token = service.platform().watch(v1::WatchDisputesRequest::default()).await.token;
    service.stop().await;
    service.clock.advance(47 * HOUR);
    service.start().await;
    let mut watch = service.platform().watch_from(&token).await;
    assert_eq!(watch.event().await.r#type(), v1::EventType::DeadlineApproaching);
    let current = service.user("bob").dispute(&dispute.dispute_id).await;
    assert_eq!((current.revision, &current.etag), (2, &dispute.etag));
    let request = v1::DeclineDisputeRequest { etag: dispute.etag, ..decline(&dispute.dispute_id) };
    let declined = service.user("bob").decline(request).await.unwrap();
    assert_ne!(declined.etag, current.etag);
    assert_eq!(watch.event().await.r#type(), v1::EventType::Declined, "and no second reminder");
}

async fn two_replicas_send_each_reminder_and_each_expiry_once(service: Service) {
    if !service.url.starts_with("postgres") {
        return;
    }
    let other = service.replica().await;
    let orders = (0..50).map(|number| order(&format!("o{number}"))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    for number in 0..50 {
        let mut ann = if number % 2 == 0 { service.user("ann") } else { other.user("ann") };
        ann.ask(update(&format!("o{number}"))).await.unwrap();
    }
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    for (advance, expected) in [
        (24 * HOUR, v1::EventType::DeadlineApproaching),
        (22 * HOUR, v1::EventType::DeadlineApproaching),
        (2 * HOUR, v1::EventType::DeadlineExpired),
    ] {
        // Both wake at the same instant: they share its clock.
        service.clock.advance(advance);
        let events = watch.take(50).await;
        assert!(events.iter().all(|event| event.r#type() == expected), "{expected:?}");
        let orders: std::collections::BTreeSet<_> =
            events.iter().map(|event| event.dispute.as_ref().unwrap().order_id.clone()).collect();
        assert_eq!(orders.len(), 50, "each once");
    }
    assert_eq!(service.platform().events().await.len(), 200);
}

async fn a_postponed_deadline_moves_with_its_reminders(service: Service) {
    let dispute = opened(&service, "o1").await;
    let id = dispute.dispute_id.as_str();
    let mut support = service.support();
    let moved = support.postpone(postpone(id, 100 * 3_600)).await.unwrap();
    assert_eq!((moved.respond_by, moved.status()), (Some(at(100 * 3_600)), v1::DisputeStatus::Pending));
    assert_eq!(service.user("ann").dispute(id).await.postpone_message, "Take your time.", "shown to both");
    assert_eq!(service.user("bob").dispute(id).await.postpone_message, "Take your time.");
    assert_ne!(moved.etag, dispute.etag);
    let mut watch = service.platform().watch(from_beginning()).await;
    let event = watch.take(2).await.pop().unwrap();
    assert_eq!(event.r#type(), v1::EventType::DeadlineMoved);
    let actor = event.actor.unwrap();
    assert_eq!((actor.role(), actor.id.as_str()), (v1::ActorRole::Support, ""), "of support the role only");
    service.clock.advance(48 * HOUR);
    service.user("bob").decline(v1::DeclineDisputeRequest { etag: dispute.etag, ..decline(id) }).await.unwrap_err();
    service.clock.advance(28 * HOUR);
    let event = watch.event().await;
    assert_eq!((event.r#type(), event.event_time), (v1::EventType::DeadlineApproaching, Some(at(76 * 3_600))));
    service.clock.advance(24 * HOUR);
    assert_eq!(watch.event().await.r#type(), v1::EventType::DeadlineExpired);
    let late = support.postpone(postpone(id, 200 * 3_600)).await.unwrap_err();
    let passed = refusal(Code::FailedPrecondition, "DEADLINE_PASSED", &[("respondBy", "2026-01-05T04:00:00.000000Z")]);
    assert_eq!(late, passed);
}

async fn a_reminder_that_the_policy_no_longer_names_is_not_sent(mut service: Service) {
    let dispute = opened(&service, "o1").await;
    let stored = "SELECT count(*) FROM disputes WHERE remind_at IS NOT NULL";
    assert_eq!(service.number(stored).await, 1);
    service.restart_with_policy("reminders = [\"2h\"]").await;
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    let first = service.number("SELECT remind_at FROM disputes").await;
    service.clock.advance(Duration::from_secs(24 * 3_600));
    for attempt in 0.. {
        if service.number("SELECT remind_at FROM disputes").await > first {
            break;
        }
        assert!(attempt < 400, "the reminder is still the one of the opening");
        pause(Duration::from_millis(10)).await;
    }
    service.clock.advance(Duration::from_secs(22 * 3_600));
    let reminded = watch.event().await;
    assert_eq!((reminded.r#type(), reminded.revision), (v1::EventType::DeadlineApproaching, 2));
    assert_eq!(reminded.event_time, Some(at(46 * 3_600)));

    let other = opened(&service, "o2").await;
    assert_eq!(watch.event().await.r#type(), v1::EventType::Opened);
    service.restart_with_policy("reminders = []").await;
    service.clock.advance(WINDOW);
    let mut watch = service.platform().watch_from(&watch.token).await;
    for expected in [&dispute, &other] {
        let event = watch.event().await;
        let ended = event.dispute.clone().unwrap();
        assert_eq!((event.r#type(), ended.dispute_id), (v1::EventType::DeadlineExpired, expected.dispute_id.clone()));
    }
    // And one that is due before anything ends is taken out without a word.
    opened(&service, "o3").await;
    service.restart_with_policy("").await;
    opened(&service, "o4").await;
    service.restart_with_policy("reminders = []").await;
    service.clock.advance(WINDOW - Duration::from_secs(1));
    for attempt in 0.. {
        if service.number(stored).await == 0 {
            break;
        }
        assert!(attempt < 400, "the reminder is still there");
        pause(Duration::from_millis(10)).await;
    }
    let (events, _) = service.platform().events_of(None, 500).await;
    let reminders = events.iter().filter(|event| event.r#type() == v1::EventType::DeadlineApproaching).count();
    assert_eq!(reminders, 1);
}
