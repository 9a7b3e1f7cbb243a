//! The key that seals the tokens of a log. It is created once, with the migration that adds its column, and is the same
//! on all replicas; anyone who can read the database can read it.

use uuid::Uuid;

use super::columns::Columns;
use super::error::StorageError;
use super::log::missing;

/// The identity of a log, and its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogId {
    /// The random id that the log was given when it was created.
    pub uuid: Uuid,
    /// The key that seals its tokens.
    pub token_key: TokenKey,
}

/// The key of a log's tokens. A secret: no formatting shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// A key with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for the cipher.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TokenKey(secret)")
    }
}

/// The log's identity in a row: its id at this position, then its key.
pub(super) fn log_id_at(row: &impl Columns, first: usize) -> Result<LogId, StorageError> {
    let corrupt = |what| StorageError::Corrupt { table: "event_log", id: "1".to_owned(), what };
    let uuid =
        row.column::<Option<Uuid>>(first).ok_or_else(|| corrupt("epoch is not of its type"))?.ok_or_else(missing)?;
    let key = row.column::<Vec<u8>>(first.saturating_add(1)).and_then(|bytes| bytes.try_into().ok()).map(TokenKey);
    Ok(LogId { uuid, token_key: key.ok_or_else(|| corrupt("token_key is not 32 bytes"))? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_told() {
        let log = LogId { uuid: Uuid::nil(), token_key: TokenKey([7; 32]) };
        assert!(format!("{log:?} {log:#?}").matches('7').next().is_none());
    }
}
