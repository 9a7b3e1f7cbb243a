//! The messages of a call that has many, as reflection does: each within its size and, once begun, in time.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;

use super::frames::Frames;
use crate::clock::pause;
use crate::grpc::status::Failure;

/// A body of any number of messages, which are not compressed. The decoder gets what has arrived as it comes: it reserves what a length announces,
/// but hears only of lengths that were found small enough.
pub(super) struct Questions {
    body: Body,
    frames: Frames,
    /// How long a message may take; zero for ever.
    timeout: Duration,
    /// How long nothing may be asked before the stream ends, as if the client had ended it; zero for ever.
    idle: Duration,
    /// Made when there is something to wait for.
    end: Option<BoxFuture<'static, ()>>,
}

impl Questions {
    pub(super) fn new(body: Body, limit: usize, timeout: Duration, idle: Duration) -> Self {
        Self { body, frames: Frames::new(limit, usize::MAX, None), timeout, idle, end: None }
    }
}

impl http_body::Body for Questions {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let failed = |failure: Failure| Poll::Ready(Some(Err(failure.into())));
        loop {
            match Pin::new(&mut self.body).poll_frame(context) {
                // Trailers of a request mean nothing.
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    let was_within = self.frames.is_within();
                    match self.frames.advance(&bytes) {
                        // One is complete, or begins: from here on it is another wait.
                        Ok(is_complete) if is_complete || was_within != self.frames.is_within() => self.end = None,
                        Ok(_) => {}
                        Err(failure) => return failed(failure),
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Poll::Ready(None) if self.frames.is_within() => return failed(Failure::message_malformed()),
                Poll::Ready(Some(Err(status))) => return failed(Failure::of_body(&status)),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            let is_within = self.frames.is_within();
            let patience = if is_within { self.timeout } else { self.idle };
            if patience.is_zero() {
                return Poll::Pending;
            }
            ready!(self.end.get_or_insert_with(|| pause(patience).boxed()).poll_unpin(context));
            self.end = None;
            return if is_within { failed(Failure::request_late()) } else { Poll::Ready(None) };
        }
    }
}
