//! The queue in front of the committer: what is waiting, how much of it there can be, and whose turn it is.
//!
//! It has a line for each kind of work, bounded by orders and by bytes: parties' commands, imports of the order system,
//! what time brings, and what waits for an order that somebody else has locked. Each batch takes something of every
//! line, parties first: so imports, however many there are, delay a command by one batch, and are never starved either.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use super::docket::{TimePassed, Verdict};
use super::error::Error;
use super::trace::TraceParent;
use crate::clock::real_now;
use crate::domain::{Caller, Command, DisputeView, OrderId, OrderReport, OrderView};

/// How much of each kind can wait; what comes then is refused. A party's command is about one order.
const COMMANDS: Load = Load { orders: 4_096, bytes: 32 << 20 };
const IMPORTS: Load = Load { orders: 16_384, bytes: 16 << 20 };
/// … and how much of it for orders that are locked: one of them must not fill the queue of all.
const BUSY: Load = Load { orders: 2_048, bytes: 8 << 20 };

/// A batch takes in no more once it touches so many orders …
const BATCH_ORDERS: usize = 512;
/// … of which parties' commands leave these to the others, as long as others wait.
const OTHERS_SHARE: usize = 128;

/// What a submission takes for each order that it is about, beside its texts: rounded up from what is measured.
const BYTES_PER_ORDER: usize = 768;

/// How long a command waits for an order that somebody else has locked.
const BUSY_PATIENCE: Duration = Duration::from_secs(10);

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

/// What makes a command that is sent twice happen once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestKey {
    /// The caller and the request id, digested.
    pub key: Uuid,
    /// The RPC and all its fields but the request id, digested.
    pub fingerprint: Uuid,
}

/// What waits for the committer, and who waits for the answer.
pub(super) enum Submission {
    /// A command about a dispute.
    Dispute {
        caller: Caller,
        command: Box<Command>,
        request: Option<RequestKey>,
        trace: Option<TraceParent>,
        answer: Answer<DisputeView>,
    },
    /// Orders from the order system, all or nothing.
    Orders { caller: Caller, reports: Vec<OrderReport>, trace: Option<TraceParent>, answer: Answer<Vec<OrderView>> },
    /// Orders on which a deadline has passed, or somebody is to be reminded of one.
    PassTime { orders: Vec<OrderId>, answer: Answer<TimePassed> },
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, Error>>;

impl Submission {
    fn load(&self) -> Load {
        let (orders, texts) = match self {
            Self::Dispute { command, .. } => (1, command.text_bytes()),
            Self::Orders { reports, .. } => (reports.len(), reports.iter().map(OrderReport::text_bytes).sum()),
            Self::PassTime { orders, .. } => (orders.len(), 0),
        };
        Load { orders, bytes: texts.saturating_add(orders.saturating_mul(BYTES_PER_ORDER)) }
    }

    /// Answers who waits. One who has gone away does not mind.
    pub(super) fn answer(self, verdict: Result<Verdict, Error>) {
        match (self, verdict) {
            (Self::Dispute { answer, .. }, Ok(Verdict::Dispute(verdict))) => {
                drop(answer.send(*verdict));
            }
            (Self::Orders { answer, .. }, Ok(Verdict::Orders(verdict))) => {
                drop(answer.send(verdict));
            }
            (Self::PassTime { answer, .. }, Ok(Verdict::TimePassed(passed))) => drop(answer.send(Ok(passed))),
            (submission, Ok(_)) => submission.fail(Error::Internal("a verdict of another kind".to_owned())),
            (submission, Err(error)) => submission.fail(error),
        }
    }

    fn fail(self, error: Error) {
        match self {
            Self::Dispute { answer, .. } => drop(answer.send(Err(error))),
            Self::Orders { answer, .. } => drop(answer.send(Err(error))),
            Self::PassTime { answer, .. } => drop(answer.send(Err(error))),
        }
    }
}

/// How much something is.
#[derive(Clone, Copy, Default, Debug)]
struct Load {
    orders: usize,
    bytes: usize,
}

impl Load {
    fn plus(self, other: Self) -> Self {
        Self { orders: self.orders.saturating_add(other.orders), bytes: self.bytes.saturating_add(other.bytes) }
    }

    fn minus(self, other: Self) -> Self {
        Self { orders: self.orders.saturating_sub(other.orders), bytes: self.bytes.saturating_sub(other.bytes) }
    }

    fn is_within(self, most: Self) -> bool {
        self.orders <= most.orders && self.bytes <= most.bytes
    }
}

/// A submission in the queue.
pub(super) struct Waiting {
    pub(super) submission: Submission,
    load: Load,
    /// Since when it has waited for an order that is locked.
    busy_since: Option<Instant>,
    /// Not to be tried before.
    again: Option<Instant>,
}

/// What waits of one kind, first come first served.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    load: Load,
}

