//! What a newer release has stored: values that this one does not know are carried, and disputes that only the newer
//! one may judge are shown, streamed, and left to it.

use std::time::Duration;

use dispute_service::proto::v1;
use tonic::Code;

use crate::support::callers::{Facts, facts, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    numbers_that_are_not_known_are_carried_everywhere,
    a_number_that_is_not_known_is_no_filter,
    a_dispute_of_a_newer_release_is_shown_and_its_order_left_alone,
    a_dispute_with_a_number_that_the_rules_depend_on_is_left_alone_too,
    deadlines_of_a_newer_release_are_left_to_it,
    an_order_in_a_status_that_is_not_known_is_shown_and_amended,
    events_that_are_not_known_are_passed_on,
    a_confidential_reason_stays_so_in_a_dispute_of_a_newer_release,
);

fn newer(dispute: &str) -> Facts {
    refusal(Code::Unavailable, "NEWER_RELEASE_NEEDED", &[("disputeId", dispute)])
}

async fn snapshot(service: &Service) -> Vec<v1::Dispute> {
    let request = v1::WatchDisputesRequest { include_snapshot: true, ..Default::default() };
    let mut stream = service.platform().disputes.watch_disputes(request).await.unwrap().into_inner();
    let mut shown = Vec::new();
    loop {
        let message = stream.message().await.unwrap().unwrap();
        shown.extend(message.events.into_iter().map(|event| event.dispute.unwrap()));
        if message.checkpoint.is_some_and(|checkpoint| checkpoint.snapshot_complete) {
            return shown;
        }
    }
}

async fn listed(service: &Service) -> Vec<v1::Dispute> {
    service.platform().list(v1::ListDisputesRequest::default()).await.disputes
}

async fn numbers_that_are_not_known_are_carried_everywhere(mut service: Service) {
    for id in ["o1", "o2", "o3"] {
        service.platform().upsert(order(id)).await;
    }
    let open = service.user("bob").offer(offer("o1", 1_000)).await.unwrap();
    let declined = service.user("bob").offer(offer("o2", 1_000)).await.unwrap();
    service.user("ann").decline(decline(&declined.dispute_id)).await.unwrap();
    let escalated = service.user("bob").offer(offer("o3", 1_000)).await.unwrap();
    service.user("ann").decline(decline(&escalated.dispute_id)).await.unwrap();
    service.user("bob").escalate(escalate(&escalated.dispute_id)).await.unwrap();
    service.execute("UPDATE disputes SET reason = 770; UPDATE disputes SET resolved_by = 771 WHERE status = 4").await;
    service.execute("UPDATE disputes SET escalated_by = 772 WHERE status = 2").await;
    for restarted in [false, true] {
        if restarted {
            service.restart().await;
        }
        let disputes = listed(&service).await;
        assert_eq!(disputes.len(), 3);
        let support = service.support().dispute(&declined.dispute_id).await;
        assert_eq!((support.reason, support.resolved_by), (770, 771));
        assert_eq!(service.support().dispute(&escalated.dispute_id).await.escalated_by, 772);
        assert_eq!(snapshot(&service).await.len(), 2);
        assert_eq!(service.user("ann").options("o1").await.open_disputes.len(), 1);
    }
    // They have no part in the rules.
    let orders = ["o1", "o2", "o3"].map(|id| v1::Order { source_version: 2, ..order(id) }).to_vec();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let accepted = service.user("ann").accept(accept(&open.dispute_id)).await.unwrap();
    assert_eq!(accepted.status(), v1::DisputeStatus::Accepted);
    assert_eq!(service.number("SELECT count(*) FROM disputes WHERE reason = 770").await, 3, "as it was");
    service.support().escalate(escalate(&declined.dispute_id)).await.unwrap();
}

async fn a_number_that_is_not_known_is_no_filter(service: Service) {
    let request = v1::ListDisputesRequest { kinds: vec![77], statuses: vec![78], ..Default::default() };
    let refused = facts(&service.platform().disputes.list_disputes(request).await.unwrap_err());
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
}

