//! What happened, as the clients and the subscribers noted it.

use std::collections::HashMap;
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
    /// When the dispute last changed, in microseconds: of two events of one revision, in two pasts, it is not the same.
    pub updated: i64,
    /// In microseconds.
    pub respond_by: i64,
    /// By which a command knows its events; empty for what passes by time, and for what a command causes without a word.
    pub mark: String,
    /// Of everything in it, also what is not named here.
    pub digest: u64,
}

impl Event {
    /// What a judge must know of an event.
    pub fn of(event: &v1::DisputeEvent) -> Self {
        let dispute = event.dispute.as_ref().expect("an event has its dispute");
        let mut digest = DefaultHasher::new();
        event.encode_to_vec().hash(&mut digest);
        Self {
            id: event.event_id.clone(),
            what: event.r#type(),
            revision: event.revision,
            time: micros(event.event_time.as_ref()),
            mark: mark_of(event, dispute),
            digest: digest.finish(),
            ..Self::shown(dispute)
        }
    }

    /// A dispute as somebody is shown it, which is no event of the log.
    pub fn shown(dispute: &v1::Dispute) -> Self {
        Self {
            id: String::new(),
            what: EventType::Snapshot,
            dispute: dispute.dispute_id.clone(),
            revision: dispute.revision,
            status: dispute.status(),
            order: dispute.order_id.clone(),
            buyer: dispute.buyer_id.clone(),
            seller: dispute.seller_id.clone(),
            kind: dispute.kind(),
            time: 0,
            updated: micros(dispute.update_time.as_ref()),
            respond_by: micros(dispute.respond_by.as_ref()),
            mark: String::new(),
            digest: 0,
        }
    }

    /// Whether the dispute is after one as it is after the other.
    pub fn leaves_the_same_as(&self, other: &Self) -> bool {
        (&self.dispute, self.revision, self.status, self.updated)
            == (&other.dispute, other.revision, other.status, other.updated)
    }

    /// Whether the dispute is open after it.
    pub fn is_open(&self) -> bool {
        matches!(self.status, DisputeStatus::Pending | DisputeStatus::Escalated)
    }
}

/// What begins the message of a marked command.
pub const MARK: &str = "mark-";

/// The mark of the command that did this. No event tells what its caller has sent beside that.
fn mark_of(event: &v1::DisputeEvent, dispute: &v1::Dispute) -> String {
    let actor = event.actor.as_ref().map(|actor| actor.id.as_str()).unwrap_or_default();
    let word = |message: &str| message.split(' ').next().filter(|word| word.starts_with(MARK)).map(str::to_owned);
    let marked = match event.r#type() {
        EventType::Opened => word(&dispute.message),
        EventType::Countered => dispute.offers.last().and_then(|offer| word(&offer.message)),
        EventType::Accepted if dispute.answer_message.is_empty() => {
            Some(format!("AcceptDispute of {} by {actor}", dispute.dispute_id))
        }
        EventType::Accepted | EventType::Answered | EventType::Declined => word(&dispute.answer_message),
        EventType::Withdrawn => Some(format!("WithdrawDispute of {} by {actor}", dispute.dispute_id)),
        _ => None,
    };
    marked.unwrap_or_default()
}

fn micros(time: Option<&prost_types::Timestamp>) -> i64 {
    time.map_or(0, |time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
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
    /// The order or the dispute that it names.
    pub subject: String,
    /// By which its events are known: the first word of its message, or where it has none, what it does.
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

/// What a subscriber saw since it last began from nothing, stream by stream.
#[derive(Clone, Default, Debug)]
pub struct Subscriber {
    pub name: String,
    pub view: View,
    /// Streams of which at least one message came.
    pub sessions: Vec<Session>,
    pub end: End,
}

impl Subscriber {
    /// How many disputes each snapshot showed that it got whole.
    pub fn snapshots(&self) -> impl Iterator<Item = usize> {
        let is_whole = |session: &&Session| session.messages.iter().any(|message| message.completes_snapshot);
        self.sessions.iter().filter(is_whole).map(|session| {
            let events = session.messages.iter().flat_map(|message| &message.events);
            events.filter(|event| event.what == EventType::Snapshot).count()
        })
    }
}

/// How it came that a subscriber has nothing more to come back with.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub enum End {
    /// It did not: it stayed until there was nothing more to get.
    #[default]
    Stayed,
    /// It left by itself. By its last token the log goes on with this event for it, or with none.
    Left { next: Option<String> },
    /// It was told that its place is unknown.
    Unknown {
        /// The last token that it got before that, or that it came with: a session, and a message.
        token: (usize, usize),
        told: Moment,
    },
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
    /// The pages of a list of disputes, the token of which the next session starts with.
    List,
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
    /// Whether it says that the snapshot is complete, or is the last page of a list.
    pub completes_snapshot: bool,
    pub received: Moment,
    /// The machine's time, in microseconds.
    pub at: i64,
}

/// A failover that lost commits.
#[derive(Clone, Debug)]
pub struct Failover {
    /// From here on commits were lost …
    pub cut: Moment,
    /// … until here.
    pub killed: Moment,
    /// When the database was there again: the machine's time, in microseconds.
    pub over: i64,
    /// How many events of the log were kept.
    pub kept: usize,
    /// What followed them, and is lost.
    pub lost: Vec<Arc<Event>>,
}

/// Everything that there is to judge.
#[derive(Clone, Default, Debug)]
pub struct History {
    /// The log as it is listed at the end, once every subscriber has caught up with it.
    pub log: Vec<Arc<Event>>,
    pub commands: Vec<Command>,
    /// When each order was first sent, and when that was acknowledged.
    pub orders: HashMap<String, (Moment, Moment)>,
    pub subscribers: Vec<Subscriber>,
    /// One after the other.
    pub failovers: Vec<Failover>,
}
