//! What the health service says.

use tokio::sync::watch::Receiver;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// The services, by the names under which their health is asked for; the empty one is the whole server.
const NAMES: [&str; 3] = ["", "disputes.v1.DisputeService", "disputes.v1.OrderService"];

/// Keeps the health service true: serving while the database can be read. Never ends before the feed does.
pub(super) async fn keep_true(health: HealthReporter, mut reachable: Receiver<bool>) {
    while reachable.changed().await.is_ok() {
        let is_serving = *reachable.borrow_and_update();
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
