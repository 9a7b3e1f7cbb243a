//! What is pruned: events, request ids and entries of the audit that need not be kept, in small transactions that no caller waits for.
//!
//! Deleted rows stay in the indexes until PostgreSQL cleans up, which it cannot while anybody reads an old snapshot. So
//! each step starts where the previous one ended, and never skips over deleted rows.

use sea_orm::sea_query::{LockBehavior, LockType};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, DbBackend, EntityTrait as _, Order as Direction,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Select, Statement,
};
use uuid::Uuid;

use super::Repository;
use super::batch::filled_up;
use super::connection::in_time;
use super::entity::{audit, event, event_log, idempotency_key};
use super::error::StorageError;
use super::log::log_and_events_at;
use super::transaction::Maintenance;
use crate::domain::{EventId, Timestamp};

/// The lock that a replica holds while it prunes events: one at a time, and nobody waits.
const PRUNING_EVENTS: i64 = 7_305_794_241_085_369_198;
/// … and while it prunes the audit.
const PRUNING_AUDIT: i64 = 7_305_794_241_085_369_199;

/// A step of pruning what is found by its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pruned {
    /// How many were deleted.
    pub count: u64,
    /// Rows recorded before this instant are deleted; the next step starts there.
    pub up_to: Timestamp,
}

impl Pruned {
    /// What a step comes to that found these, oldest first, from `from` on and before `before`, at most `limit`.
    fn of<K>(oldest: &[(K, i64)], from: Timestamp, before: Timestamp, limit: u32) -> Self {
        let count = u64::try_from(oldest.len()).unwrap_or(u64::MAX);
        let last = oldest.last().and_then(|(_, time)| Timestamp::from_micros(*time));
        let up_to = if count < u64::from(limit) { before.max(from) } else { last.unwrap_or(from) };
        Self { count, up_to }
    }
}

/// Events at the old end of the log that can be pruned.
struct OldEvents {
    /// The number of the last event that is already pruned.
    floor: i64,
    /// The number of the last event to prune.
    up_to: i64,
    /// Its id.
    last: EventId,
}

impl Repository {
    /// Prunes events older than `before`, at most `limit`. Returns how many: none if another replica is pruning.
    pub async fn prune_events(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        let step = async {
            let transaction = self.begin_maintenance().await?;
            let Some(old) = prunable(&transaction.inner, before, limit.into()).await? else {
                transaction.rollback().await?;
                return Ok(0);
            };
            let deleted = event::Entity::delete_many()
                .filter(event::Column::Seq.gt(old.floor))
                .filter(event::Column::Seq.lte(old.up_to))
                .exec(&transaction.inner)
                .await?;
            // Last: commands with events wait for this row.
            move_floor(&transaction, &old).await?;
            transaction.commit().await?;
            Ok(deleted.rows_affected)
        };
        in_time(step).await
    }

    /// Prunes requests recorded from `from` on and before `before`, oldest first, at most `limit`.
    pub async fn prune_requests(&self, from: Timestamp, before: Timestamp, limit: u32) -> Result<Pruned, StorageError> {
        use idempotency_key::Column;
        let step = async {
            let transaction = self.begin_maintenance().await?;
            let oldest = idempotency_key::Entity::find()
                .select_only()
                .columns([Column::Key, Column::CreateTime])
                .filter(Column::CreateTime.gte(from.micros()))
                .filter(Column::CreateTime.lt(before.micros()))
                .order_by(Column::CreateTime, Direction::Asc)
                .limit(u64::from(limit));
            // If two replicas prune at the same time, each takes what the other has not.
            let oldest = match transaction.inner.get_database_backend() {
                DbBackend::Postgres => oldest.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked),
                _ => oldest,
            };
            let oldest: Vec<(Uuid, i64)> = oldest.into_tuple().all(&transaction.inner).await?;
            let pruned = Pruned::of(&oldest, from, before, limit);
            if pruned.count > 0 {
                let keys = filled_up(oldest.into_iter().map(|(key, _)| key));
                let those = idempotency_key::Entity::delete_many().filter(Column::Key.is_in(keys));
                those.exec(&transaction.inner).await?;
            }
            transaction.commit().await?;
            Ok(pruned)
        };
        in_time(step).await
    }

    /// Prunes entries of the audit from `from` on and before `before`, the oldest first, at most `limit`; none if another
    /// replica is at it. No row is locked to be deleted later: the role needs no right to change an entry.
    pub async fn prune_audit(&self, from: Timestamp, before: Timestamp, limit: u32) -> Result<Pruned, StorageError> {
        let step = async {
            let transaction = self.begin_maintenance().await?;
            if !is_alone(&transaction.inner, PRUNING_AUDIT).await? {
                transaction.rollback().await?;
                return Ok(Pruned { count: 0, up_to: from });
            }
            let oldest = oldest_entries(from, before, limit);
            let oldest: Vec<(i64, i64)> = oldest.into_tuple().all(&transaction.inner).await?;
            let pruned = Pruned::of(&oldest, from, before, limit);
            if pruned.count > 0 {
                let numbers = filled_up(oldest.into_iter().map(|(seq, _)| seq));
                let those = audit::Entity::delete_many().filter(audit::Column::Seq.is_in(numbers));
                those.exec(&transaction.inner).await?;
            }
            transaction.commit().await?;
            Ok(pruned)
        };
        in_time(step).await
    }
}

