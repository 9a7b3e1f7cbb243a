//! Events by order, in the order of the log.
//!
//! Found through its disputes, the events of an order with very many of them could not be asked for at all. The index by
//! dispute goes: a dispute's order is known by its key, and has few other events as a rule; so each event still costs
//! three entries. A release that reads by dispute goes on without it, only more slowly.

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
