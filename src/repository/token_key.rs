//! The key that seals the tokens of a log. It is created once, with the migration that adds its column, and is the same
//! on all replicas; anyone who can read the database can read it.

use sea_orm::{QueryResult, TryGetable as _};
use uuid::Uuid;

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

/// The log's identity in a row.
pub(super) fn log_id_of(row: &QueryResult) -> Result<LogId, StorageError> {
    let uuid = row.try_get::<Option<Uuid>>("", "log_epoch")?.ok_or_else(missing)?;
    let key = Option::<Vec<u8>>::try_get(row, "", "log_token_key").ok().flatten();
    let key = key.and_then(|bytes| bytes.try_into().ok()).map(TokenKey);
    let token_key = key.ok_or_else(|| StorageError::Corrupt {
        table: "event_log",
        id: "1".to_owned(),
        what: "token_key is not 32 bytes",
    })?;
    Ok(LogId { uuid, token_key })
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
