//! A release beside the next one: what that has done to the schema, and what it has stored.

use std::time::Duration;

use dispute_service::clock::pause;
use dispute_service::proto::v1;

use crate::support::audit::{ESCALATED, UPSERTED, by_agent, by_platform};
use crate::support::binary::Binary;
use crate::support::database;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    a_replica_goes_on_and_starts_beside_a_newer_release,
    a_release_that_is_too_old_says_so,
    a_database_without_an_audit_gets_one_and_keeps_what_it_has,
    orders_are_listed_by_disputes_that_do_not_have_their_time_yet,
);

/// What the next release does to the schema while this one runs.
const NEWER_SCHEMA: &str = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m0999_of_the_next_release', 0); \
    CREATE TABLE something_new (id BIGINT PRIMARY KEY); \
    ALTER TABLE orders ADD COLUMN new_text TEXT; ALTER TABLE orders ADD COLUMN new_count BIGINT NOT NULL DEFAULT 3; \
    ALTER TABLE disputes ADD COLUMN new_text TEXT; ALTER TABLE disputes ADD COLUMN new_count BIGINT NOT NULL DEFAULT 3; \
    ALTER TABLE events ADD COLUMN new_count BIGINT NOT NULL DEFAULT 3; \
    ALTER TABLE event_log ADD COLUMN new_count BIGINT NOT NULL DEFAULT 3; \
    ALTER TABLE idempotency_keys ADD COLUMN new_count BIGINT NOT NULL DEFAULT 3";

async fn works(service: &Service, id: &str) {
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.platform().upsert(order(id)).await;
    let request_id = dispute_service::chance::mint_id().to_string();
    let opened = service.user("ann").ask(v1::RequestOrderUpdateRequest { request_id, ..update(id) }).await.unwrap();
    service.user("bob").reply(answer(&opened.dispute_id)).await.unwrap();
    assert_eq!(watch.take(2).await.len(), 2);
    assert_eq!(service.platform().dispute(&opened.dispute_id).await.status(), v1::DisputeStatus::Answered);
}

async fn a_replica_goes_on_and_starts_beside_a_newer_release(mut service: Service) {
    works(&service, "before").await;
    service.execute(NEWER_SCHEMA).await;
    service.execute("UPDATE orders SET new_count = 7; UPDATE disputes SET new_count = 7").await;
    works(&service, "meanwhile").await;
    service.platform().upsert(v1::Order { source_version: 2, ..order("before") }).await;
    service.restart().await;
    works(&service, "afterwards").await;
    service.platform().upsert(v1::Order { source_version: 3, ..order("before") }).await;
    assert_eq!(service.number("SELECT new_count FROM orders WHERE order_id = 'before'").await, 7, "left as it is");
    assert_eq!(service.number("SELECT CAST(oldest AS BIGINT) FROM schema_release").await, 1);
}

async fn a_release_that_is_too_old_says_so(mut service: Service) {
    works(&service, "before").await;
    service.execute(NEWER_SCHEMA).await;
    service.execute("UPDATE schema_release SET oldest = 3").await;
    works(&service, "a-replica-that-runs-goes-on").await;
    service.stop().await;
    let arguments = ["--listen", "127.0.0.1:0", "--database-url", &service.url].map(str::to_owned);
    let said = match Binary::launch(env!("CARGO_BIN_EXE_dispute-service"), &arguments, "warn") {
        Err(said) => said,
        Ok(running) => panic!("it runs: {}", running.log()),
    };
    assert!(said.contains("needs release 3 or later, and this is release 2"), "{said}");
}

/// What the release before the audit has left.
const WITHOUT_AUDIT: &str = "DROP TABLE audit; DELETE FROM seaql_migrations WHERE version = 'm0009_audit'";

/// Every row of a table, as text.
async fn stored(service: &Service, table: &str, key: &str) -> Vec<String> {
    let rows = match service.url.starts_with("postgres") {
        true => format!("SELECT CAST(row_to_json(t) AS TEXT) FROM {table} t ORDER BY {key}"),
        false => {
            let columns =
                format!("SELECT group_concat('quote(' || name || ')', '||') FROM pragma_table_info('{table}')");
            let columns: String = database::rows(&service.url, &columns).await[0].try_get_by_index(0).unwrap();
            format!("SELECT {columns} FROM {table} ORDER BY {key}")
        }
    };
    database::rows(&service.url, &rows).await.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

const TABLES: [(&str, &str); 4] =
    [("orders", "order_id"), ("disputes", "dispute_id"), ("events", "seq"), ("idempotency_keys", "key")];

async fn all_stored(service: &Service) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (table, key) in TABLES {
        all.push(stored(service, table, key).await);
    }
    all
}

