//! SQLite: rows are values in the statement, in powers of two, so that few statements are prepared. Statements for several
//! tables are run together, since each turn of the connection's thread costs as much as a row.

use std::borrow::Cow;
use std::sync::OnceLock;

use sea_orm::sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sea_orm::sqlx::{self, Arguments as _, AssertSqlSafe};

use crate::repository::error::{StorageError, of_sqlx};
use crate::repository::stored::{Cell, Stored};

/// The most rows in one statement. With 41 columns, far below the 32,766 values that SQLite can bind.
const ROWS: usize = 256;

/// The texts for 1, 2, 4 … [`ROWS`] rows, each made once.
#[derive(Debug)]
pub(in crate::repository) struct Texts([OnceLock<String>; ROWS.ilog2() as usize + 1]);

impl Texts {
    pub(in crate::repository) const fn new() -> Self {
        Self([const { OnceLock::new() }; _])
    }

    /// The text for so many rows, which are a power of two up to [`ROWS`].
    fn of(&'static self, rows: usize, make: impl FnOnce() -> String) -> Option<&'static str> {
        let text = self.0.get(usize::try_from(rows.checked_ilog2()?).ok()?)?;
        Some(text.get_or_init(make))
    }
}

/// Rows of one table that are to be inserted.
pub(in crate::repository) struct Pending<R> {
    texts: &'static Texts,
    /// What ends the statement.
    on_conflict: String,
    rows: std::vec::IntoIter<R>,
}

impl<R> Pending<R> {
    pub(in crate::repository) fn new(texts: &'static Texts, on_conflict: String, rows: Vec<R>) -> Self {
        Self { texts, on_conflict, rows: rows.into_iter() }
    }
}

/// Rows that leave in powers of two.
pub(in crate::repository) trait Chunks: Send {
    /// How many are left.
    fn left(&self) -> usize;

    /// Adds a statement to the script that inserts the next so many.
    fn take(&mut self, size: usize, script: &mut Script) -> Result<(), StorageError>;
}

impl<R: Stored + Send> Chunks for Pending<R> {
    fn left(&self) -> usize {
        self.rows.len()
    }

    fn take(&mut self, size: usize, script: &mut Script) -> Result<(), StorageError> {
        let text = self.texts.of(size, || text::<R>(size, &self.on_conflict));
        let text = text.ok_or_else(|| StorageError::Failed("too many rows for one statement".to_owned()))?;
        script.values.reserve(size.saturating_mul(R::COLUMNS.len()), 0);
        let mut bound = Ok(());
        for row in self.rows.by_ref().take(size) {
            row.take_apart(&mut |cell| {
                if bound.is_ok() {
                    bound = bind(&mut script.values, cell);
                }
            });
        }
        script.text = match std::mem::take(&mut script.text) {
            Cow::Borrowed("") => Cow::Borrowed(text),
            before => Cow::Owned(format!("{before};\n{text}")),
        };
        bound.map_err(|error| StorageError::Failed(error.to_string()))
    }
}

/// Statements that are run one after the other, and prepared together.
#[derive(Default)]
pub(in crate::repository) struct Script {
    text: Cow<'static, str>,
    values: SqliteArguments,
}

/// Inserts rows, those of each table in their order: chunks of the same size with one script, so that there are few texts.
pub(in crate::repository) async fn insert(
    connection: &mut SqliteConnection,
    tables: &mut [&mut dyn Chunks],
) -> Result<(), StorageError> {
    while let Some(size) = tables.iter().filter_map(|table| chunk_of(table.left())).max() {
        let mut script = Script::default();
        for table in tables.iter_mut().filter(|table| table.left() >= size) {
            table.take(size, &mut script)?;
        }
        let insert = sqlx::query_with(AssertSqlSafe(script.text), script.values);
        insert.execute(&mut *connection).await.map_err(|error| of_sqlx(&error))?;
    }
    Ok(())
}

/// How many of these rows the next statement inserts, if there are any.
fn chunk_of(rows: usize) -> Option<usize> {
    Some(ROWS.min(1 << rows.checked_ilog2()?))
}

fn text<R: Stored>(rows: usize, on_conflict: &str) -> String {
    let row = format!("({})", vec!["?"; R::COLUMNS.len()].join(", "));
    let rows = vec![row; rows].join(", ");
    format!("INSERT INTO {} ({}) VALUES {rows} {on_conflict}", R::TABLE, R::COLUMNS.join(", "))
}

fn bind(values: &mut SqliteArguments, cell: Cell) -> Result<(), sqlx::error::BoxDynError> {
    match cell {
        Cell::Bool(value) => values.add(value),
        Cell::Small(value) => values.add(value),
        Cell::Big(value) => values.add(value),
        Cell::Text(value) => values.add(value),
        Cell::Uuid(value) => values.add(value),
        Cell::Bytes(value) => values.add(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_into_powers_of_two() {
        let cut = |mut rows: usize| {
            let next = || chunk_of(rows).inspect(|chunk| rows -= chunk);
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        assert_eq!(cut(0), [0_usize; 0]);
        assert_eq!(cut(1), [1]);
        assert_eq!(cut(7), [4, 2, 1]);
        assert_eq!(cut(256), [256]);
        assert_eq!(cut(600), [256, 256, 64, 16, 8]);
    }

    #[test]
    fn each_size_has_one_text() {
        static TEXTS: Texts = Texts::new();
        let made = |rows| TEXTS.of(rows, || format!("{rows} rows"));
        assert_eq!([1, 2, 256, 2].map(made), ["1 rows", "2 rows", "256 rows", "2 rows"].map(Some));
        assert_eq!([0, 512].map(made), [None, None]);
    }
}
