//! Accepting connections, also while the machine has no room for one more.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use crate::clock::{RealInstant, pause, pause_until, real_instant_after};

/// How long nothing is accepted after the first failure; twice as long after each further one.
const FIRST_DELAY: Duration = Duration::from_millis(5);

/// The longest such delay.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// A failure is over once connections were accepted for so long without another.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// Whether connections can be accepted, and what the log was told of it.
#[derive(Debug)]
pub(super) enum Accepting {
    /// All is well.
    Fine,
    /// The last attempt failed; the log was told.
    Failing {
        /// How long to wait before the next one.
        delay: Duration,
    },
    /// Attempts succeed again; the log will be told, unless another fails before that.
    Recovering {
        /// When.
        settled: RealInstant,
    },
}

impl Accepting {
    /// Takes note of a connection.
    pub(super) fn succeeded(&mut self) {
        if let (Self::Failing { .. }, Some(settled)) = (&self, real_instant_after(SETTLED_AFTER)) {
            *self = Self::Recovering { settled };
        }
    }

    /// Takes note of a failure, and returns when it makes sense to try again. Cancel safe.
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

    /// Returns once a failure is over, and tells the log. Cancel safe.
    pub(super) async fn settles(&mut self) {
        match self {
            Self::Recovering { settled } => pause_until(*settled).await,
            Self::Fine | Self::Failing { .. } => std::future::pending().await,
        }
        tracing::info!("connections are accepted again");
        *self = Self::Fine;
    }
}

/// Whether it is the connection that failed, before it could be accepted: the next one may be all right. Anything else,
/// above all a lack of file descriptors or memory, would fail again at once.
fn is_of_one_connection(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}