/// The numbers and times of the oldest entries of the audit.
pub(super) fn oldest_entries(from: Timestamp, before: Timestamp, limit: u32) -> Select<audit::Entity> {
    use audit::Column;
    audit::Entity::find()
        .select_only()
        .columns([Column::Seq, Column::Time])
        .filter(Column::Time.gte(from.micros()))
        .filter(Column::Time.lt(before.micros()))
        .order_by(Column::Time, Direction::Asc)
        .order_by(Column::Seq, Direction::Asc)
        .limit(u64::from(limit))
}

/// Whether no other replica is at what this lock is for; if so, none can be until the transaction ends.
async fn is_alone(transaction: &DatabaseTransaction, lock: i64) -> Result<bool, StorageError> {
    let backend = transaction.get_database_backend();
    if backend != DbBackend::Postgres {
        return Ok(true);
    }
    let ask = Statement::from_sql_and_values(backend, "SELECT pg_try_advisory_xact_lock($1) AS locked", [lock.into()]);
    let row = transaction.query_one_raw(ask).await?;
    Ok(row.map(|row| row.try_get("", "locked")).transpose()?.unwrap_or(false))
}

/// Events that can be pruned: older than `before`, at most `limit`, without a newer one among them. `None` if there is
/// nothing to prune, or another replica is pruning. The last event is always kept: the log is identified by it.
async fn prunable(
    transaction: &DatabaseTransaction,
    before: Timestamp,
    limit: i64,
) -> Result<Option<OldEvents>, StorageError> {
    if !is_alone(transaction, PRUNING_EVENTS).await? {
        return Ok(None);
    }
    let (log, []) = log_and_events_at(transaction, []).await?;
    let last = Ord::min(log.pruned_seq.saturating_add(limit), log.last_seq.saturating_sub(1));
    let young = event::Entity::find()
        .select_only()
        .column(event::Column::Seq)
        .filter(event::Column::Seq.gt(log.pruned_seq))
        .filter(event::Column::Seq.lte(last))
        .filter(event::Column::EventTime.gte(before.micros()))
        .order_by(event::Column::Seq, Direction::Asc);
    let young: Option<i64> = young.into_tuple().one(transaction).await?;
    let up_to = young.map_or(last, |young| young.saturating_sub(1));
    let (_, [last]) = log_and_events_at(transaction, [up_to]).await?;
    let last = last.filter(|_| up_to > log.pruned_seq);
    Ok(last.map(|last| OldEvents { floor: log.pruned_seq, up_to, last }))
}

/// Moves `pruned_seq` to the last pruned event.
async fn move_floor(transaction: &Maintenance, old: &OldEvents) -> Result<(), StorageError> {
    use event_log::Column;
    let floor = event_log::Entity::update_many()
        .col_expr(Column::Floor, old.up_to.into())
        .col_expr(Column::FloorEvent, old.last.0.into())
        .filter(Column::Id.eq(1_i16));
    floor.exec(&transaction.inner).await?;
    Ok(())
}
