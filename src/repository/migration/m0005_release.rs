//! The oldest release that may run on the database, and for each dispute the oldest whose rules may judge it.

use sea_orm_migration::prelude::*;

/// Its name.
pub(super) const NAME: &str = "m0005_release";

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        NAME
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statements = [
            "CREATE TABLE schema_release (id SMALLINT NOT NULL PRIMARY KEY, oldest SMALLINT NOT NULL)",
            "INSERT INTO schema_release (id, oldest) VALUES (1, 1)",
            "ALTER TABLE disputes ADD COLUMN least_release SMALLINT NOT NULL DEFAULT 1",
        ];
        for statement in statements {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
