//! What can go wrong with a database, sorted by what is to be done about it.

use sea_orm::sqlx::Error as SqlxError;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{DbErr, RuntimeErr};

/// What went wrong. The texts never contain a value that was stored or asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The database cannot be reached; or it was lost during a COMMIT, whose result is then unknown.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Another writer was first. Nothing was written; doing the same again can succeed.
    #[error("another writer was first")]
    Conflict,
    /// A row that makes no sense.
    #[error("the row {id} of {table} makes no sense: {what}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The row, by its key.
        id: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Anything else.
    #[error("failed: {0}")]
    Failed(String),
}

impl From<DbErr> for StorageError {
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::ConnectionAcquire(_) => Self::Unavailable("no connection could be had in time".to_owned()),
            DbErr::Conn(RuntimeErr::SqlxError(error))
            | DbErr::Exec(RuntimeErr::SqlxError(error))
            | DbErr::Query(RuntimeErr::SqlxError(error)) => of_sqlx(error),
            DbErr::Conn(_) => Self::Unavailable(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

fn of_sqlx(error: &SqlxError) -> StorageError {
    match error {
        SqlxError::Database(error) => of_database(error.as_ref()),
        SqlxError::Io(_)
        | SqlxError::Tls(_)
        | SqlxError::Protocol(_)
        | SqlxError::PoolTimedOut
        | SqlxError::PoolClosed
        | SqlxError::WorkerCrashed => StorageError::Unavailable(error.to_string()),
        _ => StorageError::Failed(error.to_string()),
    }
}

/// By SQLSTATE on PostgreSQL, by (extended) result code on SQLite. The database's own message is left out:
/// it can quote values.
fn of_database(error: &dyn DatabaseError) -> StorageError {
    let code = error.code().unwrap_or_default().into_owned();
    let what = format!("error {code} of the database, constraint {}", error.constraint().unwrap_or("none"));
    if error.is_unique_violation() {
        return StorageError::Conflict;
    }
    if let Ok(code) = code.parse::<i32>()
        && code.to_string().len() < 5
    {
        // The low byte of an extended code is the primary one: BUSY, LOCKED; READONLY, IOERR, FULL, CANTOPEN.
        return match code & 0xff {
            5 | 6 => StorageError::Conflict,
            8 | 10 | 13 | 14 => StorageError::Unavailable(what),
            _ => StorageError::Failed(what),
        };
    }
    match code.as_str() {
        // Serialization failure, deadlock.
        "40001" | "40P01" => StorageError::Conflict,
        // Connection exceptions, insufficient resources, operator intervention, system errors.
        code if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => StorageError::Unavailable(what),
        // A standby does not write: the primary has moved. A lock was not to be had in time.
        "25006" | "55P03" => StorageError::Unavailable(what),
        _ => StorageError::Failed(what),
    }
}
