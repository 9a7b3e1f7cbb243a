//! Traces: what became of a call, from its arrival to the delivery of its events, as spans for a collector (OTLP).
//!
//! A call has a span, a command's call another one for its time in the queue and in its batch. The batch, which serves many
//! commands, is a span in the trace of one of them, and linked with the others. An event carries the call's span
//! (`trace_parent`), and its delivery to a subscriber is a span below that, on whichever replica.
//!
//! Nothing waits for the collector: spans that it does not take in time are lost, and counted. No span contains what
//! parties write, and users only if the operator wants that.

mod exporter;
mod parent;
mod span;

use std::sync::Arc;

use opentelemetry::KeyValue;

use self::exporter::Recorder;
pub use self::exporter::{TracesError, TracesSettings};
pub use self::parent::TraceParent;
pub use self::span::{Part, Span};
use crate::clock::real_now;
use crate::domain::Caller;

/// Begins spans. Clones share the connection to the collector; without one nothing is recorded.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<Recorder>>);

impl Tracer {
    /// Records spans and sends them to a collector, with which a connection is made when there is something to send. To be
    /// called on the runtime that will send them.
    pub fn to_collector(settings: TracesSettings) -> Result<Self, TracesError> {
        Ok(Self(Some(Arc::new(Recorder::start(settings)?))))
    }

    /// The span of a call of this method by this caller, who says that it belongs to `theirs`.
    ///
    /// For a caller with a scope, the span is within the caller's trace, and sampled if that is. For a party, events would
    /// carry the trace to the other party: so the trace is one of our own, over which the party has no influence, and what it
    /// sent is only a link, for the collector. Whatever is neither sampled nor within a trace has no span.
    pub fn call(&self, method: &'static str, caller: &Caller, theirs: Option<TraceParent>) -> Span {
        let within = theirs.filter(|_| caller.scope.is_some());
        let is_sampled = |trace| self.0.as_ref().is_some_and(|recorder| recorder.samples(trace));
        let ours = within.map_or_else(|| TraceParent::begin(is_sampled), TraceParent::another);
        if theirs.is_none() && !ours.is_sampled() {
            return Span::default();
        }
        let mut span = self.span(Part::Call(method), ours, within);
        if let Some(theirs) = theirs.filter(|_| within.is_none()) {
            span.link(theirs);
        }
        span.set("rpc.system.name", "grpc");
        span.set("rpc.method", method);
        self.set_user(&mut span, caller);
        span
    }

    /// The span of a part of what `of` is the span of, if that is recorded.
    pub fn part(&self, part: Part, of: Option<TraceParent>) -> Span {
        let Some(of) = of.filter(TraceParent::is_sampled) else { return Span::default() };
        self.span(part, of.another(), Some(of))
    }

    /// The span of the delivery of an event that carries `of` to this subscriber. At most a hundred a second are recorded: an
    /// event may go to ten thousand subscribers.
    pub fn delivery(&self, of: TraceParent, subscriber: &Caller) -> Span {
        if !of.is_sampled() || !self.0.as_ref().is_some_and(|recorder| recorder.admits_delivery()) {
            return Span::default();
        }
        let mut span = self.part(Part::Deliver, Some(of));
        self.set_user(&mut span, subscriber);
        span
    }

    /// Whether anything is recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Sends what is still to be sent, for as long as that may take at the end of the process.
    pub async fn finish(&self) {
        if let Some(recorder) = &self.0 {
            recorder.finish().await;
        }
    }

    fn span(&self, part: Part, context: TraceParent, parent: Option<TraceParent>) -> Span {
        let recorder = self.0.as_ref().filter(|_| context.is_sampled());
        Span::begin(recorder, part, context, parent, real_now())
    }

    fn set_user(&self, span: &mut Span, caller: &Caller) {
        if self.0.as_ref().is_some_and(|recorder| recorder.names_users()) {
            span.add(|| KeyValue::new("user.id", caller.user.as_str().to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Scope, UserId};

    #[test]
    fn the_span_is_ours_within_the_trace_of_the_house_and_in_its_own_for_a_party() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let span = |scope, flags: &str| {
            let caller = Caller { user: UserId::parse("u").unwrap(), scope };
            let theirs = TraceParent::parse(&format!("00-{trace}-00f067aa0ba902b7-{flags}")).unwrap();
            let ours = Tracer::default().call("/s/M", &caller, Some(theirs)).context().unwrap();
            assert_eq!(TraceParent::parse(&ours.to_string()), Some(ours), "it is one that the standard knows");
            assert_ne!(ours.span(), theirs.span());
            ours.to_string()
        };
        for (flags, kept) in [("01", "-01"), ("00", "-00"), ("ff", "-01"), ("fe", "-00")] {
            for scope in [Scope::Support, Scope::Platform] {
                let span = span(Some(scope), flags);
                assert!(span.starts_with(&format!("00-{trace}-")) && span.ends_with(kept), "{span}");
            }
            let [one, other] = [(); 2].map(|()| span(None, flags));
            assert!(!one.contains(trace) && one.ends_with("-00"), "{one}");
            assert_ne!(one.get(..36), other.get(..36), "each has a trace of its own");
        }
    }

    #[test]
    fn without_a_collector_a_call_outside_a_trace_has_no_span() {
        let caller = Caller { user: UserId::parse("u").unwrap(), scope: Some(Scope::Support) };
        assert_eq!(Tracer::default().call("/s/M", &caller, None).context(), None);
    }
}
