//! Prunes data that need not be kept, in small steps and in transactions of its own, so that no caller waits for it.

use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::outage::Outage;
use super::time::time_to_act_by;
use crate::clock::{Clock, pause};
use crate::domain::Timestamp;
use crate::repository::{Repository, StorageError};

/// How long a request id is remembered, at least.
const REQUEST_MEMORY: Duration = Duration::from_secs(72 * 60 * 60);

/// How often old request ids are pruned …
const REQUESTS_EVERY: Duration = Duration::from_secs(10 * 60);
/// … and after how many runs a full scan empty_runs for any left behind, for example by a clock that was set back.
const REQUESTS_FULL_SCAN: u32 = 6;

/// How often old events are pruned: the longest and the shortest interval.
const EVENTS_EVERY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(1));

/// How many request ids, or events, are pruned in one transaction …
const STEP: u32 = 1_000;
/// … and how long to pause between two of them: together they outpace all possible writes.
const YIELD_DELAY: Duration = Duration::from_millis(5);

/// What is pruned.
#[derive(Debug)]
enum Retention {
    /// Request ids older than they need to be kept.
    Requests {
        /// Those before this are pruned already.
        from: Timestamp,
        /// How often there was nothing left to prune.
        empty_runs: u32,
    },
    /// Events older than the policy keeps them.
    Events { retention: Duration },
}

impl Retention {
    /// Prunes some of it. Returns how many rows.
    async fn prune_some(&mut self, repository: &Repository, now: Timestamp) -> Result<u64, StorageError> {
        match self {
            Self::Events { retention } => repository.prune_events(now.minus(*retention), STEP).await,
            Self::Requests { from, empty_runs } => {
                let pruned = repository.prune_requests(*from, now.minus(REQUEST_MEMORY), STEP).await?;
                *from = pruned.up_to;
                if pruned.count == 0 {
                    *empty_runs = empty_runs.saturating_add(1);
                    if empty_runs.is_multiple_of(REQUESTS_FULL_SCAN) {
                        *from = Timestamp::MIN;
                    }
                }
                Ok(pruned.count)
            }
        }
    }
}

/// Prunes old request ids for as long as it is polled.
pub async fn prune_requests(repository: Arc<Repository>, clock: Clock) {
    prune(Retention::Requests { from: Timestamp::MIN, empty_runs: 0 }, REQUESTS_EVERY, &repository, &clock).await;
}

/// Prunes the events that are older than the retention for as long as it is polled; zero keeps them all.
pub async fn prune_events(retention: Duration, repository: Arc<Repository>, clock: Clock) {
    if retention.is_zero() {
        return;
    }
    let (least, most) = EVENTS_EVERY;
    prune(Retention::Events { retention }, (retention / 16).clamp(most, least), &repository, &clock).await;
}

async fn prune(mut what: Retention, every: Duration, repository: &Repository, clock: &Clock) {
    let mut outage = Outage::default();
    loop {
        // While the clock is uncertain, nothing counts as old.
        let step = match time_to_act_by(repository, clock).await {
            Ok(now) => what.prune_some(repository, now).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        match step {
            Ok(count) => {
                outage.end();
                if count == 0 { clock.sleep(every).await } else { pause(YIELD_DELAY).await }
            }
            Err(Error::ClockUncertain) => {
                // Health reads the clock all the time. The wait ends when the clock is certain.
                let _ = clock.certainty().wait_for(|is_certain| *is_certain).await;
            }
            Err(error) => {
                if outage.begin() {
                    tracing::warn!(?error, ?what, "old rows could not be pruned now");
                }
                clock.sleep(every).await;
            }
        }
    }
}
