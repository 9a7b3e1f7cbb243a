//! A pool of connections for one kind of work, and what happens if there is none, if the work takes too long, or if the
//! connections have become useless.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::{DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, TransactionTrait as _};
use tokio::time::Instant;

use super::fair::NoPermit;
use super::postgres::{Condition, Server};
use super::{DATABASE_TIMEOUT, TURN_TIMEOUT};
use crate::clock::{pause, real_now};
use crate::repository::dialect::postgres::ServerTransaction;
use crate::repository::error::StorageError;
use crate::repository::transaction::begun;

/// How long a connection in use may take to be returned before it counts that there is none.
const RETURN_TIMEOUT: Duration = Duration::from_millis(100);

/// The connections for one kind of work. Clones share them.
#[derive(Clone, Debug)]
pub(in crate::repository) struct Pool {
    connections: DatabaseConnection,
    /// The server that they lead to, unless it is a file.
    server: Option<Arc<Server>>,
    renewal: Renewal,
    /// The task that opens connections while the server has none left.
    one_by_one: Arc<tokio::sync::Mutex<()>>,
}

/// The minimum age of usable connections: older ones are closed when they are acquired or released. New ones have no
/// prepared statements, and were verified to lead to a primary.
#[derive(Clone, Default, Debug)]
pub(super) struct Renewal(Arc<Mutex<Option<Instant>>>);

impl Renewal {
    /// Makes all connections too old that are open now.
    pub(super) fn demand(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(real_now());
    }

    /// Whether a connection of this age is too old.
    pub(super) fn concerns(&self, age: Duration) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| age >= real_now().saturating_duration_since(since))
    }
}

impl Pool {
    /// A pool for a file.
    pub(super) fn of_file(connections: DatabaseConnection) -> Self {
        Self { connections, server: None, renewal: Renewal::default(), one_by_one: Arc::default() }
    }

    /// A pool of connections to a server, which check with `renewal` whether they are too old.
    pub(super) fn of_server(connections: DatabaseConnection, server: Arc<Server>, renewal: Renewal) -> Self {
        Self { connections, server: Some(server), renewal, one_by_one: Arc::default() }
    }

    /// A pool of one new connection to the same server, which is not open yet.
    pub(in crate::repository) async fn another(&self) -> Result<Self, StorageError> {
        let Some(server) = &self.server else { return Ok(self.clone()) };
        server.pool(1).await.map_err(|error| StorageError::Unavailable(error.to_string()))
    }

    /// The kind of database.
    pub(in crate::repository) fn backend(&self) -> DbBackend {
        self.connections.get_database_backend()
    }

    /// Has new connections lead to the host that is used now. The server does that itself for the pools that it keeps.
    pub(in crate::repository) fn follow_host(&self) {
        if let Some(server) = &self.server {
            self.connections.get_postgres_connection_pool().set_connect_options(server.host());
        }
    }

    /// Whether a connection of this age leads to a host that is no longer used.
    pub(in crate::repository) fn has_moved(&self, age: Duration) -> bool {
        self.server.as_ref().is_some_and(|server| server.has_moved(age))
    }

    /// The connections themselves, for anything that is neither a read nor a transaction.
    pub(in crate::repository) fn connections(&self) -> &DatabaseConnection {
        &self.connections
    }

    /// Reads, at most twice: again on a new connection if the tables changed under prepared statements. Waits for a
    /// connection while the database is reachable, and returns [`StorageError::Busy`] if none becomes free.
    pub(in crate::repository) async fn read<T, F: Future<Output = Result<T, StorageError>>>(
        &self,
        read: impl Fn(DatabaseConnection) -> F,
    ) -> Result<T, StorageError> {
        let attempt = || self.with_turn(|| read(self.connections.clone()));
        let twice = async {
            match attempt().await {
                Err(error) if self.renew_after(&error) => attempt().await,
                result => result,
            }
        };
        self.in_time(twice).await
    }

