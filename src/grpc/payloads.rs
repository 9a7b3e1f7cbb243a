//! The payloads of events: written once, when an event is committed, and from then on sent as they are.

use bytes::Bytes;
use prost::Message as _;

use super::responses::{newer_with, public_dispute, timestamp};
use super::violations::known_instant;
use crate::domain::{Actor, EventId, RecordedEvent, StoredDispute, Timestamp};
use crate::engine::{Found, SnapshotCodec};
use crate::proto::v1;
use crate::traces::TraceParent;

/// The public payload of an event, as it is kept in the log and sent to every subscriber.
pub fn encode_event(id: EventId, recorded: &RecordedEvent, trace: Option<TraceParent>) -> Vec<u8> {
    let actor = match &recorded.actor {
        Actor::Party(_, user) | Actor::Platform(user) => user.to_string(),
        // Which agent it was is for support only, who reads it in the dispute.
        Actor::Support(_) | Actor::System => String::new(),
    };
    let previous_status = recorded.previous_status.map_or(v1::DisputeStatus::Unspecified, v1::DisputeStatus::from);
    v1::DisputeEvent {
        event_id: id.to_string(),
        r#type: v1::EventType::from(recorded.event_type).into(),
        dispute: Some(public_dispute(&recorded.dispute, recorded.consequences)),
        previous_status: previous_status.into(),
        event_time: Some(timestamp(recorded.time)),
        actor: Some(v1::Actor { role: v1::ActorRole::from(recorded.actor.role()).into(), id: actor }),
        revision: recorded.dispute.revision,
        trace_parent: trace.map(|trace| trace.to_string()).unwrap_or_default(),
    }
    .encode_to_vec()
}

/// Of `disputes.v1.DisputeEvent`, what the span of its delivery is made of: texts as they stand in the payload, which are not
/// copied for each subscriber.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TracedEvent {
    /// Its id.
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) event_id: Bytes,
    /// When it happened.
    #[prost(message, optional, tag = "5")]
    pub(super) event_time: Option<prost_types::Timestamp>,
    /// The span of the call that it came of.
    #[prost(bytes = "bytes", tag = "8")]
    pub(super) trace_parent: Bytes,
}

/// How open disputes are sent to a subscriber that asked for a snapshot.
pub(super) const SNAPSHOT_CODEC: SnapshotCodec = SnapshotCodec { encode: encode_snapshot, read: read_event };

/// What the engine asks of the payloads that it keeps: when the dispute of an event was created, and whether it is open after
/// it; `None` if that cannot be read.
fn read_event(payload: &Bytes) -> Option<(Timestamp, bool)> {
    let dispute = v1::DisputeEvent::decode(payload.clone()).ok()?.dispute?;
    Some((known_instant(dispute.create_time.as_ref()?)?, dispute.resolve_time.is_none()))
}

/// What a subscriber that asked for a snapshot is sent of an open dispute.
fn encode_snapshot(id: EventId, found: &Found, now: Timestamp) -> Vec<u8> {
    let dispute = match found.dispute() {
        StoredDispute::Judged(dispute) => {
            let consequences = found.aggregate().map(|aggregate| aggregate.consequences_at(dispute, now));
            public_dispute(dispute, consequences.unwrap_or_default())
        }
        StoredDispute::Newer(dispute) => newer_with(dispute, dispute.public_reason()),
    };
    v1::DisputeEvent {
        event_id: id.to_string(),
        r#type: v1::EventType::Snapshot.into(),
        revision: dispute.revision,
        dispute: Some(dispute),
        previous_status: v1::DisputeStatus::Unspecified.into(),
        event_time: Some(timestamp(now)),
        actor: Some(v1::Actor { role: v1::ActorRole::System.into(), id: String::new() }),
        trace_parent: String::new(),
    }
    .encode_to_vec()
}
