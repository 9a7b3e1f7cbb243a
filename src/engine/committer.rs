//! The committer: one task that runs whatever commands are waiting in one transaction.
//!
//! There is no timer: while one commit runs, the next batch gathers. So a lone command waits for nobody,
//! and under load one fsync and one round of statements serve hundreds of commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::deadlines::Deadlines;
use super::docket::{Docket, Verdict};
use super::error::Error;
use super::feed::Feed;
use super::trace::TraceParent;
use crate::clock::{Clock, mint_id};
use crate::domain::{
    Caller, Command, DisputeView, EventId, OrderId, OrderReport, OrderView, Policy, Recorded, Timestamp,
};
use crate::repository::{Changes, Repository, StorageError, Transaction, in_time};

/// How many submissions can wait; the next one is refused.
const QUEUE_LENGTH: usize = 4_096;

/// A batch takes in no more once it touches so many orders.
const BATCH_ORDERS: usize = 512;

/// How often a batch that met another replica is run again.
const RERUNS: usize = 3;

/// How long a request id is remembered, at least.
const REQUEST_MEMORY: Duration = Duration::from_secs(72 * 60 * 60);

/// How many old request ids, or events, are forgotten in one batch.
const FORGET_STEP: u32 = 500;

/// Encodes the public payload of an event. Given from above: what the payload looks like is not the
/// engine's concern.
pub type EncodeEvent = fn(EventId, &Recorded, Option<&TraceParent>) -> Vec<u8>;

/// What makes a command that is sent twice happen once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestKey {
    /// The caller and the request id, digested.
    pub key: Uuid,
    /// The RPC and all its fields but the request id, digested.
    pub fingerprint: Uuid,
}

/// Hands commands to the committer's task. Clones share it.
#[derive(Clone, Debug)]
pub struct Committer {
    queue: mpsc::Sender<Submission>,
    closing: CancellationToken,
}

/// What the committer did since the start.
#[derive(Default, Debug)]
pub struct Totals {
    commands: AtomicU64,
    batches: AtomicU64,
}

impl Totals {
    /// How many commands were committed, refused ones included, and in how many transactions.
    pub fn commands_and_batches(&self) -> (u64, u64) {
        (self.commands.load(Ordering::Relaxed), self.batches.load(Ordering::Relaxed))
    }
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
    PassTime { orders: Vec<OrderId>, answer: Answer<usize> },
    /// Time to forget some of what is old.
    Forget { what: Old, answer: Answer<u64> },
}

/// What is not kept for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Old {
    /// Request ids that are older than they need be kept.
    Requests,
    /// Events that are older than the policy keeps them.
    Events,
}

type Answer<T> = oneshot::Sender<Result<T, Error>>;

impl Submission {
    fn orders(&self) -> usize {
        match self {
            Self::Dispute { .. } | Self::Forget { .. } => 1,
            Self::Orders { reports, .. } => reports.len(),
            Self::PassTime { orders, .. } => orders.len(),
        }
    }

    /// Answers who waits. One who has gone away does not mind.
    fn answer(self, verdict: Result<Verdict, Error>) {
        match (self, verdict) {
            (Self::Dispute { answer, .. }, Ok(Verdict::Dispute(verdict))) => {
                drop(answer.send((*verdict).map_err(Error::Refused)));
            }
            (Self::Orders { answer, .. }, Ok(Verdict::Orders(verdict))) => {
                drop(answer.send(verdict.map_err(Error::Refused)));
            }
            (Self::PassTime { answer, .. }, Ok(Verdict::TimePassed(count))) => drop(answer.send(Ok(count))),
            (Self::Forget { answer, .. }, Ok(Verdict::Forgotten(count))) => drop(answer.send(Ok(count))),
            (submission, Ok(_)) => submission.fail(Error::Internal("a verdict of another kind".to_owned())),
            (submission, Err(error)) => submission.fail(error),
        }
    }

    fn fail(self, error: Error) {
        match self {
            Self::Dispute { answer, .. } => drop(answer.send(Err(error))),
            Self::Orders { answer, .. } => drop(answer.send(Err(error))),
            Self::PassTime { answer, .. } => drop(answer.send(Err(error))),
            Self::Forget { answer, .. } => drop(answer.send(Err(error))),
        }
    }
}

