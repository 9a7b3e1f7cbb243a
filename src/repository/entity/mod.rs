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
/// The status of a pending dispute, literally, for the same reason.
pub(super) const PENDING: &str = "disputes.status = 1";
