//! What differs between the databases in a write transaction: how it begins, and how rows are inserted.

pub(super) mod postgres;
pub(super) mod sqlite;

use std::sync::Arc;

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::{self, AssertSqlSafe, Database, Executor, IntoArguments, Postgres, SqlSafeStr as _, Sqlite};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values,
};
use sea_query_sqlx::SqlxValues;
use tokio::sync::Mutex;

use super::error::{StorageError, of_sqlx};

/// A transaction, on a connection that is its own until it ends. SeaORM runs its statements on it as on a transaction of
/// its own; statements that carry the load use the connection itself.
///
/// Dropped without a commit, it is rolled back before its connection does anything else.
#[derive(Debug)]
pub(super) enum Session {
    /// On SQLite: the only write transaction there is.
    Sqlite(Mutex<sqlx::Transaction<'static, Sqlite>>),
    /// On PostgreSQL, READ COMMITTED: each statement sees everything committed before it.
    Postgres(Mutex<sqlx::Transaction<'static, Postgres>>),
}

impl Session {
    /// Begins a write transaction.
    pub(super) async fn begin(connections: &DatabaseConnection) -> Result<Self, StorageError> {
        match connections.get_database_backend() {
            DbBackend::Postgres => {
                let begun = connections.get_postgres_connection_pool().begin().await;
                begun.map(Mutex::new).map(Self::Postgres).map_err(|error| match of_sqlx(&error) {
                    // While connecting, every error is about the database, for example a changed password.
                    StorageError::Failed(what) => StorageError::Unavailable(what),
                    error => error,
                })
            }
            _ => {
                let begun = connections.get_sqlite_connection_pool().begin_with("BEGIN IMMEDIATE").await;
                begun.map(Mutex::new).map(Self::Sqlite).map_err(|error| of_sqlx(&error))
            }
        }
    }

    /// Begins a transaction on SQLite that reads one snapshot.
    pub(super) async fn begin_to_read(connections: &DatabaseConnection) -> Result<Self, StorageError> {
        let begun = connections.get_sqlite_connection_pool().begin().await;
        begun.map(Mutex::new).map(Self::Sqlite).map_err(|error| of_sqlx(&error))
    }

    /// Commits.
    pub(super) async fn commit(self) -> Result<(), StorageError> {
        let committed = match self {
            Self::Sqlite(begun) => begun.into_inner().commit().await,
            Self::Postgres(begun) => begun.into_inner().commit().await,
        };
        committed.map_err(|error| of_sqlx(&error))
    }

    /// Rolls back.
    pub(super) async fn rollback(self) -> Result<(), StorageError> {
        let rolled_back = match self {
            Self::Sqlite(begun) => begun.into_inner().rollback().await,
            Self::Postgres(begun) => begun.into_inner().rollback().await,
        };
        rolled_back.map_err(|error| of_sqlx(&error))
    }
}

/// A statement with its values.
fn bound<D: Database>(statement: Statement) -> Query<'static, D, SqlxValues>
where
    SqlxValues: IntoArguments<D>,
{
    let values = statement.values.unwrap_or(Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values))
}

fn of_execution(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(Arc::new(error)))
}

fn of_query(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)))
}

#[async_trait]
impl ConnectionTrait for Session {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Sqlite(_) => DbBackend::Sqlite,
            Self::Postgres(_) => DbBackend::Postgres,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        Ok(match self {
            Self::Sqlite(begun) => {
                bound(statement).execute(&mut **begun.lock().await).await.map_err(of_execution)?.into()
            }
            Self::Postgres(begun) => {
                bound(statement).execute(&mut **begun.lock().await).await.map_err(of_execution)?.into()
            }
        })
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
        Ok(match self {
            Self::Sqlite(begun) => begun.lock().await.execute(sql).await.map_err(of_execution)?.into(),
            Self::Postgres(begun) => begun.lock().await.execute(sql).await.map_err(of_execution)?.into(),
        })
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(match self {
            Self::Sqlite(begun) => {
                let row = bound(statement).fetch_optional(&mut **begun.lock().await).await;
                row.map_err(of_query)?.map(Into::into)
            }
            Self::Postgres(begun) => {
                let row = bound(statement).fetch_optional(&mut **begun.lock().await).await;
                row.map_err(of_query)?.map(Into::into)
            }
        })
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        Ok(match self {
            Self::Sqlite(begun) => {
                let rows = bound(statement).fetch_all(&mut **begun.lock().await).await;
                rows.map_err(of_query)?.into_iter().map(Into::into).collect()
            }
            Self::Postgres(begun) => {
                let rows = bound(statement).fetch_all(&mut **begun.lock().await).await;
                rows.map_err(of_query)?.into_iter().map(Into::into).collect()
            }
        })
    }
}
