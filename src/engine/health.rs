//! Health: whether the service can do its work, for those who send it callers. It follows the ability to read the log and
//! the ability to *write*, also while nobody asks for anything, and the clock. This is the one place that decides.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::time::time_to_act_by;
use crate::clock::{Clock, pause};
use crate::repository::{Repository, StorageError};

/// How long after one attempt to write the next one is made: with the time that both take, a change is noticed within two
/// seconds.
const PROBE_INTERVAL: Duration = Duration::from_millis(750);

/// After so many attempts in a row of which none was done in time, for about as long as a command is waited for, a database
/// that can be read is not just slow.
const SLOW_PROBES: u32 = 10;

/// How long the database may take to tell the time.
const CLOCK_TIMEOUT: Duration = Duration::from_millis(700);

/// Whether the service can do its work.
#[derive(Debug)]
pub struct Health {
    repository: Arc<Repository>,
    clock: Clock,
    is_serving: watch::Sender<bool>,
}

/// What attempts to write have shown so far.
#[derive(Default)]
struct Writes {
    fail: bool,
    slow_in_a_row: u32,
}

impl Health {
    /// Finds out how it is, and answers with the task that keeps it true. That ends only when the files of the database
    /// are no longer what was opened, and says what became of them: then nothing can be done but to end.
    pub async fn start(
        repository: Arc<Repository>,
        clock: Clock,
        is_readable: watch::Receiver<bool>,
    ) -> (Arc<Self>, impl Future<Output = String> + Send) {
        let health = Arc::new(Self { repository, clock, is_serving: watch::Sender::new(true) });
        let mut writes = Writes::default();
        tokio::join!(health.probe(&mut writes), health.look_at_the_clock());
        health.is_serving.send_replace(!writes.fail);
        (health.clone(), health.run(is_readable, writes))
    }

    /// Whether the service can do its work.
    pub fn is_serving(&self) -> watch::Receiver<bool> {
        self.is_serving.subscribe()
    }

    async fn run(self: Arc<Self>, mut is_readable: watch::Receiver<bool>, mut writes: Writes) -> String {
        let mut is_certain = self.clock.certainty();
        loop {
            let is_serving = *is_readable.borrow_and_update() && *is_certain.borrow_and_update() && !writes.fail;
            self.is_serving.send_if_modified(|before| std::mem::replace(before, is_serving) != is_serving);
            tokio::select! {
                biased;
                what = self.repository.lost() => {
                    self.is_serving.send_replace(false);
                    self.repository.abandon().await;
                    return what;
                }
                // The feed never goes before this does.
                Ok(()) = is_readable.changed() => {}
                Ok(()) = is_certain.changed() => {}
                () = pause(PROBE_INTERVAL) => drop(tokio::join!(self.probe(&mut writes), self.look_at_the_clock())),
            }
        }
    }

    /// Looks at the clock that decides, also while there is nothing to judge. What it finds out everybody sees.
    async fn look_at_the_clock(&self) {
        // A database that is away tells no time; that it is, the others find out.
        let _ = tokio::time::timeout(CLOCK_TIMEOUT, time_to_act_by(&self.repository, &self.clock)).await;
    }

    /// Tries to write.
    async fn probe(&self, writes: &mut Writes) {
        let failed = match self.repository.probe_write().await {
            Ok(()) => None,
            // Somebody else is busy with the database, or has just changed its tables: that says nothing of it.
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
        let before = std::mem::replace(&mut writes.fail, failed.is_some());
        match failed {
            Some(error) if !before => tracing::warn!(%error, "the database cannot be written"),
            None if before => tracing::info!("the database can be written again"),
            Some(_) | None => {}
        }
    }
}