async fn a_database_without_an_audit_gets_one_and_keeps_what_it_has(mut service: Service) {
    works(&service, "before").await;
    let request_id = dispute_service::chance::mint_id().to_string();
    let asked = v1::RequestOrderUpdateRequest { request_id, ..update("before") };
    let opened = service.user("ann").ask(asked.clone()).await.unwrap();
    service.stop().await;
    service.execute(WITHOUT_AUDIT).await;
    let before = all_stored(&service).await;
    assert!(before.iter().all(|rows| !rows.is_empty()), "{before:?}");
    service.start().await;
    assert_eq!(service.user("ann").dispute(&opened.dispute_id).await, opened);
    assert_eq!(all_stored(&service).await, before);
    assert_eq!(service.audit().await, [], "what was done before is not known");
    assert_eq!(service.user("ann").ask(asked).await.unwrap(), opened, "nor is anything done again");
    works(&service, "afterwards").await;
    service.support().escalate(escalate(&opened.dispute_id)).await.unwrap();
    let expected =
        [by_platform(UPSERTED, "afterwards", None, 1), by_agent("agent", ESCALATED, "before", &opened.dispute_id, 2)];
    assert_eq!(service.audit().await, expected);
}

/// What the release before the times of orders has left.
const WITHOUT_ORDER_TIMES: &str = "DROP INDEX disputes_open_by_order_time; DROP INDEX disputes_by_update; \
    CREATE INDEX disputes_by_update ON disputes (update_time, create_time, dispute_id); \
    ALTER TABLE disputes DROP COLUMN order_create_time; \
    DELETE FROM seaql_migrations WHERE version = 'm0010_leaner_lists'";

/// Orders with an open dispute, in pages of two.
async fn with_open_disputes(service: &Service) -> String {
    let list = v1::ListOrdersRequest { has_open_dispute: true, page_size: 2, ..v1::ListOrdersRequest::default() };
    service.support().order_ids(list).await
}

async fn orders_are_listed_by_disputes_that_do_not_have_their_time_yet(mut service: Service) {
    const WITHOUT: &str = "SELECT count(*) FROM disputes WHERE order_create_time IS NULL";
    let all = "o4 o3 o2 o1 o0";
    for number in 0..6 {
        let id = format!("o{number}");
        service.platform().upsert(v1::Order { create_time: Some(at(number)), ..order(&id) }).await;
        let opened = service.user("ann").ask(update(&id)).await.unwrap();
        if number == 5 {
            service.user("bob").reply(answer(&opened.dispute_id)).await.unwrap();
        }
    }
    service.user("ann").cancel(cancellation("o2")).await.unwrap();
    assert_eq!(with_open_disputes(&service).await, all);
    assert_eq!(service.number(WITHOUT).await, 0);
    // A replica of the release before opens disputes without it, also a second one on an order.
    let some = "order_id IN ('o0', 'o3') OR (order_id = 'o2' AND kind = 3)";
    service.execute(&format!("UPDATE disputes SET order_create_time = NULL WHERE {some}")).await;
    assert_eq!(with_open_disputes(&service).await, all, "each once");
    service.execute("UPDATE disputes SET order_create_time = NULL").await;
    assert_eq!(with_open_disputes(&service).await, all);
    service.stop().await;
    service.execute(WITHOUT_ORDER_TIMES).await;
    service.start().await;
    assert_eq!(with_open_disputes(&service).await, all);
    // It is filled in for the open ones; the other one is never looked for by it.
    for _ in 0..1_000 {
        if service.number(WITHOUT).await == 1 {
            break;
        }
        pause(Duration::from_millis(10)).await;
    }
    assert_eq!(with_open_disputes(&service).await, all);
    let wrong =
        "SELECT count(*) FROM disputes JOIN orders USING (order_id) WHERE order_create_time <> orders.create_time";
    assert_eq!(service.number(wrong).await, 0);
}
