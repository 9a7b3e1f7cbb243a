//! Opens SQLite.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteError, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};
use sea_orm::{ConnectOptions, Database, SqlxSqliteConnector, sqlx};

use super::in_place::{READ_TIMEOUT, STEPS};
use super::readers::{ReaderPermits, ReaderShares};
use super::{ConnectError, FileConnection, InPlace, Pool, STATEMENTS, common};
use crate::clock::real_now;
use crate::repository::Repository;
use crate::repository::files::{DatabaseFiles, FileError};
use crate::repository::one_dispute::DisputeReads;
use crate::repository::transaction::{FileWriter, Writer};

/// Earlier versions of SQLite could lose acknowledged commits.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// How many connections there are for callers' reads: each is a thread, and one caller's lists keep one of them busy,
/// so that two cores are enough for everybody else …
const READERS: ReaderShares = ReaderShares { singles: 4, lists: 2, streams: 2 };
/// … and how many the feed and the deadlines share.
const BACKGROUND: u32 = 1;

/// How long to wait while another process holds SQLite's write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many of these can be used by statements of SeaORM, which need a connection with a thread of its own.
const WITH_THREADS: u32 = 4;

/// How much of the database the writer caches at most. Commands touch indexes all over.
const WRITER_CACHE_KIB: u32 = 32 * 1024;
/// … and each of the readers, whose cache is dropped with every commit.
const READER_CACHE_KIB: u32 = 4 * 1024;

/// Opens the database file of a URL, with its single writer; creates it if the URL says so.
pub(super) async fn open(url: &str, read_wait: Option<Duration>) -> Result<Repository, ConnectError> {
    let (path, may_create) = named_by(url)?;
    if let Some(parameter) = read_only_by(url) {
        let problem = format!("cannot be written: its URL says {parameter}, but the service has to write");
        return Err(FileError::new(&path, problem).into());
    }
    let files = Arc::new(DatabaseFiles::find(&path, may_create)?);
    let options = with_settings(options_of(url)?, false).disable_statement_logging();
    let mut first = options.connect().await.map_err(|error| not_opened(&path, &error))?;
    require_recent(&mut first, &path).await?;
    // Another process may have locked the database.
    first.execute("BEGIN IMMEDIATE; ROLLBACK").await.map_err(|error| not_opened(&path, &error))?;
    let writer = Database::connect(pool(url, &files, 1, None)).await?;
    let readers = Database::connect(pool(url, &files, WITH_THREADS, Some(READ_TIMEOUT))).await?;
    let background = Database::connect(pool(url, &files, BACKGROUND, Some(READ_TIMEOUT))).await?;
    let not_opened_here = |error: rusqlite::Error| refused(&path, code_of(&error), &error);
    let connection =
        FileConnection::open(&path, files.clone(), WRITER_CACHE_KIB, BUSY_TIMEOUT, false).map_err(not_opened_here)?;
    let ahead =
        FileConnection::open(&path, files.clone(), READER_CACHE_KIB, BUSY_TIMEOUT, true).map_err(not_opened_here)?;
    // One for each permit, and one for the tailer.
    let in_place = READERS.singles + READERS.lists + READERS.streams + 1;
    let in_place = InPlace::open(&path, in_place, READER_CACHE_KIB, BUSY_TIMEOUT).map_err(not_opened_here)?;
    files.require().map_err(|error| FileError::new(&path, format!("cannot be opened: {error}")))?;
    first.close().await.map_err(|error| not_opened(&path, &error))?;
    let [writer, readers, background] = [writer, readers, background].map(Pool::of_file);
    let writer = Writer { pool: writer, file: Some(FileWriter { files: files.clone(), connection, ahead }) };
    let files = Some(files);
    let permits = Arc::new(ReaderPermits::with_shares(READERS, read_wait));
    let dispute_reads = DisputeReads::InPlace(in_place);
    Ok(Repository { writer, readers, permits, dispute_reads, background, files, notifier: None })
}

/// Opens an existing database to copy it.
pub(in crate::repository) async fn open_to_copy(url: &str) -> Result<SqliteConnection, ConnectError> {
    let (path, options) = there(url)?;
    let mut connection = options.connect().await.map_err(|error| not_opened(&path, &error))?;
    connection.execute("SELECT count(*) FROM sqlite_schema").await.map_err(|error| not_opened(&path, &error))?;
    Ok(connection)
}

/// Opens a database that is there with one connection for reads.
pub(super) async fn open_to_read(url: &str) -> Result<Pool, ConnectError> {
    let (path, options) = there(url)?;
    // No connection has an end, as in `common`.
    let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let pool = pool.connect_with(options.pragma("query_only", "ON")).await;
    let pool = pool.map_err(|error| not_opened(&path, &error))?;
    Ok(Pool::of_file(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool)))
}

/// The file of a database that is there, and how it is opened beside the service.
fn there(url: &str) -> Result<(PathBuf, SqliteConnectOptions), ConnectError> {
    if !url.starts_with("sqlite:") {
        return Err(ConnectError::UnknownScheme);
    }
    let (path, _) = named_by(url)?;
    if !path.exists() {
        return Err(FileError::new(&path, "does not exist").into());
    }
    let options = options_of(url)?.create_if_missing(false).busy_timeout(BUSY_TIMEOUT).disable_statement_logging();
    Ok((path, options))
}

/// The file of a URL, and whether it may be created.
fn named_by(url: &str) -> Result<(PathBuf, bool), ConnectError> {
    let path = options_of(url)?.get_filename().to_owned();
    if path.as_os_str().is_empty() {
        return Err(ConnectError::InMemory);
    }
    Ok((path, parameters(url).any(|parameter| parameter == "mode=rwc")))
}

