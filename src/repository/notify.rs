//! Notifications (PostgreSQL's NOTIFY): replicas on one database tell each other that the log has grown. They are
//! hints; the log is the truth: a replica that receives none polls.

use std::time::Duration;

use sea_orm::sqlx::postgres::PgListener;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement, sqlx};

use super::connection::{Pool, in_time};
use super::error::{StorageError, of_sqlx};
use crate::clock::{RealInstant, real_now};

/// The name of the channel.
const CHANNEL: &str = "dispute_service_events";

/// A listening connection that was idle for this long is pinged.
const LISTEN_IDLE: Duration = Duration::from_secs(15);

/// Sends notifications of committed events to the other replicas, and receives theirs. On connections of its own, not
/// within the commands' transactions, whose commits would then wait for one another.
#[derive(Clone, Debug)]
pub struct Notifier {
    notifier: Pool,
    /// Of one connection.
    listener: Pool,
}

/// Receives the notifications of all replicas.
#[derive(Debug)]
pub struct Listener {
    inner: PgListener,
    /// The pool of its connection, and since when it has that.
    pool: Pool,
    since: RealInstant,
}

impl Notifier {
    pub(super) fn new(notifier: Pool, listener: Pool) -> Self {
        Self { notifier, listener }
    }

    /// Notifies all replicas that the log has grown to this number.
    pub async fn notify(&self, last_seq: i64) -> Result<(), StorageError> {
        let values = [CHANNEL.into(), last_seq.to_string().into()];
        let notify = Statement::from_sql_and_values(DbBackend::Postgres, "SELECT pg_notify($1, $2)", values);
        let send = |connection: DatabaseConnection| {
            let notify = notify.clone();
            async move {
                connection.execute_raw(notify).await?;
                Ok(())
            }
        };
        self.notifier.read(send).await
    }

    /// Starts listening. Earlier notifications are not received.
    pub async fn listen(&mut self) -> Result<Listener, StorageError> {
        let (pool, since) = (self.listener.clone(), real_now());
        pool.follow_host();
        let connections = self.listener.connections().get_postgres_connection_pool();
        let listen = async {
            let mut inner = PgListener::connect_with(connections).await?;
            inner.eager_reconnect(false);
            inner.listen(CHANNEL).await?;
            Ok(Listener { inner, pool, since })
        };
        let listener = in_time(async { listen.await.map_err(|error: sqlx::Error| of_sqlx(&error)) }).await;
        // A lost connection may take long to close: the next one comes from another pool.
        self.listener = self.listener.another().await?;
        listener
    }
}

impl Listener {
    /// Returns the last number in the next notification. After an error nothing more is received.
    pub async fn next(&mut self) -> Result<i64, StorageError> {
        loop {
            match tokio::time::timeout(LISTEN_IDLE, self.inner.try_recv()).await {
                // A payload that is not a number at least means that something is new.
                Ok(Ok(Some(notification))) => return Ok(notification.payload().parse().unwrap_or(i64::MAX)),
                Ok(Ok(None)) => return Err(StorageError::Unavailable("the listening connection is lost".to_owned())),
                Ok(Err(error)) => return Err(of_sqlx(&error)),
                Err(_) => self.require_connection().await?,
            }
        }
    }

    async fn require_connection(&mut self) -> Result<(), StorageError> {
        if self.pool.has_moved(self.since.elapsed()) {
            return Err(StorageError::Unavailable(
                "the listening connection leads to a host that is no longer used".to_owned(),
            ));
        }
        let ask = async { sqlx::query("SELECT 1").execute(&mut self.inner).await };
        in_time(async { ask.await.map(drop).map_err(|error| of_sqlx(&error)) }).await
    }
}
