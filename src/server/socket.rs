//! A socket that knows the frames which pass through it, ends the connection of a client that misbehaves or takes nothing
//! any more, and lets others have their turn.

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

/// What a call costs of what may be read in a turn. It takes far longer to be judged and answered than to be read.
const CALL_COST: usize = 32;

/// Settings can change the window of each stream.
const SETTINGS_COST: usize = 128;

/// Any other frame.
const FRAME_COST: usize = 1;

/// So many bytes cost as much as a frame.
const BYTES_PER_COST: usize = 1_024;

/// How many bytes are read at once while calls come as dense as one for each so many: about as many calls as may be read in
/// a turn. Who sends large messages is read in large pieces.
const SHORT_READING: u16 = 1_024;

/// A socket on which HTTP/2 has begun.
pub(super) struct Socket<T> {
    inner: T,
    /// What was read from it before, and how much of that was read again.
    begun: Vec<u8>,
    read_again: usize,
    received: Frames,
    /// Whether the last reading was dense with calls.
    is_dense: bool,
    turn: Turn,
    sent: Frames,
    conduct: Conduct,
    /// The last stream that the client opened.
    last_stream: u32,
    stall_timeout: Duration,
    /// Runs out when the client has taken nothing for that long; there is one only while it has to be waited for.
    stalled: Option<BoxFuture<'static, ()>>,
}

impl<T> Socket<T> {
    /// The socket, of which these bytes were read already. It fails when the client's conduct is not tolerated, or when
    /// nothing that is written was taken for so long. No more is read from it than its turn allows, and the turn is told
    /// when the client has left: its streams have ended then, and what is encoded is written as far as the socket takes it.
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
    /// Takes note of what was read: what it costs, or why there must not be more.
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

    /// Takes note of what was written.
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

    /// How much of this can be written at once: a reset for an error too many is the last of it, so that the client gets
    /// no further one, and the goodbye stands between frames.
    fn most<'a>(&self, slices: impl Iterator<Item = &'a [u8]> + Clone) -> usize {
        let Some(left) = self.conduct.errors_left().and_then(|left| usize::try_from(left).ok()) else {
            return usize::MAX;
        };
        let most = self.sent.bytes_of_resets(left.saturating_add(1));
        if slices.clone().map(<[u8]>::len).sum::<usize>() <= most {
            return usize::MAX;
        }
        // It is long enough for that, but most of what is long is data.
        let (mut sent, mut resets) = (self.sent.clone(), 0);
        slices.for_each(|slice| sent.scan(slice, |frame| resets += usize::from(frame.kind == RST_STREAM)));
        if resets <= left { usize::MAX } else { most }
    }

    /// Says goodbye, if that is possible at once, and returns the error that ends the connection.
    fn end(&mut self, why: Misconduct, context: &mut Context<'_>) -> Error {
        tracing::debug!(why = why.in_words(), "closing a connection");
        if self.sent.is_between() {
            let goodbye = goaway(self.last_stream, ENHANCE_YOUR_CALM);
            let _ = Pin::new(&mut self.inner).poll_write(context, &goodbye);
            let _ = Pin::new(&mut self.inner).poll_flush(context);
        }
        Error::other(why.in_words())
    }

    /// Fails if the client has taken nothing for too long.
    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<Error> {
        let timeout = self.stall_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(pause(timeout)));
        ready!(stalled.as_mut().poll(context));
        tracing::debug!("a client no longer reads: closing its connection");
        Poll::Ready(ErrorKind::TimedOut.into())
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

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
