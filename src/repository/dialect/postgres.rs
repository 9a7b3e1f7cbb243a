//! PostgreSQL: all rows in one statement, each column as an array. So one text serves any number of rows.

use std::sync::{Arc, OnceLock};

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::sqlx::error::BoxDynError;
use sea_orm::sqlx::postgres::{PgArguments, PgConnection, Postgres};
use sea_orm::sqlx::query::Query;
use sea_orm::sqlx::{self, Arguments as _, AssertSqlSafe, Executor as _, Row as _, SqlSafeStr as _};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values,
};
use sea_query_sqlx::SqlxValues;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::repository::batch::Insertion;
use crate::repository::entity::event;
use crate::repository::error::{StorageError, of_connecting, of_sqlx};
use crate::repository::log;
use crate::repository::stored::{Cell, Stored};

/// A transaction. SeaORM runs its statements on it as on a transaction of its own; statements that carry the load use the
/// connection itself.
#[derive(Debug)]
pub(in crate::repository) struct ServerTransaction(Mutex<sqlx::Transaction<'static, Postgres>>);

impl ServerTransaction {
    /// Begins a transaction.
    pub(in crate::repository) async fn begin(connections: &DatabaseConnection) -> Result<Self, StorageError> {
        let begun = connections.get_postgres_connection_pool().begin().await;
        begun.map(Mutex::new).map(Self).map_err(|error| of_connecting(&error))
    }

    pub(in crate::repository) async fn commit(self) -> Result<(), StorageError> {
        self.0.into_inner().commit().await.map_err(|error| of_sqlx(&error))
    }

    pub(super) async fn rollback(self) -> Result<(), StorageError> {
        self.0.into_inner().rollback().await.map_err(|error| of_sqlx(&error))
    }

    /// Inserts rows by a statement that is made once.
    pub(in crate::repository) async fn insert<R: Stored + Send>(
        &self,
        insertion: &'static Insertion<R>,
        rows: Vec<R>,
    ) -> Result<(), StorageError> {
        insertion.on_postgres(&mut **self.0.lock().await, rows).await
    }

    /// Takes the next numbers of the log for events that are numbered from 1, and inserts these. Returns the new last
    /// number.
    pub(in crate::repository) async fn append(&self, events: Vec<event::Model>) -> Result<i64, StorageError> {
        append(&mut **self.0.lock().await, events).await
    }
}

/// A statement with its values.
fn bound_by(statement: Statement) -> Query<'static, Postgres, SqlxValues> {
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
impl ConnectionTrait for ServerTransaction {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let executed = bound_by(statement).execute(&mut **self.0.lock().await).await;
        executed.map(Into::into).map_err(of_execution)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let executed = self.0.lock().await.execute(AssertSqlSafe(sql.to_owned()).into_sql_str()).await;
        executed.map(Into::into).map_err(of_execution)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let row = bound_by(statement).fetch_optional(&mut **self.0.lock().await).await;
        Ok(row.map_err(of_query)?.map(Into::into))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let rows = bound_by(statement).fetch_all(&mut **self.0.lock().await).await;
        Ok(rows.map_err(of_query)?.into_iter().map(Into::into).collect())
    }
}

/// The values of one column.
enum Column {
    Bool(Vec<Option<bool>>),
    Small(Vec<Option<i16>>),
    Big(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
    Uuid(Vec<Option<Uuid>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Column {
    /// A column that begins with this value.
    fn of(cell: Cell) -> Self {
        match cell {
            Cell::Bool(value) => Self::Bool(vec![value]),
            Cell::Small(value) => Self::Small(vec![value]),
            Cell::Big(value) => Self::Big(vec![value]),
            Cell::Text(value) => Self::Text(vec![value]),
            Cell::Uuid(value) => Self::Uuid(vec![value]),
            Cell::Bytes(value) => Self::Bytes(vec![value]),
        }
    }

    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Self::Bool(values), Cell::Bool(value)) => values.push(value),
            (Self::Small(values), Cell::Small(value)) => values.push(value),
            (Self::Big(values), Cell::Big(value)) => values.push(value),
            (Self::Text(values), Cell::Text(value)) => values.push(value),
            (Self::Uuid(values), Cell::Uuid(value)) => values.push(value),
            (Self::Bytes(values), Cell::Bytes(value)) => values.push(value),
            // A column of a row has one type.
            (
                Self::Bool(_) | Self::Small(_) | Self::Big(_) | Self::Text(_) | Self::Uuid(_) | Self::Bytes(_),
                Cell::Bool(_) | Cell::Small(_) | Cell::Big(_) | Cell::Text(_) | Cell::Uuid(_) | Cell::Bytes(_),
            ) => debug_assert!(false, "a column with values of two types"),
        }
    }

