//! Somebody looks at an old snapshot of the database, as a report or a backup does for hours: what is deleted meanwhile
//! stays in the indexes, and nothing that the service does passes over it again and again.

use std::time::Duration;

use dispute_service::clock::{pause, real_now};
use dispute_service::proto::v1;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, IsolationLevel, TransactionTrait as _};

use crate::support::messages::*;
use crate::support::service::Service;

const HOUR: Duration = Duration::from_secs(3_600);

/// Looks at the database as it is now until it is dropped.
async fn old_snapshot(service: &Service) -> DatabaseTransaction {
    let session = service.database().await;
    let session = session.begin_with_config(Some(IsolationLevel::RepeatableRead), None).await.unwrap();
    session.execute_unprepared("SELECT count(*) FROM events").await.unwrap();
    session
}

/// How many entries of an index were read until now by connections that are closed.
async fn read(service: &Service, index: &str) -> i64 {
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND application_name = 'dispute-service'";
    while service.number(open).await > 0 {
        pause(Duration::from_millis(10)).await;
    }
    let sql = format!("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = '{index}'");
    service.number(&sql).await
}

async fn wait_until(service: &Service, sql: &str) {
    for _ in 0..1_000 {
        if service.number(sql).await > 0 {
            return;
        }
        pause(Duration::from_millis(5)).await;
    }
    panic!("it does not come to this: {sql}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_events_does_not_pass_over_what_is_forgotten() {
    let Some(mut service) = Service::on_postgres().await else { return };
    service.restart_with_policy("event_retention = \"1h\"").await;
    service.order_with_update("old", "ann").await;
    service.clone_last_event(5_999).await;
    let snapshot = old_snapshot(&service).await;
    service.clock.advance(2 * HOUR);
    service.order_with_update("young", "ann").await;
    let started = real_now();
    wait_until(&service, "SELECT count(*) FROM event_log WHERE floor >= 5999").await;
    println!("6,000 events were forgotten in {:?}", started.elapsed());
    service.stop().await;
    let before = read(&service, "events_pkey").await;
    service.start().await;
    for number in 0..5 {
        service.order_with_update(&format!("o{number}"), "ann").await;
        service.clock.advance(2 * HOUR);
        let floor = 6_001 + number;
        // Should the service have looked just before the clock was moved, it looks again within a minute of that.
        while service.number("SELECT floor FROM event_log").await < floor {
            service.clock.advance(HOUR / 60);
            pause(Duration::from_millis(5)).await;
        }
    }
    service.stop().await;
    let passed = read(&service, "events_pkey").await - before;
    println!("entries of the log's index that were read: {passed}");
    assert!(passed < 2_000, "{passed}");
    drop(snapshot);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_request_ids_does_not_pass_over_what_is_forgotten() {
    let Some(mut service) = Service::on_postgres().await else { return };
    service.platform().upsert(order("o1")).await;
    let now = service.now().micros();
    let old = format!(
        "INSERT INTO idempotency_keys (key, fingerprint, dispute_id, create_time) \
         SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), {now} + n FROM generate_series(1, 6000) AS n"
    );
    service.execute(&old).await;
    let snapshot = old_snapshot(&service).await;
    service.clock.advance(73 * HOUR);
    wait_until(&service, "SELECT count(*) FROM (SELECT count(*) AS n FROM idempotency_keys) AS kept WHERE n = 0").await;
    for _ in 0..4 {
        service.execute(&old.replace("6000", "1")).await;
        service.clock.advance(HOUR / 5);
        pause(Duration::from_millis(50)).await;
    }
    service.stop().await;
    let passed = read(&service, "idempotency_keys_by_time").await;
    println!("entries of the request ids' index that were read: {passed}");
    assert!(passed < 15_000, "{passed}");
    drop(snapshot);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_for_deadlines_does_not_pass_over_what_is_done() {
    let Some(mut service) = Service::on_postgres().await else { return };
    let orders = (0..400).map(|number| order(&format!("o{number}"))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    service.restart_with_policy("response_window = \"1h\"\nreminders = []").await;
    let asking = (0..400).map(|number| {
        let mut ann = service.user("ann");
        async move { ann.ask(update(&format!("o{number}"))).await.unwrap() }
    });
    futures_util::future::join_all(asking).await;
    let snapshot = old_snapshot(&service).await;
    let none_pending = "SELECT count(*) FROM (SELECT count(*) AS n FROM disputes WHERE resolve_time IS NULL) AS open \
        WHERE n = 0";
    service.clock.advance(HOUR);
    wait_until(&service, none_pending).await;
    service.stop().await;
    let before = read(&service, "disputes_by_deadline").await;
    service.start().await;
    // Each is looked for when it is opened, and expires before the next one.
    for number in 0..20 {
        service.clock.advance(HOUR / 6);
        service.user("ann").ask(update(&format!("o{number}"))).await.unwrap();
        service.clock.advance(HOUR);
        wait_until(&service, none_pending).await;
    }
    service.stop().await;
    let passed = read(&service, "disputes_by_deadline").await - before;
    println!("entries of the deadlines' index that were read: {passed}");
    assert!(passed < 4_000, "{passed}");
    drop(snapshot);
}
