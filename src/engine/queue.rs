//! The queue in front of the committer: what is waiting, how much can wait, and whose turn it is.
//!
//! It has a [`Line`] for each kind of work, bounded by orders and by bytes: commands of parties and agents, and the
//! disclosures that agents wait for; imports of the order system; expiries and reminders; and submissions whose order
//! another transaction has locked. Each batch takes something from every line, commands first: so any number of imports
//! delays a command by one batch at most, and imports are never starved either. Expiries and reminders, which nobody waits
//! for, take a small share as long as there are callers, and whole batches when there are none. Within a line the callers
//! take turns, and when it is full, the caller with the most waiting gives way.

mod batch_size;
mod line;
mod submission;
#[cfg(test)]
pub(super) mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use self::batch_size::BatchSize;
use self::line::{Batch, Line};
use self::submission::Load;
use super::error::Error;
use crate::clock::real_now;
use crate::domain::Subject;
use crate::metrics::METRICS;
use crate::traces::{Part, Span, Tracer};

pub(super) use self::line::Waiting;
pub use self::submission::RequestKey;
pub(super) use self::submission::{ReplySender, Submission};

/// How much of each kind can wait; beyond that a submission is refused, or the caller with the most waiting gives way
/// to it. A party's command concerns one order. There is room for fifty imports of five hundred orders each.
const COMMANDS: Load = Load { orders: 4_096, bytes: 32 << 20 };
const IMPORTS: Load = Load { orders: 25_600, bytes: 24 << 20 };
/// … and how much of it for locked orders: one of these must not fill the whole queue.
const BUSY: Load = Load { orders: 2_048, bytes: 8 << 20 };
/// Deadlines are processed one page of orders after another: their sweep waits for each page.
const TIME: Load = Load { orders: usize::MAX, bytes: usize::MAX };

/// The share of a batch that parties' commands leave to other work, as long as any is waiting.
const OTHERS_SHARE: usize = 4;

/// The share of a batch that expiries and reminders take beside callers …
const TIME_SHARE: usize = 16;
/// … and of one in which there is no caller although some came within [`CALLERS_COME`]: the next one may come at any
/// moment, and would wait for it. When no callers come, only the largest batch is a bound: small ones cost twice as much
/// per order.
const TIME_SHARE_BETWEEN: usize = 4;
/// How long callers are expected to come again.
const CALLERS_COME: Duration = Duration::from_secs(10);

/// How long a command waits for an order that another transaction has locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A locked order is tried again after this fraction of the time it has waited, within these bounds: another replica
/// finishes soon, a session that forgot to commit does not.
const BUSY_RETRY: Retry = Retry { part: 50, soonest: Duration::from_millis(1), latest: Duration::from_millis(20) };
/// … and, where each try delays the others, seldom.
const ALONE_RETRY: Retry = Retry { part: 4, soonest: Duration::from_millis(20), latest: Duration::from_secs(2) };

/// When to try again: after a fraction of the time waited, within bounds.
struct Retry {
    part: u32,
    soonest: Duration,
    latest: Duration,
}

struct Lines {
    commands: Line,
    imports: Line,
    time: Line,
    busy: Line,
    /// Submissions that need a batch of their own; and whether the last batch was such a one: the two kinds alternate.
    alone: Line,
    was_alone: bool,
    batch_size: BatchSize,
    /// When a batch last had a caller in it.
    callers_came: Option<Instant>,
    /// By how much expiries and reminders exceeded their share, in orders of the batches that are theirs by that: a part of
    /// a page can be larger than a batch.
    time_debt: usize,
    is_closed: bool,
}

impl Lines {
    fn new(batch_size: BatchSize) -> Self {
        Self {
            commands: Line::new(COMMANDS),
            imports: Line::new(IMPORTS),
            time: Line::new(TIME),
            busy: Line::new(BUSY),
            alone: Line::new(BUSY),
            was_alone: false,
            batch_size,
            callers_came: None,
            time_debt: 0,
            is_closed: false,
        }
    }

