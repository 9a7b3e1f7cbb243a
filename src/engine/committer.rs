//! The committer: one task that runs all waiting commands in one transaction.
//!
//! There is no timer: while one commit runs, the next batch gathers. So a lone command does not wait, and under load
//! one fsync and one round of statements serve hundreds of commands. A full batch that waits by then is judged while the
//! one before it is written and committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::deadlines::Deadlines;
use super::error::Error;
use super::feed::Feed;
use super::judge::{Ahead, Judge, Judged, Judgement, Next, Unseen, is_disclosure};
use super::outage::Outage;
use super::queue::{Backlog, Queue, ReplySender, RequestKey, Submission, Waiting};
use super::unit_of_work::TimePassed;
use crate::clock::{Clock, RealInstant, Uncertain, real_now};
use crate::domain::{
    Caller, Command, ConfidentialReason, DisputeView, EventId, OrderId, OrderReport, OrderView, Policy, RecordedEvent,
    Timestamp,
};
use crate::metrics::METRICS;
use crate::repository::{Repository, StorageError, Transaction, Written, in_time};
use crate::traces::{Part, Span, TraceParent, Tracer};

/// How often a batch that conflicted with another replica is rerun.
const RERUNS: usize = 3;

/// How long what was judged ahead may wait: PostgreSQL ends transactions that are idle for longer than five seconds.
const AHEAD_FOR: Duration = Duration::from_secs(2);

/// Encodes the public payload of an event. Passed in by a higher layer, because the engine does not know the payload's
/// format.
pub type EncodeEvent = fn(EventId, &RecordedEvent, Option<TraceParent>) -> Vec<u8>;

/// Sends commands to the committer's task. Clones share it.
#[derive(Clone, Debug)]
pub struct Committer(Arc<Entrance>);

/// Closes the queue when the last handle is dropped.
#[derive(Debug)]
struct Entrance {
    queue: Arc<Queue>,
    /// For commands that are only tried out.
    judge: Arc<Judge>,
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.queue.close();
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
        tracer: Tracer,
    ) -> (Self, Arc<Totals>, impl Future<Output = ()> + Send) {
        let queue = Arc::new(Queue::new(repository.is_remote(), tracer.clone()));
        let totals = Arc::<Totals>::default();
        let judge = Arc::new(Judge { repository, clock, policy, encode });
        let task = Task {
            queue: queue.clone(),
            judge: judge.clone(),
            preparing: None,
            feed,
            deadlines,
            totals: totals.clone(),
            tracer,
            outage: Outage::default(),
        };
        (Self(Arc::new(Entrance { queue, judge })), totals, task.run())
    }

    /// What waits in the queue.
    pub fn backlog(&self) -> Backlog {
        self.0.queue.backlog()
    }

    /// Stops accepting submissions: the task finishes what is waiting and ends.
    pub fn close(&self) {
        self.0.queue.close();
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

    /// Judges a command as [`Self::dispute`] does, on what is stored now, and does nothing: it locks nothing, and is a read like
    /// others. Only that support was shown a confidential reason is recorded, as it is for every answer.
    pub async fn validate(
        &self,
        caller: &Caller,
        command: &Command,
        request: Option<RequestKey>,
    ) -> Result<DisputeView, Error> {
        let (view, reason) = self.0.judge.try_out(caller, command, request).await?;
        self.disclose(caller, reason.into_iter().collect()).await?;
        Ok(view)
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
        let pushed = self.0.queue.push(submission(answer));
        async move {
            pushed?;
            // The task replies to everything it takes; if it is gone, the outcome is unknown.
            answered.await.unwrap_or(Err(Error::Unavailable))
        }
    }
}

struct Task {
    queue: Arc<Queue>,
    judge: Arc<Judge>,
    /// The batch that is judged while another one is being written, or that was taken for that.
    preparing: Option<Preparing>,
    feed: Arc<Feed>,
    deadlines: Arc<Deadlines>,
    totals: Arc<Totals>,
    tracer: Tracer,
    /// Whether the last batch could not reach the database.
    outage: Outage,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

/// The next batch.
enum Preparing {
    /// It is being judged.
    Judging(JoinHandle<Next>),
    /// It is to be judged afresh.
    Again(Vec<Waiting>),
}

/// The outcome of a committed batch, for the rest of the engine.
struct Committed {
    /// One per submission.
    judgements: Vec<Judgement>,
    last_seq: Option<i64>,
    earliest_deadline: Option<Timestamp>,
    /// Its span, if one of its submissions has one that is recorded.
    trace: Option<TraceParent>,
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
    for waiting in batch {
        waiting.fail(error.clone());
    }
}

impl Task {
    async fn run(mut self) {
        while let Some(Next { batch, ahead }) = self.next().await {
            self.commit(batch, ahead, true).await;
        }
    }

