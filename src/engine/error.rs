//! Why a command or a read was not done.

use crate::domain::Refusal;
use crate::repository::StorageError;

/// Why a command or a read was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The rules refuse it.
    Refused(Refusal),
    /// Too many commands are waiting. It was not done; trying again later can succeed.
    Overloaded,
    /// The service is shutting down. It was not done.
    Draining,
    /// The database cannot be reached, or it is not known whether the command was done: with a request
    /// id it is safe to try again.
    Unavailable,
    /// A defect of the service or of what is stored. The text is for the log, never for the caller.
    Internal(String),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Unavailable(_) | StorageError::Conflict => Self::Unavailable,
            StorageError::Corrupt { .. } | StorageError::Failed(_) => Self::Internal(error.to_string()),
        }
    }
}
