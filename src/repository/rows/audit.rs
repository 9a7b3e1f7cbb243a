//! The audit.

use super::Row;
use crate::domain::{AuditAction, AuditEntry, Carried, Code as _, DisputeId, OrderId, Scope, UserId};
use crate::repository::AuditRecord;
use crate::repository::entity::audit;
use crate::repository::error::StorageError;

/// An entry as it is stored. What this release does not know comes from a newer one, and is carried.
pub(in crate::repository) fn audit_record_from(row: audit::Model) -> Result<AuditRecord, StorageError> {
    let audit::Model { seq, time, user_id, scope, action, order_id, dispute_id, revision } = row;
    let row = Row { table: "audit", id: seq.to_string() };
    Ok(AuditRecord {
        seq,
        time: row.instant(time, "time")?,
        user: UserId::stored(&user_id),
        scope: Scope::carried(scope).unwrap_or(Carried::Newer(scope)),
        action: AuditAction::carried(action).unwrap_or(Carried::Newer(action)),
        order: OrderId::stored(&order_id),
        dispute: dispute_id.map(DisputeId),
        revision,
    })
}

/// A row that gets its number from the database.
pub(in crate::repository) fn audit_row(entry: AuditEntry) -> audit::NewEntry {
    let AuditEntry { time, user, scope, action, order, dispute, revision } = entry;
    audit::NewEntry {
        time: time.micros(),
        user_id: user.to_string(),
        scope: scope.code(),
        action: action.code(),
        order_id: order.to_string(),
        dispute_id: dispute.map(|dispute| dispute.0),
        revision,
    }
}
