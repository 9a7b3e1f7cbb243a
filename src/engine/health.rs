//! Health: whether the service can do its work, for load balancers. It follows the ability to read the log, the ability
//! to *write* (even when idle), and the clock. This is the only place that decides.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::outage::Outage;
use super::time::time_to_act_by;
use crate::clock::{Clock, pause};
use crate::repository::{Repository, StorageError};

/// The pause between two attempts to write: together with the time both take, a change is noticed within two seconds.
const PROBE_INTERVAL: Duration = Duration::from_millis(750);

/// After this many consecutive attempts of which none succeeded in time, about as long as a command is waited for, a
/// readable database is not just slow.
const SLOW_PROBES: u32 = 10;

/// How long the database may take to return its time.
const CLOCK_TIMEOUT: Duration = Duration::from_millis(700);

/// Whether the service can do its work.
#[derive(Debug)]
pub struct Health {
    repository: Arc<Repository>,
    clock: Clock,
    is_serving: watch::Sender<bool>,
}

/// The results of the attempts to write so far.
#[derive(Default)]
struct Writes {
    outage: Outage,
    slow_in_a_row: u32,
    /// Whether none has succeeded since the database could not even be read: once it can be read again, it may still
    /// refuse to be written, such as a standby.
    are_unproven: bool,
}

impl Writes {
    fn can_be_done(&self) -> bool {
        !self.outage.is_on() && !self.are_unproven
    }
}

impl Health {
    /// Determines the current state, and returns it with the task that keeps it up to date. The task ends only when the
    /// database's files are no longer the ones that were opened, and returns what happened to them: the service can
    /// then only end.
    pub async fn start(
        repository: Arc<Repository>,
        clock: Clock,
        is_readable: watch::Receiver<bool>,
    ) -> (Arc<Self>, impl Future<Output = String> + Send) {
        let health = Arc::new(Self { repository, clock, is_serving: watch::Sender::new(true) });
        let mut writes = Writes::default();
        tokio::join!(health.probe(&mut writes), health.look_at_the_clock());
        health.is_serving.send_replace(writes.can_be_done());
        (health.clone(), health.run(is_readable, writes))
    }

    /// Whether the service can do its work.
    pub fn is_serving(&self) -> watch::Receiver<bool> {
        self.is_serving.subscribe()
    }

    async fn run(self: Arc<Self>, mut is_readable: watch::Receiver<bool>, mut writes: Writes) -> String {
        let mut is_certain = self.clock.certainty();
        let mut is_read = *is_readable.borrow_and_update();
        loop {
            let is_serving = is_read && *is_certain.borrow_and_update() && writes.can_be_done();
            self.is_serving.send_if_modified(|before| std::mem::replace(before, is_serving) != is_serving);
            tokio::select! {
                biased;
                what = self.repository.lost() => {
                    self.is_serving.send_replace(false);
                    self.repository.abandon().await;
                    return what;
                }
                // The feed is never dropped before this.
                Ok(()) = is_readable.changed() => {
                    is_read = *is_readable.borrow_and_update();
                    writes.are_unproven = true;
                    if is_read {
                        self.probe(&mut writes).await;
                    }
                }
                Ok(()) = is_certain.changed() => {}
                () = pause(PROBE_INTERVAL) => drop(tokio::join!(self.probe(&mut writes), self.look_at_the_clock())),
            }
        }
    }

    /// Reads the deciding clock even when there is nothing to judge. Its certainty is visible to everybody.
    async fn look_at_the_clock(&self) {
        // An unreachable database returns no time; the other checks notice that.
        let _ = tokio::time::timeout(CLOCK_TIMEOUT, time_to_act_by(&self.repository, &self.clock)).await;
    }

    /// Tries to write.
    async fn probe(&self, writes: &mut Writes) {
        let failed = match self.repository.probe_write().await {
            Ok(()) => None,
            // Another session is using the database, or has just changed its tables: that says nothing about its
            // health.
            Err(StorageError::Busy | StorageError::LockTimeout | StorageError::Conflict | StorageError::Stale) => {
                return;
            }
            Err(StorageError::TimedOut) => match self.repository.probe_read().await {
                Ok(()) if writes.slow_in_a_row < SLOW_PROBES => {
                    writes.slow_in_a_row = writes.slow_in_a_row.saturating_add(1);
                    return;
                }
                _ => Some(StorageError::TimedOut),
            },
            Err(
                error @ (StorageError::Unavailable(_)
                | StorageError::ReadOnly
                | StorageError::Corrupt { .. }
                | StorageError::Failed(_)),
            ) => Some(error),
        };
        writes.slow_in_a_row = 0;
        match failed {
            Some(error) => {
                if writes.outage.begin() {
                    tracing::warn!(%error, "the database cannot be written");
                }
            }
            None => {
                writes.are_unproven = false;
                if writes.outage.end() {
                    tracing::info!("the database can be written again");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    #[tokio::test]
    async fn a_database_that_comes_back_read_only_is_not_taken_for_one_that_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
        let repository = Arc::new(Repository::connect(&url).await.unwrap());
        repository.migrate().await.unwrap();
        let (readable, is_readable) = watch::channel(true);
        let (clock, _manual) = Clock::manual(Timestamp::MIN);
        let (health, keep) = Health::start(repository.clone(), clock, is_readable).await;
        let mut is_serving = health.is_serving();
        assert!(*is_serving.borrow_and_update());
        let keep = tokio::spawn(keep);

        readable.send_replace(false);
        is_serving.wait_for(|serving| !serving).await.unwrap();
        repository.refuse_probes(true).await;
        is_serving.mark_unchanged();
        readable.send_replace(true);
        let turned = tokio::time::timeout(2 * PROBE_INTERVAL, is_serving.changed()).await;
        assert!(turned.is_err(), "it does not serve before a write has succeeded");

        repository.refuse_probes(false).await;
        is_serving.wait_for(|serving| *serving).await.unwrap();
        keep.abort();
    }
}
