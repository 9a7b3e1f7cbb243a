//! How many rows of a list fit into one message.

use crate::domain::Timestamp;
use crate::repository::Row;

/// The rows of a list that fit into a message, encoded.
#[derive(Debug)]
pub struct Fitting<I, M> {
    /// What was encoded, in order.
    pub messages: Vec<M>,
    /// How many rows that took, including the corrupt ones, which are passed over.
    pub rows: usize,
    /// The key of the last of these rows: the list continues after it. `None` if there was no row.
    pub last: Option<(Timestamp, I)>,
}

impl<I: Copy, M> Fitting<I, M> {
    /// Encodes rows, in order, until `most` bytes would be exceeded; a single one may be larger.
    pub fn of<T>(rows: &[Row<I, T>], most: usize, mut encode: impl FnMut(&T) -> M, size: impl Fn(&M) -> usize) -> Self {
        let mut fitting = Self { messages: Vec::with_capacity(rows.len()), rows: 0, last: None };
        let mut bytes = 0_usize;
        for Row { key, found } in rows {
            if let Some(found) = found {
                let message = encode(found);
                bytes = bytes.saturating_add(size(&message));
                if bytes > most && !fitting.messages.is_empty() {
                    break;
                }
                fitting.messages.push(message);
            }
            (fitting.rows, fitting.last) = (fitting.rows.saturating_add(1), Some(*key));
        }
        fitting
    }
}
