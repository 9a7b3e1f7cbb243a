//! A socket that parses the frames passing through it, ends the connection of a client that misbehaves or no longer
//! reads, and lets other connections have their turn.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::conduct::{Conduct, Misconduct};
use super::frames::{ENHANCE_YOUR_CALM, Frame, Frames, HEADERS, PREFACE, RST_STREAM, SETTINGS, goaway};
use super::turns::Turn;
use crate::clock::pause;

/// The cost of a call within what a turn may read. It takes far longer to judge and answer than to read.
const CALL_COST: usize = 32;

/// SETTINGS can change the window of every stream.
const SETTINGS_COST: usize = 128;

/// Any other frame.
const FRAME_COST: usize = 1;

/// This many bytes cost as much as a frame.
const BYTES_PER_COST: usize = 1_024;

/// How many bytes are read at once while calls arrive at least as densely as one per this many bytes: about as many
/// calls as a turn may read. Large messages are read in large pieces.
const SHORT_READING: u16 = 1_024;

/// A socket on which HTTP/2 has started.
pub(super) struct Socket<T> {
    inner: T,
    /// Bytes that were read before, and how many of them were already passed on.
    begun: Vec<u8>,
    read_again: usize,
    received: Frames,
    /// Whether the last read was dense with calls.
    is_dense: bool,
    turn: Turn,
    sent: Frames,
    conduct: Conduct,
    /// The last stream that the client opened.
    last_stream: u32,
    stall_timeout: Duration,
    /// Expires when the client has read nothing for that long; exists only while a write is waiting.
    stalled: Option<BoxFuture<'static, ()>>,
}

impl<T> Socket<T> {
    /// A socket of which these bytes were already read. It fails if the client's conduct is not tolerated, or if the
    /// client has read nothing for this long. It reads no more than its turn allows, and tells the turn when the client
    /// has left: its streams have ended then, and encoded frames are written as far as the socket takes them.
    pub(super) fn new(inner: T, begun: Vec<u8>, conduct: Conduct, turn: Turn, stall_timeout: Duration) -> Self {
        Self {
            inner,
            begun,
            read_again: 0,
            received: Frames::after(PREFACE.len()),
            is_dense: false,
            turn,
            sent: Frames::default(),
            conduct,
            last_stream: 0,
            stall_timeout,
            stalled: None,
        }
    }
}

impl<T: AsyncWrite + Unpin> Socket<T> {
    /// Records what was read: its cost, or why the connection has to end.
    fn received(&mut self, bytes: &[u8]) -> std::result::Result<usize, Misconduct> {
        let (conduct, last_stream) = (&mut self.conduct, &mut self.last_stream);
        let (mut cost, mut calls, mut judged) = (bytes.len() / BYTES_PER_COST, 0, Ok(()));
        self.received.scan(bytes, |frame: Frame| {
            cost += match frame.kind {
                HEADERS => CALL_COST,
                SETTINGS => SETTINGS_COST,
                _ => FRAME_COST,
            };
            if frame.kind == HEADERS {
                calls += 1;
                *last_stream = frame.stream.max(*last_stream);
            }
            judged = judged.and_then(|()| conduct.received(&frame));
        });
        self.is_dense = calls * usize::from(SHORT_READING) > bytes.len();
        judged.map(|()| cost)
    }

    /// Records what was written.
    fn sent<'a>(
        &mut self,
        written: usize,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> std::result::Result<(), Misconduct> {
        self.stalled = None;
        let (conduct, mut judged, mut left) = (&mut self.conduct, Ok(()), written);
        for slice in slices {
            let part = slice.get(..left).unwrap_or(slice);
            self.sent.scan(part, |frame| judged = judged.and_then(|()| conduct.sent(&frame)));
            left = left.saturating_sub(part.len());
        }
        judged
    }

