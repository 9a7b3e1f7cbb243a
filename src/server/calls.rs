//! The calls in flight on one connection: each from its headers until the transport has released the last byte of the
//! response, or the client did not read it in time.
//!
//! The transport does not poll a response body while the client's window is closed, so the body cannot notice that.
//! Therefore this watches the future in which the transport serves the call: it lives until the transport was given the
//! last byte, and it is given a piece only when there is room for the previous one.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::turns::Begun;
use crate::clock::{RealInstant, pause, real_now};
use crate::grpc::{Answer, Answers, ConnectionId, PeerAddress, PeerIdentity, Untaken};

/// The longest piece of a response that the transport is given at once.
const PIECE_BYTES: usize = 64 * 1024;

/// The calls of one connection. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Calls(Arc<State>);

#[derive(Debug)]
struct State {
    in_flight: AtomicUsize,
    opened: RealInstant,
    /// When the last call ended, in milliseconds after the connection was opened; 0 before the first one.
    last_ended: AtomicU64,
    /// The call that has just started, until the task that serves it has started too. Weak: the call itself refers to this.
    begun: Mutex<Weak<Call>>,
}

impl Calls {
    /// The calls of a connection that was opened at this instant.
    pub(super) fn new(opened: RealInstant) -> Self {
        Self(Arc::new(State {
            in_flight: AtomicUsize::default(),
            opened,
            last_ended: AtomicU64::default(),
            begun: Mutex::default(),
        }))
    }

    /// Whether no call is in flight.
    pub(super) fn are_none(&self) -> bool {
        self.0.in_flight.load(Ordering::Acquire) == 0
    }

    /// Whether there ever was a call, and since when there is none; `None` while one is in flight.
    pub(super) fn idle_since(&self) -> Option<(bool, RealInstant)> {
        let last_ended = self.0.last_ended.load(Ordering::Acquire);
        let since = self.0.opened.checked_add(Duration::from_millis(last_ended))?;
        self.are_none().then_some((last_ended > 0, since))
    }

    /// A call with this answer starts; it ends when all copies of the result are dropped.
    pub(super) fn begin(&self, answer: Arc<Answer>) -> Arc<Call> {
        self.0.in_flight.fetch_add(1, Ordering::AcqRel);
        let call = Arc::new(Call { calls: self.clone(), answer });
        *self.0.begun.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&call);
        call
    }

    /// The call that has just started, once, unless it has ended already.
    pub(super) fn take_begun(&self) -> Option<Arc<Call>> {
        std::mem::take(&mut *self.0.begun.lock().unwrap_or_else(PoisonError::into_inner)).upgrade()
    }

    fn end(&self) {
        if self.0.in_flight.load(Ordering::Acquire) == 1 {
            let open_for = real_now().saturating_duration_since(self.0.opened).as_millis();
            self.0.last_ended.store(u64::try_from(open_for).unwrap_or(u64::MAX).max(1), Ordering::Release);
        }
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One call in flight.
#[derive(Debug)]
pub(super) struct Call {
    calls: Calls,
    answer: Arc<Answer>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.calls.end();
    }
}

/// A service that counts the calls of one connection, and attaches the connection's information to each.
#[derive(Clone, Debug)]
pub(super) struct Counted<S> {
    service: S,
    calls: Calls,
    answers: Answers,
    connection: ConnectionId,
    peer: PeerAddress,
    identity: Option<PeerIdentity>,
}

impl<S> Counted<S> {
    /// The calls on a connection from this address, with the identity of the client certificate, if any.
    pub(super) fn new(
        service: S,
        calls: Calls,
        answers: Answers,
        peer: PeerAddress,
        identity: Option<PeerIdentity>,
    ) -> Self {
        Self { service, calls, answers, connection: ConnectionId::mint(), peer, identity }
    }
}

impl<S> hyper::service::Service<Request<Incoming>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
    S::Future: Unpin,
{
    type Response = Response<CountedBody>;
    type Error = Infallible;
    type Future = CountedCall<S, S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let answer = self.answers.next();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(answer.clone());
        request.extensions_mut().insert(self.connection);
        request.extensions_mut().insert(self.peer);
        if let Some(identity) = &self.identity {
            request.extensions_mut().insert(identity.clone());
        }
        let begin = Box::new((self.service.clone(), request));
        CountedCall { stage: Stage::Ready(Some(begin)), call: self.calls.begin(answer) }
    }
}

