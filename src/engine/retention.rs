//! Prunes data that need not be kept, in small steps and in transactions of its own, so that no caller waits for it.

use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::outage::Outage;
use super::time::time_to_act_by;
use crate::clock::{Clock, pause};
use crate::domain::Timestamp;
use crate::metrics::METRICS;
use crate::repository::{Pruned, Repository, StorageError};

/// How long a request id is remembered, at least.
const REQUEST_MEMORY: Duration = Duration::from_secs(72 * 60 * 60);

/// How often old request ids are pruned.
const REQUESTS_EVERY: Duration = Duration::from_secs(10 * 60);
/// After how many runs that found nothing a full scan looks for rows left behind, for example by a clock that was set back.
const FULL_SCAN: u32 = 6;

/// How often rows are pruned whose retention the operator sets: the longest and the shortest interval.
const RETENTION_EVERY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(1));

/// How many request ids, events or entries of the audit are pruned in one transaction …
const STEP: u32 = 1_000;
/// … and how long to pause between two of them: together they outpace all possible writes.
const YIELD_DELAY: Duration = Duration::from_millis(5);

/// What is pruned.
#[derive(Debug)]
enum Retention {
    /// Request ids older than they need to be kept.
    Requests(Sweep),
    /// Events older than the policy keeps them.
    Events { retention: Duration },
    /// Entries of the audit older than the policy keeps them.
    Audit { retention: Duration, sweep: Sweep },
}

/// How far rows are pruned that are found by their time.
#[derive(Debug)]
struct Sweep {
    /// Those before this are pruned already.
    from: Timestamp,
    /// How often there was nothing left to prune.
    empty_runs: u32,
}

impl Sweep {
    fn new() -> Self {
        Self { from: Timestamp::MIN, empty_runs: 0 }
    }

    /// Notes a step, so that the next one starts where it ended. Returns how many rows it pruned.
    fn note(&mut self, pruned: Pruned) -> u64 {
        self.from = pruned.up_to;
        if pruned.count == 0 {
            self.empty_runs = self.empty_runs.saturating_add(1);
            if self.empty_runs.is_multiple_of(FULL_SCAN) {
                self.from = Timestamp::MIN;
            }
        }
        pruned.count
    }
}

impl Retention {
    /// What is pruned.
    fn name(&self) -> &'static str {
        match self {
            Self::Events { .. } => "events",
            Self::Requests(_) => "requests",
            Self::Audit { .. } => "audit",
        }
    }

    /// Prunes some of it. Returns how many rows.
    async fn prune_some(&mut self, repository: &Repository, now: Timestamp) -> Result<u64, StorageError> {
        match self {
            Self::Events { retention } => repository.prune_events(now.minus(*retention), STEP).await,
            Self::Requests(sweep) => {
                Ok(sweep.note(repository.prune_requests(sweep.from, now.minus(REQUEST_MEMORY), STEP).await?))
            }
            Self::Audit { retention, sweep } => {
                Ok(sweep.note(repository.prune_audit(sweep.from, now.minus(*retention), STEP).await?))
            }
        }
    }
}

/// Prunes old request ids for as long as it is polled.
pub async fn prune_requests(repository: Arc<Repository>, clock: Clock) {
    prune(Retention::Requests(Sweep::new()), REQUESTS_EVERY, &repository, &clock).await;
}

/// Prunes the events that are older than the retention for as long as it is polled; zero keeps them all.
pub async fn prune_events(retention: Duration, repository: Arc<Repository>, clock: Clock) {
    if retention.is_zero() {
        return;
    }
    prune(Retention::Events { retention }, interval(retention), &repository, &clock).await;
}

/// Prunes the entries of the audit that are older than the retention for as long as it is polled; zero keeps them all.
pub async fn prune_audit(retention: Duration, repository: Arc<Repository>, clock: Clock) {
    if retention.is_zero() {
        return;
    }
    prune(Retention::Audit { retention, sweep: Sweep::new() }, interval(retention), &repository, &clock).await;
}

/// How often rows are pruned that are kept for so long.
fn interval(retention: Duration) -> Duration {
    let (longest, shortest) = RETENTION_EVERY;
    (retention / 16).clamp(shortest, longest)
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
                METRICS.pruned.more([what.name()], usize::try_from(count).unwrap_or(usize::MAX));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_begins_where_the_one_before_ended_and_now_and_then_at_the_beginning() {
        let at = |micros| Timestamp::from_micros(micros).unwrap();
        let mut sweep = Sweep::new();
        assert_eq!(sweep.from, Timestamp::MIN);
        assert_eq!(sweep.note(Pruned { count: 7, up_to: at(5) }), 7);
        for run in 1..FULL_SCAN {
            assert_eq!(sweep.note(Pruned { count: 0, up_to: at(9) }), 0);
            assert_eq!(sweep.from, at(9), "run {run}");
        }
        assert_eq!(sweep.note(Pruned { count: 0, up_to: at(9) }), 0);
        assert_eq!(sweep.from, Timestamp::MIN, "what a clock that was set back has dated is found too");
    }
}
