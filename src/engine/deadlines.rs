//! Deadlines: data in the database, not timers in memory.
//!
//! Each replica sleeps until the earliest deadline or reminder it knows, then passes overdue disputes through the
//! committer, a page at a time behind the callers. There is no leader: replicas skip orders that another one has
//! locked, and the rules see what is already done. Correctness never depends on this: every command first expires
//! overdue disputes of its order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::committer::Committer;
use super::error::Error;
use super::outage::Outage;
use super::time::time_to_act_by;
use super::unit_of_work::TimePassed;
use crate::clock::{Clock, pause, real_now};
use crate::domain::{DisputeId, Timestamp};
use crate::repository::{Deadline, Repository};

/// How many disputes pass through the committer at a time: a batch has room for callers besides them.
const PAGE: usize = 256;

/// How often deadlines are read again, to find those that other replicas set.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long to wait if everything due is locked by others …
const CONTENTION_DELAY: Duration = Duration::from_millis(20);
/// … and how long to skip locked disputes: however many there are, they do not fill every page.
const BUSY_QUARANTINE: Duration = Duration::from_secs(1);

/// Finished disputes leave dead entries in the indexes, which PostgreSQL cannot clean up while anybody reads an old
/// snapshot. So entries further behind the earliest remaining one than a transaction of another replica can last are
/// not scanned again …
const BEHIND: Duration = Duration::from_secs(60);
/// … except this often, in case a clock was set back somewhere.
const FULL_SCAN_INTERVAL: Duration = Duration::from_secs(60);

/// How long a dispute that cannot be expired is quarantined.
const QUARANTINE: Duration = Duration::from_secs(60);

/// Where the committer reports new deadlines.
#[derive(Debug)]
pub struct Deadlines {
    /// The earliest deadline that the sweep sleeps for, in microseconds.
    slept_for: AtomicI64,
    sooner: Notify,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { slept_for: AtomicI64::new(i64::MAX), sooner: Notify::new() }
    }
}

impl Deadlines {
    /// Reports a deadline at `deadline`, which may be sooner than the one slept for.
    pub fn reschedule(&self, deadline: Timestamp) {
        if deadline.micros() < self.slept_for.load(Ordering::Acquire) {
            self.sooner.notify_one();
        }
    }

    /// Expires disputes and sends reminders for as long as it is polled.
    pub async fn run(self: Arc<Self>, repository: Arc<Repository>, clock: Clock, committer: Committer) {
        let mut sweeper = Sweeper::new(repository, clock, committer);
        let mut outage = Outage::default();
        loop {
            // Any dispute opened from here on is either read below or reschedules.
            self.slept_for.store(i64::MAX, Ordering::Release);
            let wait = match sweeper.sweep().await {
                Ok(wait) => {
                    outage.end();
                    wait
                }
                // The clock has logged it already.
                Err(Error::ClockUncertain) => Wait::For(POLL_INTERVAL),
                Err(error) => {
                    if outage.begin() {
                        tracing::warn!(?error, "deadlines cannot be read or expired now: they wait");
                    }
                    Wait::For(POLL_INTERVAL)
                }
            };
            match wait {
                Wait::For(span) => {
                    let _ = tokio::time::timeout(span, self.sooner.notified()).await;
                }
                Wait::Until(deadline) => {
                    self.slept_for.store(deadline.micros(), Ordering::Release);
                    tokio::select! {
                        () = sweeper.clock.sleep_until(deadline) => {}
                        () = self.sooner.notified() => {}
                        // In real time even with a manual clock: other replicas do not wait for it to advance.
                        () = pause(POLL_INTERVAL) => {}
                    }
                }
                Wait::No => {}
            }
        }
    }
}

/// When to sweep again.
enum Wait {
    No,
    For(Duration),
    Until(Timestamp),
}

struct Sweeper {
    repository: Arc<Repository>,
    clock: Clock,
    committer: Committer,
    /// Disputes that could not be expired, and when to try again: they never block the rest.
    quarantine: HashMap<DisputeId, Timestamp>,
    /// Disputes of orders that another transaction had locked, and when to try again. In real time: locks do not wait
    /// for a manual clock.
    busy: HashMap<DisputeId, Instant>,
    /// Nothing is left before this instant.
    done_before: Timestamp,
    /// When everything was last scanned, and the clock's time at the last scan.
    last_full_scan: Instant,
    last_scan: Timestamp,
}

