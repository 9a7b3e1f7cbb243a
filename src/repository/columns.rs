//! Rows read by the positions of their columns: to find sixty columns by their names takes longer than to read them.

use rusqlite::types::FromSql;
use sea_orm::sqlx::postgres::{PgRow, Postgres};
use sea_orm::sqlx::{Decode, Row as _, Type};
use sea_orm::{QueryResult, TryGetable};
use uuid::Uuid;

use super::corrupt::Broken;
use super::error::StorageError;
use super::stored::Stored;

/// A value of both databases.
pub(super) trait Readable: FromSql + Type<Postgres> + for<'row> Decode<'row, Postgres> + TryGetable {}

impl<T: FromSql + Type<Postgres> + for<'row> Decode<'row, Postgres> + TryGetable> Readable for T {}

/// A row of either database.
pub(super) trait Columns {
    /// The value at a position, if it is one of this type.
    fn column<T: Readable>(&self, index: usize) -> Option<T>;

    /// What is read of a text at a position, if it is one.
    fn text<T>(&self, index: usize, read: impl FnOnce(&str) -> T) -> Option<T>;

    /// What is read of the bytes at a position, if it has some.
    fn bytes<T>(&self, index: usize, read: impl FnOnce(&[u8]) -> T) -> Option<T>;
}

impl Columns for rusqlite::Row<'_> {
    fn column<T: Readable>(&self, index: usize) -> Option<T> {
        self.get(index).ok()
    }

    fn text<T>(&self, index: usize, read: impl FnOnce(&str) -> T) -> Option<T> {
        self.get_ref(index).ok()?.as_str().ok().map(read)
    }

    fn bytes<T>(&self, index: usize, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.get_ref(index).ok()?.as_blob().ok().map(read)
    }
}

impl Columns for PgRow {
    fn column<T: Readable>(&self, index: usize) -> Option<T> {
        self.try_get(index).ok()
    }

    fn text<T>(&self, index: usize, read: impl FnOnce(&str) -> T) -> Option<T> {
        self.try_get(index).ok().map(read)
    }

    fn bytes<T>(&self, index: usize, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.try_get(index).ok().map(read)
    }
}

impl Columns for QueryResult {
    fn column<T: Readable>(&self, index: usize) -> Option<T> {
        self.try_get_by_index(index).ok()
    }

    fn text<T>(&self, index: usize, read: impl FnOnce(&str) -> T) -> Option<T> {
        self.column::<String>(index).as_deref().map(read)
    }

    fn bytes<T>(&self, index: usize, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.column::<Vec<u8>>(index).as_deref().map(read)
    }
}

/// Reads a row whose columns begin at this position.
pub(super) fn row_at<R: Stored>(row: &impl Columns, first: usize) -> Result<R, Broken> {
    R::read(row, first).ok_or_else(|| {
        let number = || row.column(first).map(|key: i64| key.to_string());
        let text = || row.column(first).or_else(number);
        let id = row.column(first).map(|key: Uuid| key.to_string()).or_else(text).unwrap_or_default();
        let of_order = R::COLUMNS.iter().position(|column| *column == "order_id");
        let order = of_order.and_then(|position| row.column(first.saturating_add(position)));
        Broken { error: StorageError::Corrupt { table: R::TABLE, id, what: "a column is not of its type" }, order }
    })
}