impl Line {
    fn push(&mut self, waiting: Waiting) {
        self.load = self.load.plus(waiting.load);
        self.waiting.push_back(waiting);
    }

    /// Moves the first ones that are due into a batch, until that touches so many orders. The others keep their order.
    fn take(&mut self, batch: &mut Batch, up_to: usize, now: Instant) {
        let is_due = |waiting: &Waiting| waiting.again.is_none_or(|again| again <= now);
        let mut next = 0;
        while batch.orders < up_to
            && let Some(waiting) = self.waiting.get(next)
        {
            if !is_due(waiting) {
                next = next.saturating_add(1);
            } else if let Some(waiting) = self.waiting.remove(next) {
                self.load = self.load.minus(waiting.load);
                batch.orders = batch.orders.saturating_add(waiting.load.orders);
                batch.waiting.push(waiting);
            }
        }
    }
}

#[derive(Default)]
struct Batch {
    waiting: Vec<Waiting>,
    orders: usize,
}

#[derive(Default)]
struct Lines {
    commands: Line,
    imports: Line,
    time: Line,
    /// In the order in which they were put off last.
    busy: Line,
    /// What has to be tried in a batch of its own; and whether the last batch was one of those: they take turns.
    alone: Line,
    was_alone: bool,
    is_closed: bool,
}

impl Lines {
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
        self.commands.take(&mut batch, BATCH_ORDERS.saturating_sub(OTHERS_SHARE), now);
        let room = batch.orders.saturating_add(OTHERS_SHARE);
        // Something of each, however much of the room the one before it takes.
        for line in [&mut self.busy, &mut self.imports, &mut self.time] {
            let at_least_one = batch.orders.saturating_add(1);
            line.take(&mut batch, room.max(at_least_one), now);
        }
        self.commands.take(&mut batch, BATCH_ORDERS, now);
        self.imports.take(&mut batch, BATCH_ORDERS, now);
        batch.waiting
    }

    fn is_empty(&self) -> bool {
        [&self.commands, &self.imports, &self.time, &self.busy, &self.alone]
            .into_iter()
            .all(|line| line.waiting.is_empty())
    }

    /// The instant before which nothing is to be tried again.
    fn next_try(&self) -> Option<Instant> {
        self.busy.waiting.iter().chain(&self.alone.waiting).filter_map(|waiting| waiting.again).min()
    }
}

