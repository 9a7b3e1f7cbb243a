//! The key that seals the log's tokens, beside the log's id. It is created here, under the lock of the migrations:
//! once, however many replicas start at the same time. A release that does not know it works without it.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DbBackend, Statement};

use crate::chance::random_bytes;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0008_token_key"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        let (column, set) = match backend {
            DbBackend::Postgres => {
                ("ALTER TABLE event_log ADD COLUMN token_key BYTEA", "UPDATE event_log SET token_key = $1")
            }
            _ => ("ALTER TABLE event_log ADD COLUMN token_key BLOB", "UPDATE event_log SET token_key = ?"),
        };
        let connection = manager.get_connection();
        connection.execute_unprepared(column).await?;
        // As a parameter: statements are logged, parameters are not.
        let key = random_bytes::<32>().map_err(|error| DbErr::Custom(format!("no randomness for a key: {error}")))?;
        connection.execute_raw(Statement::from_sql_and_values(backend, set, [key.to_vec().into()])).await?;
        Ok(())
    }
}
