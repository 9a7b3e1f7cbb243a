//! Events by order, in the order of the log.
//!
//! Through its disputes, the events of an order with very many disputes could not be listed at all. The index by
//! dispute is dropped: a dispute's order is known by its key, and usually has few other events, so each event still
//! costs three entries. A release that reads by dispute works without it, only more slowly.

use sea_orm_migration::prelude::*;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0006_events_by_order"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in ["CREATE INDEX events_by_order ON events (order_id, seq)", "DROP INDEX events_by_dispute"] {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
