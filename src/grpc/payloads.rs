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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Caller, Command, Currency, DisputeId, Money, Opening, OrderId, OrderReport, OrderStatus, Parties, PartyRole,
        Policy, Reason, ReasonCode, Terms, UserId, decide, record,
    };

    /// The payload of an opening whose opener has given this reason.
    fn opened(terms: Terms, opener: PartyRole, code: ReasonCode, detail: &str) -> Vec<u8> {
        let usd = |minor| Money::new(minor, Currency::from_code("USD").unwrap());
        let user = |id: &str| UserId::parse(id).unwrap();
        let (id, now) = (OrderId::parse("o1").unwrap(), Timestamp::from_micros(1_700_000_000_000_000).unwrap());
        let report = OrderReport {
            id: id.clone(),
            parties: Parties { buyer: user("ann"), seller: user("bob") },
            title: String::new(),
            price: usd(10_000),
            paid: usd(10_000),
            refunded_elsewhere: usd(0),
            status: OrderStatus::InProgress,
            create_time: None,
            due_time: None,
            end_time: None,
            cancellation_counts: true,
            source_version: 1,
        };
        let caller = |id: &str| Caller { user: user(id), scope: None };
        let (mut aggregate, policy) = (None, Policy::default());
        let command = Command::UpsertOrder(Box::new(report));
        let events = decide(None, &caller("shop"), &command, &policy, now).unwrap();
        record(&mut aggregate, &events, &Actor::System, now);
        let (dispute, message) = (DisputeId(uuid::Uuid::from_u128(1)), "Because.".to_owned());
        let reason = Some(Reason { code: code.into(), detail: detail.to_owned() });
        let opening = Opening { order: id, dispute, by: None, terms, message, reason };
        let opener = caller(if opener == PartyRole::Buyer { "ann" } else { "bob" });
        let command = Command::Open(Box::new(opening));
        let events = decide(aggregate.as_ref(), &opener, &command, &policy, now).unwrap();
        let recorded = record(&mut aggregate, &events, &Actor::System, now);
        encode_event(EventId(uuid::Uuid::from_u128(2)), &recorded[0], None)
    }

    #[test]
    fn another_reason_in_confidence_changes_no_byte_of_an_event_and_one_that_is_shared_does() {
        let amount = Money::new(100, Currency::from_code("USD").unwrap());
        let cases = [
            (Terms::PartialRefund { amount }, PartyRole::Seller, ReasonCode::Goodwill, true),
            (Terms::Cancellation { no_fault: false }, PartyRole::Buyer, ReasonCode::NoLongerNeeded, true),
            (Terms::Cancellation { no_fault: false }, PartyRole::Seller, ReasonCode::UnableToComplete, false),
        ];
        for (terms, opener, code, is_confidential) in cases {
            let [one, other] = [(code, ""), (ReasonCode::Other, "A secret.")]
                .map(|(code, detail)| opened(terms, opener, code, detail));
            assert_eq!(one == other, is_confidential, "{terms:?} by {opener:?}");
        }
    }
}
