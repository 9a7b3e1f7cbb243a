//! Events.

use bytes::Bytes;
use uuid::Uuid;

use crate::domain::{Carried, Code as _, DisputeId, DisputeKind, EventId, EventType, OrderId, Parties, UserId};
use crate::repository::columns::Columns;
use crate::repository::corrupt::note;
use crate::repository::entity::event;
use crate::repository::error::StorageError;
use crate::repository::{LoggedEvent, NewEvent};

/// Reads an event from a row that begins with all columns, in their order. One of which a column is not of its type is
/// still there, so that the log has no hole: nobody's, with what of it can be read.
pub(in crate::repository) fn event_at(row: &impl Columns) -> LoggedEvent {
    event_from(row).unwrap_or_else(|| {
        let (seq, id) = (row.column(0).unwrap_or_default(), row.column(1).unwrap_or(Uuid::nil()));
        note(&corrupt(seq, "a column is not of its type"));
        LoggedEvent {
            seq,
            id: EventId(id),
            dispute: DisputeId(row.column(2).unwrap_or_default()),
            order: OrderId::stored(""),
            parties: Parties { buyer: UserId::stored(""), seller: UserId::stored("") },
            kind: Carried::Newer(0),
            event_type: Carried::Newer(0),
            payload: row.bytes(9, Bytes::copy_from_slice).unwrap_or_default(),
        }
    })
}

fn corrupt(seq: i64, what: &'static str) -> StorageError {
    StorageError::Corrupt { table: "events", id: seq.to_string(), what }
}

/// The id of an event at this position, if there is one; nil if it cannot be read.
pub(in crate::repository) fn event_id_at(row: &impl Columns, index: usize) -> Option<EventId> {
    row.column::<Option<Uuid>>(index).unwrap_or(Some(Uuid::nil())).map(EventId)
}

/// An event as it is stored: what this release does not know, and what makes no sense, is carried. `None` if a column is
/// not of its type.
fn event_from(row: &impl Columns) -> Option<LoggedEvent> {
    let (seq, kind, event_type, _time) = (row.column(0)?, row.column(6)?, row.column(7)?, row.column::<i64>(8)?);
    let unknown = || note(&corrupt(seq, "order_id, buyer_id or seller_id"));
    let user = |index| {
        row.text(index, |id| UserId::parse(id).inspect_err(|_| unknown()).unwrap_or_else(|_| UserId::stored(id)))
    };
    let order =
        row.text(3, |id| OrderId::parse(id).inspect_err(|_| unknown()).unwrap_or_else(|_| OrderId::stored(id)))?;
    Some(LoggedEvent {
        seq,
        id: EventId(row.column(1)?),
        dispute: DisputeId(row.column(2)?),
        order,
        parties: Parties { buyer: user(4)?, seller: user(5)? },
        kind: DisputeKind::carried(kind).unwrap_or(Carried::Newer(kind)),
        event_type: EventType::carried(event_type).unwrap_or(Carried::Newer(event_type)),
        payload: row.bytes(9, Bytes::copy_from_slice)?,
    })
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
