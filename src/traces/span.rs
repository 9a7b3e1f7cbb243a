//! A span: what was done, from when to when, and what is known of it.

use std::sync::Arc;

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::exporter::Recorder;
use super::parent::TraceParent;
use crate::clock::{RealInstant, real_now, wall_time};

/// The most links of a span: with what many batches link is a batch.
const LINKS: usize = 128;

/// What a span is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// A call of this method, `package.Service/Method`.
    Call(&'static str),
    /// A command, from the queue to its reply.
    Commit,
    /// The batch that it was in.
    Batch,
    /// Reading what the batch is about, and judging it. What was judged ahead is shown as if it had been judged just before it
    /// was written.
    Judge,
    /// Writing and committing the batch.
    Write,
    /// An event given to the stream of a subscriber.
    Deliver,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Call(method) => method,
            Self::Commit => "commit",
            Self::Batch => "batch",
            Self::Judge => "judge",
            Self::Write => "write",
            Self::Deliver => "deliver",
        }
    }

    fn kind(self) -> SpanKind {
        match self {
            Self::Call(_) => SpanKind::Server,
            Self::Commit | Self::Batch | Self::Judge | Self::Write => SpanKind::Internal,
            Self::Deliver => SpanKind::Producer,
        }
    }
}

/// A span that has begun, recorded or not. It ends when it is dropped.
#[derive(Debug, Default)]
pub struct Span {
    context: Option<TraceParent>,
    recorded: Option<Box<Recorded>>,
}

#[derive(Debug)]
struct Recorded {
    recorder: Arc<Recorder>,
    data: SpanData,
    began: RealInstant,
    ended: Option<RealInstant>,
}

fn span_context(of: TraceParent) -> SpanContext {
    let flags = TraceFlags::default().with_sampled(of.is_sampled());
    SpanContext::new(TraceId::from(of.trace()), SpanId::from(of.span()), flags, false, TraceState::default())
}

impl Span {
    pub(super) fn begin(
        recorder: Option<&Arc<Recorder>>,
        part: Part,
        context: TraceParent,
        parent: Option<TraceParent>,
        began: RealInstant,
    ) -> Self {
        let recorded = recorder.map(|recorder| {
            let start_time = wall_time(began);
            let data = SpanData {
                span_context: span_context(context),
                parent_span_id: SpanId::from(parent.map_or(0, |parent| parent.span())),
                parent_span_is_remote: parent.is_some() && matches!(part, Part::Call(_) | Part::Deliver),
                span_kind: part.kind(),
                name: part.name().into(),
                start_time,
                end_time: start_time,
                attributes: Vec::new(),
                dropped_attributes_count: 0,
                events: SpanEvents::default(),
                links: SpanLinks::default(),
                status: Status::Unset,
                instrumentation_scope: recorder.scope(),
            };
            Box::new(Recorded { recorder: recorder.clone(), data, began, ended: None })
        });
        Self { context: Some(context), recorded }
    }

    /// Its place in its trace, if it has one: what is told to others.
    pub fn context(&self) -> Option<TraceParent> {
        self.context
    }

    /// Whether it is recorded.
    pub fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// It took place between these instants.
    pub fn lasts(&mut self, began: RealInstant, ended: RealInstant) {
        if let Some(recorded) = &mut self.recorded {
            recorded.data.start_time = wall_time(began);
            recorded.began = began;
            recorded.ended = Some(ended);
        }
    }

    /// Sets an attribute, which must contain nothing that parties write.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.add(|| KeyValue::new(key, value));
    }

    pub(super) fn add(&mut self, attribute: impl FnOnce() -> KeyValue) {
        if let Some(recorded) = &mut self.recorded {
            recorded.data.attributes.push(attribute());
        }
    }

    /// Links it with a span of another trace.
    pub fn link(&mut self, with: TraceParent) {
        if let Some(Recorded { data: SpanData { links, .. }, .. }) = self.recorded.as_deref_mut() {
            if links.links.len() < LINKS {
                links.links.push(Link::with_context(span_context(with)));
            } else {
                links.dropped_count = links.dropped_count.saturating_add(1);
            }
        }
    }

    /// What it is of has failed, and not by its caller's fault.
    pub fn fail(&mut self) {
        if let Some(recorded) = &mut self.recorded {
            recorded.data.status = Status::error("");
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(recorded) = self.recorded.take() {
            let Recorded { recorder, mut data, began, ended } = *recorded;
            let took = ended.unwrap_or_else(real_now).saturating_duration_since(began);
            data.end_time = data.start_time.checked_add(took).unwrap_or(data.start_time);
            recorder.record(data);
        }
    }
}
