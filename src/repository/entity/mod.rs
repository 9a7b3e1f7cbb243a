//! The rows as stored. Instants are microseconds UTC, money is minor units, enums are the numbers of `domain::Code`.

#![expect(unreachable_pub, reason = "SeaORM's derives want public items")]

pub(super) mod audit;
pub(super) mod dispute;
pub(super) mod event;
pub(super) mod event_log;
pub(super) mod idempotency_key;
pub(super) mod order;

/// The condition for open disputes, exactly as in the partial indexes. It does not use the status: SQLite would then
/// rather read every open dispute by the index of statuses.
pub(super) const OPEN: &str = "disputes.resolve_time IS NULL";
/// The condition for pending disputes, for the same reason.
pub(super) const PENDING: &str = "disputes.resolve_time IS NULL AND disputes.escalated_by IS NULL";
/// The condition for disputes with events after their opening, exactly as in the partial index.
pub(super) const UPDATED: &str = "disputes.update_time > disputes.create_time";
