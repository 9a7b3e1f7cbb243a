//! The deal: counter-offers, and cancellations that are nobody's fault. What counts in a seller's quota of these is found by
//! an index each; no other row has an entry there. The table of quotas has a row to lock for each seller who has asked for one
//! or was asked: counts are exact though replicas judge at the same time.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0011_deal"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let id = match manager.get_database_backend() {
            DbBackend::Postgres => "TEXT COLLATE \"C\"",
            _ => "TEXT",
        };
        let table = format!("CREATE TABLE no_fault_quotas (seller_id {id} NOT NULL PRIMARY KEY)");
        let statements = [
            "ALTER TABLE disputes ADD COLUMN no_fault BOOLEAN NOT NULL DEFAULT FALSE",
            "ALTER TABLE disputes ADD COLUMN max_counter_offers SMALLINT NOT NULL DEFAULT 0",
            "ALTER TABLE disputes ADD COLUMN opened_with_minor BIGINT",
            "ALTER TABLE disputes ADD COLUMN counter_offers TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE orders ADD COLUMN cancelled_no_fault BOOLEAN NOT NULL DEFAULT FALSE",
            "CREATE INDEX disputes_no_fault ON disputes (seller_id) WHERE no_fault AND resolve_time IS NULL AND escalated_by IS NULL",
            "CREATE INDEX orders_no_fault ON orders (seller_id, end_time) WHERE cancelled_no_fault",
            &table,
        ];
        for statement in statements {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
