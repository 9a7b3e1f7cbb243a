//! The event log: read by number, or by whom it concerns.

use sea_orm::sea_query::{Expr, ExprTrait, SelectStatement, SubQueryStatement};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, Order as Direction, QueryFilter as _, QueryOrder as _,
    QueryResult, QuerySelect as _, QueryTrait as _, Select,
};
use uuid::Uuid;

use super::batch::filled_up;
use super::connection::in_time;
use super::entity::{dispute, event};
use super::error::StorageError;
use super::{Log, LoggedEvent, Repository, rows};
use crate::domain::{DisputeId, EventId, OrderId, UserId};

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

impl Repository {
    /// The event log as a whole.
    pub async fn log(&self) -> Result<Log, StorageError> {
        Ok(self.log_and_events_at([]).await?.0)
    }

    /// The event log as a whole, and the ids of the events with these numbers, in the same order; `None` where no event
    /// is kept. In one statement, which sees one moment: between two, an event can be forgotten, or lost.
    pub async fn log_and_events_at<const N: usize>(
        &self,
        seqs: [i64; N],
    ) -> Result<(Log, [Option<EventId>; N]), StorageError> {
        in_time(log_and_events_at(&self.reader, seqs)).await
    }

    /// The events from number `first` on, in order, and the log at the same moment; for the one who tails the log, on a
    /// connection that the callers' reads leave free.
    pub async fn tail(&self, first: i64, limit: u64) -> Result<(Log, Vec<LoggedEvent>), StorageError> {
        let read = async {
            let rows = self.background.query_all(&tail(first, limit)).await?;
            let log = match rows.first() {
                Some(row) => log_of(row)?,
                None => log_and_events_at(&self.background, []).await?.0,
            };
            Ok((log, rows.iter().map(rows::event_of).collect()))
        };
        in_time(read).await
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
    let rows = connection.query_all(&select.into_query()).await?;
    Ok(rows.iter().map(rows::event_of).collect())
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

/// The events from number `first` on, in order, each beside the log.
pub(super) fn tail(first: i64, limit: u64) -> SelectStatement {
    beside_the_log(within(first.saturating_sub(1), i64::MAX, limit).into_query())
}

/// Adds the log to what a statement reads. Each column is looked up once, whatever the statement reads, and how.
fn beside_the_log(mut select: SelectStatement) -> SelectStatement {
    for column in ["epoch", "head", "floor", "floor_event"] {
        select.expr_as(Expr::cust(format!("(SELECT {column} FROM event_log WHERE id = 1)")), format!("log_{column}"));
    }
    let last = "(SELECT last.event_id FROM event_log JOIN events AS last ON last.seq = event_log.head WHERE id = 1)";
    select.expr_as(Expr::cust(last), "log_head_event").to_owned()
}

/// The log that a row is beside.
fn log_of(row: &QueryResult) -> Result<Log, StorageError> {
    Ok(Log {
        epoch: row.try_get::<Option<Uuid>>("", "log_epoch")?.ok_or_else(missing)?,
        head: row.try_get("", "log_head")?,
        head_event: rows::event_id_of(row, "log_head_event"),
        floor: row.try_get("", "log_floor")?,
        floor_event: rows::event_id_of(row, "log_floor_event"),
    })
}

pub(super) fn missing() -> StorageError {
    StorageError::Corrupt { table: "event_log", id: "1".to_owned(), what: "missing" }
}

/// The event log as a whole, and the ids of the events with these numbers that are kept.
pub(super) async fn log_and_events_at<const N: usize>(
    connection: &impl ConnectionTrait,
    seqs: [i64; N],
) -> Result<(Log, [Option<EventId>; N]), StorageError> {
    let mut select = beside_the_log(SelectStatement::new());
    for (number, seq) in seqs.into_iter().enumerate() {
        let id = event::Entity::find().select_only().column(event::Column::EventId).filter(event::Column::Seq.eq(seq));
        let id = SubQueryStatement::from(id.into_query());
        select.expr_as(Expr::SubQuery(None, Box::new(id)), format!("event_{number}"));
    }
    let row = connection.query_one(&select).await?.ok_or_else(missing)?;
    let mut ids = [None; N];
    for (number, id) in ids.iter_mut().enumerate() {
        *id = rows::event_id_of(&row, &format!("event_{number}"));
    }
    Ok((log_of(&row)?, ids))
}
