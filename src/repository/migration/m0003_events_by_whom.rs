//! Events by whom they concern: who resumes with a narrow filter does not read everybody's.
//!
//! The events of an order are found through its disputes, which are few; so three indexes serve every filter.

use sea_orm_migration::prelude::*;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0003_events_by_whom"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statements = [
            "CREATE INDEX events_by_buyer ON events (buyer_id, seq)",
            "CREATE INDEX events_by_seller ON events (seller_id, seq)",
            "CREATE INDEX events_by_dispute ON events (dispute_id, seq)",
        ];
        for statement in statements {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
