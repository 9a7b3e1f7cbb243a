//! What the health service says.

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch::Receiver;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::{HealthReporter, HealthService};

/// The services, by the names under which their health is asked for; the empty one is the whole server.
const NAMES: [&str; 3] = ["", "disputes.v1.DisputeService", "disputes.v1.OrderService"];

/// Keeps the health service true: serving while the service can do its work. Never ends before that is no longer found out.
pub(super) async fn keep_true(health: HealthReporter, mut serving: Receiver<bool>) {
    while serving.changed().await.is_ok() {
        let is_serving = *serving.borrow_and_update();
        report(&health, is_serving).await;
    }
}

/// Tells everybody who asks, and everybody who watches.
pub(super) async fn report(health: &HealthReporter, is_serving: bool) {
    let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    for name in NAMES {
        health.set_service_status(name, status).await;
    }
}

/// The health service of what is reported.
pub(super) fn service(reporter: &HealthReporter) -> HealthServer<Names<HealthService>> {
    HealthServer::new(Names(HealthService::from_health_reporter(reporter.clone())))
}

/// A health service to which names that it does not know are unknown services, as the protocol has it: a stream says so
/// and goes on, where the one inside would refuse it.
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
        // No service begins to exist later.
        Ok(Response::new(stream::iter([Ok(unknown)]).chain(stream::pending()).boxed()))
    }
}
