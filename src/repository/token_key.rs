//! The key that the tokens of a log are sealed with. It is made once, with the migration that brings its column, and is
//! the same on all replicas; whoever can read the database can read it.

use sea_orm::{QueryResult, TryGetable as _};
use uuid::Uuid;

use super::error::StorageError;
use super::log::missing;

/// Which log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogId {
    /// The random id that it was given when it was made.
    pub uuid: Uuid,
    /// What its tokens are sealed with.
    pub token_key: TokenKey,
}

/// The key of a log's tokens. A secret: nothing that formats it tells it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    /// The key with these bytes.
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

/// The log that a row is beside.
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
