//! The time that the engine acts by.

use std::time::Duration;

use super::error::Error;
use crate::clock::{Clock, Uncertain};
use crate::domain::Timestamp;
use crate::repository::{Repository, StorageError};

/// If the last event of the log is further ahead of the clock than this at startup, it is logged.
const TOLERATED_AHEAD: Duration = Duration::from_secs(30);

impl From<Uncertain> for Error {
    fn from(Uncertain: Uncertain) -> Self {
        Self::ClockUncertain
    }
}

/// The current time of the deciding clock: the database's if replicas share one.
pub(super) async fn time_to_act_by(repository: &Repository, clock: &Clock) -> Result<Timestamp, Error> {
    let asked = clock.ask();
    let told = match repository.has_clock() && !clock.is_manual() {
        true => Some(repository.database_time().await?),
        false => None,
    };
    Ok(clock.certain(asked, told)?)
}

/// Compares the clock with the log at startup: only stored times show that the clock was ahead yesterday, or is behind
/// today. Only the operator can tell which, so it is logged, and nothing is refused.
pub async fn compare_with_log(repository: &Repository, clock: &Clock) -> Result<(), StorageError> {
    if clock.is_manual() {
        return Ok(());
    }
    let times = repository.times().await?;
    let now = times.clock.unwrap_or_else(|| clock.now());
    let ahead = times.last_event.map_or(Duration::ZERO, |last| last.since(now));
    if ahead > TOLERATED_AHEAD {
        tracing::warn!(
            ahead_seconds = ahead.as_secs(),
            "the last event of the log is in the future: the clock was ahead when it was written, or is behind now. Check \
             the clock. Commands are judged by it; new events are dated right after the last one until it has caught up"
        );
    }
    Ok(())
}
