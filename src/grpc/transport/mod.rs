//! The order in which a call is judged. Each step costs more than the one before it, and nobody makes the service spend
//! anything before it is known who asks: see `judge`.

mod deadline;
mod identity;
mod response;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use http::{Request, Response};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::Instrument as _;
use tracing::field::Empty;

pub(super) use self::deadline::Deadline;
use self::response::{handled, shown};
use super::answers;
use super::draining::Arriving;
use super::http::{header_list_size, refuse_encoding, refuse_plain};
use super::rates::Rates;
use super::rpcs::{self, Rpc};
use super::status::Failure;
use crate::config::AuthMode;
use crate::domain::Caller;
use crate::engine::TraceParent;

/// The longest header list that the transport has to read, as HTTP/2 counts it.
pub const HEADER_BYTES_READ: u32 = 64 * 1024 + 1;

tokio::task_local! {
    /// The span of the RPC, if it belongs to a trace, while its handler runs.
    static TRACE: Option<TraceParent>;
}

/// Our span for the RPC at hand, if it said to which trace it belongs.
pub(super) fn trace() -> Option<TraceParent> {
    TRACE.try_with(Clone::clone).unwrap_or_default()
}

/// What bounds every call.
#[derive(Clone, Copy, Debug)]
pub struct RpcBounds {
    /// The longest header list, in bytes as HTTP/2 counts them; 0 for whatever the transport reads.
    pub header_bytes: u32,
}

/// Wraps the services: see the module.
#[derive(Clone, Debug)]
pub struct RpcLayer(Arc<Rules>);

/// What calls are judged by.
#[derive(Debug)]
struct Rules {
    auth: AuthMode,
    header_bytes: usize,
    rates: Arc<Rates>,
    drain: CancellationToken,
}

impl RpcLayer {
    /// A layer that recognises callers in this way, until `drain` is cancelled.
    pub fn new(auth: AuthMode, bounds: RpcBounds, rates: Arc<Rates>, drain: CancellationToken) -> Self {
        let header_bytes = if bounds.header_bytes == 0 { HEADER_BYTES_READ } else { bounds.header_bytes };
        let header_bytes = usize::try_from(header_bytes).unwrap_or(usize::MAX);
        Self(Arc::new(Rules { auth, header_bytes, rates, drain }))
    }
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
                tracing::debug!(reason = failure.reason.as_str_name(), "refused by its headers");
                return ready(Ok(Status::from(failure).into_http())).boxed();
            }
        };
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let rules = self.rules.clone();
        // The path of an RPC that is known is ours: nothing that a caller made up gets into the log.
        let span =
            tracing::info_span!("rpc", method = rpc.path, user = Empty, trace_parent = Empty, asked_within = Empty);
        async move {
            let judged = rules.judge(rpc, inner, request).await;
            let response = judged.unwrap_or_else(|failure| Status::from(failure).into_http());
            Ok(shown(rpc, response, &rules.drain))
        }
        .instrument(span)
        .boxed()
    }
}

impl Rules {
    /// The RPC that is called, if the headers can be read at all.
    fn known(&self, request: &Request<Body>) -> Result<&'static Rpc, Failure> {
        if header_list_size(request) > self.header_bytes {
            return Err(Failure::headers_too_large(self.header_bytes));
        }
        rpcs::find(request.uri().path()).ok_or_else(Failure::method_unknown)
    }

    /// Judges a call, step by step.
    async fn judge<S>(&self, rpc: &'static Rpc, inner: S, mut request: Request<Body>) -> Result<Response<Body>, Failure>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        // Who asks, and whether it may: from the headers alone, before the first byte of the message.
        let caller = identity::recognise(self.auth, rpc, request.headers());
        let caller = caller.map_err(|failure| self.rates.refuse_login(request.extensions().get().copied(), failure))?;
        if let Some(caller) = caller {
            tracing::Span::current().record("user", caller.user.as_str());
            // How often it asks.
            self.rates.admit(&caller, rpc)?;
            request.extensions_mut().insert(caller);
        }
        let deadline = Deadline::of(request.headers())?;
        refuse_encoding(request.headers())?;
        // Before it is read or judged: what could not be taken is not begun.
        answers::reserve(rpc, request.extensions(), deadline).await?;
        let trace = span_for(&request);
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        let request = request.map(|body| Body::new(Arriving::new(body, self.drain.clone())));
        handled(inner, request, trace, deadline).await
    }
}

/// Our span for a request that says to which trace it belongs. What it says goes no further than to our log: the span of
/// a party's request is found by it there.
fn span_for(request: &Request<Body>) -> Option<TraceParent> {
    let theirs = TraceParent::parse(request.headers().get("traceparent")?.to_str().ok()?)?;
    let ours = theirs.span_for(request.extensions().get::<Caller>()?);
    let span = tracing::Span::current();
    span.record("trace_parent", ours.as_str());
    span.record("asked_within", theirs.as_str());
    Some(ours)
}
