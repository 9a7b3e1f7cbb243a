//! The one message of a call: complete in time, no larger than its RPC takes, and counted while it arrives.
//!
//! Nothing is reserved by what a length announces: the decoder would do so, and therefore gets a message only when it is
//! complete. What has arrived and has to wait for the rest is copied together: a piece of a socket's buffer keeps all of
//! that buffer. What never has to wait is passed on as it came, and costs the budget nothing: it is decoded at once.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::poll_fn;
use http_body::{Body as _, Frame};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;

use super::Deadline;
use super::frames::{Frames, PREFIX_BYTES};
use super::inflate::inflated;
use crate::clock::pause;
use crate::grpc::compression::Encoding;
use crate::grpc::draining::arrival_ends;
use crate::grpc::status::Failure;

/// How much of a waiting message stands together.
const SEGMENT_BYTES: usize = 16 * 1024;

/// What is told while a message has to wait for its rest.
pub(super) trait Waiting {
    /// So many bytes of the message are there, and more are needed. It is an error if they cannot be waited for.
    fn waits_with(&mut self, bytes: usize) -> Result<(), Failure>;
}

/// How long a message may take.
pub(super) struct Patience<'a> {
    /// From the headers to its last byte; zero for ever.
    pub(super) timeout: Duration,
    /// What the client says itself.
    pub(super) deadline: Option<Deadline>,
    /// Once the server drains, there is little time left.
    pub(super) drain: &'a CancellationToken,
}

/// A message that is complete, with its prefix: the body that the decoder gets. What counted it is held as long as this.
#[derive(Debug)]
pub(super) struct Message<W> {
    chunks: VecDeque<Bytes>,
    _waiting: W,
}

/// Reads the one message of a call, which may be compressed if the headers say how.
pub(super) async fn read<W: Waiting>(
    body: Body,
    limit: usize,
    encoding: Option<Encoding>,
    waiting: W,
    patience: Patience<'_>,
) -> Result<Message<W>, Failure> {
    // A length in the headers is announced as well.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let frames = Frames::new(limit, 1, encoding);
    if announced > frames.longest_body() {
        return Err(Failure::message_too_large(limit));
    }
    let Patience { timeout, deadline, drain } = patience;
    tokio::select! {
        // Most messages are complete at once: then no timer is set.
        biased;
        message = Arriving { body, frames, fresh: VecDeque::new(), kept: Vec::new(), waiting }.complete(encoding, limit) => message,
        () = pause(timeout), if !timeout.is_zero() => Err(Failure::request_late()),
        Some(()) = passes(deadline) => Err(Failure::deadline_exceeded()),
        () = arrival_ends(drain) => Err(Failure::draining()),
    }
}

async fn passes(deadline: Option<Deadline>) -> Option<()> {
    deadline?.passes().await;
    Some(())
}

struct Arriving<W> {
    body: Body,
    frames: Frames,
    /// What has arrived since the message last had to wait.
    fresh: VecDeque<Bytes>,
    /// What has arrived before: full segments, and a last one.
    kept: Vec<BytesMut>,
    waiting: W,
}

impl<W: Waiting> Arriving<W> {
    async fn complete(mut self, encoding: Option<Encoding>, limit: usize) -> Result<Message<W>, Failure> {
        poll_fn(|context| self.poll(context)).await?;
        if self.frames.complete() == 0 {
            return Err(Failure::message_malformed());
        }
        let mut chunks: VecDeque<_> = self.kept.into_iter().map(BytesMut::freeze).chain(self.fresh).collect();
        if let Some(encoding) = encoding.filter(|_| self.frames.is_compressed()) {
            chunks = inflated(&chunks, encoding, limit)?.into();
        }
        // The prefix by itself: then the decoder makes room for the message once, and for nothing else.
        if let Some(first) = chunks.front_mut().filter(|first| first.len() > PREFIX_BYTES) {
            let prefix = first.split_to(PREFIX_BYTES);
            chunks.push_front(prefix);
        }
        Ok(Message { chunks, _waiting: self.waiting })
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(context) {
                // Trailers of a request mean nothing.
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    if let Err(failure) = self.frames.advance(&bytes) {
                        return Poll::Ready(Err(failure));
                    }
                    if !bytes.is_empty() {
                        self.fresh.push_back(bytes);
                    }
                }
                Poll::Ready(Some(Err(status))) => return Poll::Ready(Err(Failure::of_body(&status))),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    return self.keep().map_or_else(|failure| Poll::Ready(Err(failure)), |()| Poll::Pending);
                }
            }
        }
    }

    /// Copies together what has arrived, and has it counted.
    fn keep(&mut self) -> Result<(), Failure> {
        for bytes in std::mem::take(&mut self.fresh) {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let room = self.kept.last().map_or(0, |segment| SEGMENT_BYTES.saturating_sub(segment.len()));
                let (part, behind) = rest.split_at_checked(room).unwrap_or((rest, &[]));
                match self.kept.last_mut() {
                    Some(segment) if room > 0 => segment.extend_from_slice(part),
                    Some(_) | None => self.kept.push(BytesMut::new()),
                }
                rest = behind;
            }
        }
        self.waiting.waits_with(self.kept.iter().map(BytesMut::len).sum())
    }
}

impl<W> Message<W> {
    /// The bytes, with the prefix, in pieces.
    pub(super) fn chunks(&self) -> impl Iterator<Item = &Bytes> + Clone {
        self.chunks.iter()
    }
}

impl<W: Unpin> http_body::Body for Message<W> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.chunks.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }
}