async fn a_dispute_of_a_newer_release_is_shown_and_its_order_left_alone(mut service: Service) {
    service.platform().upsert(order("o1")).await;
    service.platform().upsert(order("o2")).await;
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    let cancellation = service.user("ann").cancel(cancellation("o1")).await.unwrap();
    let asked = service.user("ann").ask(update("o1")).await.unwrap();
    let id = cancellation.dispute_id.clone();
    service.execute("UPDATE disputes SET least_release = 3 WHERE kind = 2").await;
    assert_eq!(watch.take(2).await.len(), 2);
    for restarted in [false, true] {
        if restarted {
            service.restart().await;
        }
        for mut caller in service.everybody() {
            let shown = caller.dispute(&id).await;
            let facts = (shown.kind(), shown.status(), &shown.message, &shown.etag, shown.respond_by);
            let was = &cancellation;
            assert_eq!(facts, (was.kind(), was.status(), &was.message, &was.etag, was.respond_by));
            assert_eq!((shown.allowed_actions.len(), &shown.if_accepted, &shown.if_silent), (0, &None, &None));
            let sibling = caller.dispute(&asked.dispute_id).await;
            assert!(sibling.allowed_actions.is_empty(), "nothing that would be refused is offered");
        }
        assert_eq!(listed(&service).await.len(), 2);
        assert_eq!(snapshot(&service).await.len(), 2);
        let order = service.platform().order("o1").await;
        assert_eq!((order.open_dispute_ids.len(), order.completion_hold), (2, true));
        let options = service.user("bob").options("o1").await;
        assert_eq!(options.open_disputes.len(), 2);
        for option in options.options {
            assert!(!option.available);
            assert_eq!(option.blockers[0].reason(), v1::ErrorReason::NewerReleaseNeeded);
            assert_eq!(option.blockers[0].dispute_id, id);
        }
        let mut bob = service.user("bob");
        assert_eq!(bob.accept(accept(&id)).await.unwrap_err(), newer(&id));
        assert_eq!(bob.reply(answer(&asked.dispute_id)).await.unwrap_err(), newer(&id));
        assert_eq!(bob.extend(extension("o1", 1_000)).await.unwrap_err(), newer(&id));
        assert_eq!(service.support().escalate(escalate(&id)).await.unwrap_err(), newer(&id));
        let stranger = service.user("eve").accept(accept(&id)).await.unwrap_err();
        assert_eq!(stranger.reason, "DISPUTE_NOT_FOUND", "a stranger is told nothing");
        let stranger = service.user("eve").ask(update("o1")).await.unwrap_err();
        assert_eq!(stranger.reason, "ORDER_NOT_FOUND");
        let orders = vec![order_version("o2", 5), order_version("o1", 5)];
        let batch = service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await;
        let status = batch.unwrap_err();
        assert_eq!(facts(&status), newer(&id));
        assert!(tonic_types::StatusExt::get_details_retry_info(&status).is_some());
        assert_eq!(service.platform().order("o2").await.source_version, 1, "all or nothing");
        // What changes nothing needs no rules.
        assert_eq!(service.platform().upsert(order_version("o1", 1)).await.source_version, 1);
    }
    // The newer release has dealt with it: what has ended stands in nobody's way.
    let ended =
        "UPDATE disputes SET status = 6, resolve_time = create_time + 1, resolved_by = 2 WHERE least_release = 3";
    service.execute(ended).await;
    service.user("bob").reply(answer(&asked.dispute_id)).await.unwrap();
    service.user("ann").ask(update("o1")).await.unwrap();
    assert_eq!(service.user("ann").escalate(escalate(&id)).await.unwrap_err(), newer(&id), "but it is not ours");
}

fn order_version(id: &str, source_version: i64) -> v1::Order {
    v1::Order { source_version, ..order(id) }
}

async fn a_dispute_with_a_number_that_the_rules_depend_on_is_left_alone_too(service: Service) {
    let changes = ["kind = 77", "status = 78", "opener = 79", "silence_rule = 80", "silence_rule_after_delivery = 81"];
    for (number, change) in changes.into_iter().enumerate() {
        let id = format!("o{number}");
        let asked = service.order_with_update(&id, "ann").await;
        service.execute(&format!("UPDATE disputes SET {change} WHERE order_id = '{id}'")).await;
        let refused = service.user("bob").reply(answer(&asked.dispute_id)).await.unwrap_err();
        assert_eq!(refused, newer(&asked.dispute_id), "{change}");
    }
    let disputes = listed(&service).await;
    assert_eq!(disputes.len(), changes.len(), "none is missing in the list of everything");
    let shown = |number: usize| disputes.iter().find(|dispute| dispute.order_id == format!("o{number}")).unwrap();
    assert_eq!((shown(0).kind, shown(1).status, shown(2).opened_by, shown(3).silence_rule), (77, 78, 79, 80));
    assert_eq!(snapshot(&service).await.len(), changes.len(), "nor in a snapshot");
    // Pages lead over them.
    let request = v1::ListDisputesRequest { page_size: 2, ..Default::default() };
    assert_eq!(service.platform().list_all(request).await.len(), changes.len());
}

