//! Database errors, sorted by what to do about them.

use sea_orm::sqlx::Error as SqlxError;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::sqlx::sqlite::SqliteError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

use crate::metrics::METRICS;

/// A database error. The texts never contain a stored or requested value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The database is unreachable, or was lost during a COMMIT, whose result is then unknown.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Every connection was in use, or none could be opened, for as long as a caller waits. Nothing was done.
    #[error("every connection was in use")]
    Busy,
    /// The database works, but a statement, or a read of several statements, exceeded its time limit. Nothing was
    /// written.
    #[error("a statement exceeded its time limit")]
    TimedOut,
    /// Another transaction held a lock for longer than a statement waits. Nothing was written.
    #[error("a statement waited too long for a lock")]
    LockTimeout,
    /// The database accepts no writes: it is a standby, or set to read-only. Nothing was written.
    #[error("the database does not accept writes")]
    ReadOnly,
    /// The tables changed under a connection's prepared statements. Nothing was done; the same can succeed on a new
    /// connection.
    #[error("the tables changed under prepared statements")]
    Stale,
    /// Another writer was first. Nothing was written; a retry can succeed.
    #[error("a concurrent writer was first")]
    Conflict,
    /// A corrupt row.
    #[error("the row {id} of {table} is corrupt: {what}")]
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

impl StorageError {
    /// The name of its class.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Busy => "busy",
            Self::TimedOut => "timed_out",
            Self::LockTimeout => "lock_timeout",
            Self::ReadOnly => "read_only",
            Self::Stale => "stale",
            Self::Conflict => "conflict",
            Self::Corrupt { .. } => "corrupt",
            Self::Failed(_) => "failed",
        }
    }

    /// Counts it, where the database's error has become ours.
    fn counted(self) -> Self {
        METRICS.database_errors.one([self.class()]);
        self
    }

    /// Whether the error is about the database rather than the request: any other request would meet it too.
    pub fn is_of_database(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Busy | Self::TimedOut | Self::LockTimeout | Self::ReadOnly | Self::Stale => {
                true
            }
            Self::Conflict | Self::Corrupt { .. } | Self::Failed(_) => false,
        }
    }
}

impl From<DbErr> for StorageError {
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => Self::Busy.counted(),
            DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed) => {
                Self::Unavailable("the connections are closed".to_owned()).counted()
            }
            DbErr::Conn(RuntimeErr::SqlxError(error)) => of_connecting(error),
            DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => of_sqlx(error),
            DbErr::Conn(_) => Self::Unavailable(error.to_string()).counted(),
            _ => Self::Failed(error.to_string()).counted(),
        }
    }
}

/// Whether the database's role lacks the privilege; only PostgreSQL has roles.
pub(super) fn is_denied(error: &DbErr) -> bool {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    matches!(error.as_ref(), SqlxError::Database(error) if error.code().as_deref() == Some("42501"))
}

pub(super) fn of_sqlx(error: &SqlxError) -> StorageError {
    sorted(error).counted()
}

/// While connecting, every error is about the database, for example a changed password.
pub(super) fn of_connecting(error: &SqlxError) -> StorageError {
    let error = match sorted(error) {
        StorageError::Failed(what) => StorageError::Unavailable(what),
        error => error,
    };
    error.counted()
}

fn sorted(error: &SqlxError) -> StorageError {
    match error {
        SqlxError::Database(error) => of_database(error.as_ref()),
        SqlxError::PoolTimedOut => StorageError::Busy,
        SqlxError::Io(_)
        | SqlxError::Tls(_)
        | SqlxError::Protocol(_)
        | SqlxError::PoolClosed
        | SqlxError::WorkerCrashed => StorageError::Unavailable(error.to_string()),
        _ => StorageError::Failed(error.to_string()),
    }
}

/// The same for SQLite without sqlx.
pub(super) fn of_rusqlite(error: &rusqlite::Error) -> StorageError {
    let error = match error.sqlite_error().map(|error| error.extended_code) {
        None => StorageError::Failed("a statement does not fit the tables".to_owned()),
        // A primary key, or another unique index.
        Some(1_555 | 2_067) => StorageError::Conflict,
        Some(code) => {
            of_sqlite(code, format!("{} (error {code}, constraint none)", meaning_of_sqlite(&code.to_string())))
        }
    };
    error.counted()
}

/// Leaves out the database's own message: it can quote values.
fn of_database(error: &dyn DatabaseError) -> StorageError {
    if error.is_unique_violation() {
        return StorageError::Conflict;
    }
    let code = error.code().unwrap_or_default();
    let is_sqlite = error.try_downcast_ref::<SqliteError>().is_some();
    let meaning = if is_sqlite { meaning_of_sqlite(&code) } else { meaning_of_postgres(&code) };
    let what = format!("{meaning} (error {code}, constraint {})", error.constraint().unwrap_or("none"));
    // A prepared statement no longer fits the tables; the server's message is in its own language.
    let routine = error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::routine);
    if code == "0A000" && routine == Some("RevalidateCachedQuery") {
        return StorageError::Stale;
    }
    match code.parse() {
        Ok(code) if is_sqlite => of_sqlite(code, what),
        _ => of_postgres(&code, what),
    }
}

