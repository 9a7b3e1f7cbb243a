//! The order in which a call is judged. Each step costs more than the one before it, and nobody makes the service spend
//! anything before it is known who asks: see `judge`.

mod body;
mod deadline;
mod deflate;
mod elements;
mod frames;
mod held;
mod identity;
mod inflate;
mod observed;
mod questions;
mod response;
mod shares;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use http::{HeaderMap, Request, Response};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::Instrument as _;
use tracing::field::Empty;

use self::body::Patience;
pub(super) use self::deadline::Deadline;
use self::deflate::deflated;
#[cfg(feature = "fuzzing")]
pub(super) use self::elements::count as count_elements;
pub(super) use self::elements::{Bound, Field, Holds};
pub use self::held::ConnectionId;
use self::held::Held;
use self::observed::Observed;
use self::questions::Questions;
use self::response::{handled, refused, shown};
use self::shares::Shares;
use super::answers;
use super::auth::{Authenticator, Identity};
use super::compression::{ENCODING, Encoding, Wanted};
use super::http::{forget_headers, header_list_size, refuse_plain};
use super::rates::Rates;
use super::rpc::{self, Class, Rpc, Shape, Size};
use super::status::Failure;
use crate::domain::Caller;
use crate::traces::{Span, TraceParent, Tracer};

/// The longest header list that the transport has to read, as HTTP/2 counts it.
pub const HEADER_BYTES_READ: u32 = 64 * 1024 + 1;

tokio::task_local! {
    /// The span of the RPC, if it has one, while its handler runs.
    static TRACE: Option<TraceParent>;
}

/// Our span for the RPC at hand, if it has one.
pub(super) fn trace() -> Option<TraceParent> {
    TRACE.try_with(|trace| *trace).unwrap_or_default()
}

/// The largest message that the decoder takes.
const MESSAGE_BYTES_READ: u32 = 4 * 1024 * 1024;

/// No caller has more than this part of the bytes of requests in flight; all who need no identity count as one.
const PART_OF_ONE: usize = 4;

/// Reflection has this part of the streams without an identity: those who use it are few, and what it responds is large.
const PART_OF_REFLECTION: usize = 8;

/// What bounds every call.
#[derive(Clone, Copy, Debug)]
pub struct RpcBounds {
    /// The longest header list, in bytes as HTTP/2 counts them; 0 for whatever the transport reads.
    pub header_bytes: u32,
    /// The largest message of health and reflection, in bytes; 0 for what the decoder takes.
    pub probe_bytes: u32,
    /// The largest message of all others but batches, in bytes; 0 for what the decoder takes.
    pub message_bytes: u32,
    /// The largest batch, in bytes; 0 for what the decoder takes.
    pub batch_bytes: u32,
    /// How long a request may take from its headers to its last byte; zero for ever.
    pub request_timeout: Duration,
    /// How long a unary call may take in all, whatever its client says; zero for as long as that says.
    pub call_timeout: Duration,
    /// How many bytes of requests can be in flight, having to wait for the rest of their messages; 0 for any number.
    pub bytes_in_flight: usize,
    /// How many calls without an identity can wait for their messages, and how many can be streams, beside one on each
    /// connection; 0 for any number.
    pub open_streams: usize,
    /// How long a stream of reflection may ask nothing before it ends; zero for ever.
    pub reflection_idle: Duration,
    /// Whether there is reflection.
    pub reflection: bool,
    /// Whether the clock is moved by hand.
    pub test_clock: bool,
}

/// Wraps the services: see the module.
#[derive(Clone, Debug)]
pub struct RpcLayer(Arc<Rules>);

/// What calls are judged by.
#[derive(Debug)]
struct Rules {
    authenticator: Arc<Authenticator>,
    bounds: RpcBounds,
    rates: Arc<Rates>,
    drain: CancellationToken,
    tracer: Tracer,
    /// The bytes of requests in flight, by caller.
    in_flight: Arc<Shares<Option<Caller>>>,
    /// The questions to health that are waited for, by connection.
    waiting: Arc<Shares<ConnectionId>>,
    /// The streams of health.
    probes: Arc<Shares<ConnectionId>>,
    /// The streams of reflection.
    reflections: Arc<Shares<ConnectionId>>,
}

