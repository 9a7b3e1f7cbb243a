//! HTTP/1.1, in which browsers call by gRPC-Web where there is no TLS. A connection has one call and ends with it: so nothing
//! is kept between calls. Connections take turns: few of them are served at a time, so that others are served in between when
//! thousands have something to do at once.

use std::io::{ErrorKind, Result};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

use super::arriving::{Arriving, Budget};
use super::calls::{Call, Calls, ReadingTime};
use super::framing::Rest;
use super::stall::Stall;
use crate::clock::pause;
use crate::grpc::HEADER_BYTES_READ;

/// How many headers are read: as many as 12 KiB can hold, as HTTP/2 counts them. The transport answers 431 to more.
const HEADERS: usize = 384;

/// The longest head that is read, as it stands on the wire. The transport answers 431 to a longer one.
const HEAD_BYTES: usize = HEADER_BYTES_READ as usize;

/// How many bytes of a request are read ahead, and of a response are written ahead.
const BUFFER_BYTES: usize = 16 * 1024;

/// How many bytes the trailers of a request may have beyond those of its head. They mean nothing.
const TRAILER_BYTES: usize = 1024;

/// How long the rest of a refused request is read, and how much of it. A client that still sends would otherwise lose the
/// response: the system resets a connection that is closed with bytes unread.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// How many connections are served at a time, by all threads.
pub(super) const TURNS_AT_ONCE: usize = 4;

/// Whether a connection that starts with these bytes may be one of HTTP/1: with the name of a method.
pub(super) fn may_start_with(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_uppercase)
}

/// The head of the one request, and what came behind it so far.
pub(super) struct Head {
    bytes: Vec<u8>,
    length: usize,
    /// What it takes of the budget of long heads, for as long as the connection lasts.
    _held: Option<OwnedSemaphorePermit>,
}

