//! The bell: by it the replicas on one PostgreSQL tell each other that the log has grown. It is a hint, the log is the
//! truth: who hears nothing looks for himself.

use std::time::Duration;

use sea_orm::sqlx::postgres::PgListener;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement, sqlx};

use super::connection::{Pool, in_time};
use super::error::{StorageError, of_sqlx};

/// What PostgreSQL calls it.
const CHANNEL: &str = "dispute_service_events";

/// A connection that is silent for so long is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(15);

/// Rings when this replica has committed events, and hears the others. Not within the commands' transactions, whose
/// commits would wait for one another: on connections of its own.
#[derive(Clone, Debug)]
pub struct Bell {
    notifier: Pool,
    /// Of one connection.
    listener: Pool,
}

/// Hears the bell.
#[derive(Debug)]
pub struct Listener {
    inner: PgListener,
}

impl Bell {
    pub(super) fn new(notifier: Pool, listener: Pool) -> Self {
        Self { notifier, listener }
    }

    /// Tells all replicas that the log has grown up to number `head`.
    pub async fn ring(&self, head: i64) -> Result<(), StorageError> {
        let values = [CHANNEL.into(), head.to_string().into()];
        let notify = Statement::from_sql_and_values(DbBackend::Postgres, "SELECT pg_notify($1, $2)", values);
        let ring = |connection: DatabaseConnection| {
            let notify = notify.clone();
            async move {
                connection.execute_raw(notify).await?;
                Ok(())
            }
        };
        self.notifier.read(ring).await
    }

    /// Begins to listen. What rang before is not heard.
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
    /// The head that the next ring tells of. After an error it hears nothing any more.
    pub async fn next(&mut self) -> Result<i64, StorageError> {
        loop {
            match tokio::time::timeout(SILENCE, self.inner.try_recv()).await {
                // What is not a number says at least that something is new.
                Ok(Ok(Some(rung))) => return Ok(rung.payload().parse().unwrap_or(i64::MAX)),
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
