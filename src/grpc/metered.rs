//! A response that runs ahead of its reader by so many bytes and no more.
//!
//! The transport takes up to 400 KiB of a stream into its own buffers, if the reader's window is wide open and its socket
//! is not read. For a thousand such readers that is too much, and it cannot be set. So each chunk is counted until the
//! transport has let go of it, and the stream is asked for more only then.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

/// How many bytes the transport may hold before the stream is asked for more …
const AHEAD_BYTES: usize = 8 * 1024;

/// … while all streams together have so many …
const ALL_AHEAD_BYTES: usize = 2 * 1024 * 1024;

/// … and otherwise: a reader that catches up is sent several messages at a time.
const FAR_AHEAD_BYTES: usize = 64 * 1024;

/// What the transport holds of all streams of this process, whose memory this bounds.
static ALL_AHEAD: AtomicUsize = AtomicUsize::new(0);

/// A body of which the transport holds about 64 KiB and a chunk at the most; 8 KiB if many are not read.
#[derive(Debug)]
pub(super) struct Metered {
    body: Body,
    meter: Arc<Meter>,
}

#[derive(Debug)]
struct Meter {
    ahead: AtomicUsize,
    /// What the transport holds of all streams.
    all_ahead: &'static AtomicUsize,
    waker: AtomicWaker,
}

/// Bytes that are counted for as long as anybody holds them.
struct Chunk {
    bytes: Bytes,
    meter: Arc<Meter>,
}

impl Metered {
    pub(super) fn new(body: Body) -> Self {
        Self::among(body, &ALL_AHEAD)
    }

    fn among(body: Body, all_ahead: &'static AtomicUsize) -> Self {
        let (ahead, waker) = (AtomicUsize::new(0), AtomicWaker::new());
        Self { body, meter: Arc::new(Meter { ahead, all_ahead, waker }) }
    }
}

impl Meter {
    fn is_full(&self) -> bool {
        let ahead = self.ahead.load(Ordering::Acquire);
        ahead >= FAR_AHEAD_BYTES || ahead >= AHEAD_BYTES && self.all_ahead.load(Ordering::Relaxed) >= ALL_AHEAD_BYTES
    }

    fn counted(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.ahead.fetch_add(bytes.len(), Ordering::AcqRel);
        self.all_ahead.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(Chunk { bytes, meter: self.clone() })
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.meter.all_ahead.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        self.meter.ahead.fetch_sub(self.bytes.len(), Ordering::AcqRel);
        self.meter.waker.wake();
    }
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.meter.is_full() {
            self.meter.waker.register(context.waker());
            // What was let go of before we registered has woken nobody.
            if self.meter.is_full() {
                return Poll::Pending;
            }
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let counted = |frame: Frame<Bytes>| frame.map_data(|bytes| self.meter.counted(bytes));
        Poll::Ready(frame.map(|frame| frame.map(counted)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::poll_fn;
    use http_body::Body as _;

    use super::*;

    /// A body without an end, in chunks of 6 KiB.
    struct Endless;

    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![7; 6 * 1024])))))
        }
    }

    #[tokio::test]
    async fn a_reader_gets_more_once_the_transport_has_let_go_of_what_it_has() {
        static ALL: AtomicUsize = AtomicUsize::new(0);
        let mut metered = Metered::among(Body::new(Endless), &ALL);
        let mut held = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut metered).poll_frame(context)).now_or_never() {
            held.push(frame.unwrap().unwrap().into_data().unwrap());
        }
        assert_eq!(held.len(), 11, "66 KiB: ten are below what the transport may hold");
        let more = tokio::spawn(async move { poll_fn(|context| Pin::new(&mut metered).poll_frame(context)).await });
        tokio::task::yield_now().await;
        assert!(!more.is_finished());
        let part = held.remove(0).slice(..1);
        tokio::task::yield_now().await;
        assert!(!more.is_finished(), "a part of it is still held");
        drop(part);
        assert_eq!(more.await.unwrap().unwrap().unwrap().into_data().unwrap().len(), 6 * 1024);
        drop(held);
        assert_eq!(ALL.load(Ordering::Relaxed), 0, "nothing is held any more");
    }

    #[test]
    fn a_reader_gets_less_ahead_while_much_is_held_in_all() {
        static ALL: AtomicUsize = AtomicUsize::new(ALL_AHEAD_BYTES);
        let mut metered = Metered::among(Body::new(Endless), &ALL);
        let mut held = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut metered).poll_frame(context)).now_or_never() {
            held.push(frame);
        }
        assert_eq!(held.len(), 2, "12 KiB: the first is below 8 KiB");
    }
}
