//! What two lists read.
//!
//! The creation time of its order in each open dispute, and an index by it: orders with an open dispute are listed in their
//! order, however many there are. Disputes opened before, or by a release that does not know the column, have none until
//! `repository/backfill.rs` fills it in, in small steps.
//!
//! Disputes by their last event: only those that had another one than their opening, since the others are found by their
//! creation. So an opening has no entry there.

use sea_orm_migration::prelude::*;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0010_leaner_lists"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statements = [
            "ALTER TABLE disputes ADD COLUMN order_create_time BIGINT",
            "CREATE INDEX disputes_open_by_order_time ON disputes (order_create_time, order_id)
                WHERE resolve_time IS NULL",
            "DROP INDEX disputes_by_update",
            "CREATE INDEX disputes_by_update ON disputes (update_time, create_time, dispute_id)
                WHERE update_time > create_time",
        ];
        for statement in statements {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
