//! Why a command or a read was not done.

use crate::domain::Refusal;
use crate::repository::StorageError;

/// Why a command or a read was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The rules refuse the command.
    Refused(Refusal),
    /// The request id was already used for another command. Nothing was done.
    RequestIdReused,
    /// Too many requests are waiting. Nothing was done; a later retry can succeed.
    Overloaded,
    /// The service is shutting down. Nothing was done.
    Draining,
    /// The clock has jumped, so nothing can be judged by it. Nothing was done; a later retry can succeed.
    ClockUncertain,
    /// The database is unreachable, or it is unknown whether the command was done: retrying with a request id is safe.
    Unavailable,
    /// The database works, but a read exceeded its time limit.
    TimedOut,
    /// A defect of the service or of stored data. The text is for the log, never for the caller.
    Internal(String),
}

impl Error {
    /// Whether the same read can succeed a little later: callers that continue by themselves, such as streams, read
    /// again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Overloaded | Self::ClockUncertain | Self::Unavailable | Self::TimedOut => true,
            Self::Refused(_) | Self::RequestIdReused | Self::Draining | Self::Internal(_) => false,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Unavailable(_) | StorageError::Conflict | StorageError::ReadOnly | StorageError::Stale => {
                Self::Unavailable
            }
            StorageError::Busy => Self::Overloaded,
            StorageError::TimedOut | StorageError::LockTimeout => Self::TimedOut,
            StorageError::Corrupt { .. } | StorageError::Failed(_) => Self::Internal(error.to_string()),
        }
    }
}
