//! A row that is written only to check whether the database can be written. Replicas share it.

use sea_orm_migration::prelude::*;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0007_write_probe"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statements = [
            "CREATE TABLE write_probe (id SMALLINT NOT NULL PRIMARY KEY, writes BIGINT NOT NULL)",
            "INSERT INTO write_probe (id, writes) VALUES (1, 0)",
        ];
        for statement in statements {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
