//! The event log: read by number, or by whom it concerns; and forgotten from its old end.

use sea_orm::sea_query::ExprTrait;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait as _, Order as Direction,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Select, Statement,
};
use uuid::Uuid;

use super::batch::filled_up;
use super::connection::in_time;
use super::entity::{dispute, event, event_log};
use super::error::StorageError;
use super::{Log, LoggedEvent, Repository, rows};
use crate::domain::{DisputeId, EventId, OrderId, Timestamp, UserId};

/// Which events a read of the log looks at. Each is read in order from an index of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventScan {
    /// All of them.
    Everything,
    /// Those of a party's disputes.
    OfParty(UserId),
    /// Those of the disputes of these orders.
    OfOrders(Vec<OrderId>),
    /// Those of these disputes.
    OfDisputes(Vec<DisputeId>),
}

/// Events at the old end of the log that can be forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OldEvents {
    /// How many they are; at least one.
    pub count: u64,
    /// The number of the last one.
    pub up_to: i64,
    /// Its id.
    pub last: EventId,
}

/// The lock that a replica holds while it forgets events: one at a time, and nobody waits.
const FORGETTING: i64 = 7_305_794_241_085_369_198;

impl Repository {
    /// The event log as a whole.
    pub async fn log(&self) -> Result<Log, StorageError> {
        in_time(log(&self.reader)).await
    }

    /// The id of the event with number `seq`, if it is kept.
    pub async fn event_id_at(&self, seq: i64) -> Result<Option<EventId>, StorageError> {
        in_time(event_id_at(&self.reader, seq)).await
    }

    /// The events from number `first` on, in order; for the one who tails the log, on a connection that the callers'
    /// reads leave free.
    pub async fn tail(&self, first: i64, limit: u64) -> Result<Vec<LoggedEvent>, StorageError> {
        in_time(all(&self.background, within(first.saturating_sub(1), i64::MAX, limit))).await
    }

    /// The log's epoch; for the one who tails it.
    pub async fn epoch(&self) -> Result<Uuid, StorageError> {
        Ok(in_time(log(&self.background)).await?.epoch)
    }

    /// The first events of a scan with a number above `after` and up to `up_to`, in order.
    pub async fn events(
        &self,
        scan: &EventScan,
        after: i64,
        up_to: i64,
        limit: u64,
    ) -> Result<Vec<LoggedEvent>, StorageError> {
        let read = async {
            let mut events = Vec::new();
            for select in self.scanned(scan, after, up_to, limit).await? {
                events.extend(all(&self.reader, select).await?);
            }
            events.sort_unstable_by_key(|event| event.seq);
            events.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            Ok(events)
        };
        in_time(read).await
    }

    /// What to read for a scan, each from one index and in order.
    async fn scanned(
        &self,
        scan: &EventScan,
        after: i64,
        up_to: i64,
        limit: u64,
    ) -> Result<Vec<Select<event::Entity>>, StorageError> {
        Ok(match scan {
            EventScan::Everything => vec![within(after, up_to, limit)],
            EventScan::OfParty(party) => of_party(party, after, up_to, limit).into(),
            EventScan::OfDisputes(disputes) => {
                vec![of_disputes(disputes.iter().map(|dispute| dispute.0), after, up_to, limit)]
            }
            EventScan::OfOrders(orders) => {
                // First: of both at once PostgreSQL would, without statistics, rather read the whole log.
                let disputes = disputes_of(orders).into_tuple::<Uuid>().all(&self.reader).await?;
                let some = (!disputes.is_empty()).then(|| of_disputes(disputes, after, up_to, limit));
                some.into_iter().collect()
            }
        })
    }
}

async fn all(
    connection: &impl ConnectionTrait,
    select: Select<event::Entity>,
) -> Result<Vec<LoggedEvent>, StorageError> {
    select.all(connection).await?.into_iter().map(rows::event_from).collect()
}

/// The first events between two numbers, in order.
pub(super) fn within(after: i64, up_to: i64, limit: u64) -> Select<event::Entity> {
    event::Entity::find()
        .filter(event::Column::Seq.gt(after))
        .filter(event::Column::Seq.lte(up_to))
        .order_by(event::Column::Seq, Direction::Asc)
        .limit(limit)
}