impl Head {
    /// Reads on behind these bytes, until the head is complete, or is too long for the transport: before that there is no state
    /// of the transport, which takes more than most heads.
    pub(super) async fn read(wire: &mut (impl AsyncRead + Unpin), mut bytes: Vec<u8>, budget: &Budget) -> Result<Self> {
        let mut wire = Arriving::new(wire, HEAD_BYTES, budget.clone());
        let mut searched = 0;
        let length = loop {
            if let Some(length) = end_of_head(&bytes, searched) {
                break length;
            }
            if bytes.len() >= HEAD_BYTES {
                break bytes.len();
            }
            searched = bytes.len();
            if wire.read_buf(&mut bytes).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        Ok(Self { bytes, length, _held: wire.into_held() })
    }

    /// How its connection is served.
    pub(super) fn transport(&self) -> http1::Builder {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .keep_alive(false)
            .max_headers(HEADERS)
            .max_header_size(self.length.saturating_add(TRAILER_BYTES).min(HEAD_BYTES))
            .max_buf_size(self.length.saturating_add(BUFFER_BYTES));
        http1
    }
}

/// Where the head ends, if it does: with an empty line. Lines may end without a carriage return. So many bytes were searched
/// before.
fn end_of_head(bytes: &[u8], searched: usize) -> Option<usize> {
    let start = searched.saturating_sub(2);
    let unsearched = bytes.get(start..)?;
    let find = |end: &[u8]| {
        let position = unsearched.windows(end.len()).position(|window| window == end)?;
        start.checked_add(position)?.checked_add(end.len())
    };
    [find(b"\n\r\n"), find(b"\n\n")].into_iter().flatten().min()
}

pin_project! {
    /// A connection with its call. Returns the connection's result, or `None` once its client has not read the response in
    /// time: the connection has to be closed then.
    pub(super) struct OneCall<C> {
        #[pin]
        connection: C,
        calls: Calls,
        call: Weak<Call>,
        reading_time: ReadingTime,
        turns: PollSemaphore,
    }
}

impl<C> OneCall<C> {
    /// A connection with this call, whose response has to be read in this time; zero for no limit. It is served in these
    /// turns.
    pub(super) fn new(connection: C, calls: Calls, answer_timeout: Duration, turns: Arc<Semaphore>) -> Self {
        let (reading_time, turns) = (ReadingTime::new(answer_timeout), PollSemaphore::new(turns));
        Self { connection, calls, call: Weak::new(), reading_time, turns }
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
        let _turn = ready!(this.turns.poll_acquire(context));
        if let Poll::Ready(ended) = this.connection.poll(context) {
            return Poll::Ready(Some(ended));
        }
        if let Some(begun) = this.calls.take_begun() {
            *this.call = Arc::downgrade(&begun);
        }
        // It has ended once nothing of its response is left to be written.
        let Some(call) = this.call.upgrade() else {
            this.reading_time.end();
            return Poll::Pending;
        };
        ready!(this.reading_time.poll_is_over(&call, context));
        tracing::debug!("a client did not read a response in time: closing its connection");
        Poll::Ready(None)
    }
}

/// A socket of one request. It ends the connection of a client that no longer reads, passes on nothing that follows the request,
/// so that the end of the connection is noticed behind whatever a client sends, and reads the rest of a refused request
/// before it closes.
pub(super) struct Socket<T> {
    inner: T,
    /// The head, what came behind it, and how much of both was passed on.
    head: Head,
    passed_on: usize,
    rest: Rest,
    stall: Stall,
    lingering: Option<(BoxFuture<'static, ()>, usize)>,
}

impl<T> Socket<T> {
    /// A socket of which this head was already read. It fails if the client has read nothing for this long.
    pub(super) fn new(inner: T, mut head: Head, stall_timeout: Duration) -> Self {
        let mut rest = Rest::of_head(head.bytes.get(..head.length).unwrap_or_default());
        let behind = rest.take(head.bytes.get(head.length..).unwrap_or_default());
        head.bytes.truncate(head.length.saturating_add(behind));
        Self { inner, head, passed_on: 0, rest, stall: Stall::new(stall_timeout), lingering: None }
    }
}

impl<T: AsyncRead + Unpin> Socket<T> {
    /// Reads and drops bytes. Ready with 0 at the end.
    fn poll_drop(&mut self, context: &mut Context<'_>) -> Poll<Result<usize>> {
        let mut bytes = [0; 4 * 1024];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.inner).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Socket<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        let again = this.head.bytes.get(this.passed_on..).unwrap_or_default();
        if !again.is_empty() {
            let part = again.get(..buffer.remaining()).unwrap_or(again);
            buffer.put_slice(part);
            this.passed_on += part.len();
            return Poll::Ready(Ok(()));
        }
        this.head.bytes = Vec::new();
        if this.rest.is_none() {
            while ready!(this.poll_drop(context))? > 0 {}
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        let taken = this.rest.take(buffer.filled().get(before..).unwrap_or_default());
        buffer.set_filled(before.saturating_add(taken));
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.stall.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.stall.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    // With TLS, data may wait here after it was written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.stall.judge(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            let shut_down = Pin::new(&mut this.inner).poll_shutdown(context);
            ready!(this.stall.judge(context, shut_down))?;
            this.lingering = Some((Box::pin(pause(LINGER)), 0));
        }
        loop {
            let dropped = this.poll_drop(context);
            let Some((is_over, bytes)) = &mut this.lingering else { return Poll::Ready(Ok(())) };
            match dropped {
                Poll::Ready(Ok(count @ 1..)) if *bytes < LINGER_BYTES => *bytes = bytes.saturating_add(count),
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return is_over.as_mut().poll(context).map(Ok),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;
    use crate::clock::real_now;
    use crate::grpc::AnswerBudget;

    async fn read_head(sent: &[u8], budget: &Budget) -> std::result::Result<Head, ErrorKind> {
        let (mut client, mut server) = duplex(1);
        let send = async {
            let _ = client.write_all(sent).await;
            drop(client);
        };
        let read = async {
            let read = Head::read(&mut server, Vec::new(), budget).await.map_err(|error| error.kind());
            drop(server);
            read
        };
        tokio::join!(read, send).0
    }

    #[tokio::test]
    async fn a_head_ends_with_an_empty_line_however_its_bytes_are_cut() {
        let budget = Budget::new();
        let length = async |sent: &[u8]| read_head(sent, &budget).await.map(|head| head.length);
        assert_eq!(length(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nbody").await, Ok(27));
        assert_eq!(length(b"GET / HTTP/1.1\nhost: a\n\nbody").await, Ok(24));
        assert_eq!(length(b"GET / HTTP/1.1\nhost: a\n\r\nbody\n\n").await, Ok(25));
        assert_eq!(length(b"GET / HTTP/1.1\r\nhost: a\r\n").await, Err(ErrorKind::UnexpectedEof));
        assert_eq!(length(&[b'x'; HEAD_BYTES + 7]).await, Ok(HEAD_BYTES), "the transport answers");
    }

    #[tokio::test]
    async fn a_long_head_takes_of_the_budget_for_as_long_as_its_connection_lasts() {
        let budget = Budget::new();
        let head = |bytes| [b"GET / HTTP/1.1\r\nx: ", &vec![b'x'; bytes][..], b"\r\n\r\n"].concat();
        let short = read_head(&head(3_000), &budget).await.unwrap();
        assert!(!budget.is_in_use());
        let socket = Socket::new(tokio::io::empty(), read_head(&head(20_000), &budget).await.unwrap(), LINGER);
        drop(short);
        assert!(budget.is_in_use());
        drop(socket);
        assert!(!budget.is_in_use());
    }

    #[tokio::test]
    async fn nothing_behind_a_request_is_passed_on_but_the_end_is() {
        let head = b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n".as_slice();
        for (with_head, later) in [("12345", ""), ("123", "45"), ("", "12345"), ("12345GET", "GET"), ("1", "2345GET")] {
            let (mut client, server) = duplex(64);
            let bytes = [head, with_head.as_bytes()].concat();
            let head = Head { bytes, length: head.len(), _held: None };
            let mut socket = Socket::new(server, head, LINGER);
            client.write_all(later.as_bytes()).await.unwrap();
            client.write_all(b"more").await.unwrap();
            drop(client);
            let mut passed_on = Vec::new();
            socket.read_to_end(&mut passed_on).await.unwrap();
            assert!(passed_on.ends_with(b"\r\n\r\n12345"), "{with_head}, {later}: {passed_on:?}");
        }
    }

    #[tokio::test]
    async fn a_call_whose_connection_ends_with_it_is_over() {
        let calls = Calls::new(real_now());
        let call = calls.begin(AnswerBudget::new(0).connection().next());
        assert!(!calls.are_none());
        drop(call);
        let connection = OneCall::new(ready(()), calls.clone(), Duration::ZERO, Arc::new(Semaphore::new(1)));
        assert_eq!(connection.await, Some(()));
        assert!(calls.are_none());
    }
}