    /// Takes the next batch, in fair turns.
    fn batch(&mut self, now: Instant) -> Vec<Waiting> {
        let mut batch = Batch::default();
        self.was_alone = !self.was_alone && {
            self.alone.take(&mut batch, 1, now);
            !batch.waiting.is_empty()
        };
        if self.was_alone {
            return batch.waiting;
        }
        let most = self.batch_size.orders();
        let of_others = most / OTHERS_SHARE;
        self.commands.take(&mut batch, most.saturating_sub(of_others), now);
        let room = batch.orders.saturating_add(of_others);
        // Something of each kind, however much room the previous ones took.
        for line in [&mut self.busy, &mut self.imports] {
            let at_least_one = batch.orders.saturating_add(1);
            line.take(&mut batch, room.max(at_least_one), now);
        }
        let debt = self.time_debt.saturating_sub(most);
        let of_time = if self.time.is_empty() || debt > 0 { 0 } else { (most / TIME_SHARE).max(1) };
        self.commands.take(&mut batch, most.saturating_sub(of_time), now);
        self.imports.take(&mut batch, most.saturating_sub(of_time), now);
        if batch.waiting.is_empty() {
            let up_to = self.most_without_callers(now);
            self.time.take(&mut batch, up_to, now);
            return batch.waiting;
        }
        self.callers_came = Some(now);
        let of_callers = batch.orders;
        if of_time > 0 {
            let at_least_one = of_callers.saturating_add(1);
            self.time.take(&mut batch, of_callers.saturating_add(of_time).min(most).max(at_least_one), now);
        }
        let taken = batch.orders.saturating_sub(of_callers);
        self.time_debt = debt.saturating_add(taken.saturating_mul(TIME_SHARE));
        batch.waiting
    }

    /// Whether callers came so recently that the next one may come at any moment.
    fn expects_callers(&self, now: Instant) -> bool {
        self.callers_came.is_some_and(|came| now.saturating_duration_since(came) < CALLERS_COME)
    }

    /// How many orders a batch touches in which there is no caller.
    fn most_without_callers(&self, now: Instant) -> usize {
        if self.expects_callers(now) {
            (self.batch_size.orders() / TIME_SHARE_BETWEEN).max(1)
        } else {
            BatchSize::LARGEST
        }
    }

    fn is_empty(&self) -> bool {
        [&self.commands, &self.imports, &self.time, &self.busy, &self.alone].into_iter().all(Line::is_empty)
    }

    /// The instant before which nothing is retried.
    fn next_try(&self) -> Option<Instant> {
        [&self.busy, &self.alone].into_iter().filter_map(Line::next_try).min()
    }
}

/// Replies OVERLOADED to the displaced submissions.
fn refuse(displaced: Vec<Waiting>) {
    for waiting in displaced {
        METRICS.queue_refused.one([waiting.submission.kind()]);
        waiting.fail(Error::Overloaded);
    }
}

