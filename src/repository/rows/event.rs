//! Events.

use super::Row;
use crate::domain::{DisputeId, EventId};
use crate::repository::codes::Code as _;
use crate::repository::entity::event;
use crate::repository::error::StorageError;
use crate::repository::{LoggedEvent, NewEvent};

pub(in crate::repository) fn event_from(row: event::Model) -> Result<LoggedEvent, StorageError> {
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
    let row = Row { table: "events", id: seq.to_string() };
    Ok(LoggedEvent {
        seq,
        id: EventId(event_id),
        dispute: DisputeId(dispute_id),
        order: row.order_id(&order_id)?,
        parties: row.parties(&buyer_id, &seller_id)?,
        kind: row.code(kind, "kind")?,
        event_type: row.code(event_type, "event_type")?,
        payload: payload.into(),
    })
}

pub(in crate::repository) fn event_row(seq: i64, event: &NewEvent) -> event::Model {
    event::Model {
        seq,
        event_id: event.id.0,
        dispute_id: event.dispute.0,
        order_id: event.order.to_string(),
        buyer_id: event.parties.buyer.to_string(),
        seller_id: event.parties.seller.to_string(),
        kind: event.kind.code(),
        event_type: event.event_type.code(),
        event_time: event.time.micros(),
        payload: event.payload.clone(),
    }
}