fn options_of(url: &str) -> Result<SqliteConnectOptions, ConnectError> {
    SqliteConnectOptions::from_str(url).map_err(|_| ConnectError::InvalidUrl)
}

/// The parameter of a URL that makes its database read-only.
fn read_only_by(url: &str) -> Option<&str> {
    parameters(url).find(|parameter| ["mode=ro", "immutable=true", "immutable=1"].contains(parameter))
}

fn parameters(url: &str) -> impl Iterator<Item = &str> {
    url.split_once('?').map_or("", |(_, parameters)| parameters).split('&')
}

/// Connections with a time limit are used for reads only.
fn pool(url: &str, files: &Arc<DatabaseFiles>, connections: u32, read_timeout: Option<Duration>) -> ConnectOptions {
    let mut options = common(url, connections);
    // All at once: a connection opened later could find another file at the path.
    options.min_connections(connections);
    let files = files.clone();
    options.map_sqlx_sqlite_pool_opts(move |pool| {
        let files = files.clone();
        let opened = pool.after_connect(move |connection, _| {
            // It opened the file that is at the path now. If the others have another file open, it reads nothing.
            let is_the_same = files.require().map_err(|error| sqlx::Error::Io(io::Error::other(error.to_string())));
            Box::pin(async move {
                is_the_same?;
                limit_next_read(connection, read_timeout).await
            })
        });
        opened.after_release(move |connection, _| {
            Box::pin(async move {
                let has_ended = has_ended(connection).await?;
                limit_next_read(connection, read_timeout).await?;
                Ok(has_ended)
            })
        })
    });
    let only_reads = read_timeout.is_some();
    // The file exists by now. If it is gone, it is not created again.
    options.map_sqlx_sqlite_opts(move |options| with_settings(options.create_if_missing(false), only_reads));
    options
}

fn with_settings(options: SqliteConnectOptions, only_reads: bool) -> SqliteConnectOptions {
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS)
        .pragma("cache_size", format!("-{READER_CACHE_KIB}"));
    if only_reads { options.pragma("query_only", "ON") } else { options }
}

/// Lets SQLite end the next read on a connection if it takes too long, counted from the first check of the time.
async fn limit_next_read(connection: &mut SqliteConnection, limit: Option<Duration>) -> Result<(), sqlx::Error> {
    let Some(limit) = limit else { return Ok(()) };
    let mut began = None;
    let goes_on = move || began.get_or_insert_with(real_now).elapsed() < limit;
    connection.lock_handle().await?.set_progress_handler(STEPS, goes_on);
    Ok(())
}

/// Whether a connection that returns to its pool has no transaction left; if it has, it is closed. After some errors,
/// such as a full disk, SQLite rolls back by itself, and the following rollback fails: sqlx then assumes that a
/// transaction is still open, would start the next one as a savepoint inside it, and would finally release only that
/// savepoint instead of committing.
async fn has_ended(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // A dropped transaction queued its rollback before this.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

async fn require_recent(connection: &mut SqliteConnection, path: &Path) -> Result<(), ConnectError> {
    let row = connection.fetch_one("SELECT sqlite_version()").await.map_err(|error| not_opened(path, &error))?;
    let found: String = row.try_get(0).map_err(|error| not_opened(path, &error))?;
    let mut parts = found.split('.').map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    if (part(), part(), part()) < OLDEST_SQLITE {
        return Err(ConnectError::SqliteTooOld { found });
    }
    Ok(())
}

/// Why SQLite does not open a file.
fn not_opened(path: &Path, error: &sqlx::Error) -> ConnectError {
    let sqlite = error.as_database_error().and_then(|error| error.try_downcast_ref::<SqliteError>());
    refused(path, sqlite.and_then(|error| sqlx::error::DatabaseError::code(error)?.parse().ok()), error)
}

/// The result code of SQLite behind an error.
fn code_of(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}

fn refused(path: &Path, code: Option<i32>, error: &impl std::fmt::Display) -> ConnectError {
    let problem = match code.map(|code: i32| (code & 0xff, code)) {
        Some((5 | 6, _)) => "is locked by another process".to_owned(),
        // The file itself is writable: this was checked before.
        Some((8 | 14, _)) => "cannot be written: its directory, or a file NAME-wal or NAME-shm that somebody left \
            beside it, does not allow that"
            .to_owned(),
        Some((11, _)) => "is damaged".to_owned(),
        // IOERR_SHMSIZE: there is no disk space for NAME-shm.
        Some((13, _) | (_, 4_874)) => "cannot be written: the disk is full".to_owned(),
        Some((26, _)) => "is not a SQLite database".to_owned(),
        _ => format!("cannot be opened: {error}"),
    };
    FileError::new(path, problem).into()
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait as _, Statement};

    use super::*;
    use crate::repository::StorageError;

    #[tokio::test]
    async fn a_read_that_takes_too_long_is_ended_and_its_connection_is_as_good_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
        options_of(&url).unwrap().connect().await.unwrap().close().await.unwrap();
        let files = Arc::new(DatabaseFiles::find(&folder.path().join("disputes.db"), false).unwrap());
        let connections = Database::connect(pool(&url, &files, 1, Some(Duration::from_millis(20)))).await.unwrap();
        let read = async |sql: &str| {
            let row = connections.query_one_raw(Statement::from_string(connections.get_database_backend(), sql)).await;
            row.map_err(StorageError::from)?.unwrap().try_get_by_index::<i64>(0).map_err(StorageError::from)
        };
        let counted =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10000) SELECT count(*) FROM n";
        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        for _ in 0..3 {
            assert_eq!(read(endless).await, Err(StorageError::TimedOut));
            assert_eq!(read(counted).await, Ok(10_000));
        }
    }
}
