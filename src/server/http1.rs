//! HTTP/1.1, in which browsers call by gRPC-Web where there is no TLS. A connection has one call at a time, so it needs
//! no turns: it is served in the order in which the runtime wakes it.

use std::io::{ErrorKind, Result};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::arriving::{Arriving, Budget};
use super::calls::{Call, Calls, ReadingTime};
use super::stall::Stall;
use crate::grpc::HEADER_BYTES_READ;

/// How many headers are read. The transport answers 431 to more.
const HEADERS: usize = 128;

/// The longest head that is read, as it stands on the wire. The transport answers 431 to a longer one.
const HEAD_BYTES: usize = HEADER_BYTES_READ as usize;

/// How many bytes of a request are read ahead, and of a response are written ahead: what the longest head needs.
const BUFFER_BYTES: usize = HEAD_BYTES + 4 * 1024;

/// Whether a connection that starts with these bytes may be one of HTTP/1: with the name of a method.
pub(super) fn may_start_with(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_uppercase)
}

/// Reads until the first head is complete, or is too long for the transport: before that there is no state of the
/// transport, which takes more than most heads.
pub(super) async fn first_head(wire: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>, heads: &Budget) -> Result<()> {
    let mut wire = Arriving::new(wire, HEAD_BYTES, heads.clone());
    let mut searched = 0_usize;
    while bytes.len() < HEAD_BYTES {
        // The end of a head is an empty line; lines may end without a carriage return.
        let unsearched = bytes.get(searched.saturating_sub(2)..).unwrap_or_default();
        if unsearched.windows(2).any(|end| end == b"\n\n") || unsearched.windows(3).any(|end| end == b"\n\r\n") {
            return Ok(());
        }
        searched = bytes.len();
        if wire.read_buf(bytes).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// How connections are served. A client may take this long for the head of a request, also of the next one on the same
/// connection; zero for no limit.
pub(super) fn builder(head_timeout: Duration) -> http1::Builder {
    let mut http1 = http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout((!head_timeout.is_zero()).then_some(head_timeout))
        .max_headers(HEADERS)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(BUFFER_BYTES);
    http1
}

pin_project! {
    /// A connection with its call. Returns the connection's result, or `None` once its client has not read a response in
    /// time: the connection has to be closed then.
    pub(super) struct OneCall<C> {
        #[pin]
        connection: C,
        calls: Calls,
        // The one that has not ended.
        call: Weak<Call>,
        reading_time: ReadingTime,
    }
}

impl<C> OneCall<C> {
    /// A connection with these calls, whose responses have to be read in this time; zero for no limit.
    pub(super) fn new(connection: C, calls: Calls, answer_timeout: Duration) -> Self {
        Self { connection, calls, call: Weak::new(), reading_time: ReadingTime::new(answer_timeout) }
    }

    /// The connection itself.
    pub(super) fn connection(self: Pin<&mut Self>) -> Pin<&mut C> {
        self.project().connection
    }
}

impl<C: Future> Future for OneCall<C> {
    type Output = Option<C::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(ended) = this.connection.poll(context) {
            return Poll::Ready(Some(ended));
        }
        if let Some(begun) = this.calls.take_begun() {
            *this.call = Arc::downgrade(&begun);
            this.reading_time.end();
        }
        let Some(call) = this.call.upgrade() else {
            this.reading_time.end();
            return Poll::Pending;
        };
        ready!(this.reading_time.poll_is_over(&call, context));
        tracing::debug!("a client did not read a response in time: closing its connection");
        Poll::Ready(None)
    }
}

/// A socket of HTTP/1: it ends the connection of a client that no longer reads, or that sends a long head while too many
/// others do.
pub(super) struct Socket<T> {
    inner: Arriving<T>,
    calls: Calls,
    /// How many heads were complete.
    heads: usize,
    /// Bytes that were read before, and how many of them were already passed on.
    begun: Vec<u8>,
    read_again: usize,
    stall: Stall,
}

impl<T> Socket<T> {
    /// A socket of which these bytes were already read: the first head. It fails if the client has read nothing for this
    /// long.
    pub(super) fn new(inner: T, begun: Vec<u8>, calls: Calls, heads: Budget, stall_timeout: Duration) -> Self {
        // The transport has a limit of its own, and answers what is beyond it.
        let inner = Arriving::new(inner, usize::MAX, heads);
        Self { inner, calls, heads: 0, begun, read_again: 0, stall: Stall::new(stall_timeout) }
    }

    /// Fails if the client has read nothing for too long.
    fn poll_taken<R>(&mut self, context: &mut Context<'_>, result: Poll<Result<R>>) -> Poll<Result<R>> {
        match result {
            Poll::Ready(result) => {
                self.stall.end();
                Poll::Ready(result)
            }
            Poll::Pending => self.stall.poll(context).map(Err),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Socket<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let again = self.begun.get(self.read_again..).unwrap_or_default();
        if again.is_empty() {
            self.begun = Vec::new();
            self.read_again = 0;
            if !self.calls.are_none() {
                self.inner.is_complete();
            } else if self.heads != self.calls.count() {
                self.heads = self.calls.count();
                self.inner.begins();
            }
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        }
        let part = again.get(..buffer.remaining()).unwrap_or(again);
        buffer.put_slice(part);
        self.read_again += part.len();
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.poll_taken(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.poll_taken(context, written)
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::clock::real_now;
    use crate::grpc::AnswerBudget;

    #[tokio::test]
    async fn the_first_head_ends_with_an_empty_line_however_its_bytes_are_cut() {
        let read = async |sent: &[u8]| {
            let (mut client, mut server) = tokio::io::duplex(1);
            let (mut bytes, heads) = (Vec::new(), Budget::new());
            let send = async {
                let _ = client.write_all(sent).await;
                drop(client);
            };
            let read = async {
                let read = first_head(&mut server, &mut bytes, &heads).await.map_err(|error| error.kind());
                drop(server);
                read
            };
            let (read, ()) = tokio::join!(read, send);
            assert!(!heads.is_in_use());
            read.map(|()| bytes.len())
        };
        assert_eq!(read(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nbody").await, Ok(27));
        assert_eq!(read(b"GET / HTTP/1.1\nhost: a\n\nbody").await, Ok(24));
        assert_eq!(read(b"GET / HTTP/1.1\nhost: a\n\r\nbody").await, Ok(25));
        assert_eq!(read(b"GET / HTTP/1.1\r\nhost: a\r\n").await, Err(ErrorKind::UnexpectedEof));
        assert_eq!(read(&[b'x'; HEAD_BYTES + 7]).await, Ok(HEAD_BYTES), "the transport answers");
    }

    #[tokio::test]
    async fn the_bytes_of_a_head_are_counted_and_those_of_a_body_are_not() {
        let calls = Calls::new(real_now());
        let sent = vec![b'x'; 100 * 1024];
        let budget = Budget::new();
        let mut socket = Socket::new(&sent[..], b"POST".to_vec(), calls.clone(), budget.clone(), Duration::ZERO);
        let mut read = [0; 20 * 1024];
        socket.read_exact(&mut read).await.unwrap();
        assert_eq!(&read[..5], b"POSTx");
        assert!(budget.is_in_use());
        let call = calls.begin(AnswerBudget::new(0).connection().next());
        drop(calls.take_begun());
        socket.read_exact(&mut read).await.unwrap();
        assert!(!budget.is_in_use(), "it is a body");
        drop(call);
        socket.read_exact(&mut read[..4_000]).await.unwrap();
        assert!(!budget.is_in_use(), "the next head is short");
        socket.read_exact(&mut read[..4_000]).await.unwrap();
        assert!(budget.is_in_use(), "and now it is long");
    }
}
