//! Deadlines: data in the database, not timers in memory.
//!
//! Each replica sleeps until the earliest deadline or reminder it knows, then passes overdue disputes through the
//! committer, the earliest first and behind the callers, in parts that share batches with them. There is no leader:
//! replicas skip orders that another one has locked, and the rules see what is already done. Correctness never depends on
//! this: every command first expires overdue disputes of its order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use super::committer::Committer;
use super::error::Error;
use super::outage::Outage;
use super::time::time_to_act_by;
use super::unit_of_work::TimePassed;
use crate::clock::{Clock, pause, real_now};
use crate::domain::{DisputeId, OrderId, Timestamp};
use crate::metrics::METRICS;
use crate::repository::{Deadline, Repository};

/// How many deadlines are read first: usually few are due …
const FIRST_PAGE: usize = 64;
/// … and then at a time, while more are due. Disputes pass through the committer …
const PAGE: usize = 512;
/// … in parts of so many orders: batches take as many parts as they have time for beside the callers …
const PART: usize = 8;
/// … and so many pages at a time, so that the next batch is waiting while one is committed.
const PAGES: usize = 2;

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

/// A deadline's place in the order in which they pass.
type Key = (Timestamp, DisputeId);

/// What becomes of the parts of a page, once they have passed.
type Passing = Pin<Box<dyn Future<Output = Result<Vec<Passed>, Error>> + Send>>;

/// A page of deadlines, in order.
struct Page {
    found: Vec<Deadline>,
    /// After which the next page continues; `None` if there are no more.
    last: Option<Key>,
}

/// What became of a part of a page.
pub(super) enum Passed {
    Done(TimePassed),
    /// Nothing could be done on this order.
    Failed(OrderId, String),
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
    /// The pages on their way through the committer, the earliest first.
    in_flight: VecDeque<(Vec<Deadline>, Passing)>,
    /// After which the next page begins, if there is more.
    last: Option<Key>,
    /// When the pass began that the next page continues. Quarantined disputes are tried again in the next pass.
    pass_began: Instant,
}

