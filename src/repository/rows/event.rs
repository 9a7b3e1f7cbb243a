//! Events.

use bytes::Bytes;
use sea_orm::QueryResult;
use uuid::Uuid;

use crate::domain::{Carried, Code as _, DisputeId, DisputeKind, EventId, EventType, OrderId, Parties, UserId};
use crate::repository::corrupt::{Broken, model, note};
use crate::repository::entity::event;
use crate::repository::error::StorageError;
use crate::repository::{LoggedEvent, NewEvent};

/// An event of which a column is not of its type is still there, so that the log has no hole: nobody's, with what of it
/// can be read.
pub(in crate::repository) fn event_of(row: &QueryResult) -> LoggedEvent {
    match model::<event::Entity>(row, "") {
        Ok(row) => event_from(row),
        Err(Broken { error, .. }) => {
            note(&error);
            LoggedEvent {
                seq: row.try_get("", "seq").unwrap_or_default(),
                id: event_id_of(row, "event_id").unwrap_or(EventId(Uuid::nil())),
                dispute: DisputeId(row.try_get("", "dispute_id").unwrap_or_default()),
                order: OrderId::stored(""),
                parties: Parties { buyer: UserId::stored(""), seller: UserId::stored("") },
                kind: Carried::Newer(0),
                event_type: Carried::Newer(0),
                payload: Bytes::from(row.try_get::<Vec<u8>>("", "payload").unwrap_or_default()),
            }
        }
    }
}

/// The id of an event in this column, if there is one; nil if it cannot be read.
pub(in crate::repository) fn event_id_of(row: &QueryResult, column: &str) -> Option<EventId> {
    row.try_get::<Option<Uuid>>("", column).unwrap_or(Some(Uuid::nil())).map(EventId)
}

/// An event as it is stored: what this release does not know, and what makes no sense, is carried.
fn event_from(row: event::Model) -> LoggedEvent {
    let event::Model {
        seq,
        event_id,
        dispute_id,
        order_id,
        buyer_id,
        seller_id,
        kind,
        event_type,
        event_time: _,
        payload,
    } = row;
    if OrderId::parse(&order_id).is_err() || [&buyer_id, &seller_id].into_iter().any(|id| UserId::parse(id).is_err()) {
        note(&StorageError::Corrupt { table: "events", id: seq.to_string(), what: "order_id, buyer_id or seller_id" });
    }
    LoggedEvent {
        seq,
        id: EventId(event_id),
        dispute: DisputeId(dispute_id),
        order: OrderId::stored(&order_id),
        parties: Parties { buyer: UserId::stored(&buyer_id), seller: UserId::stored(&seller_id) },
        kind: DisputeKind::carried(kind).unwrap_or(Carried::Newer(kind)),
        event_type: EventType::carried(event_type).unwrap_or(Carried::Newer(event_type)),
        payload: payload.into(),
    }
}

pub(in crate::repository) fn event_row(seq: i64, event: NewEvent) -> event::Model {
    let NewEvent { id, dispute, order, parties, kind, event_type, time, payload } = event;
    event::Model {
        seq,
        event_id: id.0,
        dispute_id: dispute.0,
        order_id: order.to_string(),
        buyer_id: parties.buyer.to_string(),
        seller_id: parties.seller.to_string(),
        kind: kind.code(),
        event_type: event_type.code(),
        event_time: time.micros(),
        payload,
    }
}
