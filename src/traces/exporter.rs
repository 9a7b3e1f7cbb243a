//! How spans get to the collector: a queue, from which a thread of its own sends them. What does not fit into it is lost.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, RetryPolicy, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor as _};

use tonic::transport::Endpoint;

use crate::chance::mint_id;
use crate::metrics::METRICS;

/// How long the collector may take to accept a connection, and then some hundred spans.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the last spans may take when the process ends.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// How many deliveries are recorded per second, on average and at once.
const DELIVERIES: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// Where traces go, and what is in them.
#[derive(Clone, PartialEq, Debug)]
pub struct TracesSettings {
    /// The collector, `http://HOST:PORT`.
    pub endpoint: String,
    /// Which part of the traces that begin here is recorded, from 0 to 1.
    pub sample_ratio: f64,
    /// Whether spans name users.
    pub user_ids: bool,
}

/// Traces cannot be exported to this endpoint.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// It is no address.
    #[error("traces cannot be exported to --otlp-endpoint: {0}")]
    Endpoint(#[from] tonic::transport::Error),
    /// The exporter cannot be made as the environment wants it.
    #[error("traces cannot be exported: {0}")]
    Exporter(#[from] ExporterBuildError),
}

#[derive(Debug)]
pub(super) struct Recorder {
    processor: Arc<BatchSpanProcessor>,
    scope: InstrumentationScope,
    /// Traces whose id's lower half is below this are sampled.
    sampled_below: u64,
    /// Every trace is sampled.
    samples_all: bool,
    names_users: bool,
    deliveries: DefaultDirectRateLimiter,
}

impl Recorder {
    /// Starts the thread. Queue and batches have the sizes of the standard, or those of its environment variables.
    pub(super) fn start(settings: TracesSettings) -> Result<Self, TracesError> {
        let TracesSettings { endpoint, sample_ratio, user_ids } = settings;
        let endpoint = Endpoint::from_shared(endpoint)?;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_channel(endpoint.connect_timeout(EXPORT_TIMEOUT).timeout(EXPORT_TIMEOUT).connect_lazy())
            .with_timeout(EXPORT_TIMEOUT)
            // While the thread waits to try again it would not empty the queue.
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let exporter = Observed { exporter, is_failing: AtomicBool::new(false) };
        let mut processor = BatchSpanProcessor::new(exporter, BatchConfigBuilder::default().build());
        opentelemetry_sdk::trace::SpanProcessor::set_resource(&mut processor, &resource());
        Ok(Self {
            processor: Arc::new(processor),
            scope: InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
            sampled_below: part_of_ids(sample_ratio),
            samples_all: sample_ratio >= 1.0,
            names_users: user_ids,
            deliveries: DefaultDirectRateLimiter::direct(Quota::per_second(DELIVERIES)),
        })
    }

    pub(super) fn scope(&self) -> InstrumentationScope {
        self.scope.clone()
    }

    pub(super) fn names_users(&self) -> bool {
        self.names_users
    }

    /// Whether a trace that begins here is recorded. It depends on the id alone, which nobody can choose.
    pub(super) fn samples(&self, trace: u128) -> bool {
        let lower = u64::try_from(trace & u128::from(u64::MAX)).unwrap_or(u64::MAX);
        self.samples_all || lower < self.sampled_below
    }

    pub(super) fn admits_delivery(&self) -> bool {
        self.deliveries.check().is_ok()
    }

    /// Queues a span that has ended, or loses it. Never blocks.
    pub(super) fn record(&self, span: SpanData) {
        METRICS.spans.one(["ended"]);
        self.processor.on_end(span);
    }

    pub(super) async fn finish(&self) {
        let processor = self.processor.clone();
        let finished = tokio::task::spawn_blocking(move || processor.shutdown_with_timeout(LAST_SPANS));
        // The thread may have to wait for the collector longer than that.
        if !matches!(finished.await, Ok(Ok(()))) {
            tracing::warn!("the last spans were not exported in time");
        }
    }
}

/// The number below which this part of all numbers is.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a ratio of a few digits"
)]
fn part_of_ids(ratio: f64) -> u64 {
    (ratio.clamp(0.0, 1.0) * u64::MAX as f64) as u64
}

/// Who sends the spans. Operators add to it, or change it, by `OTEL_RESOURCE_ATTRIBUTES`.
fn resource() -> Resource {
    let attributes = [
        KeyValue::new("service.name", env!("CARGO_PKG_NAME")),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", mint_id().to_string()),
    ];
    let builder = Resource::builder_empty().with_attributes(attributes);
    builder.with_detector(Box::new(EnvResourceDetector::new())).build()
}

/// Counts what the collector takes, and logs when it begins and ceases to fail.
#[derive(Debug)]
struct Observed<E> {
    exporter: E,
    is_failing: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Observed<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.exporter.export(batch).await;
        METRICS.spans.more([if exported.is_ok() { "exported" } else { "failed" }], spans);
        let was_failing = self.is_failing.swap(exported.is_err(), Ordering::Relaxed);
        match &exported {
            Err(error) if !was_failing => tracing::warn!(%error, "traces cannot be exported"),
            Ok(()) if was_failing => tracing::info!("traces are exported again"),
            Err(_) | Ok(()) => {}
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_that_part_of_all_ids() {
        assert_eq!(part_of_ids(0.0), 0);
        assert_eq!(part_of_ids(0.5), 1 << 63);
        assert_eq!(part_of_ids(1.0), u64::MAX);
        assert_eq!(part_of_ids(7.0), u64::MAX);
    }
}
