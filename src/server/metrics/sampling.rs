//! What is looked up when Prometheus asks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::process;
use crate::clock::{Clock, RealInstant, real_now};
use crate::domain::Timestamp;
use crate::engine::{Committer, Feed};
use crate::grpc::Quota;
use crate::metrics::{Samples, sampled};
use crate::repository::{Pending, Repository, corrupt_rows};
use crate::server::registry::Registry;
use crate::server::tls::Certificates;
use crate::stderr;

/// How long the database may take; without its answer the rest is told.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(1);

/// Pending disputes are counted no more often than this, however many scrapers there are.
const COUNT_INTERVAL: Duration = Duration::from_secs(30);

/// Where the values come from.
pub(in crate::server) struct Sources {
    pub(in crate::server) repository: Arc<Repository>,
    /// The kind of the database.
    pub(in crate::server) database: &'static str,
    pub(in crate::server) committer: Committer,
    pub(in crate::server) feed: Arc<Feed>,
    pub(in crate::server) quota: Arc<Quota>,
    pub(in crate::server) connections: Registry,
    pub(in crate::server) clock: Clock,
    pub(in crate::server) is_serving: watch::Receiver<bool>,
    /// Cancelled once the service drains.
    pub(in crate::server) drain: CancellationToken,
    pub(in crate::server) certificates: Option<Arc<Certificates>>,
    /// When the service started.
    pub(in crate::server) started: Timestamp,
    /// What was counted last, and when; `None` if it could not be.
    pub(in crate::server) counted: Mutex<Option<(RealInstant, Option<Counted>)>>,
}

impl Sources {
    /// Looks everything up.
    pub(super) async fn sample(&self) -> Samples {
        let mut samples = Samples::default();
        samples.add(&sampled::BUILD_INFO, &[env!("CARGO_PKG_VERSION"), self.database], 1.0);
        samples.add(&sampled::SERVING, &[], f64::from(u8::from(*self.is_serving.borrow())));
        samples.add(&sampled::CLOCK_CERTAIN, &[], f64::from(u8::from(*self.clock.certainty().borrow())));
        self.sample_queue(&mut samples);
        // In this order: the feed is never ahead of the log.
        self.sample_database(&mut samples).await;
        self.sample_feed(&mut samples);
        samples.add(&sampled::CONNECTIONS, &[], self.connections.open() as f64);
        let (refused, replaced) = self.connections.refused_and_replaced();
        samples.add(&sampled::CONNECTIONS_REFUSED, &[], refused as f64);
        samples.add(&sampled::CONNECTIONS_REPLACED, &[], replaced as f64);
        samples.add(&sampled::CORRUPT_ROWS, &[], corrupt_rows() as f64);
        samples.add(&sampled::LOG_LINES_LOST, &[], stderr::lines_lost() as f64);
        if let Some(certificates) = &self.certificates {
            samples.add(&sampled::CERTIFICATE_EXPIRY, &[], seconds(certificates.expires()));
        }
        process::sample(&mut samples, self.started);
        samples
    }

    fn sample_queue(&self, samples: &mut Samples) {
        let backlog = self.committer.backlog();
        for (line, orders) in backlog.lines {
            samples.add(&sampled::QUEUE_ORDERS, &[line], orders as f64);
        }
        samples.add(&sampled::BATCH_LIMIT, &[], backlog.batch_limit as f64);
    }

    fn sample_feed(&self, samples: &mut Samples) {
        let progress = self.feed.progress();
        samples.add(&sampled::FEED_SEQ, &[], progress.last_seq as f64);
        samples.add(&sampled::TAIL_CACHE_EVENTS, &[], progress.cached.0 as f64);
        samples.add(&sampled::TAIL_CACHE_BYTES, &[], progress.cached.1 as f64);
        samples.add(&sampled::SUBSCRIBERS, &[], self.quota.open() as f64);
        samples.add(&sampled::SUBSCRIBERS_BEHIND, &[], progress.behind as f64);
        samples.add(&sampled::SUBSCRIBER_LAG, &[], progress.lag as f64);
    }

    async fn sample_database(&self, samples: &mut Samples) {
        for pool in self.repository.pools() {
            samples.add(&sampled::DATABASE_CONNECTIONS, &[pool.purpose], f64::from(pool.open));
            samples.add(&sampled::DATABASE_CONNECTIONS_IN_USE, &[pool.purpose], f64::from(pool.in_use));
        }
        if let Ok(Ok(log)) = tokio::time::timeout(DATABASE_TIMEOUT, self.repository.log()).await {
            samples.add(&sampled::FIRST_SEQ, &[], log.pruned_seq.saturating_add(1) as f64);
            samples.add(&sampled::LAST_SEQ, &[], log.last_seq as f64);
        }
        if let Some(Counted { pending, lag }) = self.counted().await {
            samples.add(&sampled::DISPUTES_PENDING, &[], pending.all as f64);
            samples.add(&sampled::DISPUTES_OVERDUE, &[], pending.overdue as f64);
            samples.add(&sampled::DEADLINE_LAG, &[], lag);
        }
    }

    /// What waits for an answer, counted now or a moment ago. That it could not be counted is remembered, too.
    async fn counted(&self) -> Option<Counted> {
        let mut counted = self.counted.lock().await;
        if let Some((when, found)) = *counted
            && when.elapsed() < COUNT_INTERVAL
        {
            return found;
        }
        let now = self.clock.now();
        let count = tokio::time::timeout(DATABASE_TIMEOUT, self.repository.pending(now)).await;
        let found = count.ok().and_then(Result::ok).map(|pending| {
            let lag = pending.earliest.map_or(0.0, |earliest| seconds(now) - seconds(earliest));
            Counted { pending, lag: lag.max(0.0) }
        });
        *counted = Some((real_now(), found));
        found
    }
}

/// What was counted of the disputes.
#[derive(Clone, Copy)]
pub(in crate::server) struct Counted {
    pending: Pending,
    /// For how many seconds the earliest deadline or reminder had been due.
    lag: f64,
}

fn seconds(instant: Timestamp) -> f64 {
    instant.micros() as f64 / 1e6
}
