//! What a drain does to calls that would otherwise hold it up: requests that are still arriving, and streams of health
//! and reflection. `WatchDisputes` ends by itself.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use http::HeaderMap;
use http_body::Frame;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;

use super::status::Failure;
use crate::clock::pause;

/// How long a request that has begun to arrive has to be complete.
const ARRIVAL: Duration = Duration::from_millis(500);

/// Returns when a request that is still arriving can no longer be waited for: soon after the drain began. Nothing was done.
pub(super) async fn arrival_ends(drain: &CancellationToken) {
    drain.cancelled().await;
    pause(ARRIVAL).await;
}

/// The body of a response, which ends with SERVER_DRAINING once the drain has begun and there is nothing to say before.
pub(super) struct Ending<Permit> {
    body: Body,
    drain: BoxFuture<'static, ()>,
    has_ended: bool,
    _permit: Permit,
}

impl<Permit> Ending<Permit> {
    /// What the stream takes is given back when it ends.
    pub(super) fn new(body: Body, drain: CancellationToken, permit: Permit) -> Self {
        Self { body, drain: drain.cancelled_owned().boxed(), has_ended: false, _permit: permit }
    }
}

impl<Permit: Unpin> http_body::Body for Ending<Permit> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(self.drain.poll_unpin(context));
        self.has_ended = true;
        let mut trailers = HeaderMap::new();
        let written = Status::from(Failure::draining()).add_header(&mut trailers);
        Poll::Ready(Some(written.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.body.is_end_stream()
    }
}
