//! The first tables.
//!
//! Every index slows down each command that touches it, so there is one for each list and one for each guard.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0001_initial"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The two databases' names for the same types. Ids sort bytewise everywhere, as in Rust: so pages merge, and
        // locks are taken in one order.
        let (id, uuid, bytes, random_uuid) = match manager.get_database_backend() {
            DbBackend::Postgres => (r#"TEXT COLLATE "C""#, "UUID", "BYTEA", "gen_random_uuid()"),
            _ => ("TEXT", "BLOB", "BLOB", "randomblob(16)"),
        };
        let statements = [
            format!(
                "CREATE TABLE orders (
                    order_id {id} NOT NULL PRIMARY KEY,
                    buyer_id {id} NOT NULL,
                    seller_id {id} NOT NULL,
                    title TEXT NOT NULL,
                    currency TEXT NOT NULL,
                    exponent SMALLINT NOT NULL,
                    price_minor BIGINT NOT NULL,
                    paid_minor BIGINT NOT NULL,
                    refunded_elsewhere_minor BIGINT NOT NULL,
                    refunded_minor BIGINT NOT NULL,
                    status SMALLINT NOT NULL,
                    create_time BIGINT NOT NULL,
                    due_time BIGINT,
                    end_time BIGINT,
                    cancellation_counts BOOLEAN NOT NULL,
                    cancelled_by {uuid},
                    refund_accepted {uuid},
                    source_version BIGINT NOT NULL,
                    revision BIGINT NOT NULL
                )"
            ),
            "CREATE INDEX orders_by_buyer ON orders (buyer_id, create_time, order_id)".to_owned(),
            "CREATE INDEX orders_by_seller ON orders (seller_id, create_time, order_id)".to_owned(),
            "CREATE INDEX orders_by_time ON orders (create_time, order_id)".to_owned(),
            format!(
                "CREATE TABLE disputes (
                    dispute_id {uuid} NOT NULL PRIMARY KEY,
                    order_id {id} NOT NULL REFERENCES orders (order_id),
                    buyer_id {id} NOT NULL,
                    seller_id {id} NOT NULL,
                    opener SMALLINT NOT NULL,
                    kind SMALLINT NOT NULL,
                    exclusion_group SMALLINT NOT NULL,
                    status SMALLINT NOT NULL,
                    message TEXT NOT NULL,
                    reason SMALLINT,
                    reason_detail TEXT NOT NULL,
                    currency TEXT,
                    exponent SMALLINT,
                    amount_minor BIGINT,
                    respond_by BIGINT NOT NULL,
                    silence_rule SMALLINT NOT NULL,
                    silence_rule_after_delivery SMALLINT NOT NULL,
                    create_time BIGINT NOT NULL,
                    update_time BIGINT NOT NULL,
                    revision BIGINT NOT NULL,
                    resolve_time BIGINT,
                    resolved_by SMALLINT,
                    outcome_refund_minor BIGINT,
                    outcome_cancelled BOOLEAN NOT NULL,
                    outcome_counts BOOLEAN NOT NULL,
                    answer_message TEXT NOT NULL
                )"
            ),
            // The last line of defence: one open money dispute per order, and one of each other kind.
            "CREATE UNIQUE INDEX disputes_open ON disputes (order_id, exclusion_group) WHERE status IN (1, 2)"
                .to_owned(),
            "CREATE INDEX disputes_by_deadline ON disputes (respond_by, dispute_id) WHERE status = 1".to_owned(),
            "CREATE INDEX disputes_by_order ON disputes (order_id, create_time, dispute_id)".to_owned(),
            "CREATE INDEX disputes_by_buyer ON disputes (buyer_id, create_time, dispute_id)".to_owned(),
            "CREATE INDEX disputes_by_seller ON disputes (seller_id, create_time, dispute_id)".to_owned(),
            "CREATE INDEX disputes_by_time ON disputes (create_time, dispute_id)".to_owned(),
            format!(
                "CREATE TABLE events (
                    seq BIGINT NOT NULL PRIMARY KEY,
                    event_id {uuid} NOT NULL,
                    dispute_id {uuid} NOT NULL,
                    order_id {id} NOT NULL,
                    buyer_id {id} NOT NULL,
                    seller_id {id} NOT NULL,
                    kind SMALLINT NOT NULL,
                    event_type SMALLINT NOT NULL,
                    event_time BIGINT NOT NULL,
                    payload {bytes} NOT NULL
                )"
            ),
            format!(
                "CREATE TABLE event_log (
                    id SMALLINT NOT NULL PRIMARY KEY,
                    epoch {uuid} NOT NULL,
                    head BIGINT NOT NULL,
                    floor BIGINT NOT NULL
                )"
            ),
            format!("INSERT INTO event_log (id, epoch, head, floor) VALUES (1, {random_uuid}, 0, 0)"),
            format!(
                "CREATE TABLE idempotency_keys (
                    key {uuid} NOT NULL PRIMARY KEY,
                    fingerprint {uuid} NOT NULL,
                    dispute_id {uuid} NOT NULL,
                    create_time BIGINT NOT NULL
                )"
            ),
            "CREATE INDEX idempotency_keys_by_time ON idempotency_keys (create_time)".to_owned(),
        ];
        for statement in statements {
            manager.get_connection().execute_unprepared(&statement).await?;
        }
        Ok(())
    }
}
