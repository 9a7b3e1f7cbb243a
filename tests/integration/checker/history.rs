//! What happened, as the clients and the subscribers noted it.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use dispute_service::proto::v1;
use dispute_service::proto::v1::{DisputeKind, DisputeStatus, EventType};
use prost::Message as _;

use super::Moment;

/// An event as somebody got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub what: EventType,
    pub dispute: String,
    pub revision: i64,
    pub status: DisputeStatus,
    pub order: String,
    pub buyer: String,
    pub seller: String,
    pub kind: DisputeKind,
    /// In microseconds.
    pub time: i64,
    /// In microseconds.
    pub respond_by: i64,
    /// The trace that it belongs to, by which a command knows its events; empty for what passes by time.
    pub mark: String,
    /// Of everything in it, also what is not named here.
    pub digest: u64,
}

impl Event {
    /// What a judge must know of an event.
    pub fn of(event: &v1::DisputeEvent) -> Self {
        let dispute = event.dispute.as_ref().expect("an event has its dispute");
        let micros = |time: Option<&prost_types::Timestamp>| {
            time.map_or(0, |time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
        };
        let mut digest = DefaultHasher::new();
        event.encode_to_vec().hash(&mut digest);
        Self {
            id: event.event_id.clone(),
            what: event.r#type(),
            dispute: dispute.dispute_id.clone(),
            revision: event.revision,
            status: dispute.status(),
            order: dispute.order_id.clone(),
            buyer: dispute.buyer_id.clone(),
            seller: dispute.seller_id.clone(),
            kind: dispute.kind(),
            time: micros(event.event_time.as_ref()),
            respond_by: micros(dispute.respond_by.as_ref()),
            mark: event.trace_parent.clone(),
            digest: digest.finish(),
        }
    }

    /// Whether the dispute is open after it.
    pub fn is_open(&self) -> bool {
        matches!(self.status, DisputeStatus::Pending | DisputeStatus::Escalated)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what.as_str_name().trim_start_matches("EVENT_TYPE_");
        write!(formatter, "{what} {} (revision {} of dispute {})", self.id, self.revision, self.dispute)
    }
}

/// A command that a client sent, as often as it took to get a definite answer.
#[derive(Clone, Debug)]
pub struct Command {
    /// The RPC, who, and about what.
    pub what: String,
    /// The traceparent of each attempt.
    pub mark: String,
    pub request_id: String,
    /// Before the first attempt was sent.
    pub sent: Moment,
    /// After the last answer came.
    pub answered: Moment,
    pub attempts: usize,
    pub answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Acknowledged {
        dispute: String,
        revision: i64,
    },
    /// With this reason.
    Refused(String),
    /// Nobody ever said.
    Unknown,
}

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (request_id {}, sent {} times", self.what, self.request_id, self.attempts)?;
        match &self.answer {
            Answer::Acknowledged { dispute, revision } => {
                write!(formatter, ", acknowledged with revision {revision} of dispute {dispute})")
            }
            Answer::Refused(reason) => write!(formatter, ", refused with {reason})"),
            Answer::Unknown => write!(formatter, ", never answered)"),
        }
    }
}

/// Which events a subscriber is to get.
#[derive(Clone, Default, Debug)]
pub struct View {
    /// Who subscribes, unless a scope lets it see everything.
    pub caller: Option<String>,
    pub party: Option<String>,
    pub orders: Vec<String>,
    pub kinds: Vec<DisputeKind>,
    pub types: Vec<EventType>,
}

impl View {
    pub fn shows(&self, event: &Event) -> bool {
        let is_party = |id: &Option<String>| id.as_ref().is_none_or(|id| event.buyer == *id || event.seller == *id);
        is_party(&self.caller)
            && is_party(&self.party)
            && (self.orders.is_empty() || self.orders.contains(&event.order))
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && (self.types.is_empty() || self.types.contains(&event.what))
    }
}

/// What a subscriber saw, stream by stream.
#[derive(Clone, Default, Debug)]
pub struct Subscriber {
    pub name: String,
    pub view: View,
    /// Streams of which at least one message came.
    pub sessions: Vec<Session>,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub start: Start,
    pub messages: Vec<Message>,
}

/// Where a stream was asked to start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    Beginning,
    Now,
    Snapshot,
    /// With the token of this message of this earlier session.
    After {
        session: usize,
        message: usize,
    },
}

#[derive(Clone, Default, Debug)]
pub struct Message {
    pub token: String,
    pub events: Vec<Arc<Event>>,
    /// Whether it says that the snapshot is complete.
    pub completes_snapshot: bool,
    pub received: Moment,
    /// The machine's time, in microseconds.
    pub at: i64,
}

/// Everything that there is to judge.
#[derive(Clone, Default, Debug)]
pub struct History {
    /// The log as it is listed at the end, once every subscriber has caught up with it.
    pub log: Vec<Arc<Event>>,
    pub commands: Vec<Command>,
    pub subscribers: Vec<Subscriber>,
}
