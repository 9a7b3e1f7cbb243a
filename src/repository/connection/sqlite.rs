//! How SQLite is opened.

use std::time::Duration;

use sea_orm::sqlx::Connection as _;
use sea_orm::sqlx::sqlite::{SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, ConnectionTrait as _, DatabaseConnection, Statement, sqlx};

use super::{ConnectError, STATEMENTS, common};

/// Before this version SQLite could lose commits that it had acknowledged.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// How long another process may keep SQLite's write lock before we give up on ours.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of the database a SQLite connection keeps in memory at the most. Commands touch indexes all over.
const SQLITE_CACHE_KIB: u32 = 32 * 1024;

/// After how many pages SQLite moves its log into the database. A page that several batches change is moved
/// once for all of them.
const WAL_PAGES: u32 = 8_192;

pub(super) fn sqlite(url: &str, connections: u32, only_reads: bool) -> ConnectOptions {
    let mut options = common(url, connections);
    options.map_sqlx_sqlite_pool_opts(|pool| pool.after_release(|connection, _| Box::pin(has_ended(connection))));
    options.map_sqlx_sqlite_opts(move |options| {
        let options = options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(STATEMENTS)
            .pragma("cache_size", format!("-{SQLITE_CACHE_KIB}"))
            .pragma("wal_autocheckpoint", WAL_PAGES.to_string());
        if only_reads { options.pragma("query_only", "ON") } else { options }
    });
    options
}

/// Whether nothing of a transaction is left on a connection that goes back to its pool; if not, it is closed.
/// After some errors, a full disk among them, SQLite rolls back by itself, and the rollback that follows fails:
/// sqlx then believes that a transaction is still open, would begin the next one as a savepoint inside of it,
/// and in the end would only release that savepoint where it should commit.
async fn has_ended(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // A dropped transaction queued its rollback ahead of this.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

pub(super) async fn require_recent_sqlite(connection: &DatabaseConnection) -> Result<(), ConnectError> {
    let ask = Statement::from_string(connection.get_database_backend(), "SELECT sqlite_version() AS version");
    let row = connection.query_one_raw(ask).await?;
    let found: String = row.map(|row| row.try_get("", "version")).transpose()?.unwrap_or_default();
    let mut parts = found.split('.').map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    if (part(), part(), part()) < OLDEST_SQLITE {
        return Err(ConnectError::SqliteTooOld { found });
    }
    Ok(())
}
