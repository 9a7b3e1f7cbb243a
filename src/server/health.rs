//! The status that the health service reports.

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::{HealthReporter, HealthService};

/// The services, by the names used in health checks; the empty name is the whole server.
const NAMES: [&str; 3] = ["", "disputes.v1.DisputeService", "disputes.v1.OrderService"];

/// Keeps the health service up to date.
pub(super) struct HealthReport {
    reporter: HealthReporter,
    reporting: JoinHandle<()>,
}

impl HealthReport {
    /// Sets the current status, and updates it when it changes.
    pub(super) async fn start(mut is_serving: Receiver<bool>) -> Self {
        let reporter = HealthReporter::new();
        let serves = *is_serving.borrow_and_update();
        report(&reporter, serves).await;
        let reporting = tokio::spawn({
            let reporter = reporter.clone();
            async move {
                while is_serving.changed().await.is_ok() {
                    let is_serving = *is_serving.borrow_and_update();
                    report(&reporter, is_serving).await;
                }
            }
        });
        Self { reporter, reporting }
    }

    /// The health service.
    pub(super) fn service(&self) -> HealthServer<Names<HealthService>> {
        HealthServer::new(Names(HealthService::from_health_reporter(self.reporter.clone())))
    }

    /// Reports NOT_SERVING from now on.
    pub(super) async fn stop(self) {
        self.reporting.abort();
        let _ = self.reporting.await;
        report(&self.reporter, false).await;
    }
}

/// Updates the status for checks and watches.
async fn report(health: &HealthReporter, is_serving: bool) {
    let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    for name in NAMES {
        health.set_service_status(name, status).await;
    }
}

/// A health service that follows the protocol for unknown services: a watch reports SERVICE_UNKNOWN and continues,
/// while the inner service would refuse it.
#[derive(Debug)]
pub(super) struct Names<H>(H);

#[tonic::async_trait]
impl<H: Health> Health for Names<H> {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        self.0.check(request).await
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if NAMES.contains(&request.get_ref().service.as_str()) {
            return Ok(self.0.watch(request).await?.map(StreamExt::boxed));
        }
        let mut unknown = HealthCheckResponse::default();
        unknown.set_status(tonic_health::pb::health_check_response::ServingStatus::ServiceUnknown);
        // The set of services never changes.
        Ok(Response::new(stream::iter([Ok(unknown)]).chain(stream::pending()).boxed()))
    }
}