impl Committer {
    /// The handle, and the task to spawn.
    pub fn new(
        repository: Arc<Repository>,
        clock: Clock,
        policy: Arc<Policy>,
        encode: EncodeEvent,
        feed: Arc<Feed>,
        deadlines: Arc<Deadlines>,
    ) -> (Self, Arc<Totals>, impl Future<Output = ()> + Send) {
        let (queue, waiting) = mpsc::channel(QUEUE_LENGTH);
        let closing = CancellationToken::new();
        let totals = Arc::<Totals>::default();
        let task = Task {
            repository,
            clock,
            policy,
            encode,
            feed,
            deadlines,
            totals: totals.clone(),
            is_away: AtomicBool::new(false),
        };
        let run = task.run(waiting, closing.clone());
        (Self { queue, closing }, totals, run)
    }

    /// Takes in nothing more: the task finishes what is waiting and ends.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Has a command judged and, if it is accepted, committed. Answers the dispute after it. A
    /// caller that stops waiting leaves its command to be committed or not, never half.
    pub async fn dispute(
        &self,
        caller: Caller,
        command: Command,
        request: Option<RequestKey>,
        trace: Option<TraceParent>,
    ) -> Result<DisputeView, Error> {
        let command = Box::new(command);
        self.submit(|answer| Submission::Dispute { caller, command, request, trace, answer }).await
    }

    /// Takes in orders, all or nothing. Answers them as they are stored now, in the same order.
    pub async fn orders(
        &self,
        caller: Caller,
        reports: Vec<OrderReport>,
        trace: Option<TraceParent>,
    ) -> Result<Vec<OrderView>, Error> {
        self.submit(|answer| Submission::Orders { caller, reports, trace, answer }).await
    }

    /// Expires what is overdue on these orders and reminds of what comes due; skips the orders that another
    /// replica is busy with. Answers how many events that were. Waits for its place in the queue, behind the
    /// callers.
    pub(super) async fn pass_time(&self, orders: Vec<OrderId>) -> Result<usize, Error> {
        self.queue_up(|answer| Submission::PassTime { orders, answer }).await
    }

    /// Forgets some of what is old. Answers how much.
    pub(super) async fn forget(&self, what: Old) -> Result<u64, Error> {
        self.queue_up(|answer| Submission::Forget { what, answer }).await
    }

    async fn submit<T>(&self, submission: impl FnOnce(Answer<T>) -> Submission) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(submission(answer)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Error::Draining,
        })?;
        // The task answers everything it takes; if it is gone, it is not known what became of this.
        answered.await.unwrap_or(Err(Error::Unavailable))
    }

    async fn queue_up<T>(&self, submission: impl FnOnce(Answer<T>) -> Submission) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(submission(answer)).await.map_err(|_| Error::Draining)?;
        answered.await.unwrap_or(Err(Error::Unavailable))
    }
}

struct Task {
    repository: Arc<Repository>,
    clock: Clock,
    policy: Arc<Policy>,
    encode: EncodeEvent,
    feed: Arc<Feed>,
    deadlines: Arc<Deadlines>,
    totals: Arc<Totals>,
    /// Whether the last batch found the database away.
    is_away: AtomicBool,
}

/// What a committed batch means to the rest of the engine.
struct Committed {
    verdicts: Vec<Verdict>,
    head: Option<i64>,
    earliest_deadline: Option<Timestamp>,
}