/// A call until its response starts.
pub(super) struct CountedCall<S, F> {
    stage: Stage<S, F>,
    call: Arc<Call>,
}

enum Stage<S, F> {
    /// Until the service takes the request.
    Ready(Option<Box<(S, Request<Body>)>>),
    Called(F),
}

impl<S, F> Future for CountedCall<S, F>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = F>,
    F: Future<Output = Result<Response<Body>, Infallible>> + Unpin,
{
    type Output = Result<Response<CountedBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut self.stage {
                Stage::Ready(begin) => {
                    if let Some((service, _)) = begin.as_deref_mut() {
                        ready!(service.poll_ready(context))?;
                    }
                    // It is there until the only call.
                    let Some(begin) = begin.take() else { return Poll::Pending };
                    let (mut service, request) = *begin;
                    self.stage = Stage::Called(service.call(request));
                }
                Stage::Called(future) => {
                    let response = ready!(Pin::new(future).poll(context))?;
                    let call = self.call.clone();
                    return Poll::Ready(Ok(response.map(|body| CountedBody {
                        body,
                        rest: Bytes::new(),
                        built: 0,
                        call,
                    })));
                }
            }
        }
    }
}

/// Runs the futures in which the transport serves its calls beside the connection.
#[derive(Clone)]
pub(super) struct CallExecutor {
    calls: Calls,
    begun: Begun,
    /// How long a client may take to read a response; zero for no limit.
    answer_timeout: Duration,
}

impl CallExecutor {
    pub(super) fn new(calls: Calls, begun: Begun, answer_timeout: Duration) -> Self {
        Self { calls, begun, answer_timeout }
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for CallExecutor {
    fn execute(&self, served: F) {
        match self.calls.take_begun() {
            Some(call) if !self.answer_timeout.is_zero() => {
                self.begun.push(InTime { served, call, reading_time: ReadingTime::new(self.answer_timeout) });
            }
            _ => self.begun.push(served),
        }
    }
}

/// How long a client may take to read a response, once that is built.
pub(super) struct ReadingTime {
    limit: Duration,
    /// There is none for a response that is read at once.
    running_out: Option<(BoxFuture<'static, ()>, Untaken)>,
}

impl ReadingTime {
    /// Zero for as long as it likes.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, running_out: None }
    }

    /// Ready once the client has not read the response of this call in time. Not to be polled after that.
    pub(super) fn poll_is_over(&mut self, call: &Call, context: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        if limit.is_zero() || !call.answer.is_built() {
            return Poll::Pending;
        }
        let (running_out, _) = self.running_out.get_or_insert_with(|| {
            let (untaken, most) = call.answer.untaken();
            (Box::pin(pause(most.unwrap_or(limit).min(limit))), untaken)
        });
        running_out.as_mut().poll(context)
    }

    /// The response was read.
    pub(super) fn end(&mut self) {
        self.running_out = None;
    }
}

pin_project! {
    /// Serves a call, and drops it if the client has not read the response within the limit. The transport then resets
    /// the stream and frees its memory; the connection stays open.
    struct InTime<F> {
        #[pin]
        served: F,
        call: Arc<Call>,
        reading_time: ReadingTime,
    }
}

impl<F: Future<Output = ()>> Future for InTime<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.served.poll(context).is_ready() {
            return Poll::Ready(());
        }
        ready!(this.reading_time.poll_is_over(this.call, context));
        tracing::debug!("a client did not read a response in time: resetting its stream");
        Poll::Ready(())
    }
}

/// The body of a response, in pieces: the call is in flight as long as anybody holds a piece.
#[derive(Debug)]
pub(super) struct CountedBody {
    body: Body,
    /// The rest of the last frame.
    rest: Bytes,
    /// How many bytes there were.
    built: usize,
    call: Arc<Call>,
}

struct Chunk {
    bytes: Bytes,
    _call: Arc<Call>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl CountedBody {
    fn piece(&mut self) -> Frame<Bytes> {
        let bytes = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        Frame::data(Bytes::from_owner(Chunk { bytes, _call: self.call.clone() }))
    }
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.piece())));
        }
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(bytes) => {
                // By gRPC-Web the trailers are bytes too.
                self.built = self.built.saturating_add(bytes.len());
                self.call.answer.built(self.built);
                self.rest = bytes;
                self.piece()
            }
            Err(trailers) => trailers,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked for before the first frame.
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}
