//! The queue in front of the committer: what is waiting, how much of it there can be, and whose turn it is.
//!
//! It has a [`Line`] for each kind of work, bounded by orders and by bytes: parties' commands, imports of the order
//! system, what time brings, and what waits for an order that somebody else has locked. Each batch takes something of
//! every line, parties first: so imports, however many there are, delay a command by one batch, and are never starved
//! either. Within a line the callers take turns, and when it is full, whoever has most in it gives way.

mod batch_size;
mod line;
mod submission;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use self::batch_size::BatchSize;
use self::line::{Batch, Line};
use self::submission::Load;
use super::error::Error;
use crate::clock::real_now;

pub(super) use self::line::Waiting;
pub use self::submission::RequestKey;
pub(super) use self::submission::{ReplySender, Submission};

/// How much of each kind can wait; what comes then is refused, or whoever has most waiting gives way to it. A party's
/// command is about one order. Of imports fifty find room, with five hundred orders each.
const COMMANDS: Load = Load { orders: 4_096, bytes: 32 << 20 };
const IMPORTS: Load = Load { orders: 25_600, bytes: 24 << 20 };
/// … and how much of it for orders that are locked: one of them must not fill the queue of all.
const BUSY: Load = Load { orders: 2_048, bytes: 8 << 20 };
/// Time passes for one page of orders after the other: whoever watches the deadlines waits for it.
const TIME: Load = Load { orders: usize::MAX, bytes: usize::MAX };

/// The part of a batch that parties' commands leave to the others, as long as others wait.
const OTHERS_SHARE: usize = 4;

/// How long a command waits for an order that somebody else has locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A locked order is tried again after this part of the time that has been waited for it, within these bounds: another
/// replica is done in a moment, somebody who forgot to commit is not.
const BUSY_RETRY: Retry = Retry { part: 50, soonest: Duration::from_millis(1), latest: Duration::from_millis(20) };
/// … and, where each try costs the others a moment, seldom.
const ALONE_RETRY: Retry = Retry { part: 4, soonest: Duration::from_millis(20), latest: Duration::from_secs(2) };

/// When something is tried again: after a part of the time that it has waited, within bounds.
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
    /// What has to be tried in a batch of its own; and whether the last batch was one of those: they take turns.
    alone: Line,
    was_alone: bool,
    batch_size: BatchSize,
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
            is_closed: false,
        }
    }

    /// What is next, in fair turns.
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
        // Something of each, however much of the room the one before it takes.
        for line in [&mut self.busy, &mut self.imports, &mut self.time] {
            let at_least_one = batch.orders.saturating_add(1);
            line.take(&mut batch, room.max(at_least_one), now);
        }
        self.commands.take(&mut batch, most, now);
        self.imports.take(&mut batch, most, now);
        batch.waiting
    }

    fn is_empty(&self) -> bool {
        [&self.commands, &self.imports, &self.time, &self.busy, &self.alone].into_iter().all(Line::is_empty)
    }

    /// The instant before which nothing is to be tried again.
    fn next_try(&self) -> Option<Instant> {
        [&self.busy, &self.alone].into_iter().filter_map(Line::next_try).min()
    }
}

/// Tells those for whom there is no room.
fn refuse(displaced: Vec<Waiting>) {
    displaced.into_iter().for_each(|waiting| waiting.submission.fail(Error::Overloaded));
}

/// What waits for the committer.
pub(super) struct Queue {
    lines: Mutex<Lines>,
    news: Notify,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    /// An empty queue in front of a database in this process, or elsewhere.
    pub(super) fn new(is_remote: bool) -> Self {
        Self { lines: Mutex::new(Lines::new(BatchSize::new(is_remote))), news: Notify::new() }
    }

    /// Lets a submission wait, if there is room for it or somebody has to give way.
    pub(super) fn push(&self, submission: Submission) -> Result<(), Error> {
        let waiting = Waiting::new(submission);
        let mut lines = self.lines();
        if lines.is_closed {
            return Err(Error::Draining);
        }
        let line = match waiting.submission {
            Submission::Dispute { .. } => &mut lines.commands,
            Submission::Orders { .. } => &mut lines.imports,
            Submission::PassTime { .. } => &mut lines.time,
        };
        let mut displaced = Vec::new();
        let has_room = line.make_room_for(&waiting, &mut displaced);
        if has_room {
            line.push(waiting);
        }
        drop(lines);
        refuse(displaced);
        if !has_room {
            return Err(Error::Overloaded);
        }
        self.news.notify_one();
        Ok(())
    }

    /// Puts off a submission whose order is locked by somebody else: it is tried again with a later batch, for as long
    /// as a lock is waited for.
    pub(super) fn put_off(&self, waiting: Waiting) {
        self.wait(waiting, false);
    }

    /// The same; it is then tried in a batch of its own.
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
            return waiting.submission.fail(Error::Unavailable);
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

    /// The next batch, as soon as something is waiting; `None` once the queue is closed and empty.
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

    /// Takes note that a batch was judged and written in such a time.
    pub(super) fn has_written(&self, batch: &[Waiting], took: Duration) {
        let orders = batch.iter().map(|waiting| waiting.submission.load().orders).sum();
        self.lines().batch_size.has_written(orders, took);
    }

    /// Takes in nothing more. What waits is done, and no lock is waited for any longer.
    pub(super) fn close(&self) {
        self.lines().is_closed = true;
        self.news.notify_one();
    }

    /// Lets go of everything: whoever waits is told that it is not known what became of it.
    pub(super) fn abandon(&self) {
        let mut lines = self.lines();
        *lines = Lines { is_closed: true, ..Lines::new(lines.batch_size) };
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
