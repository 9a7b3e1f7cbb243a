//! The calls in flight on one connection: each from its headers until the transport has released the last byte of the
//! response.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use crate::clock::{RealInstant, real_now};

/// The calls of one connection. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Calls(Arc<State>);

#[derive(Debug)]
struct State {
    in_flight: AtomicUsize,
    opened: RealInstant,
    /// When the last call ended, in milliseconds after the opening; 0 before the first one.
    last_ended: AtomicU64,
}

impl Calls {
    /// The calls of a connection that was opened at this instant.
    pub(super) fn new(opened: RealInstant) -> Self {
        Self(Arc::new(State { in_flight: AtomicUsize::default(), opened, last_ended: AtomicU64::default() }))
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

    fn begin(&self) -> Arc<Call> {
        self.0.in_flight.fetch_add(1, Ordering::AcqRel);
        Arc::new(Call(self.clone()))
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
struct Call(Calls);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A service that counts the calls of one connection.
#[derive(Clone, Debug)]
pub(super) struct Counted<S> {
    service: S,
    calls: Calls,
}

impl<S> Counted<S> {
    pub(super) fn new(service: S, calls: Calls) -> Self {
        Self { service, calls }
    }
}

impl<S> Service<Request<Incoming>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = Response<CountedBody>;
    type Error = Infallible;
    type Future = CountedCall<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let call = self.calls.begin();
        CountedCall { future: self.service.call(request.map(Body::new)), call }
    }
}

/// A call until its response begins.
#[derive(Debug)]
pub(super) struct CountedCall<F> {
    future: F,
    call: Arc<Call>,
}

impl<F> Future for CountedCall<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>> + Unpin,
{
    type Output = Result<Response<CountedBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(Pin::new(&mut self.future).poll(context))?;
        Poll::Ready(Ok(response.map(|body| CountedBody { body, call: self.call.clone() })))
    }
}

/// The body of a response: the call is in flight for as long as anybody holds any of it.
#[derive(Debug)]
pub(super) struct CountedBody {
    body: Body,
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

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let counted = |bytes| Bytes::from_owner(Chunk { bytes, _call: self.call.clone() });
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(counted))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
