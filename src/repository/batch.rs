//! Statements for many rows whose text does not vary with their number, so that it is made once and each connection
//! prepares it once: keys to read are padded to a power of two, rows to write come as each database likes them.

use std::marker::PhantomData;
use std::sync::OnceLock;

use rusqlite::Connection;
use sea_orm::sqlx::postgres::PgConnection;

use super::dialect::{postgres, sqlite};
use super::error::StorageError;
use super::stored::Stored;

/// Returns the keys, padded to a power of two by repeating the last one.
pub(super) fn filled_up<K: Clone>(keys: impl IntoIterator<Item = K>) -> Vec<K> {
    let mut keys: Vec<K> = keys.into_iter().collect();
    if let Some(last) = keys.last().cloned() {
        let size = keys.len().next_power_of_two();
        keys.resize(size, last);
    }
    keys
}

/// A statement that inserts rows of one table. Making its text anew for each batch took a third of the committer's time.
#[derive(Debug)]
pub(super) struct Insertion<R> {
    /// The columns that are changed if the row exists; without any, that is an error.
    changes: fn() -> Vec<&'static str>,
    sqlite: OnceLock<String>,
    postgres: OnceLock<String>,
    row: PhantomData<fn(R)>,
}

impl<R: Stored + Send> Insertion<R> {
    /// Inserts new rows.
    pub(super) const fn new() -> Self {
        Self::or_change(Vec::new)
    }

    /// Inserts rows; of existing ones these columns are changed instead.
    pub(super) const fn or_change(changes: fn() -> Vec<&'static str>) -> Self {
        Self { changes, sqlite: OnceLock::new(), postgres: OnceLock::new(), row: PhantomData }
    }

    /// Inserts these rows, in their order.
    pub(super) fn on_sqlite(&'static self, connection: &Connection, rows: Vec<R>) -> rusqlite::Result<()> {
        sqlite::insert(connection, &self.sqlite, || self.on_conflict(), rows)
    }

    /// Inserts these rows, in their order.
    pub(super) async fn on_postgres(
        &'static self,
        connection: &mut PgConnection,
        rows: Vec<R>,
    ) -> Result<(), StorageError> {
        postgres::insert(connection, &self.postgres, || self.on_conflict(), rows).await
    }

    /// What ends the statement.
    fn on_conflict(&self) -> String {
        let changes = (self.changes)();
        let Some(key) = R::COLUMNS.first().filter(|_| !changes.is_empty()) else { return String::new() };
        let changes: Vec<_> = changes.iter().map(|column| format!("{column} = excluded.{column}")).collect();
        format!("ON CONFLICT ({key}) DO UPDATE SET {}", changes.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_filled_up_to_a_power_of_two_with_the_last_one() {
        for (keys, size) in [(0_i64, 0), (1, 1), (2, 2), (3, 4), (5, 8), (256, 256), (257, 512)] {
            assert_eq!(filled_up(0..keys).len(), size, "{keys} keys");
        }
        assert_eq!(filled_up([7, 8, 9]), [7, 8, 9, 9]);
    }
}
