//! Accepts connections, and waits while the machine has no resources for one more.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use crate::clock::{RealInstant, pause, pause_until, real_instant_after};

/// How long to wait after the first failure; doubled after each further one.
const FIRST_DELAY: Duration = Duration::from_millis(5);

/// The longest such delay.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// A failure is over once connections were accepted for this long without another.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// Whether connections can be accepted, and what was logged about it.
#[derive(Debug)]
pub(super) enum Accepting {
    /// No failure.
    Fine,
    /// The last attempt failed, and this was logged.
    Failing {
        /// How long to wait before the next attempt.
        delay: Duration,
    },
    /// Attempts succeed again; this will be logged unless another fails before.
    Recovering {
        /// When to log it.
        settled: RealInstant,
    },
}

impl Accepting {
    /// Records an accepted connection.
    pub(super) fn succeeded(&mut self) {
        if let (Self::Failing { .. }, Some(settled)) = (&self, real_instant_after(SETTLED_AFTER)) {
            *self = Self::Recovering { settled };
        }
    }

    /// Records a failure, and returns when it makes sense to try again. Cancel safe.
    pub(super) async fn failed(&mut self, error: &Error) {
        if is_of_one_connection(error) {
            return;
        }
        let delay = match self {
            Self::Fine => {
                tracing::warn!(%error, "no connection can be accepted: clients have to wait; retrying");
                FIRST_DELAY
            }
            Self::Failing { delay } => delay.saturating_mul(2).min(LONGEST_DELAY),
            Self::Recovering { .. } => FIRST_DELAY,
        };
        *self = Self::Failing { delay };
        pause(delay).await;
    }

    /// Returns once a failure is over, and logs that. Cancel safe.
    pub(super) async fn settles(&mut self) {
        match self {
            Self::Recovering { settled } => pause_until(*settled).await,
            Self::Fine | Self::Failing { .. } => std::future::pending().await,
        }
        tracing::info!("connections are accepted again");
        *self = Self::Fine;
    }
}

/// Whether the connection itself failed before it could be accepted: the next one may succeed. Any other failure, in
/// particular a lack of file descriptors or memory, would repeat at once.
fn is_of_one_connection(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}
