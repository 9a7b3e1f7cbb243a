//! The bytes of a handshake: few, as they are kept until it is complete.
//!
//! The library alone would keep 64 KiB of an incomplete message for each of ten thousand connections.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much each handshake may send: a hello takes up to 2 KiB, a chain of certificates one or two for each of them.
const MOST_BYTES: usize = 16 * 1024;

/// How much of that is not counted: almost every handshake is shorter. Ten thousand take 40 MiB.
const FREE_BYTES: usize = 4 * 1024;

/// How much all longer handshakes may have sent beyond that.
const BUDGET_BYTES: usize = 16 * 1024 * 1024;

/// What handshakes have sent beyond what each of them may in any case.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

/// A connection whose client may send only so much before its handshake is complete.
#[derive(Debug)]
pub(in crate::server) struct Arriving<S> {
    socket: S,
    /// `None` once the handshake is complete.
    handshake: Option<Handshake>,
}

#[derive(Debug)]
struct Handshake {
    /// How much was read.
    bytes: usize,
    budget: Budget,
    held: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// All of it.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET_BYTES)))
    }
}

impl<S> Arriving<S> {
    pub(super) fn new(socket: S, budget: Budget) -> Self {
        Self { socket, handshake: Some(Handshake { bytes: 0, budget, held: None }) }
    }

    /// From here on there is no limit.
    pub(super) fn is_complete(&mut self) {
        self.handshake = None;
    }
}

impl Handshake {
    /// How much may be read at once.
    fn room(&self) -> Result<usize> {
        match MOST_BYTES.saturating_sub(self.bytes) {
            0 => Err(Error::new(ErrorKind::InvalidData, "the handshake is too long")),
            room => Ok(room),
        }
    }

    /// So much was read.
    fn count(&mut self, bytes: usize) -> Result<()> {
        let beyond = |bytes: usize| bytes.saturating_sub(FREE_BYTES);
        let before = beyond(self.bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        let more = u32::try_from(beyond(self.bytes).saturating_sub(before)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let permit = self.budget.0.clone().try_acquire_many_owned(more);
        let permit = permit.map_err(|_| Error::new(ErrorKind::OutOfMemory, "too many long handshakes at a time"))?;
        match &mut self.held {
            None => self.held = Some(permit),
            Some(held) => held.merge(permit),
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Arriving<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let Self { socket, handshake } = self.get_mut();
        let Some(handshake) = handshake else { return Pin::new(socket).poll_read(context, buffer) };
        let room = handshake.room()?.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        ready!(Pin::new(socket).poll_read(context, &mut part))?;
        let bytes = part.filled().len();
        buffer.advance(bytes);
        Poll::Ready(handshake.count(bytes))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Arriving<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// How much of a hundred KiB can be read, and what ended it.
    async fn read(arriving: &mut Arriving<&[u8]>) -> (usize, Option<ErrorKind>) {
        let mut bytes = Vec::new();
        let ended = arriving.read_to_end(&mut bytes).await;
        (bytes.len(), ended.err().map(|error| error.kind()))
    }

    #[tokio::test]
    async fn a_handshake_sends_so_much_and_what_comes_behind_it_has_no_limit() {
        let sent = vec![7; 100 * 1024];
        let budget = Budget::new();
        for (bytes, error) in [(MOST_BYTES - 1, None), (MOST_BYTES + 1, Some(ErrorKind::InvalidData))] {
            let mut arriving = Arriving::new(&sent[..bytes], budget.clone());
            assert_eq!(read(&mut arriving).await, (bytes.min(MOST_BYTES), error));
        }
        assert_eq!(budget.0.available_permits(), BUDGET_BYTES, "it is given back");
        let mut arriving = Arriving::new(&sent[..], budget.clone());
        arriving.read_exact(&mut [0; MOST_BYTES]).await.unwrap();
        assert_eq!(budget.0.available_permits(), BUDGET_BYTES - (MOST_BYTES - FREE_BYTES));
        arriving.is_complete();
        assert_eq!(budget.0.available_permits(), BUDGET_BYTES);
        assert_eq!(read(&mut arriving).await, (sent.len() - MOST_BYTES, None));
    }

    #[tokio::test]
    async fn long_handshakes_share_a_budget_and_short_ones_need_none() {
        let sent = [7; FREE_BYTES + 1];
        let budget = Budget(Arc::new(Semaphore::new(1)));
        let mut first = Arriving::new(&sent[..], budget.clone());
        first.read_exact(&mut [0; FREE_BYTES + 1]).await.unwrap();
        let mut second = Arriving::new(&sent[..], budget.clone());
        second.read_exact(&mut [0; FREE_BYTES]).await.unwrap();
        assert_eq!(second.read_exact(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::OutOfMemory);
        drop(first);
        let mut third = Arriving::new(&sent[..], budget);
        third.read_exact(&mut [0; FREE_BYTES + 1]).await.unwrap();
    }
}