/// What waits in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backlog {
    /// How many orders wait in each line, by the line's name.
    pub lines: [(&'static str, usize); 5],
    /// How many orders the next batch may touch.
    pub batch_limit: usize,
}

/// The submissions that wait for the committer.
pub(super) struct Queue {
    lines: Mutex<Lines>,
    news: Notify,
    tracer: Tracer,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    /// An empty queue for a database in this process, or for a remote one.
    pub(super) fn new(is_remote: bool, tracer: Tracer) -> Self {
        Self { lines: Mutex::new(Lines::new(BatchSize::new(is_remote))), news: Notify::new(), tracer }
    }

    /// Enqueues a submission, if there is room for it or another caller has to give way.
    pub(super) fn push(&self, submission: Submission) -> Result<(), Error> {
        let mut waiting = Waiting::new(submission);
        waiting.span = self.span(&waiting.submission);
        let mut lines = self.lines();
        if lines.is_closed {
            return Err(Error::Draining);
        }
        let line = match waiting.submission {
            Submission::Dispute { .. } | Submission::Disclosure { .. } => &mut lines.commands,
            Submission::Orders { .. } => &mut lines.imports,
            Submission::PassTime { .. } => &mut lines.time,
        };
        let mut displaced = Vec::new();
        let kind = waiting.submission.kind();
        let has_room = line.make_room_for(&waiting, &mut displaced);
        if has_room {
            line.push(waiting);
        }
        drop(lines);
        refuse(displaced);
        if !has_room {
            METRICS.queue_refused.one([kind]);
            return Err(Error::Overloaded);
        }
        self.news.notify_one();
        Ok(())
    }

    /// The span of a submission, if the call that it came by has one that is recorded.
    fn span(&self, submission: &Submission) -> Span {
        let mut span = self.tracer.part(Part::Commit, submission.trace());
        if span.is_recorded()
            && let Submission::Dispute { command, .. } = submission
        {
            match command.subject() {
                Subject::Order(order) => span.set("disputes.order.id", order.to_string()),
                Subject::Dispute(dispute) => span.set("disputes.dispute.id", dispute.to_string()),
            }
        }
        span
    }

    /// Postpones a submission whose order another transaction has locked: it is retried with later batches until
    /// [`BUSY_TIMEOUT`].
    pub(super) fn put_off(&self, waiting: Waiting) {
        self.wait(waiting, false);
    }

    /// The same, but it is retried in a batch of its own.
    pub(super) fn put_off_alone(&self, waiting: Waiting) {
        self.wait(waiting, true);
    }

    fn wait(&self, mut waiting: Waiting, is_alone: bool) {
        let now = real_now();
        let since = waiting.busy_since.unwrap_or(now);
        let waited = now.saturating_duration_since(since);
        let mut lines = self.lines();
        if waited >= BUSY_TIMEOUT || lines.is_closed {
            drop(lines);
            return waiting.fail(Error::Unavailable);
        }
        let (line, Retry { part, soonest, latest }) =
            if is_alone { (&mut lines.alone, ALONE_RETRY) } else { (&mut lines.busy, BUSY_RETRY) };
        waiting.busy_since = Some(since);
        let again = (waited / part).clamp(soonest, latest);
        let mut displaced = Vec::new();
        if line.make_room_for(&waiting, &mut displaced) {
            line.push_later(waiting, now.checked_add(again).unwrap_or(now));
        } else {
            displaced.push(waiting);
        }
        drop(lines);
        refuse(displaced);
    }

    /// Returns the next batch as soon as something is waiting; `None` once the queue is closed and empty. Cancel safe.
    pub(super) async fn next(&self) -> Option<Vec<Waiting>> {
        loop {
            let next_try = {
                let mut lines = self.lines();
                let batch = lines.batch(real_now());
                if !batch.is_empty() {
                    return Some(batch);
                }
                if lines.is_closed && lines.is_empty() {
                    return None;
                }
                lines.next_try()
            };
            match next_try {
                Some(instant) => drop(tokio::time::timeout_at(instant, self.news.notified()).await),
                None => self.news.notified().await,
            }
        }
    }

    /// Whether as many commands of parties are waiting as fit into a batch; or as many expiries and reminders as make one
    /// worth while, when no callers come. Other work can wait for later batches, and makes them so large that a command
    /// would wait noticeably longer behind two of them.
    pub(super) fn has_full_batch(&self) -> bool {
        let lines = self.lines();
        let (commands, time) = (lines.commands.load().orders, lines.time.load().orders);
        let is_quiet = commands == 0 && !lines.expects_callers(real_now());
        commands >= lines.batch_size.orders() || (is_quiet && time >= BatchSize::LARGEST / 2)
    }

    /// What waits now.
    pub(super) fn backlog(&self) -> Backlog {
        let lines = self.lines();
        let Lines { commands, imports, time, busy, alone, .. } = &*lines;
        let named = [("command", commands), ("import", imports), ("time", time), ("busy", busy), ("alone", alone)];
        Backlog { lines: named.map(|(name, line)| (name, line.load().orders)), batch_limit: lines.batch_size.orders() }
    }

    /// Returns the next batch of what is waiting now, which may be nothing.
    pub(super) fn take(&self) -> Vec<Waiting> {
        self.lines().batch(real_now())
    }

    /// Puts a submission back that could not be judged before another batch was committed: it is in the next one.
    pub(super) fn put_back(&self, waiting: Waiting) {
        let mut lines = self.lines();
        match waiting.submission {
            Submission::PassTime { .. } => lines.time.push(waiting),
            Submission::Dispute { .. } | Submission::Orders { .. } | Submission::Disclosure { .. } => {
                lines.busy.push_later(waiting, real_now());
            }
        }
        drop(lines);
        self.news.notify_one();
    }

    /// Records how long a batch took to be judged and written.
    pub(super) fn has_written(&self, batch: &[Waiting], took: Duration) {
        let orders = batch.iter().map(|waiting| waiting.submission.load().orders).sum();
        self.lines().batch_size.has_written(orders, took);
    }

    /// Stops accepting submissions. Waiting ones are still processed, but no longer wait for locks.
    pub(super) fn close(&self) {
        self.lines().is_closed = true;
        self.news.notify_one();
    }

    /// Drops everything: waiting callers are told that the outcome of their command is unknown.
    pub(super) fn abandon(&self) {
        let mut lines = self.lines();
        *lines = Lines { is_closed: true, ..Lines::new(lines.batch_size) };
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
