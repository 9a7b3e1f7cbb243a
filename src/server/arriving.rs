//! The bytes of an incomplete handshake, or of an incomplete head of a request: few, as they are kept until it is complete.
//!
//! The libraries alone would keep 64 KiB for each of ten thousand connections.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much each of them may send that is not counted: almost all are shorter. Ten thousand take 40 MiB.
const FREE_BYTES: usize = 4 * 1024;

/// How much all longer ones may have sent beyond that.
const BUDGET_BYTES: usize = 16 * 1024 * 1024;

/// What the longer ones have sent beyond what each of them may in any case. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

/// A connection whose client may send only so much before something is complete.
#[derive(Debug)]
pub(super) struct Arriving<S> {
    socket: S,
    most_bytes: usize,
    budget: Budget,
    /// `None` while nothing is incomplete.
    incomplete: Option<Incomplete>,
}

#[derive(Debug, Default)]
struct Incomplete {
    /// How much was read.
    bytes: usize,
    held: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// All of it.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET_BYTES)))
    }

    /// Whether something takes of it.
    #[cfg(test)]
    pub(super) fn is_in_use(&self) -> bool {
        self.0.available_permits() < BUDGET_BYTES
    }
}

impl<S> Arriving<S> {
    /// Something begins, of which this many bytes may be read.
    pub(super) fn new(socket: S, most_bytes: usize, budget: Budget) -> Self {
        Self { socket, most_bytes, budget, incomplete: Some(Incomplete::default()) }
    }

    /// The socket itself.
    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    /// From here on there is no limit.
    pub(super) fn is_complete(&mut self) {
        self.incomplete = None;
    }

    /// What it took of the budget, for as long as its bytes are kept.
    pub(super) fn into_held(self) -> Option<OwnedSemaphorePermit> {
        self.incomplete.and_then(|incomplete| incomplete.held)
    }
}

impl Incomplete {
    /// How much may be read at once.
    fn room(&self, most_bytes: usize) -> Result<usize> {
        match most_bytes.saturating_sub(self.bytes) {
            0 => Err(Error::new(ErrorKind::InvalidData, "a handshake or head is too long")),
            room => Ok(room),
        }
    }

    /// So much was read.
    fn count(&mut self, bytes: usize, budget: &Budget) -> Result<()> {
        let beyond = |bytes: usize| bytes.saturating_sub(FREE_BYTES);
        let before = beyond(self.bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        let more = u32::try_from(beyond(self.bytes).saturating_sub(before)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let permit = budget.0.clone().try_acquire_many_owned(more);
        let permit = permit
            .map_err(|_| Error::new(ErrorKind::OutOfMemory, "the budget for long handshakes or heads is used up"))?;
        match &mut self.held {
            None => self.held = Some(permit),
            Some(held) => held.merge(permit),
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Arriving<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let Self { socket, most_bytes, budget, incomplete } = self.get_mut();
        let Some(incomplete) = incomplete else { return Pin::new(socket).poll_read(context, buffer) };
        let room = incomplete.room(*most_bytes)?.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        ready!(Pin::new(socket).poll_read(context, &mut part))?;
        let bytes = part.filled().len();
        buffer.advance(bytes);
        Poll::Ready(incomplete.count(bytes, budget))
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

    const MOST_BYTES: usize = 16 * 1024;

    /// How much of a hundred KiB can be read, and what ended it.
    async fn read(arriving: &mut Arriving<&[u8]>) -> (usize, Option<ErrorKind>) {
        let mut bytes = Vec::new();
        let ended = arriving.read_to_end(&mut bytes).await;
        (bytes.len(), ended.err().map(|error| error.kind()))
    }

    #[tokio::test]
    async fn so_much_is_sent_of_what_is_not_complete_and_what_comes_behind_it_has_no_limit() {
        let sent = vec![7; 100 * 1024];
        let budget = Budget::new();
        for (bytes, error) in [(MOST_BYTES - 1, None), (MOST_BYTES + 1, Some(ErrorKind::InvalidData))] {
            let mut arriving = Arriving::new(&sent[..bytes], MOST_BYTES, budget.clone());
            assert_eq!(read(&mut arriving).await, (bytes.min(MOST_BYTES), error));
        }
        assert_eq!(budget.0.available_permits(), BUDGET_BYTES, "it is given back");
        let mut arriving = Arriving::new(&sent[..], MOST_BYTES, budget.clone());
        arriving.read_exact(&mut [0; MOST_BYTES]).await.unwrap();
        assert_eq!(budget.0.available_permits(), BUDGET_BYTES - (MOST_BYTES - FREE_BYTES));
        arriving.is_complete();
        assert_eq!(budget.0.available_permits(), BUDGET_BYTES);
        assert_eq!(read(&mut arriving).await, (sent.len() - MOST_BYTES, None));
        let mut arriving = Arriving::new(&sent[..], MOST_BYTES, budget.clone());
        arriving.read_exact(&mut [0; FREE_BYTES + 7]).await.unwrap();
        let held = arriving.into_held();
        assert_eq!(budget.0.available_permits(), BUDGET_BYTES - 7);
        drop(held);
        assert!(!budget.is_in_use());
    }

    #[tokio::test]
    async fn what_is_long_shares_a_budget_and_what_is_short_needs_none() {
        let sent = [7; FREE_BYTES + 1];
        let budget = Budget(Arc::new(Semaphore::new(1)));
        let mut first = Arriving::new(&sent[..], MOST_BYTES, budget.clone());
        first.read_exact(&mut [0; FREE_BYTES + 1]).await.unwrap();
        let mut second = Arriving::new(&sent[..], MOST_BYTES, budget.clone());
        second.read_exact(&mut [0; FREE_BYTES]).await.unwrap();
        assert_eq!(second.read_exact(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::OutOfMemory);
        drop(first);
        let mut third = Arriving::new(&sent[..], MOST_BYTES, budget);
        third.read_exact(&mut [0; FREE_BYTES + 1]).await.unwrap();
    }
}