    /// The type of its values.
    fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "boolean",
            Self::Small(_) => "smallint",
            Self::Big(_) => "bigint",
            Self::Text(_) => "text",
            Self::Uuid(_) => "uuid",
            Self::Bytes(_) => "bytea",
        }
    }

    fn bind(self, values: &mut PgArguments) -> Result<(), BoxDynError> {
        match self {
            Self::Bool(column) => values.add(column),
            Self::Small(column) => values.add(column),
            Self::Big(column) => values.add(column),
            Self::Text(column) => values.add(column),
            Self::Uuid(column) => values.add(column),
            Self::Bytes(column) => values.add(column),
        }
    }
}

/// Rows by columns; none if there are no rows.
fn columns<R: Stored>(rows: Vec<R>) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::with_capacity(R::COLUMNS.len());
    for row in rows {
        let mut index = 0_usize;
        row.take_apart(&mut |cell| {
            match columns.get_mut(index) {
                Some(column) => column.push(cell),
                None => columns.push(Column::of(cell)),
            }
            index = index.saturating_add(1);
        });
    }
    columns
}

/// The arrays as parameters.
fn arrays(columns: &[Column]) -> String {
    let array = |(number, column): (usize, &Column)| format!("${number}::{}[]", column.type_name());
    (1..).zip(columns).map(array).collect::<Vec<_>>().join(", ")
}

fn bound(columns: Vec<Column>) -> Result<PgArguments, StorageError> {
    let mut values = PgArguments::default();
    columns
        .into_iter()
        .try_for_each(|column| column.bind(&mut values))
        .map_err(|error| StorageError::Failed(error.to_string()))?;
    Ok(values)
}

/// Inserts rows in their order; `on_conflict` is what ends the statement.
pub(in crate::repository) async fn insert<R: Stored>(
    connection: &mut PgConnection,
    text: &'static OnceLock<String>,
    on_conflict: impl FnOnce() -> String,
    rows: Vec<R>,
) -> Result<(), StorageError> {
    if rows.is_empty() {
        return Ok(());
    }
    let columns = columns(rows);
    let text = text.get_or_init(|| {
        let (table, names, arrays, on_conflict) = (R::TABLE, R::COLUMNS.join(", "), arrays(&columns), on_conflict());
        format!("INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}) {on_conflict}")
    });
    let insert = sqlx::query_with(text.as_str(), bound(columns)?);
    insert.execute(connection).await.map_err(|error| of_sqlx(&error))?;
    Ok(())
}

async fn append(connection: &mut PgConnection, events: Vec<event::Model>) -> Result<i64, StorageError> {
    static TEXT: OnceLock<String> = OnceLock::new();
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let columns = columns(events);
    let text = TEXT.get_or_init(|| {
        let (names, arrays) = (event::Model::COLUMNS, arrays(&columns));
        let (all, but_the_number) = (names.join(", "), names.get(1..).unwrap_or_default().join(", "));
        let count = format!("${}::bigint", columns.len().saturating_add(1));
        format!(
            "WITH advanced AS (UPDATE event_log SET head = head + {count} WHERE id = 1 RETURNING head),
            appended AS (
                INSERT INTO events ({all})
                SELECT head - {count} + seq, {but_the_number} FROM advanced, unnest({arrays}) AS new ({all})
            )
            SELECT head FROM advanced"
        )
    });
    let mut values = bound(columns)?;
    values.add(count).map_err(|error| StorageError::Failed(error.to_string()))?;
    let row = sqlx::query_with(text.as_str(), values).fetch_optional(connection).await;
    let row = row.map_err(|error| of_sqlx(&error))?.ok_or_else(log::missing)?;
    row.try_get(0).map_err(|error| of_sqlx(&error))
}
