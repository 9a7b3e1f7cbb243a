//! What a drain does to calls that would otherwise hold it up: requests that are still arriving, and streams of health
//! and reflection. `WatchDisputes` ends by itself.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;

use super::status::Failure;
use crate::clock::pause;

/// How long a request that has begun to arrive has to be complete.
const ARRIVAL: Duration = Duration::from_millis(500);

/// The body of a request, which fails if it is not complete soon after the drain began: nothing was done then.
pub(super) struct Arriving {
    body: Body,
    drain: CancellationToken,
    /// Made when there is something to wait for.
    end: Option<BoxFuture<'static, ()>>,
}

impl Arriving {
    pub(super) fn new(body: Body, drain: CancellationToken) -> Self {
        Self { body, drain, end: None }
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        let drain = self.drain.clone();
        let end = self.end.get_or_insert_with(|| {
            async move {
                drain.cancelled().await;
                pause(ARRIVAL).await;
            }
            .boxed()
        });
        ready!(end.poll_unpin(context));
        self.end = None;
        Poll::Ready(Some(Err(Failure::draining().into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response, which ends with SERVER_DRAINING once the drain has begun and there is nothing to say before.
pub(super) struct Ending {
    body: Body,
    drain: BoxFuture<'static, ()>,
    has_ended: bool,
}

impl Ending {
    pub(super) fn new(body: Body, drain: CancellationToken) -> Self {
        Self { body, drain: drain.cancelled_owned().boxed(), has_ended: false }
    }
}

impl http_body::Body for Ending {
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
