//! What became of a call: how long it took and how it ended, for the metrics and the log. Of what a caller has made up, only
//! ids are in them: of its user, order, dispute and trace.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use crate::clock::{RealInstant, real_now};
use crate::grpc::rpc::{Class, Rpc, Shape};
use crate::grpc::status::{CANCELLED, OK, Outcome, outcome_of};
use crate::metrics::METRICS;
use crate::traces::{Span, TraceParent};

/// The name of all methods that there are not.
const OTHER: &str = "_OTHER";

/// A call that has not ended. Dropped before that, it was cancelled: by its client, or with its connection.
#[derive(Debug)]
pub(super) struct Observed {
    method: &'static str,
    is_command: bool,
    is_stream: bool,
    began: RealInstant,
    /// For the lines of the log.
    log: tracing::Span,
    /// For the collector of traces.
    span: Span,
    has_ended: bool,
}

impl Observed {
    /// A call that begins; of an RPC, if there is one of that name.
    pub(super) fn begin(rpc: Option<&'static Rpc>, log: tracing::Span) -> Self {
        Self {
            method: rpc.and_then(|rpc| rpc.path.strip_prefix('/')).unwrap_or(OTHER),
            is_command: rpc.is_some_and(|rpc| rpc.class == Class::Command),
            is_stream: rpc.is_some_and(|rpc| rpc.shape != Shape::Unary),
            began: real_now(),
            log,
            span: Span::default(),
            has_ended: false,
        }
    }

    /// It has this span in a trace.
    pub(super) fn set_span(&mut self, span: Span) {
        self.span = span;
    }

    /// The span that it has in a trace.
    pub(super) fn trace(&self) -> Option<TraceParent> {
        self.span.context()
    }

    /// It has this response; a stream ends later.
    pub(super) fn answered(mut self, response: Response<Body>) -> Response<Body> {
        match Status::from_header_map(response.headers()) {
            Some(status) => self.end(outcome_of(&status)),
            None if self.is_stream => return response.map(|body| Body::new(ObservedBody { body, call: self })),
            None => self.end(OK),
        }
        response
    }

    fn end(&mut self, outcome: Outcome) {
        let Outcome { code, reason } = outcome;
        self.has_ended = true;
        let took = self.began.elapsed();
        let mut span = std::mem::take(&mut self.span);
        let trace_id = span.context().as_ref().map(TraceParent::trace_id);
        METRICS.rpc.took(["grpc", self.method, code, reason], took, trace_id);
        span.lasts(self.began, real_now());
        span.set("rpc.response.status_code", code);
        if !reason.is_empty() {
            span.set("error.type", reason);
        }
        if outcome.is_of_server() {
            span.fail();
        }
        if !reason.is_empty() && code != CANCELLED.code {
            METRICS.refusals.one([reason]);
        }
        let (method, micros) = (self.method, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.log.in_scope(|| match (code, reason) {
            ("OK", _) if self.is_command => tracing::info!(micros, "accepted"),
            ("OK", _) => tracing::debug!(micros, "answered"),
            ("INTERNAL", _) => tracing::warn!(method, code, reason, micros, "failed"),
            _ => tracing::debug!(method, code, reason, micros, "refused"),
        });
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end(CANCELLED);
        }
    }
}

/// The body of a stream, whose trailers say how it ended.
struct ObservedBody {
    body: Body,
    call: Observed,
}

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let status = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().and_then(Status::from_header_map),
            Some(Err(status)) => Some(status.clone()),
            None => None,
        };
        if let Some(status) = status.filter(|_| !self.call.has_ended) {
            self.call.end(outcome_of(&status));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
