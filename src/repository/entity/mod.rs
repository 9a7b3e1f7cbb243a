//! The rows, as they are stored. Instants are microseconds of UTC, money is minor units, enums are the
//! numbers of `codes`.

#![expect(unreachable_pub, reason = "SeaORM's derives want public items")]

pub(super) mod dispute;
pub(super) mod event;
pub(super) mod event_log;
pub(super) mod idempotency_key;
pub(super) mod order;

/// The statuses of an open dispute, literally: with bound values SQLite would not use its partial indexes.
pub(super) const OPEN: &str = "disputes.status IN (1, 2)";
/// What a pending dispute is. Not by its status: SQLite would then rather sort what the index by status finds than
/// read the index of deadlines in its order.
pub(super) const PENDING: &str = "disputes.resolve_time IS NULL AND disputes.escalated_by IS NULL";
