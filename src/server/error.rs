//! Why the service cannot start, or why it ended: messages for the person who started it.

use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;

use super::tls::TlsFileError;
use crate::config::{ConfigError, PolicyFileError};
use crate::grpc::{KeyFileError, MintError};
use crate::repository::{BackupError, ClaimError, ConnectError, SchemaError, StorageError};
use crate::traces::TracesError;

/// Why the service cannot start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The combination of flags is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The policy file is invalid.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// The keys that verify tokens cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// No token could be minted.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// A certificate, or what belongs to it.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// A built-in translation file is invalid.
    #[error("a translation file is invalid: {0}")]
    Translations(#[from] toml::de::Error),
    /// The database cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Another process serves the database, and one of the two has a manual clock.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// This release cannot run on the schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The database cannot be read.
    #[error("the database: {0}")]
    Storage(#[from] StorageError),
    /// The reflection service cannot read the API's descriptor set.
    #[error("the API's descriptor set is invalid: {0}")]
    Reflection(#[from] prost::DecodeError),
    /// Traces cannot be sent where they should be.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// The address to listen on is not available.
    #[error("cannot listen on {address} (--listen, DISPUTES_LISTEN): {}", in_words(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The address for Prometheus is not available.
    #[error("cannot listen on {address} (--metrics-listen, DISPUTES_METRICS_LISTEN): {}", in_words(source))]
    ListenForMetrics {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Threads or signals could not be set up.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What had to be done before the service listens has failed.
    #[error(transparent)]
    Preparation(Box<dyn Error + Send + Sync>),
    /// A task that must run as long as the service has ended: the log says why.
    #[error("a part of the service has failed; stopping")]
    Background,
    /// The database's files are no longer the ones that were opened.
    #[error("{0}: nothing more is read from it or acknowledged; stopping")]
    Lost(String),
    /// The audit could not be printed.
    #[error("the audit cannot be printed: {0}")]
    Print(#[source] std::io::Error),
    /// The rest of the audit was printed.
    #[error("the audit is incomplete: {skipped} entries are corrupt and were left out; the log names them")]
    AuditIncomplete {
        /// How many entries are missing.
        skipped: u64,
    },
    /// The database could not be copied.
    #[error(transparent)]
    Backup(#[from] BackupError),
}

impl ServeError {
    /// What had to be done before the service listens has failed.
    pub fn preparation(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Preparation(Box::new(error))
    }

    /// What the process exits with: 2 if its flags, the URL of its database or its policy are not valid, as for flags that it
    /// does not know; 1 if a retry may help: a file that is not there yet, a database that is away.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(ConfigError::DatabaseUrlFile(_)) => 1,
            Self::Config(_) | Self::Policy(PolicyFileError::Invalid { .. }) => 2,
            Self::Connect(error) if error.is_about_the_url() => 2,
            _ => 1,
        }
    }
}

/// Why an address is not available.
fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "the port is in use".to_owned(),
        ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        ErrorKind::PermissionDenied => "this user may not listen on that port".to_owned(),
        _ => error.to_string(),
    }
}
