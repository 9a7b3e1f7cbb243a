//! Rows read by the positions of their columns: to find sixty columns by their names takes longer than to read them.

use rusqlite::types::FromSql;
use sea_orm::sqlx::postgres::{PgRow, Postgres};
use sea_orm::sqlx::{Decode, Row as _, Type};
use uuid::Uuid;

use super::corrupt::Broken;
use super::entity::{dispute, order};
use super::error::StorageError;
use super::stored::Stored as _;

/// A value of both databases.
pub(super) trait Readable: FromSql + Type<Postgres> + for<'row> Decode<'row, Postgres> {}

impl<T: FromSql + Type<Postgres> + for<'row> Decode<'row, Postgres>> Readable for T {}

/// A row of either database.
pub(super) trait Columns {
    /// The value at a position, if it is one of this type.
    fn column<T: Readable>(&self, index: usize) -> Option<T>;
}

impl Columns for rusqlite::Row<'_> {
    fn column<T: Readable>(&self, index: usize) -> Option<T> {
        self.get(index).ok()
    }
}

impl Columns for PgRow {
    fn column<T: Readable>(&self, index: usize) -> Option<T> {
        self.try_get(index).ok()
    }
}

/// Reads a row of `disputes`, whose columns begin at this position.
pub(super) fn dispute_at(row: &impl Columns, first: usize) -> Result<dispute::Model, Broken> {
    dispute::Model::read(row, first).ok_or_else(|| {
        let key = row.column(first).map(|id: Uuid| id.to_string());
        broken("disputes", key, row.column(first.saturating_add(1)))
    })
}

/// Reads a row of `orders`, whose columns begin at this position.
pub(super) fn order_at(row: &impl Columns, first: usize) -> Result<order::Model, Broken> {
    order::Model::read(row, first).ok_or_else(|| {
        let key: Option<String> = row.column(first);
        broken("orders", key.clone(), key)
    })
}

fn broken(table: &'static str, key: Option<String>, order: Option<String>) -> Broken {
    let id = key.unwrap_or_default();
    Broken { error: StorageError::Corrupt { table, id, what: "a column is not of its type" }, order }
}
