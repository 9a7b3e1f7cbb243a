//! What can be told of the database itself: its kind and version, its connections, and how much waits in it.

use sea_orm::sqlx::{Database, Pool as SqlxPool};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement, Value};

use super::connection::Pool;
use super::entity::PENDING;
use super::error::StorageError;
use super::{Deadline, Repository};
use crate::domain::{DisputeId, Timestamp};

/// At most so many disputes are counted, which takes some milliseconds: deadlines are read on the same connection.
const COUNTED: i64 = 100_000;

/// How many connections there are for a purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolSize {
    /// What they are for.
    pub purpose: &'static str,
    /// How many are open.
    pub open: u32,
    /// How many of these are in use.
    pub in_use: u32,
}

/// How many disputes wait for an answer, each counted up to a hundred thousand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    /// All of them.
    pub all: i64,
    /// Those of which the deadline has passed.
    pub overdue: i64,
    /// The earliest deadline or reminder.
    pub earliest: Option<Timestamp>,
}

impl Repository {
    /// The kind of the database and its version.
    pub async fn kind_and_version(&self) -> Result<(&'static str, String), StorageError> {
        let (kind, ask) = match self.background.backend() {
            DbBackend::Postgres => ("postgresql", "SELECT current_setting('server_version')"),
            _ => ("sqlite", "SELECT sqlite_version()"),
        };
        let read = |connection: DatabaseConnection| async move {
            let row = connection.query_one_raw(Statement::from_string(connection.get_database_backend(), ask)).await?;
            Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default())
        };
        Ok((kind, self.background.read(read).await?))
    }

    /// The connections that sqlx keeps; beside them SQLite has a few for batches and single reads.
    pub fn pools(&self) -> [PoolSize; 3] {
        [("writes", &self.writer.pool), ("reads", &self.readers), ("background", &self.background)]
            .map(|(purpose, pool)| pool_size(purpose, pool))
    }

    /// What waits for an answer.
    pub async fn pending(&self, now: Timestamp) -> Result<Pending, StorageError> {
        let earliest = self.next_deadlines((Timestamp::MIN, DisputeId(uuid::Uuid::nil())), 1).await?;
        let read = |connection: DatabaseConnection| async move {
            let all = count(&connection, PENDING, []).await?;
            let overdue =
                count(&connection, &format!("{PENDING} AND respond_by <= $1"), [Value::from(now.micros())]).await?;
            Ok((all, overdue))
        };
        let (all, overdue) = self.background.read(read).await?;
        Ok(Pending { all, overdue, earliest: earliest.first().map(|Deadline { time, .. }| *time) })
    }
}

async fn count<const N: usize>(
    connection: &DatabaseConnection,
    which: &str,
    values: [Value; N],
) -> Result<i64, StorageError> {
    let text = format!("SELECT count(*) FROM (SELECT 1 FROM disputes WHERE {which} LIMIT {COUNTED}) AS counted");
    let ask = Statement::from_sql_and_values(connection.get_database_backend(), text, values);
    Ok(connection.query_one_raw(ask).await?.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default())
}

fn pool_size(purpose: &'static str, pool: &Pool) -> PoolSize {
    let connections = pool.connections();
    match pool.backend() {
        DbBackend::Postgres => size_of(purpose, connections.get_postgres_connection_pool()),
        _ => size_of(purpose, connections.get_sqlite_connection_pool()),
    }
}

fn size_of<D: Database>(purpose: &'static str, pool: &SqlxPool<D>) -> PoolSize {
    let (open, idle) = (pool.size(), u32::try_from(pool.num_idle()).unwrap_or(u32::MAX));
    PoolSize { purpose, open, in_use: open.saturating_sub(idle) }
}
