//! Fills in what earlier releases did not record, in small steps beside the callers and the other replicas.

use std::sync::Arc;
use std::time::Duration;

use super::outage::Outage;
use crate::clock::pause;
use crate::repository::Repository;

/// How many disputes are filled in in one transaction …
const STEP: u32 = 500;
/// … how long to pause between two of them …
const YIELD_DELAY: Duration = Duration::from_millis(5);
/// … and how long, in real time, to wait for more: a replica of the release before may still open disputes.
const EVERY: Duration = Duration::from_secs(60);

/// Fills in the creation times of orders in open disputes for as long as it is polled.
pub async fn backfill_order_times(repository: Arc<Repository>) {
    let mut outage = Outage::default();
    loop {
        match repository.backfill_order_times(STEP).await {
            Ok(count) => {
                outage.end();
                pause(if count == 0 { EVERY } else { YIELD_DELAY }).await;
            }
            Err(error) => {
                if outage.begin() {
                    tracing::warn!(%error, "the times of orders could not be filled in now");
                }
                pause(EVERY).await;
            }
        }
    }
}
