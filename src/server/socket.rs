//! A socket of HTTP/2: it parses the frames passing through it, ends the connection of a client that misbehaves or no
//! longer reads, and lets other connections have their turn.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::conduct::{Conduct, Misconduct};
use super::frames::{ENHANCE_YOUR_CALM, Frame, Frames, HEADERS, PREFACE, RST_STREAM, SETTINGS, goaway};
use super::stall::Stall;
use super::turns::Turn;
use crate::metrics::METRICS;

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

/// How much is held back until the connection's turn ends: several answers, of which each would be sent by itself. What is
/// longer is sent at once.
const HELD_BACK: usize = 4 * 1024;

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
    stall: Stall,
    /// What was written and is held back.
    held_back: Vec<u8>,
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
            stall: Stall::new(stall_timeout),
            held_back: Vec::new(),
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
        METRICS.connections_closed.one(["misconduct"]);
        tracing::debug!(why = why.in_words(), "closing a connection");
        if self.sent.is_between() {
            self.held_back.extend_from_slice(&goaway(self.last_stream, ENHANCE_YOUR_CALM));
            let _ = Pin::new(&mut self.inner).poll_write(context, &self.held_back);
            let _ = Pin::new(&mut self.inner).poll_flush(context);
        }
        Error::other(why.in_words())
    }

    /// Sends what was held back.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.held_back.is_empty() {
            match Pin::new(&mut self.inner).poll_write(context, &self.held_back) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(sent)) => {
                    self.stall.end();
                    drop(self.held_back.drain(..sent));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // There are many whose client reads nothing.
                    self.held_back.shrink_to_fit();
                    return self.stall.poll(context).map(Err);
                }
            }
        }
        // A connection that waits holds nothing.
        self.held_back = Vec::new();
        self.turn.set_unsent(false);
        Poll::Ready(Ok(()))
    }

    /// Writes some of these bytes: holds them back if they are few and it is not yet time to send them.
    fn poll_write_some(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        let result = if self.turn.holds_back() && bytes <= HELD_BACK.saturating_sub(self.held_back.len()) {
            self.held_back.reserve(bytes.max(HELD_BACK / 4));
            slices.iter().for_each(|slice| self.held_back.extend_from_slice(slice));
            self.turn.set_unsent(true);
            Poll::Ready(Ok(bytes))
        } else {
            self.poll_write_both(context, slices)
        };
        self.poll_sent(context, result, slices.iter().map(|slice| &**slice))
    }

    /// Writes what was held back, and at least some of these bytes after it.
    fn poll_write_both(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        loop {
            let held_back = std::mem::take(&mut self.held_back);
            let both: Vec<IoSlice<'_>> =
                std::iter::once(IoSlice::new(&held_back)).chain(slices.iter().copied()).collect();
            let parts = if held_back.is_empty() { slices } else { &both };
            let written = Pin::new(&mut self.inner).poll_write_vectored(context, parts);
            let sent = match &written {
                Poll::Ready(Ok(written)) => (*written).min(held_back.len()),
                Poll::Ready(Err(_)) | Poll::Pending => 0,
            };
            drop(both);
            self.held_back = held_back;
            drop(self.held_back.drain(..sent));
            self.turn.set_unsent(!self.held_back.is_empty());
            if written.is_pending() {
                self.held_back.shrink_to_fit();
            }
            let written = ready!(written)?;
            self.stall.end();
            if written > sent || written == 0 {
                return Poll::Ready(Ok(written.saturating_sub(sent)));
            }
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
            Poll::Pending => self.stall.poll(context).map(Err),
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
        self.poll_write_some(context, &[IoSlice::new(bytes)])
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
        self.poll_write_some(context, slices)
    }

    // What is held back is copied.
    fn is_write_vectored(&self) -> bool {
        true
    }

    // HTTP/2 flushes after each frame. With TLS, data may wait here after it was written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        if self.turn.holds_back() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send(context))?;
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.stall.judge(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_send(context))?;
        let shut_down = Pin::new(&mut self.inner).poll_shutdown(context);
        self.stall.judge(context, shut_down)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt as _;
    use futures_util::future::poll_fn;

    use super::*;

    /// What was sent, call by call; each takes at most so many bytes, and none if that is 0.
    #[derive(Clone)]
    struct Wire(Arc<Mutex<Vec<Vec<u8>>>>, Arc<Mutex<usize>>);

    impl AsyncWrite for Wire {
        fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
            self.poll_write_vectored(context, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<Result<usize>> {
            let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            bytes.truncate(*self.1.lock().unwrap());
            let written = bytes.len();
            if written == 0 {
                return Poll::Pending;
            }
            self.0.lock().unwrap().push(bytes);
            Poll::Ready(Ok(written))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Wire {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<Result<()>> {
            Poll::Pending
        }
    }

    /// A frame of data with so many bytes, on stream 1.
    fn frame(bytes: usize) -> Vec<u8> {
        let length = u32::try_from(bytes).unwrap().to_be_bytes();
        [&length[1..], &[0, 0, 0, 0, 0, 1], &vec![7; bytes]].concat()
    }

    #[tokio::test]
    async fn frames_of_a_turn_are_sent_together_and_in_order_however_the_wire_takes_them() {
        for most in [usize::MAX, 1_000, 7] {
            let wire = Wire(Arc::default(), Arc::new(Mutex::new(most)));
            let turn = Turn::default();
            let conduct = Conduct::new(100);
            let mut socket = Socket::new(wire.clone(), Vec::new(), conduct, turn.clone(), Duration::from_secs(60));
            let frames = [600, 600, 15_000, 40_000, 16_000, 100].map(frame);
            turn.hold_back(true);
            for frame in &frames {
                let mut left = &frame[..];
                while !left.is_empty() {
                    let slices = [IoSlice::new(&left[..left.len().min(9)]), IoSlice::new(&left[left.len().min(9)..])];
                    let write = poll_fn(|context| Pin::new(&mut socket).poll_write_vectored(context, &slices));
                    left = &left[write.await.unwrap()..];
                }
                poll_fn(|context| Pin::new(&mut socket).poll_flush(context)).await.unwrap();
            }
            let calls = wire.0.lock().unwrap().len();
            assert!(
                most < usize::MAX || calls == 3,
                "each long frame is sent with what was held back before it: {calls}"
            );
            assert!(turn.has_unsent());
            turn.hold_back(false);
            poll_fn(|context| Pin::new(&mut socket).poll_flush(context)).await.unwrap();
            assert!(!turn.has_unsent());
            assert!(wire.0.lock().unwrap().concat() == frames.concat());
        }
    }

    #[tokio::test]
    async fn what_is_held_back_is_bounded_and_is_sent_before_the_connection_is_closed() {
        let wire = Wire(Arc::default(), Arc::new(Mutex::new(0)));
        let turn = Turn::default();
        let mut socket =
            Socket::new(wire.clone(), Vec::new(), Conduct::new(100), turn.clone(), Duration::from_secs(60));
        turn.hold_back(true);
        let (bytes, mut held) = (frame(1_000), 0);
        while poll_fn(|context| Pin::new(&mut socket).poll_write(context, &bytes)).now_or_never().is_some() {
            held += bytes.len();
        }
        assert_eq!(held, HELD_BACK / bytes.len() * bytes.len());
        turn.hold_back(false);
        let mut shutdown = poll_fn(|context| Pin::new(&mut socket).poll_shutdown(context));
        assert!((&mut shutdown).now_or_never().is_none(), "the client takes nothing");
        *wire.1.lock().unwrap() = usize::MAX;
        shutdown.await.unwrap();
        assert_eq!(wire.0.lock().unwrap().concat().len(), held);
    }
}
