//! Attempts to pay: the current one, and the results that each had.

use sea_orm_migration::prelude::*;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0004_settlement_attempts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statements = [
            "ALTER TABLE disputes ADD COLUMN settlement_attempt BIGINT",
            // A hexadecimal digit for each attempt: 1 settled, 2 failed, 4 returned, 8 voided.
            "ALTER TABLE disputes ADD COLUMN settlement_attempts TEXT NOT NULL DEFAULT ''",
            // Earlier reports were about the first attempt; after a failure the second one has begun.
            "UPDATE disputes SET settlement_attempt = 1, settlement_attempts = '0' WHERE settlement_status = 1",
            "UPDATE disputes SET settlement_attempt = 1, settlement_attempts = '1' WHERE settlement_status = 2",
            "UPDATE disputes SET settlement_attempt = 2, settlement_attempts = '20' WHERE settlement_status = 3",
        ];
        for statement in statements {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
