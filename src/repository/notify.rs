//! Notifications (PostgreSQL's NOTIFY): replicas on one database tell each other that the log has grown. They are a hint,
//! the log is the truth: a replica that receives none polls.

use std::time::Duration;

use sea_orm::sqlx::postgres::PgListener;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement, sqlx};

use super::connection::{Pool, in_time};
use super::error::{StorageError, of_sqlx};

/// What PostgreSQL calls it.
const CHANNEL: &str = "dispute_service_events";

/// A listening connection that was idle for this long is pinged.
const LISTEN_IDLE: Duration = Duration::from_secs(15);

/// Tells the other replicas of committed events, and listens to them. Not within the commands' transactions, whose
/// commits would wait for one another: on connections of its own.
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
}

impl Notifier {
    pub(super) fn new(notifier: Pool, listener: Pool) -> Self {
        Self { notifier, listener }
    }

    /// Tells all replicas that the log has grown up to this number.
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

    /// Begins to listen. Earlier notifications are not received.
    pub async fn listen(&mut self) -> Result<Listener, StorageError> {
        let connections = self.listener.connections().get_postgres_connection_pool();
        let listen = async {
            let mut inner = PgListener::connect_with(connections).await?;
            inner.eager_reconnect(false);
            inner.listen(CHANNEL).await?;
            Ok(Listener { inner })
        };
        let listener = in_time(async { listen.await.map_err(|error: sqlx::Error| of_sqlx(&error)) }).await;
        // A connection that is lost may take long to go: the next one is of another pool.
        self.listener = self.listener.another().await?;
        listener
    }
}

impl Listener {
    /// The last number that the next notification tells of. After an error nothing more is received.
    pub async fn next(&mut self) -> Result<i64, StorageError> {
        loop {
            match tokio::time::timeout(LISTEN_IDLE, self.inner.try_recv()).await {
                // What is not a number says at least that something is new.
                Ok(Ok(Some(notification))) => return Ok(notification.payload().parse().unwrap_or(i64::MAX)),
                Ok(Ok(None)) => return Err(StorageError::Unavailable("the listening connection is lost".to_owned())),
                Ok(Err(error)) => return Err(of_sqlx(&error)),
                Err(_) => self.require_connection().await?,
            }
        }
    }

    async fn require_connection(&mut self) -> Result<(), StorageError> {
        let ask = async { sqlx::query("SELECT 1").execute(&mut self.inner).await };
        in_time(async { ask.await.map(drop).map_err(|error| of_sqlx(&error)) }).await
    }
}
