//! A pool of connections for one kind of work, and what happens when there is none, when the work takes too long, or
//! when the connections are of no use any more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::{DatabaseConnection, DatabaseTransaction, DbBackend, TransactionOptions, TransactionTrait as _};
use tokio::time::Instant;

use super::postgres::{Condition, Server};
use super::{DATABASE_TIMEOUT, TURN_TIMEOUT};
use crate::clock::{pause, real_now};
use crate::repository::error::StorageError;

/// How long a connection that is in use may take to come back before it is believed that there is none.
const RETURN_TIMEOUT: Duration = Duration::from_millis(100);

/// The connections for one kind of work. Clones share them.
#[derive(Clone, Debug)]
pub(in crate::repository) struct Pool {
    connections: DatabaseConnection,
    /// Where they lead, unless that is a file.
    server: Option<Arc<Server>>,
    renewal: Renewal,
    /// Who takes a connection while the server has none left.
    one_by_one: Arc<tokio::sync::Mutex<()>>,
}

/// From when on connections must be to be of use: older ones are closed when they are taken from their pool, or given
/// back. New ones have no prepared statements, and were found to be to a primary.
#[derive(Clone, Default, Debug)]
pub(super) struct Renewal(Arc<Mutex<Option<Instant>>>);

impl Renewal {
    fn demand(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(real_now());
    }

    /// Whether a connection of this age is too old.
    pub(super) fn concerns(&self, age: Duration) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| age >= real_now().saturating_duration_since(since))
    }
}

impl Pool {
    /// A pool of a file.
    pub(super) fn of_file(connections: DatabaseConnection) -> Self {
        Self { connections, server: None, renewal: Renewal::default(), one_by_one: Arc::default() }
    }

    /// A pool of connections to a server, which ask `renewal` whether they are too old.
    pub(super) fn of_server(connections: DatabaseConnection, server: Arc<Server>, renewal: Renewal) -> Self {
        Self { connections, server: Some(server), renewal, one_by_one: Arc::default() }
    }

    /// A pool of one new connection to the same server, which is not open yet.
    pub(in crate::repository) async fn another(&self) -> Result<Self, StorageError> {
        let Some(server) = &self.server else { return Ok(self.clone()) };
        server.pool(1).await.map_err(|error| StorageError::Unavailable(error.to_string()))
    }

    /// Which database it leads to.
    pub(in crate::repository) fn backend(&self) -> DbBackend {
        self.connections.get_database_backend()
    }

    /// The connections themselves, for what is neither a read nor a transaction.
    pub(in crate::repository) fn connections(&self) -> &DatabaseConnection {
        &self.connections
    }

    /// Reads, at most twice: again on a new connection if the tables changed under prepared statements. Waits for a
    /// connection while the database is there, and answers [`StorageError::Busy`] if none comes free.
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

    /// Begins a transaction. Waits for a connection as a read does.
    pub(in crate::repository) async fn begin(
        &self,
        options: impl Fn() -> TransactionOptions,
    ) -> Result<DatabaseTransaction, StorageError> {
        self.with_turn(|| async { Ok(self.connections.begin_with_options(options()).await?) }).await
    }

    /// Demands new connections after an error that the old ones would only repeat. Answers whether the same work can
    /// then succeed.
    pub(in crate::repository) fn renew_after(&self, error: &StorageError) -> bool {
        let is_stale = *error == StorageError::Stale;
        if is_stale || *error == StorageError::ReadOnly {
            self.renewal.demand();
        }
        is_stale
    }

    /// Does reads with the database, or gives up on them, and says whether they were slow or the database is gone.
    pub(in crate::repository) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        match tokio::time::timeout(DATABASE_TIMEOUT, work).await {
            Ok(result) => result,
            Err(_) => Err(match self.condition().await {
                Condition::Works | Condition::IsFull => StorageError::TimedOut,
                Condition::IsAway(why) => StorageError::Unavailable(why),
            }),
        }
    }

    /// Tries again for as long as a caller waits for its turn, while there is no connection but the database is there.
    ///
    /// Who finds no idle connection in a pool of sqlx that is not at its full size makes one, and if the server has none
    /// left tries that until its time is over, whatever comes back to the pool meanwhile. So while the server is full
    /// everybody waits here for what comes back.
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
                    Condition::Works | Condition::IsFull => return Err(StorageError::Busy),
                    Condition::IsAway(why) => return Err(StorageError::Unavailable(why)),
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
            Some(server) => server.condition().await,
            None => Condition::Works,
        }
    }
}
