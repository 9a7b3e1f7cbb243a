//! Replicas: several processes on one PostgreSQL tell each other that the log has grown, so that nobody has to wait
//! until he looks by himself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::feed::Feed;
use crate::clock::pause;
use crate::repository::{Bell, StorageError};

/// How long to wait before the bell is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Rings for what is committed here and wakes the feed for what is committed elsewhere, for as long as it is polled.
pub async fn keep_in_touch(bell: Bell, feed: Arc<Feed>, commits: watch::Receiver<i64>) {
    tokio::join!(ring(&bell, commits), listen(&bell, &feed));
}

/// Once for a batch, or for several that were committed while it rang.
async fn ring(bell: &Bell, mut commits: watch::Receiver<i64>) {
    let mut trouble = Trouble::default();
    while commits.changed().await.is_ok() {
        let head = *commits.borrow_and_update();
        let rung = bell.ring(head).await;
        if trouble.note(rung, "other replicas cannot be told of events, they look by themselves").is_none() {
            pause(TRY_AGAIN).await;
        }
    }
}

async fn listen(bell: &Bell, feed: &Feed) {
    let mut trouble = Trouble::default();
    let what = "other replicas are not heard, the log is looked at once a second";
    loop {
        if let Some(mut listener) = trouble.note(bell.listen().await, what) {
            // For what rang before.
            feed.wake();
            while let Some(head) = trouble.note(listener.next().await, what) {
                feed.wake_for(head);
            }
        }
        pause(TRY_AGAIN).await;
    }
}

/// Says once that something does not work, and once that it does again.
#[derive(Default)]
struct Trouble(bool);

impl Trouble {
    fn note<T>(&mut self, result: Result<T, StorageError>, what: &'static str) -> Option<T> {
        match result {
            Ok(value) => {
                if std::mem::take(&mut self.0) {
                    tracing::info!("the bell works again");
                }
                Some(value)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.0, true) {
                    tracing::warn!(%error, "{what}");
                }
                None
            }
        }
    }
}
