//! Why the service cannot start, or why it ended: in words, for the person who started it.

use std::io::ErrorKind;
use std::net::SocketAddr;

use crate::config::{ConfigError, PolicyFileError};
use crate::repository::{BackupError, ConnectError, SchemaError, StorageError};

/// Why the service cannot start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The flags do not go together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The policy file is not a policy.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// A language that is part of the program cannot be read.
    #[error("a translation file is invalid: {0}")]
    Translations(#[from] toml::de::Error),
    /// The database cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The schema is not one that this release can run on.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The database cannot be read.
    #[error("the database: {0}")]
    Storage(#[from] StorageError),
    /// The reflection service cannot read the description of the API.
    #[error("the API's descriptor set is invalid: {0}")]
    Reflection(#[from] prost::DecodeError),
    /// The address to listen on cannot be had.
    #[error("cannot listen on {address} (--listen, DISPUTES_LISTEN): {}", in_words(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The threads, or the signals.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What must go on for as long as the service runs has ended: the log says why.
    #[error("a part of the service has failed; stopping")]
    Background,
    /// The database's files are no longer what was opened.
    #[error("{0}: nothing more is read from it or acknowledged; stopping")]
    Lost(String),
    /// There is no copy of the database.
    #[error(transparent)]
    Backup(#[from] BackupError),
}

/// Why an address cannot be had.
fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "the port is in use".to_owned(),
        ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        ErrorKind::PermissionDenied => "this user may not listen on that port".to_owned(),
        _ => error.to_string(),
    }
}