    /// Begins a write transaction. Waits for a connection as a read does.
    pub(in crate::repository) async fn begin(&self) -> Result<ServerTransaction, StorageError> {
        let begun = self.with_turn(|| ServerTransaction::begin(&self.connections)).await;
        self.seek_after(begun.as_ref().err());
        begun
    }

    /// Begins a write transaction for statements that SeaORM builds, on either database.
    pub(in crate::repository) async fn begin_by_seaorm(&self) -> Result<DatabaseTransaction, StorageError> {
        let begin = || async {
            let begun = self.connections.begin_with_options(begun(SqliteTransactionMode::Immediate)).await;
            begun.map_err(StorageError::from)
        };
        let begun = self.with_turn(begin).await;
        self.seek_after(begun.as_ref().err());
        begun
    }

    /// Searches for another host after an error that means that this one is unreachable, or accepts no writes.
    fn seek_after(&self, error: Option<&StorageError>) {
        if let (Some(server), Some(StorageError::Unavailable(_) | StorageError::ReadOnly)) = (&self.server, error) {
            server.seek();
        }
    }

    /// Requires new connections after an error that old ones would repeat. Returns whether a retry can then succeed.
    pub(in crate::repository) fn renew_after(&self, error: &StorageError) -> bool {
        let is_stale = *error == StorageError::Stale;
        if is_stale || *error == StorageError::ReadOnly {
            self.renewal.demand();
        }
        self.seek_after(Some(error));
        is_stale
    }

    /// Performs reads, or gives up, and reports whether they were slow or the database is lost.
    pub(in crate::repository) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let result = match tokio::time::timeout(DATABASE_TIMEOUT, work).await {
            Ok(result) => result,
            Err(_) => Err(self.condition().await.or(StorageError::TimedOut)),
        };
        self.seek_after(result.as_ref().err());
        result
    }

    /// Waits for the permit to use a connection. Behind reads that a lost database does not answer, a caller waits in vain
    /// too: it is told that the database is away, not that too many wait.
    pub(in crate::repository) async fn permitted<T>(
        &self,
        permit: impl Future<Output = Result<T, NoPermit>>,
    ) -> Result<T, StorageError> {
        let error = match permit.await {
            Ok(permit) => return Ok(permit),
            Err(NoPermit::QueueFull) => StorageError::Busy,
            Err(NoPermit::TimedOut) => self.condition().await.or(StorageError::Busy),
        };
        self.seek_after(Some(&error));
        Err(error)
    }

    /// Retries for as long as a caller waits, while no connection is free but the database is reachable.
    ///
    /// A caller that finds no idle connection in an sqlx pool below its maximum size opens one, and if the server has
    /// none left, keeps trying until its time is over, even if connections are returned to the pool meanwhile. So while
    /// the server is full, all callers wait here for returned ones.
    async fn with_turn<T, F: Future<Output = Result<T, StorageError>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, StorageError> {
        let began = real_now();
        loop {
            let turn = self.turn_at_full_server().await;
            let attempted = attempt().await;
            drop(turn);
            match attempted {
                Err(StorageError::Busy) => match self.condition().await {
                    Condition::Works | Condition::IsFull if began.elapsed() < TURN_TIMEOUT => {}
                    condition => return Err(condition.or(StorageError::Busy)),
                },
                result => return result,
            }
        }
    }

    async fn turn_at_full_server(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let server = self.server.as_ref().filter(|server| server.is_full())?;
        let turn = self.one_by_one.lock().await;
        let pool = self.connections.get_postgres_connection_pool();
        let began = real_now();
        while pool.num_idle() == 0 && began.elapsed() < RETURN_TIMEOUT {
            pause(RETURN_TIMEOUT / 20).await;
        }
        if pool.num_idle() == 0 {
            server.make_room_for(pool).await;
        }
        Some(turn)
    }

    async fn condition(&self) -> Condition {
        match &self.server {
            // In a box: opening a connection is large, and whoever waits for a turn would hold the room for it.
            Some(server) => Box::pin(server.condition()).await,
            None => Condition::Works,
        }
    }
}
