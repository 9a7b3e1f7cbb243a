//! A read for a subscriber that goes on whether or not the subscriber waits for it.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio_util::task::AbortOnDropHandle;

use super::FeedError;
use crate::clock::pause;
use crate::engine::error::Error;

/// How long to wait before a read is tried again while the database is away.
const READ_AGAIN: Duration = Duration::from_millis(250);

/// A read in a task of its own, which ends when this is dropped: a subscriber that the transport leaves waiting must not
/// keep a connection to the database, nor a chunk that others wait for.
pub(super) struct BackgroundRead<T> {
    read: Box<dyn Fn() -> BoxFuture<'static, Result<T, FeedError>> + Send + Sync>,
    attempt: AbortOnDropHandle<Result<T, FeedError>>,
}

impl<T: Send + 'static> BackgroundRead<T> {
    /// Starts the read.
    pub(super) fn start<F>(read: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<T, FeedError>> + Send + 'static,
    {
        let attempt = AbortOnDropHandle::new(tokio::spawn(read()));
        Self { read: Box::new(move || read().boxed()), attempt }
    }

    /// Returns what it finds, once. While the database is away it is tried again and again. Cancel safe: dropping the
    /// future leaves the read as it is.
    pub(super) async fn found(&mut self) -> Result<T, FeedError> {
        loop {
            match (&mut self.attempt).await.unwrap_or_else(|_| Err(Error::Unavailable.into())) {
                Err(FeedError::Failed(error)) if error.is_transient() => {
                    let read = (self.read)();
                    self.attempt = AbortOnDropHandle::new(tokio::spawn(async move {
                        pause(READ_AGAIN).await;
                        read.await
                    }));
                }
                found => return found,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn it_is_tried_again_while_the_database_is_away_and_not_after_any_other_error() {
        let attempts = Arc::<AtomicUsize>::default();
        let mut read = BackgroundRead::start({
            let attempts = attempts.clone();
            move || {
                let attempt = attempts.fetch_add(1, Ordering::Relaxed);
                async move { if attempt == 0 { Err(Error::Unavailable.into()) } else { Err::<(), _>(FeedError::Unknown) } }
            }
        });
        assert!(read.found().now_or_never().is_none(), "nobody has to wait for it");
        assert_eq!(read.found().await, Err(FeedError::Unknown));
        assert_eq!(attempts.load(Ordering::Relaxed), 2);
    }
}
