//! What a caller reads, and when: it has a permit of its class, for which it waits in turn.
//!
//! Reads run in tasks of their own, which hold the permit. So whoever goes away in the middle of one still has its share of
//! the connections in use until the database is done with it; and on PostgreSQL, no connection is given back to its pool
//! inside of a transaction, as sqlx would do with one that is stopped within BEGIN.

use std::sync::Arc;

use sea_orm::{
    AccessMode, DatabaseConnection, DatabaseTransaction, DbBackend, IsolationLevel, SqliteTransactionMode,
    TransactionOptions, TransactionTrait as _,
};
use tracing::Instrument as _;

use super::Repository;
use super::connection::{Permit, Pool, ReadClass};
use super::error::StorageError;
use super::transaction::begun;
use crate::domain::Caller;

/// Reads for a caller. Its turn lasts until this and what it reads are dropped: one read at a time, one after another.
#[derive(Debug)]
pub struct Reader {
    pool: Pool,
    permit: Arc<Permit>,
}

/// A read transaction, in which all statements see one moment.
pub(super) type ReadSnapshot = Arc<DatabaseTransaction>;

/// What a read of several statements is begun with.
fn snapshot(backend: DbBackend) -> TransactionOptions {
    match backend {
        DbBackend::Postgres => TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        },
        // On SQLite every transaction is one; SeaORM warns of anything more.
        _ => begun(SqliteTransactionMode::Deferred),
    }
}

impl Repository {
    /// Waits until it is this caller's turn to read something of this class; [`StorageError::Busy`] if too many wait, or if
    /// it takes too long. Who waits while it has a turn of the same class can wait for itself.
    pub async fn reader(&self, class: ReadClass, caller: &Caller) -> Result<Reader, StorageError> {
        let permit = Arc::new(self.permits.acquire(class, caller).await?);
        Ok(Reader { pool: self.readers.clone(), permit })
    }
}

impl Reader {
    /// Reads, with one statement or with several that need not see the same moment.
    pub(super) async fn read<T: Send + 'static, F: Future<Output = Result<T, StorageError>> + Send>(
        &self,
        read: impl FnOnce(DatabaseConnection) -> F + Clone + Send + Sync + 'static,
    ) -> Result<T, StorageError> {
        let (pool, permit) = (self.pool.clone(), self.permit.clone());
        let task = async move {
            let found = pool.read(|connection| read.clone()(connection)).await;
            drop(permit);
            found
        };
        let read = tokio::spawn(task.in_current_span()).await;
        read.unwrap_or_else(|_| Err(StorageError::Failed("a read ended without a result".to_owned())))
    }

    /// Reads with several statements what was there at one moment.
    pub(super) async fn in_snapshot<T: Send + 'static, F: Future<Output = Result<T, StorageError>> + Send>(
        &self,
        read: impl FnOnce(ReadSnapshot) -> F + Clone + Send + Sync + 'static,
    ) -> Result<T, StorageError> {
        let read = |connection: DatabaseConnection| async move {
            let options = snapshot(connection.get_database_backend());
            let snapshot = Arc::new(connection.begin_with_options(options).await?);
            let found = read(snapshot.clone()).await?;
            if let Some(transaction) = Arc::into_inner(snapshot) {
                transaction.commit().await?;
            }
            Ok(found)
        };
        self.read(read).await
    }
}
