//! Opens databases: what applies to both; `postgres` and `sqlite` for each.

mod causes;
mod fair;
mod file;
mod hosts;
mod in_place;
mod pool;
mod pooler;
mod postgres;
mod readers;
mod session;
mod sizes;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectOptions, DbErr, RuntimeErr, sqlx};

use super::error::StorageError;
use super::files::FileError;
use super::gathered::Gathered;
use super::one_dispute::DisputeReads;
use super::transaction::Writer;
use super::{Notifier, Repository};
pub(super) use fair::Permit;
pub(super) use file::{FileConnection, FileTransaction, Turn};
pub(super) use in_place::InPlace;
pub(super) use pool::Pool;
pub use readers::ReadClass;
pub(super) use readers::ReaderPermits;
pub(super) use session::APPLICATION;
use sizes::Connections;
pub(super) use sqlite::open_to_copy;

/// How long to wait for a connection before asking why there is none.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait for a connection that is in use before the caller is refused as overloaded.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long work with the database may take before the database counts as lost. One that vanished silently sends no
/// reply, and TCP alone would notice after a quarter of an hour.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(15);

/// How many prepared statements a connection keeps: about a dozen texts, each in ten sizes.
const STATEMENTS: usize = 512;

/// The fewest connections to PostgreSQL that the service works with.
pub const LEAST_CONNECTIONS: u32 = Connections::LEAST;

/// The sources of the database URL.
const URL_FLAGS: &str =
    "--database-url, DISPUTES_DATABASE_URL, or a file: --database-url-file, DISPUTES_DATABASE_URL_FILE";

/// Why a database cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Neither SQLite nor PostgreSQL.
    #[error("the database URL ({URL_FLAGS}) must begin with sqlite:// or postgres://")]
    UnknownScheme,
    /// Each connection to such a database would have a database of its own.
    #[error("the database URL ({URL_FLAGS}) must name a file: an in-memory SQLite database cannot be used")]
    InMemory,
    /// A SQLite version that can lose acknowledged commits.
    #[error("SQLite {found} can lose acknowledged commits; 3.51.3 or later is required")]
    SqliteTooOld {
        /// The version found.
        found: String,
    },
    /// The file of a SQLite database cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The URL is invalid. It may contain a password, so no part of it is repeated.
    #[error("the database URL ({URL_FLAGS}) is not valid")]
    InvalidUrl,
    /// The URL asks for a standby, which cannot be used.
    #[error(
        "the database URL ({URL_FLAGS}) asks for a host that may not accept writes: target_session_attrs must be read-write \
         or primary"
    )]
    NeedsPrimary,
    /// Several hosts in a parameter.
    #[error(
        "the database URL ({URL_FLAGS}) lists several hosts or ports in a parameter; put them before the database name: \
         postgres://one:5432,two:5432/…"
    )]
    HostsInParameter,
    /// PostgreSQL cannot be used: the cause, and what to do.
    #[error("the database cannot be opened: {0}")]
    Unusable(String),
    /// A pooler that does not keep a session per connection.
    #[error(
        "the database cannot be opened: the pooler in front of it lends connections for single transactions or statements, \
         so that settings, prepared statements and LISTEN would be lost; transaction pooling and statement pooling are \
         not supported, use pool_mode=session or connect to the server directly"
    )]
    NoSessions,
    /// Not enough connections.
    #[error(
        "this process could open {opened} database connections, but at least {} are needed; raise max_connections, the \
         limit of the role or database, or the pooler's pool_size",
        Connections::LEAST
    )]
    TooFewConnections {
        /// How many could be opened.
        opened: u32,
    },
    /// It does not respond, or not as it should.
    #[error("the database cannot be opened: {0}")]
    Failed(#[from] StorageError),
}

impl ConnectError {
    /// Whether the URL itself is wrong, whatever the database does.
    pub fn is_about_the_url(&self) -> bool {
        use ConnectError::{HostsInParameter, InMemory, InvalidUrl, NeedsPrimary, UnknownScheme};
        matches!(self, UnknownScheme | InMemory | InvalidUrl | NeedsPrimary | HostsInParameter)
    }

    /// The cause alone.
    fn reason(&self) -> String {
        match self {
            Self::Unusable(cause) => cause.clone(),
            error => error.to_string(),
        }
    }
}

impl From<DbErr> for ConnectError {
    fn from(error: DbErr) -> Self {
        use StorageError::{Failed, Unavailable};
        Self::Failed(match &error {
            DbErr::Conn(RuntimeErr::SqlxError(error)) => match error.as_ref() {
                // Nothing was requested yet, so the database's own message quotes nothing that is stored.
                sqlx::Error::Database(error) => Unavailable(error.message().to_owned()),
                // An invalid URL may contain a password, so no part of it is repeated.
                sqlx::Error::Configuration(_) => Failed(format!("its URL is not valid ({URL_FLAGS})")),
                error => Unavailable(error.to_string()),
            },
            DbErr::Conn(_) => Failed(format!("its URL is not valid ({URL_FLAGS})")),
            _ => error.into(),
        })
    }
}

impl Repository {
    /// Opens the database at `url`, `sqlite://FILE?mode=rwc` or `postgres://…`, with the fewest connections that work:
    /// for commands that do not serve.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::open(url, LEAST_CONNECTIONS, false, None).await
    }

    /// Opens the database at `url` with at most `connections` connections if it is PostgreSQL, and with a notifier
    /// between replicas if `notify`. A caller waits for a connection to read for at most `read_wait`; `None` for no
    /// limit.
    pub async fn open(
        url: &str,
        connections: u32,
        notify: bool,
        read_wait: Option<Duration>,
    ) -> Result<Self, ConnectError> {
        if is_postgres(url) {
            let too_few = ConnectError::TooFewConnections { opened: connections };
            let wanted = Connections::share(connections, notify).ok_or(too_few)?;
            let pools = postgres::open(url, wanted).await?;
            let permits = Arc::new(ReaderPermits::for_connections(pools.connections.readers, read_wait));
            let postgres::Pools { writer, readers, background, notifier, listener, connections: _ } = pools;
            let notifier = notifier.unwrap_or_else(|| background.clone());
            let notifier = listener.map(|listener| Notifier::new(notifier, listener));
            let dispute_reads = DisputeReads::Gathered(Gathered::new(readers.clone(), permits.clone()));
            let writer = Writer { pool: writer, file: None };
            Ok(Self { writer, readers, permits, dispute_reads, background, notifier, files: None })
        } else if !url.starts_with("sqlite:") {
            Err(ConnectError::UnknownScheme)
        } else if url.contains(":memory:") || url.contains("mode=memory") {
            Err(ConnectError::InMemory)
        } else {
            sqlite::open(url, read_wait).await
        }
    }
}

/// Opens the database at `url` with one connection, only to read: beside the service, and without the right to write.
pub(super) async fn open_to_read(url: &str) -> Result<Pool, ConnectError> {
    if is_postgres(url) { postgres::open_to_read(url).await } else { sqlite::open_to_read(url).await }
}

/// Whether a URL is for PostgreSQL.
pub(super) fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// Waits for work with the database, or gives up: then it is unknown whether it was done.
pub(crate) async fn in_time<T>(work: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
    let silent = |_| Err(StorageError::Unavailable("the database does not respond".to_owned()));
    tokio::time::timeout(DATABASE_TIMEOUT, work).await.unwrap_or_else(silent)
}

fn common(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_timeout(ACQUIRE_TIMEOUT)
        // Connections do not expire: sqlx 0.9.0's search for expired ones can loop for ever, blocking a thread of the
        // runtime (its issue 3645).
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    options
}
