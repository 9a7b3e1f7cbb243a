//! The committer: one task that runs all waiting commands in one transaction.
//!
//! There is no timer: while one commit runs, the next batch gathers. So a lone command does not wait, and under load
//! one fsync and one round of statements serve hundreds of commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use super::deadlines::Deadlines;
use super::error::Error;
use super::feed::Feed;
use super::outage::Outage;
use super::queue::{Queue, ReplySender, RequestKey, Submission, Waiting};
use super::trace::TraceParent;
use super::unit_of_work::{Reply, TimePassed, UnitOfWork};
use crate::chance::mint_id;
use crate::clock::{Clock, Uncertain, real_now};
use crate::domain::{
    Caller, Command, ConfidentialReason, DisputeView, EventId, OrderId, OrderReport, OrderView, Policy, RecordedEvent,
    Timestamp,
};
use crate::repository::{Repository, StorageError, Transaction, in_time};

/// How often a batch that conflicted with another replica is rerun.
const RERUNS: usize = 3;

/// Encodes the public payload of an event. Passed in by a higher layer, because the engine does not know the payload's
/// format.
pub type EncodeEvent = fn(EventId, &RecordedEvent, Option<&TraceParent>) -> Vec<u8>;

/// Sends commands to the committer's task. Clones share it.
#[derive(Clone, Debug)]
pub struct Committer(Arc<Entrance>);

/// Closes the queue when the last handle is dropped.
#[derive(Debug)]
struct Entrance(Arc<Queue>);

impl Drop for Entrance {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What the committer has done since the start.
#[derive(Default, Debug)]
pub struct Totals {
    submissions: AtomicU64,
    batches: AtomicU64,
}

impl Totals {
    /// Returns how many submissions were committed, refused commands among them, and in how many transactions. A batch of
    /// orders is one submission, and so is a page of disputes on which time passes.
    pub fn submissions_and_batches(&self) -> (u64, u64) {
        (self.submissions.load(Ordering::Relaxed), self.batches.load(Ordering::Relaxed))
    }
}

impl Committer {
    /// Returns the handle, and the task to spawn.
    pub fn new(
        repository: Arc<Repository>,
        clock: Clock,
        policy: Arc<Policy>,
        encode: EncodeEvent,
        feed: Arc<Feed>,
        deadlines: Arc<Deadlines>,
    ) -> (Self, Arc<Totals>, impl Future<Output = ()> + Send) {
        let queue = Arc::new(Queue::new(repository.is_postgres()));
        let totals = Arc::<Totals>::default();
        let task = Task {
            queue: queue.clone(),
            repository,
            clock,
            policy,
            encode,
            feed,
            deadlines,
            totals: totals.clone(),
            outage: Outage::default(),
        };
        (Self(Arc::new(Entrance(queue))), totals, task.run())
    }

    /// Stops accepting submissions: the task finishes what is waiting and ends.
    pub fn close(&self) {
        self.0.0.close();
    }

    /// Judges a command and, if it is accepted, commits it. Returns the dispute after it. Cancel safe: if the future is
    /// dropped, the command is either committed or not, never half.
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

    /// Upserts orders, all or nothing. Returns them as stored now, in the same order.
    pub async fn orders(
        &self,
        caller: Caller,
        reports: Vec<OrderReport>,
        trace: Option<TraceParent>,
    ) -> Result<Vec<OrderView>, Error> {
        self.submit(|answer| Submission::Orders { caller, reports, trace, answer }).await
    }

    /// Records durably in the audit that confidential reasons are about to be shown to a caller. After any error they must
    /// not be shown; an error that the caller cannot do anything about is [`Error::Unavailable`]. Returns at once if there
    /// are none.
    pub async fn disclose(&self, caller: &Caller, reasons: Vec<ConfidentialReason>) -> Result<(), Error> {
        if reasons.is_empty() {
            return Ok(());
        }
        let caller = caller.clone();
        self.submit(|answer| Submission::Disclosure { caller, reasons, answer }).await.map_err(|error| match error {
            // The committer has logged it.
            Error::Internal(_) => Error::Unavailable,
            error => error,
        })
    }

    /// Expires overdue disputes of these orders and sends due reminders; skips orders that another transaction has
    /// locked. They are enqueued at once, and wait for their turn behind the callers.
    pub(super) fn pass_time(
        &self,
        orders: Vec<OrderId>,
    ) -> impl Future<Output = Result<TimePassed, Error>> + Send + use<> {
        self.submit(|answer| Submission::PassTime { orders, answer })
    }

