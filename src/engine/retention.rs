//! what need not be remembered is pruned, in small steps and in transactions of its own, for which no
//! caller waits.

use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::time::time_to_act_by;
use crate::clock::{Clock, pause};
use crate::domain::Timestamp;
use crate::repository::{Repository, StorageError};

/// How long a request id is remembered, at least.
const REQUEST_MEMORY: Duration = Duration::from_secs(72 * 60 * 60);

/// How often old request ids are pruned …
const REQUESTS_EVERY: Duration = Duration::from_secs(10 * 60);
/// … and after how many times it is looked whether any were left behind, as by a clock that was set back.
const REQUESTS_COMPLETELY: u32 = 6;

/// How often old events are pruned at the least, and how often at the most.
const EVENTS_EVERY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(1));

/// How many request ids, or events, are pruned in one transaction …
const STEP: u32 = 1_000;
/// … and what is left to others between two of them: together more than can be written in the time.
const YIELD_DELAY: Duration = Duration::from_millis(5);

/// What is not kept for ever.
#[derive(Debug)]
enum Retention {
    /// Request ids that are older than they need be kept.
    Requests {
        /// Those from before are pruned already.
        from: Timestamp,
        /// How often there was nothing left to prune.
        looks: u32,
    },
    /// Events that are older than the policy keeps them.
    Events { retention: Duration },
}

impl Retention {
    /// Prunes some of it. Answers how much.
    async fn prune_some(&mut self, repository: &Repository, now: Timestamp) -> Result<u64, StorageError> {
        match self {
            Self::Events { retention } => repository.prune_events(now.minus(*retention), STEP).await,
            Self::Requests { from, looks } => {
                let pruned = repository.prune_requests(*from, now.minus(REQUEST_MEMORY), STEP).await?;
                *from = pruned.up_to;
                if pruned.count == 0 {
                    *looks = looks.saturating_add(1);
                    if looks.is_multiple_of(REQUESTS_COMPLETELY) {
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
    prune(Retention::Requests { from: Timestamp::MIN, looks: 0 }, REQUESTS_EVERY, &repository, &clock).await;
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
    let mut is_away = false;
    loop {
        // While the clock is uncertain, nothing counts as old.
        let step = match time_to_act_by(repository, clock).await {
            Ok(now) => what.prune_some(repository, now).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        match step {
            Ok(count) => {
                is_away = false;
                if count == 0 { clock.sleep(every).await } else { pause(YIELD_DELAY).await }
            }
            Err(Error::ClockUncertain) => {
                // Health looks at the clock all the time. It goes on with the service.
                let _ = clock.certainty().wait_for(|is_certain| *is_certain).await;
            }
            Err(error) => {
                // Said once: each step meets the same until the database is back.
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(?error, ?what, "old rows could not be pruned now");
                }
                clock.sleep(every).await;
            }
        }
    }
}