    /// The next batch: the one that was taken already, or whatever is waiting.
    async fn next(&mut self) -> Option<Next> {
        match self.preparing.take() {
            Some(Preparing::Again(batch)) => return Some(Next { batch, ahead: None }),
            Some(Preparing::Judging(judging)) => {
                // If it has panicked, its callers know that the outcome is unknown.
                if let Ok(next) = judging.await {
                    return Some(next);
                }
            }
            None => {}
        }
        let batch = self.queue.next().await?;
        Some(Next { batch, ahead: None })
    }

    /// Commits a batch and replies to its callers. If it fails for a reason other than an unavailable database, its
    /// submissions are run one by one, so that only the culprit fails. `is_last`: nothing comes between it and the next
    /// batch, which may be judged ahead.
    async fn commit(&mut self, batch: Vec<Waiting>, ahead: Option<Ahead>, is_last: bool) {
        let error = match self.attempt_with_reruns(&batch, ahead, is_last).await {
            Ok(BatchResult::Committed(committed)) => return self.answer(batch, committed),
            Ok(BatchResult::OrderTaken) => return self.set_imports_apart(batch).await,
            // The clock has logged it already.
            Ok(BatchResult::ClockUncertain) => return self.commit_disclosures_of(batch).await,
            Err(error) => error,
        };
        if batch.len() > 1 && !error.is_of_database() {
            tracing::warn!(%error, submissions = batch.len(), "a batch failed: running its commands one by one");
            for waiting in batch {
                Box::pin(self.commit(vec![waiting], None, false)).await;
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
            Box::pin(self.commit(others, None, false)).await;
        }
    }

    /// The clock is uncertain: refuses a batch, except for disclosures, which nothing is judged for: reads go on.
    async fn commit_disclosures_of(&mut self, batch: Vec<Waiting>) {
        let (disclosures, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_disclosure);
        refuse(others, &Error::ClockUncertain);
        if !disclosures.is_empty() {
            Box::pin(self.commit(disclosures, None, false)).await;
        }
    }

    /// Runs a batch, and reruns it if another replica was first or the tables changed under prepared statements.
    async fn attempt_with_reruns(
        &mut self,
        batch: &[Waiting],
        mut ahead: Option<Ahead>,
        is_last: bool,
    ) -> Result<BatchResult, StorageError> {
        let mut reruns = 0;
        loop {
            let result = in_time(self.attempt(batch, ahead.take(), is_last)).await;
            if let Err(error) = &result {
                METRICS.batches_failed.one([error.class()]);
                self.judge_again().await;
            }
            match result {
                Err(StorageError::Conflict | StorageError::Stale) if reruns < RERUNS => reruns += 1,
                result => return result,
            }
        }
    }

    async fn attempt(
        &mut self,
        batch: &[Waiting],
        ahead: Option<Ahead>,
        is_last: bool,
    ) -> Result<BatchResult, StorageError> {
        let (mut transaction, judged, since) = self.begin(ahead).await?;
        let Judged { judgements, changes, earliest_deadline, unseen } =
            match self.ready_to_write(&transaction, batch, judged).await {
                Ok(Ok(judged)) => judged,
                Ok(Err(not_done)) => {
                    // Nothing was written that has to be undone.
                    let _ = transaction.rollback().await;
                    return Ok(not_done);
                }
                Err(error) => {
                    transaction.rollback_after(&error).await;
                    return Err(error);
                }
            };
        if is_last && self.preparing.is_none() {
            self.prepare_next(&mut transaction, unseen).await;
        }
        let judged_at = real_now();
        METRICS.batch_seconds.took(["judge"], judged_at.saturating_duration_since(since));
        let Written { last_seq, at } = transaction.commit(changes).await?;
        let written_at = real_now();
        METRICS.batch_seconds.took(["write"], written_at.saturating_duration_since(judged_at));
        self.queue.has_written(batch, at.saturating_duration_since(since));
        let trace = self.record(batch, &judgements, [since, judged_at, written_at]);
        Ok(BatchResult::Committed(Committed { judgements, last_seq, earliest_deadline, trace }))
    }

    /// Records the span of a batch, if one of the submissions that it committed has one that is recorded: in the trace of the
    /// first of these, and linked with the others. What was put off has no part in it.
    fn record(
        &self,
        batch: &[Waiting],
        judgements: &[Judgement],
        [began, judged, written]: [RealInstant; 3],
    ) -> Option<TraceParent> {
        let is_judged = |judgement: &Judgement| matches!(judgement, Judgement::Judged(_));
        let committed = || batch.iter().zip(judgements).filter(|(_, judgement)| is_judged(judgement));
        let mut recorded = committed().map(|(waiting, _)| &waiting.span).filter(|span| span.is_recorded());
        let first = recorded.next()?;
        let mut span = self.tracer.part(Part::Batch, first.context());
        span.lasts(began, written);
        span.set("disputes.batch.submissions", i64::try_from(committed().count()).unwrap_or(i64::MAX));
        recorded.filter_map(Span::context).for_each(|other| span.link(other));
        self.tracer.part(Part::Judge, span.context()).lasts(began, judged);
        self.tracer.part(Part::Write, span.context()).lasts(judged, written);
        span.context()
    }

    /// Begins to write. What was judged ahead counts if nobody else has written since. Also returns when work on the batch
    /// began: waiting for the commit of the one before it is no work.
    async fn begin(&self, ahead: Option<Ahead>) -> Result<(Transaction, Option<Judged>, RealInstant), StorageError> {
        let ahead = ahead.filter(|ahead| ahead.ready.elapsed() < AHEAD_FOR);
        let Some(Ahead { mut transaction, judged, version, took, ready: _ }) = ahead else {
            let transaction = self.judge.repository.begin().await?;
            return Ok((transaction, None, real_now()));
        };
        let is_current = transaction.start_writing(version).await?;
        let now = real_now();
        Ok((transaction, is_current.then_some(judged), now.checked_sub(took).unwrap_or(now)))
    }

    /// Before a batch is written: begins to judge the next one if that is full already, so that nothing would be gained
    /// by taking it later.
    async fn prepare_next(&mut self, transaction: &mut Transaction, unseen: Unseen) {
        if !self.queue.has_full_batch() {
            return;
        }
        // An error will show in the commit.
        let Ok(version) = transaction.version().await else { return };
        let batch = self.queue.take();
        if !batch.is_empty() {
            let judging = tokio::spawn(self.judge.clone().judge_ahead(batch, unseen, version));
            self.preparing = Some(Preparing::Judging(judging));
        }
    }

    /// A batch was not committed: what was judged ahead of its commit does not count, and is rolled back.
    async fn judge_again(&mut self) {
        if let Some(Preparing::Judging(judging)) = self.preparing.take() {
            self.preparing = judging.await.ok().map(|Next { batch, ahead: _ }| Preparing::Again(batch));
        }
    }

    /// Judges a batch, unless that was done ahead, and inserts its new orders. Returns what is to be written, or why nothing
    /// is.
    async fn ready_to_write(
        &self,
        transaction: &Transaction,
        batch: &[Waiting],
        judged: Option<Judged>,
    ) -> Result<Result<Judged, BatchResult>, StorageError> {
        let mut judged = match judged {
            Some(judged) => judged,
            None => match self.judge.judge(transaction, batch, &Unseen::default()).await? {
                Ok(judged) => judged,
                Err(Uncertain) => return Ok(Err(BatchResult::ClockUncertain)),
            },
        };
        let new_orders = std::mem::take(&mut judged.changes.new_orders);
        if !new_orders.is_empty() && !transaction.insert_orders(new_orders).await? {
            return Ok(Err(BatchResult::OrderTaken));
        }
        Ok(Ok(judged))
    }

    fn answer(&mut self, batch: Vec<Waiting>, committed: Committed) {
        let mut commands = 0_usize;
        METRICS.batch_submissions.were([], batch.len());
        for (mut waiting, judgement) in batch.into_iter().zip(committed.judgements) {
            match judgement {
                Judgement::Judged(reply) => {
                    commands = commands.saturating_add(1);
                    committed.trace.into_iter().for_each(|batch| waiting.span.link(batch));
                    METRICS.submissions.one([waiting.submission.kind()]);
                    waiting.submission.answer(reply);
                }
                Judgement::Locked => self.queue.put_off(waiting),
                Judgement::Ahead => self.queue.put_back(waiting),
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
