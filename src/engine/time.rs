//! The time that the engine acts by.

use std::time::Duration;

use super::error::Error;
use crate::clock::{Clock, Uncertain};
use crate::domain::Timestamp;
use crate::repository::{Repository, StorageError};

/// A log whose last event is further ahead of the clock than this says so at the start.
const TOLERATED_AHEAD: Duration = Duration::from_secs(30);

impl From<Uncertain> for Error {
    fn from(Uncertain: Uncertain) -> Self {
        Self::ClockUncertain
    }
}

/// The time now, of the clock that decides: the database's where there is one for all replicas.
pub(super) async fn time_to_act_by(repository: &Repository, clock: &Clock) -> Result<Timestamp, Error> {
    let asked = clock.ask();
    let told = match repository.is_postgres() && !clock.is_manual() {
        true => Some(repository.database_time().await?),
        false => None,
    };
    Ok(clock.certain(asked, told)?)
}

/// Compares the clock with the log, at the start: of a clock that was ahead yesterday, or is behind today, only what was
/// written tells. Which of the two it is nobody can tell but the operator, so it is said, and nothing is refused.
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