impl Task {
    async fn run(self, mut waiting: mpsc::Receiver<Submission>, closing: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                () = closing.cancelled(), if !waiting.is_closed() => {
                    waiting.close();
                    continue;
                }
                first = waiting.recv() => first,
            };
            let Some(first) = first else { return };
            let mut orders = first.orders();
            let mut batch = vec![first];
            while orders < BATCH_ORDERS {
                let Ok(next) = waiting.try_recv() else { break };
                orders = orders.saturating_add(next.orders());
                batch.push(next);
            }
            self.commit(batch).await;
        }
    }

    /// Commits a batch and answers everybody in it. If it fails for another reason than the database
    /// being away, its submissions are run one by one, so that only the culprit fails.
    async fn commit(&self, batch: Vec<Submission>) {
        let error = match self.attempt_again(&batch).await {
            Ok(committed) => return self.answer(batch, committed),
            Err(error) => error,
        };
        if batch.len() > 1 && !error.is_of_database() {
            tracing::warn!(%error, submissions = batch.len(), "a batch failed, its commands are run one by one");
            for submission in batch {
                Box::pin(self.commit(vec![submission])).await;
            }
            return;
        }
        match error {
            StorageError::Corrupt { .. } | StorageError::Failed(_) => tracing::error!(%error, "a command failed"),
            StorageError::Conflict => tracing::warn!(%error, "commands were not committed"),
            // Said once: every batch meets the same until the database is back.
            StorageError::Unavailable(_)
            | StorageError::Busy
            | StorageError::TimedOut
            | StorageError::LockTimeout
            | StorageError::ReadOnly
            | StorageError::Stale => {
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "commands cannot be committed");
                }
            }
        }
        let error = match Error::from(error) {
            // Of a command it does not matter to its caller why the database did not do it.
            Error::TimedOut => Error::Unavailable,
            error => error,
        };
        for submission in batch {
            submission.answer(Err(error.clone()));
        }
    }

    /// Runs a batch, and again if another replica was first.
    async fn attempt_again(&self, batch: &[Submission]) -> Result<Committed, StorageError> {
        let mut reruns = 0;
        loop {
            match in_time(self.attempt(batch)).await {
                Err(StorageError::Conflict) if reruns < RERUNS => reruns += 1,
                result => return result,
            }
        }
    }

    async fn attempt(&self, batch: &[Submission]) -> Result<Committed, StorageError> {
        let transaction = self.repository.begin().await?;
        match self.judge_and_write(&transaction, batch).await {
            Ok(committed) => transaction.commit().await.map(|()| committed),
            Err(error) => {
                // The first error is the one that counts.
                let _ = transaction.rollback().await;
                Err(error)
            }
        }
    }

    async fn judge_and_write(
        &self,
        transaction: &Transaction,
        batch: &[Submission],
    ) -> Result<Committed, StorageError> {
        let mut docket = Docket::load(transaction, batch, &self.policy).await?;
        // After the locks: whoever waited for one must not be judged by an older time.
        let now = self.now(transaction).await?;
        let mut verdicts = Vec::with_capacity(batch.len());
        let mut forgotten = None;
        for submission in batch {
            verdicts.push(match submission {
                Submission::Dispute { caller, command, request, trace, .. } => {
                    docket.begin(trace.clone());
                    Verdict::Dispute(Box::new(docket.judge(caller, command, *request, &self.policy, now)))
                }
                Submission::Orders { caller, reports, trace, .. } => {
                    docket.begin(trace.clone());
                    Verdict::Orders(docket.judge_orders(caller, reports, &self.policy, now))
                }
                Submission::PassTime { orders, .. } => {
                    docket.begin(None);
                    Verdict::TimePassed(docket.pass_time(orders, &self.policy, now))
                }
                Submission::Forget { what: Old::Requests, .. } => {
                    let before = now.minus(REQUEST_MEMORY);
                    Verdict::Forgotten(transaction.forget_idempotency_records(before, FORGET_STEP.into()).await?)
                }
                Submission::Forget { what: Old::Events, .. } => {
                    let before = now.minus(self.policy.event_retention);
                    forgotten = transaction.forgettable_events(before, FORGET_STEP).await?;
                    Verdict::Forgotten(forgotten.map_or(0, |old| old.count))
                }
            });
        }
        let earliest_deadline = docket.earliest_deadline();
        let changes = docket.into_changes(|recorded, trace| {
            let id = EventId(mint_id());
            (id, (self.encode)(id, recorded, trace))
        });
        let changes = Changes { forgotten, ..changes };
        let head = transaction.write(&changes).await?;
        Ok(Committed { verdicts, head, earliest_deadline })
    }

    /// The database's time where there is one for all replicas.
    async fn now(&self, transaction: &Transaction) -> Result<Timestamp, StorageError> {
        if self.clock.is_manual() || !self.repository.is_postgres() {
            return Ok(self.clock.now());
        }
        let now = transaction.database_time().await?;
        self.clock.keep_in_step_with(now);
        Ok(now)
    }

    fn answer(&self, batch: Vec<Submission>, committed: Committed) {
        let commands = batch.len();
        for (submission, verdict) in batch.into_iter().zip(committed.verdicts) {
            submission.answer(Ok(verdict));
        }
        if self.is_away.swap(false, Ordering::Relaxed) {
            tracing::warn!("commands are committed again");
        }
        if let Some(head) = committed.head {
            self.feed.committed(head);
            tracing::debug!(commands, head, "committed a batch");
        }
        if let Some(deadline) = committed.earliest_deadline {
            self.deadlines.poke(deadline);
        }
        self.totals.commands.fetch_add(u64::try_from(commands).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.totals.batches.fetch_add(1, Ordering::Relaxed);
    }
}