impl RpcLayer {
    /// A layer that recognises callers in this way, until `drain` is cancelled.
    pub fn new(
        authenticator: Arc<Authenticator>,
        bounds: RpcBounds,
        rates: Arc<Rates>,
        drain: CancellationToken,
        tracer: Tracer,
    ) -> Self {
        let RpcBounds { bytes_in_flight, open_streams, .. } = bounds;
        // Each rounded up: no bound turns into none.
        let reflections = open_streams.div_ceil(PART_OF_REFLECTION);
        Self(Arc::new(Rules {
            authenticator,
            bounds,
            rates,
            drain,
            tracer,
            in_flight: Shares::new(bytes_in_flight, bytes_in_flight.div_ceil(PART_OF_ONE), 0),
            // A connection has as many of health as it leaves free, and one in any case: its balancer must get through.
            waiting: Shares::new(open_streams, open_streams, 1),
            probes: Shares::new(open_streams, open_streams, 1),
            reflections: Shares::new(reflections, reflections, 0),
        }))
    }
}

/// A bound in bytes; 0 is what is read in any case.
fn bound(bytes: u32, read: u32) -> usize {
    usize::try_from(if bytes == 0 { read } else { bytes }).unwrap_or(usize::MAX)
}

impl<S> Layer<S> for RpcLayer {
    type Service = Judged<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Judged { inner, rules: self.0.clone() }
    }
}

/// A service that is wrapped by [`RpcLayer`].
#[derive(Clone, Debug)]
pub struct Judged<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S> Service<Request<Body>> for Judged<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Some(refused) = refuse_plain(&request) {
            return ready(Ok(refused)).boxed();
        }
        let rpc = match self.rules.known(&request) {
            Ok(rpc) => rpc,
            Err(failure) => {
                let rpc = rpc::find(request.uri().path());
                return ready(Ok(Observed::begin(rpc, tracing::Span::none()).answered(refused(failure)))).boxed();
            }
        };
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let rules = self.rules.clone();
        // The path of an RPC that is known is ours: nothing that a caller made up gets into the log. It is on lines of every level.
        let span = tracing::error_span!(
            "rpc",
            method = rpc.path,
            user = Empty,
            order = Empty,
            dispute = Empty,
            trial = Empty,
            trace_parent = Empty,
            asked_within = Empty
        );
        let mut observed = Observed::begin(Some(rpc), span.clone());
        let call = async move {
            let response = rules.judge(rpc, inner, request, &mut observed).await.unwrap_or_else(refused);
            Ok(observed.answered(response))
        };
        call.instrument(span).boxed()
    }
}