    /// Enqueues a submission at once. Returns its reply.
    fn submit<T: Send + 'static, S: FnOnce(ReplySender<T>) -> Submission>(
        &self,
        submission: S,
    ) -> impl Future<Output = Result<T, Error>> + Send + use<T, S> {
        let (answer, answered) = oneshot::channel();
        let pushed = self.0.0.push(submission(answer));
        async move {
            pushed?;
            // The task replies to everything it takes; if it is gone, the outcome is unknown.
            answered.await.unwrap_or(Err(Error::Unavailable))
        }
    }
}

struct Task {
    queue: Arc<Queue>,
    repository: Arc<Repository>,
    clock: Clock,
    policy: Arc<Policy>,
    encode: EncodeEvent,
    feed: Arc<Feed>,
    deadlines: Arc<Deadlines>,
    totals: Arc<Totals>,
    /// Whether the last batch could not reach the database.
    outage: Outage,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

/// The outcome of a committed batch, for the rest of the engine.
struct Committed {
    /// One per submission; `None` if its order is locked by another transaction, so that it was not judged.
    replies: Vec<Option<Reply>>,
    last_seq: Option<i64>,
    earliest_deadline: Option<Timestamp>,
}

/// The result of running a batch.
enum BatchResult {
    Committed(Committed),
    /// Another transaction has inserted one of its orders, and has not committed.
    OrderTaken,
    /// There is no certain time to judge it by.
    ClockUncertain,
}

/// Tells every caller of a batch that its command was not done.
fn refuse(batch: Vec<Waiting>, error: &Error) {
    for Waiting { submission, .. } in batch {
        submission.answer(Err(error.clone()));
    }
}

/// Whether a submission only records what a caller is shown.
fn is_disclosure(waiting: &Waiting) -> bool {
    matches!(waiting.submission, Submission::Disclosure { .. })
}

impl Task {
    async fn run(mut self) {
        while let Some(batch) = self.queue.next().await {
            self.commit(batch).await;
        }
    }

    /// Commits a batch and replies to its callers. If it fails for a reason other than an unavailable database, its
    /// submissions are run one by one, so that only the culprit fails.
    async fn commit(&mut self, batch: Vec<Waiting>) {
        let error = match self.attempt_with_reruns(&batch).await {
            Ok(BatchResult::Committed(committed)) => return self.answer(batch, committed),
            Ok(BatchResult::OrderTaken) => return self.set_imports_apart(batch).await,
            // The clock has logged it already.
            Ok(BatchResult::ClockUncertain) => return self.commit_disclosures_of(batch).await,
            Err(error) => error,
        };
        if batch.len() > 1 && !error.is_of_database() {
            tracing::warn!(%error, submissions = batch.len(), "a batch failed: running its commands one by one");
            for waiting in batch {
                Box::pin(self.commit(vec![waiting])).await;
            }
            return;
        }
        match error {
            StorageError::Corrupt { .. } | StorageError::Failed(_) => tracing::error!(%error, "a command failed"),
            StorageError::Conflict => tracing::warn!(%error, "commands were not committed"),
            StorageError::Unavailable(_)
            | StorageError::Busy
            | StorageError::TimedOut
            | StorageError::LockTimeout
            | StorageError::ReadOnly
            | StorageError::Stale => {
                if self.outage.begin() {
                    tracing::warn!(%error, "commands cannot be committed");
                }
            }
        }
        let error = match Error::from(error) {
            // To the caller of a command, it does not matter why the database did not do it.
            Error::TimedOut => Error::Unavailable,
            error => error,
        };
        refuse(batch, &error);
    }

    /// Another transaction has inserted one of the orders of a batch, it is unknown which, and has not committed: each
    /// import waits for it alone, and the rest is committed without them.
    async fn set_imports_apart(&mut self, batch: Vec<Waiting>) {
        let is_import = |waiting: &Waiting| matches!(waiting.submission, Submission::Orders { .. });
        let (imports, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_import);
        imports.into_iter().for_each(|import| self.queue.put_off_alone(import));
        if !others.is_empty() {
            Box::pin(self.commit(others)).await;
        }
    }

    /// The clock is uncertain: refuses a batch, except for disclosures, which nothing is judged for: reads go on.
    async fn commit_disclosures_of(&mut self, batch: Vec<Waiting>) {
        let (disclosures, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_disclosure);
        refuse(others, &Error::ClockUncertain);
        if !disclosures.is_empty() {
            Box::pin(self.commit(disclosures)).await;
        }
    }

    /// Runs a batch, and reruns it if another replica was first or the tables changed under prepared statements.
    async fn attempt_with_reruns(&self, batch: &[Waiting]) -> Result<BatchResult, StorageError> {
        let mut reruns = 0;
        loop {
            match in_time(self.attempt(batch)).await {
                Err(StorageError::Conflict | StorageError::Stale) if reruns < RERUNS => reruns += 1,
                result => return result,
            }
        }
    }