    /// How much of this can be written at once: a reset for one error too many is the last of it, so that the client
    /// gets no further one, and the GOAWAY stands between frames.
    fn most<'a>(&self, slices: impl Iterator<Item = &'a [u8]> + Clone) -> usize {
        let Some(left) = self.conduct.errors_left().and_then(|left| usize::try_from(left).ok()) else {
            return usize::MAX;
        };
        let most = self.sent.bytes_of_resets(left.saturating_add(1));
        if slices.clone().map(<[u8]>::len).sum::<usize>() <= most {
            return usize::MAX;
        }
        // It is long enough for that, but most long writes are data.
        let (mut sent, mut resets) = (self.sent.clone(), 0);
        slices.for_each(|slice| sent.scan(slice, |frame| resets += usize::from(frame.kind == RST_STREAM)));
        if resets <= left { usize::MAX } else { most }
    }

    /// Sends GOAWAY, if that is possible at once, and returns the error that ends the connection.
    fn end(&mut self, why: Misconduct, context: &mut Context<'_>) -> Error {
        tracing::debug!(why = why.in_words(), "closing a connection");
        if self.sent.is_between() {
            let goodbye = goaway(self.last_stream, ENHANCE_YOUR_CALM);
            let _ = Pin::new(&mut self.inner).poll_write(context, &goodbye);
            let _ = Pin::new(&mut self.inner).poll_flush(context);
        }
        Error::other(why.in_words())
    }

    /// Fails if the client has read nothing for too long.
    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        let timeout = self.stall_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(pause(timeout)));
        ready!(stalled.as_mut().poll(context));
        tracing::debug!("a client no longer reads: closing its connection");
        Poll::Ready(ErrorKind::TimedOut.into())
    }

    /// Fails if the client has read nothing for too long.
    fn poll_taken(&mut self, context: &mut Context<'_>, result: Poll<Result<()>>) -> Poll<Result<()>> {
        match result {
            Poll::Ready(result) => {
                self.stalled = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_stalled(context).map(Err),
        }
    }

    fn poll_sent<'a>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<Result<usize>>,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<Result<usize>> {
        match result {
            Poll::Ready(Ok(written)) => match self.sent(written, slices) {
                Ok(()) => Poll::Ready(Ok(written)),
                Err(why) => Poll::Ready(Err(self.end(why, context))),
            },
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_stalled(context).map(Err),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Socket<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        ready!(this.turn.poll_may_read(context));
        let before = buffer.filled().len();
        let again = this.begun.get(this.read_again..).unwrap_or_default();
        if again.is_empty() {
            this.begun = Vec::new();
            let most = if this.is_dense { SHORT_READING.into() } else { u64::MAX };
            let has_room = buffer.remaining() > 0;
            let read = ready!(Pin::new(&mut (&mut this.inner).take(most)).poll_read(context, buffer));
            if let Err(error) = &read {
                tracing::debug!(%error, "a connection failed");
            }
            if read.is_err() || has_room && buffer.filled().len() == before {
                this.turn.client_has_left();
                return Poll::Pending;
            }
        } else {
            let part = again.get(..buffer.remaining()).unwrap_or(again);
            buffer.put_slice(part);
            this.read_again += part.len();
        }
        match this.received(buffer.filled().get(before..).unwrap_or_default()) {
            Ok(cost) => {
                this.turn.has_read(cost);
                Poll::Ready(Ok(()))
            }
            Err(why) => Poll::Ready(Err(this.end(why, context))),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let bytes = bytes.get(..self.most(std::iter::once(bytes))).unwrap_or(bytes);
        let result = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.poll_sent(context, result, std::iter::once(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if self.most(slices.iter().map(|slice| &**slice)) < usize::MAX {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map(|slice| &**slice).unwrap_or_default());
        }
        let result = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.poll_sent(context, result, slices.iter().map(|slice| &**slice))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    // With TLS, data may wait here after it was written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.poll_taken(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let shut_down = Pin::new(&mut self.inner).poll_shutdown(context);
        self.poll_taken(context, shut_down)
    }
}