/// Describes the error; the database's own message could quote a value.
fn meaning_of_postgres(code: &str) -> &'static str {
    match code {
        "25006" => "the database accepts no writes",
        "3F000" => "the role's search_path names no schema in which tables can be created",
        "40001" | "40P01" => "the transaction conflicted with another one",
        "42501" => "the role lacks a privilege on a table or schema; GRANT it",
        "42703" => "a column is missing: the tables are of another release",
        "42P01" => "a table is missing; run `dispute-service migrate`",
        "42P07" => "a table or an index of this name already exists",
        "53100" => "the server's disk is full",
        "53200" => "the server is out of memory",
        "53300" => "the server, the database or the role has no connection left",
        "55P03" => "a lock was held for too long",
        "57014" => "a statement took too long",
        "57P01" | "57P02" => "the server is shutting down",
        "57P03" => "the server does not accept connections yet",
        "XX001" | "XX002" => "the server's files are damaged",
        code if code.starts_with("08") => "the connection was lost",
        code if code.starts_with("28") => "the server no longer lets the role log in",
        code if code.starts_with("58") => "the server cannot read or write its files",
        _ => "the database rejected a statement",
    }
}

/// The same by SQLite's primary result code.
fn meaning_of_sqlite(code: &str) -> &'static str {
    match code.parse::<i32>().map(|code| code & 0xff) {
        Ok(5 | 6) => "another process keeps the file locked",
        Ok(8) => "the file or its folder is read-only",
        Ok(10) => "the file cannot be read or written",
        Ok(11) => "the file is damaged",
        Ok(13) => "the disk is full",
        Ok(14) => "the file cannot be opened",
        Ok(26) => "the file is not a SQLite database",
        _ => "the database rejected a statement",
    }
}

/// By the result code. The low byte of an extended one is the primary one.
fn of_sqlite(code: i32, what: String) -> StorageError {
    match code & 0xff {
        // BUSY, LOCKED: by another process, for longer than we wait.
        5 | 6 => StorageError::TimedOut,
        // INTERRUPT: by the time limit of reads.
        9 => StorageError::TimedOut,
        8 => StorageError::Unavailable(format!("the file cannot be written, {what}")),
        10 => StorageError::Unavailable(format!("the disk reports an error, {what}")),
        13 => StorageError::Unavailable(format!("the disk is full, {what}")),
        14 => StorageError::Unavailable(format!("a file cannot be opened, {what}")),
        _ => StorageError::Failed(what),
    }
}

/// By the SQLSTATE.
fn of_postgres(code: &str, what: String) -> StorageError {
    match code {
        // Serialization failure, deadlock.
        "40001" | "40P01" => StorageError::Conflict,
        // Of lock_timeout, and of statement_timeout.
        "55P03" => StorageError::LockTimeout,
        "57014" => StorageError::TimedOut,
        "25006" => StorageError::ReadOnly,
        // A prepared statement is missing, or already exists: left or removed by a pooler.
        "26000" | "42P05" => StorageError::Stale,
        "53100" => StorageError::Unavailable(format!("the disk is full, {what}")),
        "42501" => StorageError::Failed(format!("the database's role lacks a privilege, {what}")),
        // Connection exceptions, insufficient resources, operator intervention, system errors.
        code if ["08", "28", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => {
            StorageError::Unavailable(what)
        }
        // We were idle within a transaction for so long that the server ended it; or the database, or its tables, are
        // being restored.
        "25P03" | "3D000" | "42P01" => StorageError::Unavailable(what),
        _ => StorageError::Failed(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_database_says_is_sorted_by_its_code() {
        let what = || "what".to_owned();
        let unavailable = || StorageError::Unavailable(what());
        let failed = || StorageError::Failed(what());
        // 08006 looks like a number, 57014 like a long one.
        let postgres = [
            ("40001", StorageError::Conflict),
            ("40P01", StorageError::Conflict),
            ("08006", unavailable()),
            ("08000", unavailable()),
            ("53300", unavailable()),
            ("57P01", unavailable()),
            ("57014", StorageError::TimedOut),
            ("58030", unavailable()),
            ("25006", StorageError::ReadOnly),
            ("55P03", StorageError::LockTimeout),
            ("26000", StorageError::Stale),
            ("42P05", StorageError::Stale),
            ("25P03", unavailable()),
            ("3D000", unavailable()),
            ("42P01", unavailable()),
            ("25P02", failed()),
            ("22001", failed()),
            ("23503", failed()),
            ("00005", failed()),
            ("", failed()),
        ];
        for (code, error) in postgres {
            assert_eq!(of_postgres(code, what()), error, "{code}");
        }
        let (busy_recovery, io_fsync) = (5 | 1 << 8, 10 | 4 << 8);
        let said = |words: &str| StorageError::Unavailable(format!("{words}, what"));
        let sqlite = [
            (5, StorageError::TimedOut),
            (6, StorageError::TimedOut),
            (9, StorageError::TimedOut),
            (busy_recovery, StorageError::TimedOut),
            (8, said("the file cannot be written")),
            (io_fsync, said("the disk reports an error")),
            (13, said("the disk is full")),
            (14, said("a file cannot be opened")),
            (1, failed()),
            (19, failed()),
        ];
        for (code, error) in sqlite {
            assert_eq!(of_sqlite(code, what()), error, "{code}");
        }
    }
}
