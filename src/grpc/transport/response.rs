//! From the handler to the client: the deadline, and what becomes of a response on its way.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;

use futures_util::future::FutureExt as _;
use http::{Request, Response};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use super::shares::Share;
use super::{ConnectionId, Deadline, TRACE};
use crate::grpc::draining::Ending;
use crate::grpc::metered::Metered;
use crate::grpc::rpc::{Class, Rpc};
use crate::grpc::status::{Failure, is_error, with_details_of_health, with_error_details};
use crate::traces::TraceParent;

/// What the handler makes of a request, unless the deadline passes first.
pub(super) async fn handled<S>(
    mut inner: S,
    request: Request<Body>,
    trace: Option<TraceParent>,
    deadline: Option<Deadline>,
) -> Result<Response<Body>, Failure>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let handled = AssertUnwindSafe(TRACE.scope(trace, inner.call(request))).catch_unwind();
    let response = match deadline {
        None => handled.await,
        Some(deadline) => tokio::select! {
            // Many handlers are done at once: then no timer is set.
            biased;
            response = handled => response,
            () = deadline.passes() => return Err(Failure::deadline_exceeded()),
        },
    };
    match response {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(impossible)) => match impossible {},
        Err(_) => Err(Failure::internal("a handler panicked")),
    }
}

/// The response as the client gets it: errors have details, streams end when they must, and run ahead of no reader.
pub(super) fn shown(
    rpc: &Rpc,
    response: Response<Body>,
    drain: &CancellationToken,
    stream: Option<Share<ConnectionId>>,
) -> Response<Body> {
    ensure_error_details(rpc, response).map(|body| match rpc.class {
        Class::Stream => Body::new(Metered::new(body)),
        Class::Command | Class::Read | Class::List => body,
        Class::Open => Body::new(Metered::new(Body::new(Ending::new(body, drain.clone(), stream)))),
    })
}

/// The response to a call that is refused before its handler sees it.
pub(super) fn refused(failure: Failure) -> Response<Body> {
    Status::from(failure).into_http()
}

/// Gives the errors that the transport made the details that all our errors have. Nothing that a party wrote is ever in a
/// status.
fn ensure_error_details(rpc: &Rpc, response: Response<Body>) -> Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else {
        return response;
    };
    if !is_error(&status) {
        return response;
    }
    if !status.details().is_empty() {
        return response;
    }
    let status = with_error_details(status);
    if rpc.class == Class::Open { with_details_of_health(status).into_http() } else { status.into_http() }
}
