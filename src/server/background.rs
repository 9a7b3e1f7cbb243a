//! The tasks that run as long as the service. None of them ends by itself: without one of them the service would look
//! alive but not keep its promises.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::error::ServeError;
use crate::clock::Clock;
use crate::domain::Policy;
use crate::engine::{
    Committer, Deadlines, Feed, Health, Totals, backfill_order_times, compare_with_log, prune_audit, prune_events,
    prune_requests, run_listener,
};
use crate::grpc;
use crate::repository::{Notifier, Repository, StorageError, corrupt_rows};
use crate::traces::Tracer;

/// How long the committer may take for its remaining queue.
const COMMIT_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Background {
    committer: Committer,
    commits: JoinHandle<()>,
    totals: Arc<Totals>,
    health: Arc<Health>,
    keep_healthy: JoinHandle<String>,
    others: JoinSet<()>,
}

/// How long data is kept; zero for ever.
pub(super) struct Retentions {
    pub(super) events: Duration,
    pub(super) audit: Duration,
}

impl Background {
    /// Starts all tasks.
    pub(super) async fn start(
        repository: &Arc<Repository>,
        clock: &Clock,
        policy: &Arc<Policy>,
        retentions: Retentions,
        feed: &Arc<Feed>,
        notifier: Option<Notifier>,
        tracer: Tracer,
    ) -> Result<Self, StorageError> {
        let (health, keep_healthy) = Health::start(repository.clone(), clock.clone(), feed.reachable()).await;
        compare_with_log(repository, clock).await?;
        let deadlines = Arc::<Deadlines>::default();
        let (committer, totals, commits) = Committer::new(
            repository.clone(),
            clock.clone(),
            policy.clone(),
            grpc::encode_event,
            feed.clone(),
            deadlines.clone(),
            tracer,
        );
        let mut others = JoinSet::new();
        others.spawn(feed.clone().run());
        others.spawn(deadlines.run(repository.clone(), clock.clone(), committer.clone()));
        others.spawn(backfill_order_times(repository.clone()));
        others.spawn(prune_requests(repository.clone(), clock.clone()));
        if !retentions.events.is_zero() {
            others.spawn(prune_events(retentions.events, repository.clone(), clock.clone()));
        }
        if !retentions.audit.is_zero() {
            others.spawn(prune_audit(retentions.audit, repository.clone(), clock.clone()));
        }
        if let Some(notifier) = notifier {
            others.spawn(run_listener(notifier, feed.clone(), feed.commits()));
        }
        let (commits, keep_healthy) = (tokio::spawn(commits), tokio::spawn(keep_healthy));
        Ok(Self { committer, commits, totals, health, keep_healthy, others })
    }

    /// Runs another task for as long as the service runs.
    pub(super) fn run(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.others.spawn(task);
    }

    /// The handle of the committer.
    pub(super) fn committer(&self) -> Committer {
        self.committer.clone()
    }

    /// Whether the service can do its work.
    pub(super) fn is_serving(&self) -> watch::Receiver<bool> {
        self.health.is_serving()
    }

    /// Returns when one of the tasks has ended, and why. Cancel safe.
    pub(super) async fn failed(&mut self) -> ServeError {
        tokio::select! {
            _ = self.others.join_next() => ServeError::Background,
            _ = &mut self.commits => ServeError::Background,
            lost = &mut self.keep_healthy => lost.map_or(ServeError::Background, ServeError::Lost),
        }
    }

    /// Commits what is still in the queue, and stops all tasks.
    pub(super) async fn stop(mut self) {
        self.others.shutdown().await;
        self.committer.close();
        if tokio::time::timeout(COMMIT_DRAIN_TIMEOUT, self.commits).await.is_err() {
            tracing::warn!("the last commands were not committed in time");
        }
        self.keep_healthy.abort();
        let (submissions, batches) = self.totals.submissions_and_batches();
        tracing::info!(submissions, batches, corrupt_rows = corrupt_rows(), "stopped");
    }
}
