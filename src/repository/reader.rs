//! Callers' reads: each has a permit of its class, for which the caller waits in turn.
//!
//! Reads run in their own tasks, which hold the permit. So a caller that goes away during a read keeps its share of the
//! connections in use until the database is done; and on PostgreSQL, no connection is returned to its pool inside a
//! transaction, as sqlx would do with a task that is dropped within BEGIN.

use std::sync::Arc;

use sea_orm::{
    AccessMode, DatabaseConnection, DatabaseTransaction, DbBackend, IsolationLevel, SqliteTransactionMode,
    TransactionOptions, TransactionTrait as _,
};
use tracing::Instrument as _;

use super::Repository;
use super::connection::{InPlace, Permit, Pool, ReadClass};
use super::error::StorageError;
use super::transaction::begun;
use crate::domain::Caller;

/// Reads for a caller. The permit is held until this and its reads are dropped: one read at a time, one after another.
#[derive(Debug)]
pub struct Reader {
    pool: Pool,
    pub(super) permit: Arc<Permit>,
    /// On SQLite, for what is read without a connection's thread.
    pub(super) in_place: Option<InPlace>,
}

/// A read transaction, in which all statements read one snapshot.
pub(super) type ReadSnapshot = Arc<DatabaseTransaction>;

/// The isolation of a read of several statements.
fn snapshot(backend: DbBackend) -> TransactionOptions {
    match backend {
        DbBackend::Postgres => TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        },
        // On SQLite every transaction has it; SeaORM warns of anything more.
        _ => begun(SqliteTransactionMode::Deferred),
    }
}

impl Repository {
    /// Waits for a permit to read something of this class; [`StorageError::Busy`] if too many wait, or if it takes too
    /// long while the database can be reached. Waiting while holding a permit of the same class can deadlock.
    pub async fn reader(&self, class: ReadClass, caller: &Caller) -> Result<Reader, StorageError> {
        let permit = Arc::new(self.readers.permitted(self.permits.acquire(class, caller)).await?);
        Ok(Reader { pool: self.readers.clone(), permit, in_place: self.dispute_reads.in_place().cloned() })
    }
}

impl Reader {
    /// Reads with one statement, or with several that need not read the same snapshot.
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

    /// Reads with several statements in one snapshot.
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
