//! How each database is opened.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::Connection as _;
use sea_orm::sqlx::postgres::PgConnection;
use sea_orm::sqlx::sqlite::{SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbErr, RuntimeErr, Statement, sqlx};

use tokio::sync::Semaphore;

use super::Repository;
use super::error::StorageError;

/// Before this version SQLite could lose commits that it had acknowledged.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// How long to wait for a connection before saying that there is none.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a piece of work with the database may take before the database is taken for gone. One that vanished without
/// a word does not answer, and TCP alone would notice after a quarter of an hour.
const PATIENCE: Duration = Duration::from_secs(15);

/// A connection that was idle for less than this is taken for good …
const WITHOUT_A_QUESTION: Duration = Duration::from_secs(1);
/// … and another one if it answers within this.
const SIGN_OF_LIFE: Duration = Duration::from_millis(500);

/// How many connections there are for plain reads on each database …
const POSTGRES_READERS: u32 = 8;
const SQLITE_READERS: u32 = 4;
/// … and how many of them reads of several statements leave alone: lists, however many are asked for, must not keep
/// the callers' single reads waiting.
const FREE_READERS: u32 = 2;

/// How many connections the feed and the deadlines share: no caller keeps them waiting.
const POSTGRES_BACKGROUND: u32 = 2;
const SQLITE_BACKGROUND: u32 = 1;

/// What PostgreSQL does for us when a replica, or what is between us, stops moving: nobody holds a lock, above all not
/// the one on the head of the log, for longer than this.
const POSTGRES_BOUNDS: [(&str, &str); 7] = [
    ("lock_timeout", "10s"),
    ("statement_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "5s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "20s"),
];

/// How long another process may keep SQLite's write lock before we give up on ours.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of the database a SQLite connection keeps in memory at the most. Commands touch indexes all over.
const SQLITE_CACHE_KIB: u32 = 32 * 1024;

/// After how many pages SQLite moves its log into the database. A page that several batches change is moved
/// once for all of them.
const WAL_PAGES: u32 = 8_192;

/// How many prepared statements a connection keeps: about a dozen texts, each in ten sizes.
const STATEMENTS: usize = 512;

/// Why a database cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Neither SQLite nor PostgreSQL.
    #[error("the database URL must begin with sqlite:// or postgres://")]
    UnknownScheme,
    /// Each connection to such a database would have a database of its own.
    #[error("a SQLite database in memory cannot be used, name a file")]
    InMemory,
    /// A SQLite that can lose what it acknowledged.
    #[error("SQLite {found} can lose acknowledged commits, 3.51.3 or later is needed")]
    SqliteTooOld {
        /// The version that was found.
        found: String,
    },
    /// It does not answer, or not as it should.
    #[error("the database cannot be opened: {0}")]
    Failed(#[from] StorageError),
}

impl From<DbErr> for ConnectError {
    fn from(error: DbErr) -> Self {
        use StorageError::{Failed, Unavailable};
        Self::Failed(match &error {
            DbErr::Conn(RuntimeErr::SqlxError(error)) => match error.as_ref() {
                // Nothing was asked yet, so that the database's own words quote nothing that is stored.
                sqlx::Error::Database(error) => Unavailable(error.message().to_owned()),
                // A URL that cannot be read may hold a password: it is not repeated, nor is a part of it.
                sqlx::Error::Configuration(_) => Failed("its URL is not valid".to_owned()),
                error => Unavailable(error.to_string()),
            },
            DbErr::Conn(_) => Failed("its URL is not valid".to_owned()),
            _ => error.into(),
        })
    }
}

impl Repository {
    /// Opens the database at `url`: `sqlite://FILE?mode=rwc` or `postgres://…`.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        if is_postgres(url) {
            // sqlx pings a connection when it is released: with two, the next batch takes the other one.
            let writer = Database::connect(postgres(url, 2)).await?;
            let reader = Database::connect(postgres(url, POSTGRES_READERS)).await?;
            let background = Database::connect(postgres(url, POSTGRES_BACKGROUND)).await?;
            Ok(Self { writer, reader, background, moments: moments(POSTGRES_READERS) })
        } else if !url.starts_with("sqlite:") {
            Err(ConnectError::UnknownScheme)
        } else if url.contains(":memory:") || url.contains("mode=memory") {
            Err(ConnectError::InMemory)
        } else {
            let writer = Database::connect(sqlite(url, 1, false)).await?;
            require_recent_sqlite(&writer).await?;
            let reader = Database::connect(sqlite(url, SQLITE_READERS, true)).await?;
            let background = Database::connect(sqlite(url, SQLITE_BACKGROUND, true)).await?;
            Ok(Self { writer, reader, background, moments: moments(SQLITE_READERS) })
        }
    }
}

/// Whether a URL names a PostgreSQL.
pub(super) fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// Does a piece of work with the database, or gives up: then it is not known whether it was done.
pub(crate) async fn in_time<T>(work: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
    let silent = |_| Err(StorageError::Unavailable("the database does not answer".to_owned()));
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(silent)
}

fn moments(readers: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(readers.saturating_sub(FREE_READERS) as usize))
}

fn common(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_timeout(ACQUIRE_TIMEOUT)
        // No connection has an end: what sqlx 0.9.0 runs to look for those that do can loop for ever, and take
        // a thread of the runtime with it (its issue 3645).
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    options
}

pub(super) fn postgres(url: &str, connections: u32) -> ConnectOptions {
    let mut options = common(url, connections);
    options.set_application_name("dispute-service");
    options.map_sqlx_postgres_pool_opts(|pool| {
        let pool = pool.after_release(|connection, _| Box::pin(answers(connection, ACQUIRE_TIMEOUT)));
        pool.before_acquire(|connection, idle| Box::pin(is_alive(connection, idle.idle_for)))
    });
    options.map_sqlx_postgres_opts(|options| {
        options
            .statement_cache_capacity(STATEMENTS)
            // A statement that is prepared while its table is empty would keep the plan for an empty table; and
            // no statement of ours is better off without an index, whatever the planner makes of a table that
            // it has no statistics of. Nor with a bitmap: it would read and sort all that follows for the first few in
            // order.
            .options([
                ("plan_cache_mode", "force_custom_plan"),
                ("enable_seqscan", "off"),
                ("enable_bitmapscan", "off"),
            ])
            .options(POSTGRES_BOUNDS)
    });
    options
}

fn sqlite(url: &str, connections: u32, only_reads: bool) -> ConnectOptions {
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

/// Whether a connection that goes back to its pool still answers. sqlx asks that too, but waits for as long as it takes:
/// connections to a host that vanished would fill the pool.
async fn answers(connection: &mut PgConnection, within: Duration) -> Result<bool, sqlx::Error> {
    let answer = tokio::time::timeout(within, connection.ping()).await;
    answer.unwrap_or_else(|elapsed| Err(sqlx::Error::Io(elapsed.into()))).map(|()| true)
}

/// Whether a connection that was idle for a while is still good. One that was lost meanwhile, as all are when the server
/// is started again, would fail the caller who gets it; one in constant use is not asked.
async fn is_alive(connection: &mut PgConnection, idle_for: Duration) -> Result<bool, sqlx::Error> {
    if idle_for < WITHOUT_A_QUESTION { Ok(true) } else { answers(connection, SIGN_OF_LIFE).await }
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

async fn require_recent_sqlite(connection: &DatabaseConnection) -> Result<(), ConnectError> {
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
