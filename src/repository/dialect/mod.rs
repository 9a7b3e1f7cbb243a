//! What differs between the databases in a write transaction: how it begins, what it reads, and how rows are inserted.

pub(super) mod postgres;
pub(super) mod sqlite;

use tokio::sync::Mutex;

use self::postgres::ServerTransaction;
use super::connection::FileTransaction;
use super::error::StorageError;

/// A transaction of a batch, on a connection that is its own until it ends.
///
/// Dropped without a commit, it is rolled back before its connection does anything else.
#[derive(Debug)]
pub(super) enum Session {
    /// On SQLite: the only write transaction there is.
    Sqlite(Mutex<FileTransaction>),
    /// On PostgreSQL, READ COMMITTED: each statement sees everything committed before it.
    Postgres(ServerTransaction),
}

impl Session {
    /// Rolls back.
    pub(super) async fn rollback(self) -> Result<(), StorageError> {
        match self {
            Self::Sqlite(transaction) => transaction.into_inner().rollback().await,
            Self::Postgres(transaction) => transaction.rollback().await,
        }
    }
}

impl From<FileTransaction> for Session {
    fn from(transaction: FileTransaction) -> Self {
        Self::Sqlite(Mutex::new(transaction))
    }
}