/// The same of a party: neither database merges two indexes by itself.
pub(super) fn of_party(party: &UserId, after: i64, up_to: i64, limit: u64) -> [Select<event::Entity>; 2] {
    let roles = [event::Column::BuyerId, event::Column::SellerId];
    roles.map(|role| within(after, up_to, limit).filter(role.eq(party.as_str())))
}

/// The same of some disputes. They are few: their events are found by dispute and then sorted. By an expression, or
/// PostgreSQL would now and then believe that it finds them sooner when it reads the log in order.
pub(super) fn of_disputes(
    disputes: impl IntoIterator<Item = Uuid>,
    after: i64,
    up_to: i64,
    limit: u64,
) -> Select<event::Entity> {
    use event::Column;
    event::Entity::find()
        .filter(Column::DisputeId.is_in(filled_up(disputes)))
        .filter(Column::Seq.gt(after))
        .filter(Column::Seq.lte(up_to))
        .order_by(ExprTrait::add(Column::Seq.into_expr(), 0_i64), Direction::Asc)
        .limit(limit)
}

/// The disputes of some orders.
pub(super) fn disputes_of(orders: &[OrderId]) -> Select<dispute::Entity> {
    let named = dispute::Column::OrderId.is_in(filled_up(orders.iter().map(OrderId::to_string)));
    dispute::Entity::find().select_only().column(dispute::Column::DisputeId).filter(named)
}

/// The event log as a whole.
pub(super) async fn log(connection: &impl ConnectionTrait) -> Result<Log, StorageError> {
    let log = event_log::Entity::find_by_id(1_i16).one(connection).await?;
    log.map(rows::log_from).ok_or_else(missing)
}

pub(super) fn missing() -> StorageError {
    StorageError::Corrupt { table: "event_log", id: "1".to_owned(), what: "missing" }
}

/// The id of the event with number `seq`, if it is kept.
pub(super) async fn event_id_at(connection: &impl ConnectionTrait, seq: i64) -> Result<Option<EventId>, StorageError> {
    let select = event::Entity::find().select_only().column(event::Column::EventId);
    let id = select.filter(event::Column::Seq.eq(seq)).into_tuple().one(connection).await?;
    Ok(id.map(EventId))
}

/// What can be forgotten: events that are older than `before`, at most `limit`, with none among them that is not. `None`
/// if there is nothing to forget, or another replica is at it. The last event is always kept: by it the log is
/// recognised.
pub(super) async fn forgettable(
    transaction: &DatabaseTransaction,
    before: Timestamp,
    limit: i64,
) -> Result<Option<OldEvents>, StorageError> {
    let backend = transaction.get_database_backend();
    if backend == DbBackend::Postgres {
        let sql = "SELECT pg_try_advisory_xact_lock($1) AS locked";
        let lock = Statement::from_sql_and_values(backend, sql, [FORGETTING.into()]);
        let row = transaction.query_one_raw(lock).await?;
        if !row.map(|row| row.try_get("", "locked")).transpose()?.unwrap_or(false) {
            return Ok(None);
        }
    }
    let log = log(transaction).await?;
    let last = Ord::min(log.floor.saturating_add(limit), log.head.saturating_sub(1));
    let young = event::Entity::find()
        .select_only()
        .column(event::Column::Seq)
        .filter(event::Column::Seq.gt(log.floor))
        .filter(event::Column::Seq.lte(last))
        .filter(event::Column::EventTime.gte(before.micros()))
        .order_by(event::Column::Seq, Direction::Asc);
    let young: Option<i64> = young.into_tuple().one(transaction).await?;
    let up_to = young.map_or(last, |young| young.saturating_sub(1));
    let count = u64::try_from(up_to.saturating_sub(log.floor)).unwrap_or_default();
    let last = if count > 0 { event_id_at(transaction, up_to).await? } else { None };
    Ok(last.map(|last| OldEvents { count, up_to, last }))
}

/// Deletes what is forgotten.
pub(super) async fn forget(transaction: &DatabaseTransaction, up_to: i64) -> Result<(), StorageError> {
    event::Entity::delete_many().filter(event::Column::Seq.lte(up_to)).exec(transaction).await?;
    Ok(())
}
