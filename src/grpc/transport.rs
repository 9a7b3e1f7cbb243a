//! What every RPC passes through: a span, who calls, how long it may take, the trace that it belongs to, and the
//! errors that the transport makes itself.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use http::{HeaderMap, Request, Response};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::auth;
use super::draining::{Arriving, Ending};
use super::http::{header_list_size, refuse_plain};
use super::metered::Metered;
use super::status::{Failure, with_error_details};
use crate::clock::real_instant_after;
use crate::config::AuthMode;
use crate::domain::Caller;
use crate::engine::TraceParent;

/// The RPCs of this service; health and reflection are open and speak for themselves.
const OURS: &str = "/disputes.v1.";

/// The one that answers for as long as it is asked to.
const WATCH: &str = "/disputes.v1.DisputeService/WatchDisputes";

/// The transport ends an RPC at its deadline with an error that says nothing. We are so much earlier.
const HEAD_START: Duration = Duration::from_millis(2);

/// The longest header list that the transport has to read, as HTTP/2 counts it.
pub const HEADER_BYTES_READ: u32 = 64 * 1024 + 1;

tokio::task_local! {
    /// The trace that the RPC belongs to, while its handler runs.
    static TRACE: Option<TraceParent>;
}

/// The trace that the RPC at hand belongs to, if it said so.
pub(super) fn trace() -> Option<TraceParent> {
    TRACE.try_with(Clone::clone).unwrap_or_default()
}

/// Wraps the services: see the module.
#[derive(Clone, Debug)]
pub struct RpcLayer {
    auth: AuthMode,
    max_header_bytes: usize,
    drain: CancellationToken,
}

impl RpcLayer {
    /// A layer that recognises callers in this way and takes a header list of so many bytes (0 for whatever the transport
    /// reads), until `drain` is cancelled.
    pub fn new(auth: AuthMode, max_header_bytes: u32, drain: CancellationToken) -> Self {
        let max_header_bytes = if max_header_bytes == 0 { HEADER_BYTES_READ } else { max_header_bytes };
        Self { auth, max_header_bytes: usize::try_from(max_header_bytes).unwrap_or(usize::MAX), drain }
    }

    /// Refuses what can be refused by the headers alone, and notes who calls.
    fn admit(&self, request: &mut Request<Body>) -> Result<(), Failure> {
        if header_list_size(request) > self.max_header_bytes {
            return Err(Failure::headers_too_large(self.max_header_bytes));
        }
        if request.uri().path().starts_with(OURS) {
            let caller = match self.auth {
                AuthMode::Dev => auth::dev(request.headers())?,
            };
            request.extensions_mut().insert(caller);
        }
        if let Some(timeout) = timeout(request.headers()) {
            if timeout <= HEAD_START {
                return Err(Failure::deadline_exceeded());
            }
            if let Some(deadline) = Deadline::after(timeout) {
                request.extensions_mut().insert(deadline);
            }
        }
        Ok(())
    }
}

impl<S> Layer<S> for RpcLayer {
    type Service = Rpc<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Rpc { inner, layer: self.clone() }
    }
}

/// A service that is wrapped by [`RpcLayer`].
#[derive(Clone, Debug)]
pub struct Rpc<S> {
    inner: S,
    layer: RpcLayer,
}

/// When the client gives up on an RPC.
#[derive(Clone, Debug)]
pub(super) struct Deadline(tokio::time::Instant);

impl Deadline {
    fn after(timeout: Duration) -> Option<Self> {
        let timeout = timeout.saturating_sub(HEAD_START);
        real_instant_after(timeout).map(Self)
    }

    /// Returns once the deadline has passed.
    pub(super) async fn passes(self) {
        let _ = tokio::time::timeout_at(self.0, std::future::pending::<()>()).await;
    }
}

impl<S> Service<Request<Body>> for Rpc<S>
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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(refused) = refuse_plain(&request) {
            return ready(Ok(refused)).boxed();
        }
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let span = tracing::info_span!("rpc", method = request.uri().path(), user = tracing::field::Empty);
        let is_ours = request.uri().path().starts_with(OURS);
        let is_watch = request.uri().path() == WATCH;
        if let Err(failure) = self.layer.admit(&mut request) {
            let response = Status::from(failure).into_http();
            return async move { Ok(response) }.instrument(span).boxed();
        }
        if let Some(caller) = request.extensions().get::<Caller>() {
            span.record("user", caller.user.as_str());
        }
        let deadline = request.extensions().get::<Deadline>().cloned();
        let drain = self.layer.drain.clone();
        let request = request.map(|body| Body::new(Arriving::new(body, drain.clone())));
        let trace = request.headers().get("traceparent").and_then(|header| TraceParent::parse(header.to_str().ok()?));
        async move {
            let handled = AssertUnwindSafe(TRACE.scope(trace, inner.call(request))).catch_unwind();
            let handled = handled.map(|response| match response {
                Ok(response) => response,
                Err(_) => Ok(Status::from(Failure::internal("a handler panicked")).into_http()),
            });
            let response = match deadline {
                None => handled.await?,
                Some(deadline) => tokio::select! {
                    response = handled => response?,
                    () = deadline.passes() => Status::from(Failure::deadline_exceeded()).into_http(),
                },
            };
            let response = explained(response);
            Ok(response.map(|body| match (is_watch, is_ours) {
                (true, _) => Body::new(Metered::new(body)),
                (false, true) => body,
                (false, false) => Body::new(Ending::new(body, drain)),
            }))
        }
        .instrument(span)
        .boxed()
    }
}

/// Gives the errors that the transport made the details that all our errors have, and logs what an RPC
/// came to. Nothing that a party wrote is ever in a status.
fn explained(response: Response<Body>) -> Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else {
        return response;
    };
    if status.code() == Code::Ok {
        return response;
    }
    tracing::debug!(code = ?status.code(), "refused");
    if status.details().is_empty() { with_error_details(status).into_http() } else { response }
}

/// The header `grpc-timeout`: at most eight digits and a unit.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count.checked_mul(3_600)?)),
        "M" => Some(Duration::from_secs(count.checked_mul(60)?)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_at_most_eight_digits_and_a_unit() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", http::HeaderValue::from_static(text));
            timeout(&headers)
        };
        let cases = [
            ("1S", Some(Duration::from_secs(1))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("7n", Some(Duration::from_nanos(7))),
            ("2M", Some(Duration::from_secs(120))),
            ("999999999S", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("-1S", None),
            ("1s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }
}