impl Sweeper {
    fn new(repository: Arc<Repository>, clock: Clock, committer: Committer) -> Self {
        let (done_before, last_scan) = (Timestamp::MIN, Timestamp::MIN);
        let (quarantine, busy) = (HashMap::new(), HashMap::new());
        Self { repository, clock, committer, quarantine, busy, done_before, last_full_scan: real_now(), last_scan }
    }

    /// Returns the instant from which to scan.
    fn scan_start(&mut self, now: Timestamp) -> Timestamp {
        let scanned = real_now();
        if now < self.last_scan || scanned.saturating_duration_since(self.last_full_scan) >= FULL_SCAN_INTERVAL {
            self.done_before = Timestamp::MIN;
            self.last_full_scan = scanned;
        }
        self.last_scan = now;
        self.done_before
    }

    /// Expires a page of overdue disputes, sends due reminders, and returns when to sweep again.
    async fn sweep(&mut self) -> Result<Wait, Error> {
        let now = time_to_act_by(&self.repository, &self.clock).await?;
        self.quarantine.retain(|_, again| *again > now);
        self.busy.retain(|_, again| *again > real_now());
        // A dispute has a deadline and perhaps a reminder: quarantined ones never fill the page.
        let quarantined = self.quarantine.len().saturating_add(self.busy.len());
        let limit = PAGE.saturating_add(quarantined.saturating_mul(2));
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        // Finished disputes leave the indexes that this reads, so the earliest is always first.
        let from = self.scan_start(now);
        let mut next = self.repository.next_deadlines(from, limit).await?;
        // Disputes that were locked and are done by now are no longer there.
        let due: HashSet<DisputeId> = next.iter().map(|deadline| deadline.dispute).collect();
        self.busy.retain(|dispute, _| due.contains(dispute));
        let earliest = next.first().map_or(now, |first| first.time.min(now));
        self.done_before = from.max(earliest.minus(BEHIND));
        next.retain(|Deadline { dispute, .. }| {
            !self.quarantine.contains_key(dispute) && !self.busy.contains_key(dispute)
        });
        next.truncate(PAGE);
        let Some(earliest) = next.first().map(|first| first.time) else {
            return Ok(Wait::For(POLL_INTERVAL));
        };
        if earliest > now {
            return Ok(Wait::Until(earliest));
        }
        next.retain(|deadline| deadline.time <= now);
        let done = self.pass_time(&next, now).await?;
        Ok(if done == 0 { Wait::For(CONTENTION_DELAY) } else { Wait::No })
    }

    /// Quarantines what cannot be done here, or not now. Returns how many events there were.
    fn quarantined(&mut self, overdue: &[Deadline], passed: &TimePassed, now: Timestamp) -> usize {
        if let Some(again) = real_now().checked_add(BUSY_QUARANTINE) {
            let busy = overdue.iter().filter(|deadline| passed.busy.contains(&deadline.order));
            self.busy.extend(busy.map(|deadline| (deadline.dispute, again)));
        }
        for (left, why) in &passed.left {
            for Deadline { dispute, order, .. } in overdue.iter().filter(|deadline| deadline.order == *left) {
                // A dispute can be due twice, with a reminder.
                if self.quarantine.insert(*dispute, now.plus(QUARANTINE)).is_none() {
                    tracing::warn!(%dispute, %order, why, "a dispute cannot be expired here: quarantining it");
                }
            }
        }
        passed.events
    }

    /// Processes these together and, if one of them fails, one by one.
    async fn pass_time(&mut self, overdue: &[Deadline], now: Timestamp) -> Result<usize, Error> {
        let mut seen = HashSet::new();
        // Each order once, and still the earliest first.
        let orders = overdue.iter().map(|deadline| &deadline.order).filter(|order| seen.insert(*order)).cloned();
        match self.committer.pass_time(orders.collect()).await {
            Err(Error::Internal(_)) => {}
            Ok(passed) => return Ok(self.quarantined(overdue, &passed, now)),
            Err(error) => return Err(error),
        }
        let mut events = 0_usize;
        for Deadline { dispute, order, .. } in overdue {
            match self.committer.pass_time(vec![order.clone()]).await {
                Ok(passed) => events = events.saturating_add(self.quarantined(overdue, &passed, now)),
                Err(Error::Internal(what)) => {
                    tracing::error!(%dispute, %order, what, "a dispute cannot be expired: quarantining it");
                    self.quarantine.insert(*dispute, now.plus(QUARANTINE));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    }
}
