//! Housekeeping: what need not be remembered is forgotten, in small steps behind the callers.

use std::time::Duration;

use super::committer::{Committer, Old};
use crate::clock::{Clock, pause};

/// How often old request ids are forgotten.
const REQUESTS_EVERY: Duration = Duration::from_secs(10 * 60);

/// How often old events are forgotten at the least, and how often at the most.
const EVENTS_EVERY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(1));

/// What is left to the callers between two steps.
const BREATH: Duration = Duration::from_millis(20);

/// Forgets old request ids for as long as it is polled.
pub async fn forget_requests(clock: Clock, committer: Committer) {
    forget(Old::Requests, REQUESTS_EVERY, clock, committer).await;
}

/// Forgets the events that are older than the retention for as long as it is polled; zero keeps them all.
pub async fn forget_events(retention: Duration, clock: Clock, committer: Committer) {
    if retention.is_zero() {
        return;
    }
    let (least, most) = EVENTS_EVERY;
    forget(Old::Events, (retention / 16).clamp(most, least), clock, committer).await;
}

async fn forget(what: Old, every: Duration, clock: Clock, committer: Committer) {
    let mut is_away = false;
    loop {
        match committer.forget(what).await {
            Ok(0) => clock.sleep(every).await,
            Ok(_) => {
                is_away = false;
                pause(BREATH).await;
            }
            Err(error) => {
                // Said once: each step meets the same until the database is back.
                if !std::mem::replace(&mut is_away, true) {
                    tracing::warn!(?error, ?what, "what is old could not be forgotten now");
                }
                clock.sleep(every).await;
            }
        }
    }
}
