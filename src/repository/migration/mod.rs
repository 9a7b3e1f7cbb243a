//! The schema, step by step.

mod m0001_initial;
mod m0002_whole_rulebook;
mod m0003_events_by_whom;
mod m0004_settlement_attempts;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, SqliteTransactionMode, TransactionTrait as _};
use sea_orm_migration::{MigrationTrait, MigratorTrait};

use super::error::StorageError;
use super::transaction::begun;

pub(super) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_initial::Migration),
            Box::new(m0002_whole_rulebook::Migration),
            Box::new(m0003_events_by_whom::Migration),
            Box::new(m0004_settlement_attempts::Migration),
        ]
    }
}

/// The advisory lock that PostgreSQL holds while one process migrates. However long that takes, the others wait.
const LOCK: &str = "SET LOCAL lock_timeout = 0;
    SET LOCAL statement_timeout = 0;
    SELECT pg_advisory_xact_lock(7305794241085369197);
    SET LOCAL lock_timeout = '10s'";

/// Applies what is not applied yet, in one transaction. Of processes that start at once one migrates; the
/// others wait for it, on PostgreSQL at the advisory lock and on SQLite at BEGIN IMMEDIATE.
pub(super) async fn apply(writer: &DatabaseConnection) -> Result<(), StorageError> {
    let transaction = writer.begin_with_options(begun(SqliteTransactionMode::Immediate)).await?;
    if writer.get_database_backend() == DbBackend::Postgres {
        transaction.execute_unprepared(LOCK).await?;
    }
    Migrator::up(&transaction, None).await?;
    Ok(transaction.commit().await?)
}