impl Sweeper {
    fn new(repository: Arc<Repository>, clock: Clock, committer: Committer) -> Self {
        let (quarantine, busy) = (HashMap::new(), HashMap::new());
        Self {
            repository,
            clock,
            committer,
            quarantine,
            busy,
            done_before: Timestamp::MIN,
            last_full_scan: real_now(),
            last_scan: Timestamp::MIN,
            in_flight: VecDeque::new(),
            last: None,
            pass_began: real_now(),
        }
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

    /// Expires some overdue disputes, sends due reminders, and returns when to sweep again.
    async fn sweep(&mut self) -> Result<Wait, Error> {
        let wait = self.next_page_or_result().await;
        if wait.is_err() {
            self.in_flight.clear();
            self.last = None;
        }
        wait
    }

    /// Sends a page to the committer, and takes the result of the earliest one if there are enough on their way, or no more
    /// for now.
    async fn next_page_or_result(&mut self) -> Result<Wait, Error> {
        let now = time_to_act_by(&self.repository, &self.clock).await?;
        self.quarantine.retain(|_, again| *again > now);
        self.busy.retain(|_, again| *again > real_now());
        let is_over = self.pass_began.elapsed() >= POLL_INTERVAL || now < self.last_scan;
        let Page { mut found, last } = match self.last.take().filter(|_| !is_over) {
            Some(last) => self.page(last, PAGE).await?,
            None if self.in_flight.is_empty() => self.first_page(now).await?,
            None => return self.result(now).await,
        };
        self.last = last.filter(|(time, _)| *time <= now);
        found.retain(|Deadline { dispute, .. }| {
            !self.quarantine.contains_key(dispute) && !self.busy.contains_key(dispute)
        });
        let earliest = found.first().map(|first| first.time);
        found.retain(|deadline| deadline.time <= now);
        if found.is_empty() {
            return Ok(match earliest {
                _ if self.last.is_some() || !self.in_flight.is_empty() => Wait::No,
                Some(earliest) => Wait::Until(earliest),
                None => Wait::For(POLL_INTERVAL),
            });
        }
        let passing = self.pass_time(&found);
        self.in_flight.push_back((found, passing));
        if self.last.is_some() && self.in_flight.len() < PAGES { Ok(Wait::No) } else { self.result(now).await }
    }

    /// Waits for the earliest page on its way.
    async fn result(&mut self, now: Timestamp) -> Result<Wait, Error> {
        let Some((overdue, passing)) = self.in_flight.pop_front() else { return Ok(Wait::No) };
        let done = self.quarantined(&overdue, passing.await?, now);
        Ok(if done == 0 { Wait::For(CONTENTION_DELAY) } else { Wait::No })
    }

    /// Begins a pass. Finished disputes leave the indexes that this reads, so the earliest is always first.
    async fn first_page(&mut self, now: Timestamp) -> Result<Page, Error> {
        self.pass_began = real_now();
        let from = self.scan_start(now);
        let page = self.page((from, DisputeId(Uuid::nil())), FIRST_PAGE).await?;
        // Disputes that were locked and are done by now are no longer there.
        let due: HashSet<DisputeId> = page.found.iter().map(|deadline| deadline.dispute).collect();
        self.busy.retain(|dispute, _| due.contains(dispute));
        let earliest = page.found.first().map_or(now, |first| first.time.min(now));
        self.done_before = from.max(earliest.minus(BEHIND));
        Ok(page)
    }

    async fn page(&mut self, after: Key, size: usize) -> Result<Page, Error> {
        // A dispute has a deadline and perhaps a reminder: quarantined ones never fill the page.
        let quarantined = self.quarantine.len().saturating_add(self.busy.len());
        let limit = size.saturating_add(quarantined.saturating_mul(2));
        let found = self.repository.next_deadlines(after, u64::try_from(limit).unwrap_or(u64::MAX)).await?;
        let last = found.last().filter(|_| found.len() >= limit).map(|last| (last.time, last.dispute));
        Ok(Page { found, last })
    }

    /// Sends the orders of these to the committer, each once and the earliest first.
    fn pass_time(&self, overdue: &[Deadline]) -> Passing {
        let mut seen = HashSet::new();
        let orders = overdue.iter().map(|deadline| &deadline.order).filter(|order| seen.insert(*order));
        let orders: Vec<OrderId> = orders.cloned().collect();
        let part = |orders: &[OrderId]| {
            let (orders, committer) = (orders.to_vec(), self.committer.clone());
            let passing = committer.pass_time(orders.clone());
            async move {
                match passing.await {
                    Err(Error::Internal(_)) => pass_one_by_one(&committer, orders).await,
                    passed => Ok(vec![Passed::Done(passed?)]),
                }
            }
        };
        let parts = join_all(orders.chunks(PART).map(part).collect::<Vec<_>>());
        Box::pin(async move {
            let parts: Vec<Vec<Passed>> = parts.await.into_iter().collect::<Result<_, Error>>()?;
            Ok(parts.into_iter().flatten().collect())
        })
    }

    /// Quarantines what cannot be done here, or not now. Returns how many events there were.
    fn quarantined(&mut self, overdue: &[Deadline], passed: Vec<Passed>, now: Timestamp) -> usize {
        let (mut events, mut busy) = (0_usize, HashSet::new());
        let (mut left, mut failed) = (HashMap::new(), HashMap::new());
        for part in passed {
            match part {
                Passed::Done(passed) => {
                    events = events.saturating_add(passed.events);
                    METRICS.deadlines_passed.more(["done"], passed.events);
                    METRICS.deadlines_passed.more(["busy"], passed.busy.len());
                    METRICS.deadlines_passed.more(["left"], passed.left.len());
                    busy.extend(passed.busy);
                    left.extend(passed.left);
                }
                Passed::Failed(order, what) => {
                    METRICS.deadlines_passed.one(["failed"]);
                    failed.insert(order, what);
                }
            }
        }
        for Deadline { dispute, order, .. } in overdue {
            if busy.contains(order) {
                self.busy.extend(real_now().checked_add(BUSY_QUARANTINE).map(|again| (*dispute, again)));
            }
            let (why, what) = (left.get(order), failed.get(order));
            // A dispute can be due twice, with a reminder.
            if (why.is_none() && what.is_none()) || self.quarantine.insert(*dispute, now.plus(QUARANTINE)).is_some() {
                continue;
            }
            match what {
                Some(what) => {
                    tracing::error!(%dispute, %order, what, "a dispute cannot be expired: quarantining it");
                }
                None => tracing::warn!(%dispute, %order, why, "a dispute cannot be expired here: quarantining it"),
            }
        }
        events
    }
}

/// Processes the orders of a part one by one, because one of them fails.
pub(super) async fn pass_one_by_one(committer: &Committer, orders: Vec<OrderId>) -> Result<Vec<Passed>, Error> {
    let mut parts = Vec::with_capacity(orders.len());
    for order in orders {
        parts.push(match committer.pass_time(vec![order.clone()]).await {
            Err(Error::Internal(what)) => Passed::Failed(order, what),
            passed => Passed::Done(passed?),
        });
    }
    Ok(parts)
}
