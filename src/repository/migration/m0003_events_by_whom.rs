//! Indexes for events by party: a subscriber that resumes with a narrow filter does not read everybody's events. Also
//! the id of the last pruned event, by which a token for its position is recognised.
//!
//! The events of an order are found through its disputes, which are few; so three indexes serve every filter.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

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
            match manager.get_database_backend() {
                DbBackend::Postgres => "ALTER TABLE event_log ADD COLUMN floor_event UUID",
                _ => "ALTER TABLE event_log ADD COLUMN floor_event BLOB",
            },
        ];
        for statement in statements {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
