//! PostgreSQL: all rows in one statement, each column as an array. So one text serves any number of rows.

use std::sync::OnceLock;

use sea_orm::sqlx::error::BoxDynError;
use sea_orm::sqlx::postgres::{PgArguments, PgConnection};
use sea_orm::sqlx::{self, Arguments as _, Row as _};
use uuid::Uuid;

use crate::repository::entity::event;
use crate::repository::error::{StorageError, of_sqlx};
use crate::repository::log;
use crate::repository::stored::{Cell, Stored};

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

/// Takes the next numbers of the log for events that are numbered from 1, and inserts these. Returns the new last number.
pub(in crate::repository) async fn append(
    connection: &mut PgConnection,
    events: Vec<event::Model>,
) -> Result<i64, StorageError> {
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
