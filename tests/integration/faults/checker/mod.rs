//! A checker: what clients and subscribers noted while things went wrong, and a judge of it.

pub mod clients;
mod failover_tests;
pub mod following;
pub mod history;
pub mod judge;
mod listings;
pub mod load;
mod snapshots;
mod tests;
mod verdict;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dispute_service::clock::Clock;

/// What came before what, within this process: a larger one is later.
pub type Moment = u64;

/// A moment that no other one equals.
pub fn moment() -> Moment {
    static MOMENTS: AtomicU64 = AtomicU64::new(1);
    MOMENTS.fetch_add(1, Ordering::SeqCst)
}

/// The machine's time, in microseconds.
pub fn now() -> i64 {
    Clock::system().now().micros()
}

/// Waits for real: processes are tested here that have no clock to move.
pub async fn pause(span: Duration) {
    Clock::system().sleep(span).await;
}
