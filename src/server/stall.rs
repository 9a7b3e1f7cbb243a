//! Notices a client that no longer reads.

use std::io::{Error, ErrorKind, Result};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::clock::pause;
use crate::metrics::METRICS;

/// Runs while a write has to wait.
pub(super) struct Stall {
    timeout: Duration,
    /// Expires when the client has read nothing for that long; exists only while a write is waiting.
    expires: Option<BoxFuture<'static, ()>>,
}

impl Stall {
    /// A client may read nothing for this long.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, expires: None }
    }

    /// The client has read something.
    pub(super) fn end(&mut self) {
        self.expires = None;
    }

    /// Passes on what became of a write or a flush, and fails once the client has read nothing for too long.
    pub(super) fn judge<R>(&mut self, context: &mut Context<'_>, result: Poll<Result<R>>) -> Poll<Result<R>> {
        match result {
            Poll::Ready(result) => {
                self.end();
                Poll::Ready(result)
            }
            Poll::Pending => self.poll(context).map(Err),
        }
    }

    /// A write has to wait. Returns why the connection has to end, once the client has read nothing for too long.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        let timeout = self.timeout;
        let expires = self.expires.get_or_insert_with(|| Box::pin(pause(timeout)));
        ready!(expires.as_mut().poll(context));
        METRICS.connections_closed.one(["not_read"]);
        tracing::debug!("a client no longer reads: closing its connection");
        Poll::Ready(ErrorKind::TimedOut.into())
    }
}
