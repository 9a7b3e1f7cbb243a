//! A release beside the next one: what that has done to the schema, and what it has stored.

use dispute_service::proto::v1;

use crate::support::binary::Binary;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(a_replica_goes_on_and_starts_beside_a_newer_release, a_release_that_is_too_old_says_so);

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
    service.execute("UPDATE schema_release SET oldest = 2").await;
    works(&service, "a-replica-that-runs-goes-on").await;
    service.stop().await;
    let arguments = ["--listen", "127.0.0.1:0", "--database-url", &service.url].map(str::to_owned);
    let said = match Binary::launch(env!("CARGO_BIN_EXE_dispute-service"), &arguments, "warn") {
        Err(said) => said,
        Ok(running) => panic!("it runs: {}", running.log()),
    };
    assert!(said.contains("needs release 2 or later, and this is release 1"), "{said}");
}