    async fn attempt(&self, batch: &[Waiting]) -> Result<BatchResult, StorageError> {
        let transaction = self.repository.begin().await?;
        let since = real_now();
        match self.judge_and_write(&transaction, batch).await {
            Ok(BatchResult::Committed(committed)) => {
                self.queue.has_written(batch, since.elapsed());
                transaction.commit().await.map(|()| BatchResult::Committed(committed))
            }
            Ok(not_done @ (BatchResult::OrderTaken | BatchResult::ClockUncertain)) => {
                // Nothing was written that has to be undone.
                let _ = transaction.rollback().await;
                Ok(not_done)
            }
            Err(error) => {
                transaction.rollback_after(&error).await;
                Err(error)
            }
        }
    }

    async fn judge_and_write(&self, transaction: &Transaction, batch: &[Waiting]) -> Result<BatchResult, StorageError> {
        let mut work = UnitOfWork::load(transaction, batch, &self.policy).await?;
        // After the locks: a command that waited for one must not be judged by an older time.
        let (now, event_time) = match self.times(transaction).await? {
            Ok(times) => times,
            // Nothing is judged or dated by it: entries carry the time that the service shows.
            Err(Uncertain) if batch.iter().all(is_disclosure) => (self.clock.now(), Timestamp::MIN),
            Err(Uncertain) => return Ok(BatchResult::ClockUncertain),
        };
        work.set_time(now, event_time);
        let judged = batch.iter().map(|Waiting { submission, .. }| self.judge(&mut work, submission));
        let replies = judged.collect();
        let earliest_deadline = work.earliest_deadline();
        let mut changes = work.into_changes(|recorded, trace| {
            let id = EventId(mint_id());
            (id, (self.encode)(id, recorded, trace))
        });
        let new_orders = std::mem::take(&mut changes.new_orders);
        if !new_orders.is_empty() && !transaction.insert_orders(&new_orders).await? {
            return Ok(BatchResult::OrderTaken);
        }
        let last_seq = transaction.write(&changes).await?;
        Ok(BatchResult::Committed(Committed { replies, last_seq, earliest_deadline }))
    }

    /// Judges a submission; `None` if another transaction has locked its order.
    fn judge(&self, work: &mut UnitOfWork, submission: &Submission) -> Option<Reply> {
        if work.is_busy(submission) {
            return None;
        }
        Some(match submission {
            Submission::Dispute { caller, command, request, trace, .. } => {
                work.set_trace(trace.clone());
                Reply::Dispute(Box::new(work.judge(caller, command, *request, &self.policy)))
            }
            Submission::Orders { caller, reports, trace, .. } => {
                work.set_trace(trace.clone());
                Reply::Orders(work.judge_orders(caller, reports, &self.policy))
            }
            Submission::Disclosure { caller, reasons, .. } => {
                work.record_disclosure(caller, reasons);
                Reply::Recorded
            }
            Submission::PassTime { orders, .. } => {
                work.set_trace(None);
                Reply::TimePassed(work.pass_time(orders, &self.policy))
            }
        })
    }

    /// Returns the time that commands are judged by (the database's, if replicas share one) and the earliest time of
    /// new events. The latter is after the last event of the log, even if the clock was set back, so that every change
    /// after a listing is later than everything it showed. Only a manual clock can stand still; several events then
    /// have the same time. The clock must be certain at this very instant: it can jump between two checks of its
    /// watchers.
    async fn times(
        &self,
        transaction: &Transaction,
    ) -> Result<Result<(Timestamp, Timestamp), Uncertain>, StorageError> {
        let asked = self.clock.ask();
        let times = transaction.times().await?;
        let now = match self.clock.certain(asked, times.clock) {
            Ok(now) => now,
            Err(uncertain) => return Ok(Err(uncertain)),
        };
        let stands_still = self.clock.is_manual() && times.last_event == Some(now);
        let after_the_last = times.last_event.filter(|_| !stands_still).map(Timestamp::next);
        Ok(Ok((now, after_the_last.map_or(now, |after| after.max(now)))))
    }

    fn answer(&mut self, batch: Vec<Waiting>, committed: Committed) {
        let mut commands = 0_usize;
        for (waiting, reply) in batch.into_iter().zip(committed.replies) {
            match reply {
                Some(reply) => {
                    commands = commands.saturating_add(1);
                    waiting.submission.answer(Ok(reply));
                }
                None => self.queue.put_off(waiting),
            }
        }
        if self.outage.end() {
            tracing::info!("commands can be committed again");
        }
        if let Some(last_seq) = committed.last_seq {
            self.feed.committed(last_seq);
            tracing::debug!(commands, last_seq, "committed a batch");
        }
        if let Some(deadline) = committed.earliest_deadline {
            self.deadlines.reschedule(deadline);
        }
        self.totals.submissions.fetch_add(u64::try_from(commands).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.totals.batches.fetch_add(1, Ordering::Relaxed);
    }
}
