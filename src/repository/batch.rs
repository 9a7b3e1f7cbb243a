//! Statements for many rows whose text does not vary with their number, so that each connection prepares them once:
//! keys to read are padded to a power of two, rows to write are split into powers of two.

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, ConnectionTrait, IntoActiveModel};

use super::error::StorageError;

/// The most rows in one statement. With 39 columns, far below the 32,766 values that SQLite can bind.
const ROWS: usize = 256;

/// Returns the keys, padded to a power of two by repeating the last one.
pub(super) fn filled_up<K: Clone>(keys: impl IntoIterator<Item = K>) -> Vec<K> {
    let mut keys: Vec<K> = keys.into_iter().collect();
    if let Some(last) = keys.last().cloned() {
        let size = keys.len().next_power_of_two();
        keys.resize(size, last);
    }
    keys
}

/// The sizes of the statements that write this many rows.
fn sizes(mut rows: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let size = 1_usize << rows.checked_ilog2()?;
        let size = size.min(ROWS);
        rows = rows.saturating_sub(size);
        Some(size)
    })
}

/// Inserts rows; with `on_conflict`, existing rows are updated instead.
pub(super) async fn insert_all<A>(
    connection: &impl ConnectionTrait,
    rows: Vec<impl IntoActiveModel<A>>,
    on_conflict: Option<&OnConflict>,
) -> Result<(), StorageError>
where
    A: ActiveModelTrait + Send,
{
    let sizes = sizes(rows.len());
    let mut rows = rows.into_iter();
    for size in sizes {
        let chunk = rows.by_ref().take(size).map(IntoActiveModel::into_active_model);
        let mut insert = sea_orm::Insert::<A>::many(chunk);
        if let Some(on_conflict) = on_conflict {
            insert = insert.on_conflict(on_conflict.clone());
        }
        insert.exec_without_returning(connection).await?;
    }
    Ok(())
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

    #[test]
    fn rows_are_cut_into_powers_of_two() {
        let cut = |rows| sizes(rows).collect::<Vec<_>>();
        assert_eq!(cut(0), [0_usize; 0]);
        assert_eq!(cut(1), [1]);
        assert_eq!(cut(7), [4, 2, 1]);
        assert_eq!(cut(256), [256]);
        assert_eq!(cut(600), [256, 256, 64, 16, 8]);
    }
}