impl Rules {
    /// The RPC that is called, if the headers are not too large and the origin is allowed.
    fn known(&self, request: &Request<Body>) -> Result<&'static Rpc, Failure> {
        let bound = bound(self.bounds.header_bytes, HEADER_BYTES_READ);
        if header_list_size(request) > bound {
            return Err(Failure::headers_too_large(bound));
        }
        self.authenticator.refuse_pages(request)?;
        let RpcBounds { reflection, test_clock, .. } = self.bounds;
        let is_there = |rpc: &&Rpc| (reflection || !rpc.is_reflection()) && (test_clock || !rpc.is_of_test_clock());
        let rpc = rpc::find(request.uri().path()).filter(is_there);
        rpc.ok_or_else(Failure::method_unknown)
    }

    /// How long a call may take in all; `None` for streams, and for as long as its client says.
    fn call_timeout(&self, rpc: &Rpc) -> Option<Duration> {
        Some(self.bounds.call_timeout).filter(|timeout| !timeout.is_zero() && rpc.shape == Shape::Unary)
    }

    /// Our span of a call, which our log shows. What a party says of its trace goes no further than to our log and our
    /// collector: the span of its request is found by it there.
    fn span(&self, rpc: &'static Rpc, headers: &HeaderMap, caller: &Caller) -> Span {
        let theirs = headers.get("traceparent").and_then(|header| TraceParent::parse(header.to_str().ok()?));
        let span = self.tracer.call(rpc.path.trim_start_matches('/'), caller, theirs);
        let log = tracing::Span::current();
        if let Some(ours) = span.context() {
            log.record("trace_parent", ours.to_string());
        }
        if let Some(theirs) = theirs {
            log.record("asked_within", theirs.to_string());
        }
        span
    }

    /// The largest message that this RPC takes.
    fn message_bytes(&self, rpc: &Rpc) -> usize {
        let bytes = match rpc.size {
            Size::Probe => self.bounds.probe_bytes,
            Size::Single => self.bounds.message_bytes,
            Size::Batch => self.bounds.batch_bytes,
        };
        bound(bytes, MESSAGE_BYTES_READ)
    }

    /// Judges a call, step by step.
    async fn judge<S>(
        &self,
        rpc: &'static Rpc,
        inner: S,
        mut request: Request<Body>,
        observed: &mut Observed,
    ) -> Result<Response<Body>, Failure>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        // Who asks, and whether it may: from the headers alone, before the first byte of the message.
        let identity = identity::recognise(&self.authenticator, rpc, &request);
        let identity =
            identity.map_err(|failure| self.rates.refuse_login(request.extensions().get().copied(), failure))?;
        let (caller, validity) = identity.map(|Identity { caller, validity }| (caller, validity)).unzip();
        if let Some(caller) = &caller {
            tracing::Span::current().record("user", caller.user.as_str());
            observed.set_span(self.span(rpc, request.headers(), caller));
            // How often it asks.
            self.rates.admit(caller, rpc)?;
        }
        let deadline = Deadline::of(request.headers(), self.call_timeout(rpc))?;
        let encoding = Encoding::of_request(request.headers())?;
        // Any number of messages may arrive at once, each of which would be decompressed.
        if encoding.is_some() && rpc.shape == Shape::BidiStreaming {
            return Err(Failure::encoding_not_supported());
        }
        let wanted = Wanted::by(request.headers(), encoding).filter(|_| rpc.shape == Shape::Unary);
        // The decoder gets messages that are not compressed.
        request.headers_mut().remove(ENCODING);
        let trace = observed.trace();
        let connection = request.extensions().get().copied().unwrap_or_else(ConnectionId::mint);
        forget_headers(&mut request, rpc.path);
        // What handlers know of a call.
        if let Some(caller) = &caller {
            request.extensions_mut().insert(caller.clone());
        }
        if let Some(validity) = validity.flatten().filter(|_| rpc.class == Class::Stream) {
            request.extensions_mut().insert(validity);
        }
        // Before it is read or judged: what could not be taken is not begun.
        answers::reserve(rpc, request.extensions(), deadline).await?;
        // The message: in time, within its size, and counted while it has to be waited for. A stream without an identity
        // has its place for as long as it lasts.
        let stream = self.stream(rpc, connection)?;
        let (head, body) = request.into_parts();
        let limit = self.message_bytes(rpc);
        let body = match rpc.shape {
            Shape::Unary | Shape::ServerStreaming => {
                let held = Held::new(self, rpc, caller, connection);
                let patience = Patience { timeout: self.bounds.request_timeout, deadline, drain: &self.drain };
                let message = body::read(body, limit, encoding, held, patience).await?;
                elements::count(message.chunks(), rpc.lists)?;
                Body::new(message)
            }
            Shape::BidiStreaming => {
                let RpcBounds { request_timeout, reflection_idle, .. } = self.bounds;
                Body::new(Questions::new(body, limit, request_timeout, reflection_idle))
            }
        };
        let mut request = Request::from_parts(head, body);
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        let mut response = handled(inner, request, trace, deadline).await?;
        if let Some(wanted) = wanted {
            response = deflated(response, wanted).await;
        }
        Ok(shown(rpc, response, &self.drain, stream))
    }
}