async fn deadlines_of_a_newer_release_are_left_to_it(service: Service) {
    for id in ["o1", "o2", "o3"] {
        service.order_with_update(id, "ann").await;
    }
    service.execute("UPDATE disputes SET least_release = 3 WHERE order_id = 'o1'").await;
    service.execute("UPDATE disputes SET kind = 77, exclusion_group = 77 WHERE order_id = 'o2'").await;
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.clock.advance(Duration::from_secs(48 * 60 * 60));
    let expired = watch.take(1).await.pop().unwrap().dispute.unwrap();
    assert_eq!((expired.order_id.as_str(), expired.status()), ("o3", v1::DisputeStatus::Expired));
    let pending = "SELECT count(*) FROM disputes WHERE resolve_time IS NULL";
    assert_eq!(service.number(pending).await, 2);
    // A newer release hands it back.
    service.execute("UPDATE disputes SET least_release = 1 WHERE order_id = 'o1'").await;
    service.clock.advance(Duration::from_secs(61));
    assert_eq!(watch.take(1).await.pop().unwrap().dispute.unwrap().order_id, "o1");
}

async fn an_order_in_a_status_that_is_not_known_is_shown_and_amended(service: Service) {
    for id in ["o1", "o2"] {
        service.platform().upsert(order(id)).await;
    }
    let asked = service.user("ann").ask(update("o1")).await.unwrap();
    service.execute("UPDATE orders SET status = 77").await;
    assert_eq!(service.platform().order("o1").await.status, 77);
    assert_eq!(service.platform().order_ids(v1::ListOrdersRequest::default()).await, "o2 o1");
    let refused = service.user("bob").reply(answer(&asked.dispute_id)).await.unwrap_err();
    assert_eq!(refused.reason, "NEWER_RELEASE_NEEDED");
    let refused = service.user("ann").ask(update("o2")).await.unwrap_err();
    assert_eq!(refused, refusal(Code::Unavailable, "NEWER_RELEASE_NEEDED", &[("orderId", "o2")]));
    // Nothing on it has to be judged by the status that it had.
    assert_eq!(service.platform().upsert(order_version("o2", 2)).await.status(), v1::OrderStatus::InProgress);
    service.user("ann").ask(update("o2")).await.unwrap();
    let request = v1::UpsertOrderRequest { order: Some(order_version("o1", 2)) };
    let refused = facts(&service.platform().orders.upsert_order(request).await.unwrap_err());
    assert_eq!(refused.reason, "NEWER_RELEASE_NEEDED");
}

async fn events_that_are_not_known_are_passed_on(mut service: Service) {
    let asked = service.order_with_update("o1", "ann").await;
    service.user("bob").reply(answer(&asked.dispute_id)).await.unwrap();
    service.execute("UPDATE events SET kind = 77, event_type = 78 WHERE seq = 1").await;
    for restarted in [false, true] {
        if restarted {
            service.restart().await;
        }
        let events = service.platform().events().await;
        assert_eq!(events.iter().map(|event| event.revision).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(service.user("ann").events().await.len(), 2);
        let start = Some(v1::watch_disputes_request::Start::FromBeginning(true));
        let mut watch = service.user("bob").watch(v1::WatchDisputesRequest { start, ..Default::default() }).await;
        assert_eq!(watch.take(2).await.len(), 2);
        let filter = v1::DisputeEventFilter { event_types: vec![v1::EventType::Answered.into()], ..Default::default() };
        assert_eq!(service.platform().events_of(Some(filter), 10).await.0.len(), 1);
    }
}

async fn a_confidential_reason_stays_so_in_a_dispute_of_a_newer_release(service: Service) {
    let offered = service.order_with_offer("o1", 1_000).await;
    for change in ["least_release = 3", "least_release = 3, kind = 77", "least_release = 1, opener = 77"] {
        service.execute(&format!("UPDATE disputes SET {change}")).await;
        for mut blind in [service.user("ann"), service.platform()] {
            assert_eq!(blind.dispute(&offered.dispute_id).await.reason, 0, "{change}");
        }
        assert_eq!(service.support().dispute(&offered.dispute_id).await.reason, offered.reason, "{change}");
        assert!(snapshot(&service).await.iter().all(|dispute| dispute.reason == 0), "{change}");
    }
    service.execute("UPDATE disputes SET kind = 1, opener = 2, least_release = 3").await;
    assert_eq!(service.user("bob").dispute(&offered.dispute_id).await.reason, offered.reason);
}
