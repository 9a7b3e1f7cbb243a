//! Replicas: several processes on one PostgreSQL notify each other that the log has grown, so that nobody has to wait
//! for the next poll.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::feed::Feed;
use super::outage::Outage;
use crate::clock::pause;
use crate::repository::{Notifier, StorageError};

/// How long to wait before notifying or listening is retried.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Notifies the other replicas of local commits, and wakes the feed for commits of others, for as long as it is polled.
pub async fn run_listener(notifier: Notifier, feed: Arc<Feed>, commits: watch::Receiver<i64>) {
    tokio::join!(notify(notifier.clone(), commits), listen(notifier, &feed));
}

/// Once per batch, or for several batches that were committed while the last notification was sent.
async fn notify(notifier: Notifier, mut commits: watch::Receiver<i64>) {
    let mut trouble = Trouble::default();
    while commits.changed().await.is_ok() {
        let last_seq = *commits.borrow_and_update();
        let notified = notifier.notify(last_seq).await;
        if trouble.note(notified, "other replicas cannot be notified of events: they poll").is_none() {
            pause(TRY_AGAIN).await;
        }
    }
}

/// A listening connection is idle most of the time, and middleboxes may cut it for that: this does not matter as long
/// as a new one can be opened.
async fn listen(mut notifier: Notifier, feed: &Feed) {
    let mut trouble = Trouble::default();
    let what = "notifications of other replicas do not arrive: polling the log once a second";
    loop {
        if let Some(mut listener) = trouble.note(notifier.listen().await, what) {
            // For notifications that were missed before.
            feed.wake();
            let lost = loop {
                match listener.next().await {
                    Ok(last_seq) => feed.wake_for(last_seq),
                    Err(error) => break error,
                }
            };
            tracing::debug!(error = %lost, "the listening connection is lost: reconnecting");
        }
        pause(TRY_AGAIN).await;
    }
}

/// Logs once that something does not work, when it has failed twice in a row, and once when it works again.
struct Trouble(Outage);

impl Default for Trouble {
    fn default() -> Self {
        Self(Outage::after(2))
    }
}

impl Trouble {
    fn note<T>(&mut self, result: Result<T, StorageError>, what: &'static str) -> Option<T> {
        match result {
            Ok(value) => {
                if self.0.end() {
                    tracing::info!("notifications work again");
                }
                Some(value)
            }
            Err(error) => {
                if self.0.begin() {
                    tracing::warn!(%error, "{what}");
                }
                None
            }
        }
    }
}