/// What waits for the committer.
#[derive(Default)]
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
    /// Lets a submission wait, if there is room for it.
    pub(super) fn push(&self, submission: Submission) -> Result<(), Error> {
        let load = submission.load();
        let mut lines = self.lines();
        if lines.is_closed {
            return Err(Error::Draining);
        }
        let (line, most) = match submission {
            Submission::Dispute { .. } => (&mut lines.commands, Some(COMMANDS)),
            Submission::Orders { .. } => (&mut lines.imports, Some(IMPORTS)),
            // One at a time, by whoever watches the deadlines.
            Submission::PassTime { .. } => (&mut lines.time, None),
        };
        // The first one always has room, whatever its size.
        if !line.waiting.is_empty() && most.is_some_and(|most| !line.load.plus(load).is_within(most)) {
            return Err(Error::Overloaded);
        }
        line.push(Waiting { submission, load, busy_since: None, again: None });
        drop(lines);
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

    fn wait(&self, waiting: Waiting, is_alone: bool) {
        let now = real_now();
        let since = waiting.busy_since.unwrap_or(now);
        let waited = now.saturating_duration_since(since);
        let mut lines = self.lines();
        if waited >= BUSY_PATIENCE || lines.is_closed {
            drop(lines);
            return waiting.submission.fail(Error::Unavailable);
        }
        let busy = lines.busy.load.plus(lines.alone.load);
        if busy.orders > 0 && !busy.plus(waiting.load).is_within(BUSY) {
            drop(lines);
            return waiting.submission.fail(Error::Overloaded);
        }
        let Retry { part, soonest, latest } = if is_alone { ALONE_RETRY } else { BUSY_RETRY };
        let again = now.checked_add((waited / part).clamp(soonest, latest));
        let line = if is_alone { &mut lines.alone } else { &mut lines.busy };
        line.push(Waiting { busy_since: Some(since), again, ..waiting });
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

    /// Takes in nothing more. What waits is done, and no lock is waited for any longer.
    pub(super) fn close(&self) {
        self.lines().is_closed = true;
        self.news.notify_one();
    }

    /// Lets go of everything: whoever waits is told that it is not known what became of it.
    pub(super) fn abandon(&self) {
        *self.lines() = Lines { is_closed: true, ..Lines::default() };
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Answer as Reply, Currency, DisputeId, Money, OrderStatus, Parties, Scope, UserId};

    fn caller(scope: Option<Scope>) -> Caller {
        Caller { user: UserId::parse("ann").unwrap(), scope }
    }

    fn command(text: usize) -> Submission {
        let answer = Reply { dispute: DisputeId(Uuid::nil()), message: "x".repeat(text), etag: None };
        let command = Box::new(Command::Decline(answer));
        Submission::Dispute { caller: caller(None), command, request: None, trace: None, answer: oneshot::channel().0 }
    }

    fn import(orders: usize, title: usize) -> Submission {
        let price = Money::new(1, Currency::from_code("USD").unwrap());
        let parties = Parties { buyer: UserId::parse("ann").unwrap(), seller: UserId::parse("bob").unwrap() };
        let report = |number: usize| OrderReport {
            id: OrderId::parse(&format!("o{number}")).unwrap(),
            parties: parties.clone(),
            title: "x".repeat(title),
            price,
            paid: price,
            refunded_elsewhere: price,
            status: OrderStatus::InProgress,
            create_time: None,
            due_time: None,
            end_time: None,
            cancellation_counts: true,
            source_version: 1,
        };
        let reports = (0..orders).map(report).collect();
        let caller = caller(Some(Scope::Platform));
        Submission::Orders { caller, reports, trace: None, answer: oneshot::channel().0 }
    }

    fn how_many(queue: &Queue, submission: impl Fn() -> Submission) -> usize {
        (0..).take_while(|_| queue.push(submission()).is_ok()).count()
    }

    fn kinds(batch: &[Waiting]) -> (usize, usize, usize) {
        let of = |is: fn(&Submission) -> bool| batch.iter().filter(|waiting| is(&waiting.submission)).count();
        (
            of(|submission| matches!(submission, Submission::Dispute { .. })),
            of(|submission| matches!(submission, Submission::Orders { .. })),
            of(|submission| matches!(submission, Submission::PassTime { .. })),
        )
    }

    #[test]
    fn the_queue_is_bounded_by_orders_and_by_bytes_and_imports_leave_room_for_commands() {
        let queue = Queue::default();
        assert_eq!(how_many(&queue, || import(500, 6)), 32);
        assert_eq!(how_many(&queue, || command(100)), 4_096);
        assert_eq!(queue.push(command(0)), Err(Error::Overloaded));
        let queue = Queue::default();
        assert_eq!(how_many(&queue, || import(500, 800)), 21, "16 MiB");
        assert_eq!(how_many(&queue, || command(100_000)), 332, "32 MiB");
    }

    #[tokio::test]
    async fn each_batch_takes_something_of_each_kind_and_commands_first() {
        let queue = Queue::default();
        how_many(&queue, || import(500, 6));
        how_many(&queue, || command(0));
        for _ in 0..3 {
            let orders = vec![OrderId::parse("o1").unwrap()];
            queue.push(Submission::PassTime { orders, answer: oneshot::channel().0 }).unwrap();
        }
        let batch = queue.next().await.unwrap();
        assert_eq!(kinds(&batch), (384, 1, 1));
        let queue = Queue::default();
        how_many(&queue, || command(0));
        assert_eq!(kinds(&queue.next().await.unwrap()), (512, 0, 0), "the whole batch if nobody else waits");
        let queue = Queue::default();
        (0..1_000).for_each(|_| queue.push(import(1, 6)).unwrap());
        assert_eq!(kinds(&queue.next().await.unwrap()), (0, 512, 0));
    }

    #[tokio::test]
    async fn what_is_put_off_comes_again_and_the_last_handle_ends_the_queue() {
        let queue = Queue::default();
        queue.push(command(0)).unwrap();
        for _ in 0..3 {
            let mut batch = queue.next().await.unwrap();
            assert!(batch.len() == 1 && batch[0].busy_since.is_some() == batch[0].again.is_some());
            queue.put_off(batch.pop().unwrap());
        }
        // What is busy has a bound of its own, and what exceeds it is refused at once.
        let submissions = (0..2_100).map(|_| queue.push(command(0)));
        assert!(submissions.into_iter().all(|pushed| pushed.is_ok()));
        while queue.lines().commands.waiting.front().is_some() {
            queue.next().await.unwrap().into_iter().for_each(|waiting| queue.put_off(waiting));
        }
        assert_eq!(queue.lines().busy.load.orders, 2_048);
        queue.close();
        assert_eq!(queue.push(command(0)), Err(Error::Draining));
        while let Some(batch) = queue.next().await {
            batch.into_iter().for_each(|waiting| queue.put_off(waiting));
        }
        assert!(queue.lines().is_empty());
    }
}
