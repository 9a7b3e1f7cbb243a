//! Why a command or a read was not done.

use crate::domain::Refusal;
use crate::repository::StorageError;

/// Why a command or a read was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The rules refuse it.
    Refused(Refusal),
    /// The request id was used before, for another command. It was not done.
    RequestIdReused,
    /// Too much is waiting. It was not done; trying again later can succeed.
    Overloaded,
    /// The service is shutting down. It was not done.
    Draining,
    /// The clock has jumped, so that nothing can be judged by it. It was not done; trying again later can succeed.
    ClockUncertain,
    /// The database cannot be reached, or it is not known whether the command was done: with a request
    /// id it is safe to try again.
    Unavailable,
    /// The database works, but a read took longer than it may.
    TimedOut,
    /// A defect of the service or of what is stored. The text is for the log, never for the caller.
    Internal(String),
}

impl Error {
    /// Whether the same read can succeed a little later: what goes on by itself, as a stream does, reads again.
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
