//! What the health service says.

use tokio::sync::watch::Receiver;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

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
