//! The event log: read by number, or through the index of a party, order or dispute.

use std::sync::Arc;

use sea_orm::sea_query::{Expr, SelectStatement, SubQueryStatement, UnionType};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait as _, Iterable as _,
    Order as Direction, QueryFilter as _, QueryOrder as _, QueryResult, QuerySelect as _, QueryTrait as _, Select,
};
use uuid::Uuid;

use super::batch::filled_up;
use super::columns::Columns;
use super::dialect::sqlite;
use super::entity::{dispute, event};
use super::error::StorageError;
use super::reader::Reader;
use super::stored::Stored as _;
use super::token_key::log_id_at;
use super::{Log, LoggedEvent, Repository, rows};
use crate::domain::{DisputeId, EventId, OrderId, UserId};

/// The events that a read of the log covers. Each variant is read in order from its own index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventScan {
    /// All of them.
    Everything,
    /// The events of a party's disputes.
    OfParty(UserId),
    /// The events of the disputes of these orders.
    OfOrders(Vec<OrderId>),
    /// The events of these disputes.
    OfDisputes(Vec<DisputeId>),
}

/// The result of a read of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundEvents {
    /// The events, in order.
    pub events: Vec<LoggedEvent>,
    /// The number and id of the last event examined; `None` if all were.
    pub looked_at: Option<(i64, EventId)>,
}

/// How many event keys a read for some disputes examines, besides those it returns.
const SCAN_LIMIT: u64 = 1_024;

impl Repository {
    /// The state of the event log; for the service itself, on a connection that callers' reads leave free.
    pub async fn log(&self) -> Result<Log, StorageError> {
        let read = |connection: DatabaseConnection| async move { log_and_events_at(&connection, []).await };
        Ok(self.background.read(read).await?.0)
    }

    /// The events from number `first` on, in order, and the state of the log in the same snapshot; for the tailer, on a
    /// connection that callers' reads leave free.
    pub async fn tail(&self, first: i64, limit: u64) -> Result<(Log, Vec<LoggedEvent>), StorageError> {
        let beside = event::Model::COLUMNS.len();
        let (log, events) = match self.dispute_reads.in_place() {
            Some(in_place) => {
                let tail = DbBackend::Sqlite.build(&tail(first, limit));
                let read = move |file: &_| {
                    let mut log = None;
                    let event = |row: &rusqlite::Row<'_>| {
                        log.get_or_insert_with(|| log_at(row, beside));
                        rows::event_at(row)
                    };
                    let events = sqlite::query(file, &tail, event)?;
                    Ok((log, events))
                };
                in_place.read((), read).await?
            }
            None => {
                let read = |connection: DatabaseConnection| async move {
                    let rows = connection.query_all(&tail(first, limit)).await?;
                    let events: Vec<_> = rows.iter().map(rows::event_at).collect();
                    Ok((rows.first().map(|row| log_at(row, beside)), events))
                };
                self.background.read(read).await?
            }
        };
        let log = match log {
            Some(log) => log,
            None => self.log().await,
        };
        Ok((log?, events))
    }
}

impl Reader {
    /// The state of the event log.
    pub async fn log(&self) -> Result<Log, StorageError> {
        Ok(self.log_and_events_at([]).await?.0)
    }

    /// The state of the event log, and the ids of the events with these numbers, in the same order; `None` for events
    /// that are not kept. In one statement, which reads one snapshot: between two, an event can be pruned or lost.
    pub async fn log_and_events_at<const N: usize>(
        &self,
        seqs: [i64; N],
    ) -> Result<(Log, [Option<EventId>; N]), StorageError> {
        self.read(move |connection| async move { log_and_events_at(&connection, seqs).await }).await
    }

    /// The first events of a scan with a number above `after` and up to `up_to`, in order, at most `limit`.
    pub async fn events(
        &self,
        scan: EventScan,
        after: i64,
        up_to: i64,
        limit: u64,
    ) -> Result<FoundEvents, StorageError> {
        let first_of = move |events: Vec<LoggedEvent>| {
            let last = events.last().map(|last| (last.seq, last.id));
            let looked_at = last.filter(|_| events.len() as u64 == limit);
            Ok(FoundEvents { events, looked_at })
        };
        if let (EventScan::Everything, Some(in_place)) = (&scan, &self.in_place) {
            let select = within(after, up_to, limit).build(DbBackend::Sqlite);
            let read = move |file: &_| sqlite::query(file, &select, |row| rows::event_at(row));
            return first_of(in_place.read_elsewhere(self.permit.clone(), read).await?);
        }
        let scan = Arc::new(scan);
        let read = move |connection: DatabaseConnection| async move {
            match &*scan {
                EventScan::Everything => first_of(all(&connection, &within(after, up_to, limit).into_query()).await?),
                EventScan::OfParty(party) => first_of(all(&connection, &of_party(party, after, up_to, limit)).await?),
                EventScan::OfOrders(orders) => {
                    let orders = orders.iter().map(OrderId::to_string).collect();
                    Self::of_orders(&connection, orders, None, after, up_to, limit).await
                }
                EventScan::OfDisputes(disputes) => {
                    // The order of a dispute never changes.
                    let orders = orders_of(disputes).into_tuple().all(&connection).await?;
                    Self::of_orders(&connection, orders, Some(disputes), after, up_to, limit).await
                }
            }
        };
        self.read(read).await
    }

    /// The first events of these orders that belong to these disputes. Keys are examined first, and only so many: an
    /// order with very many disputes is read in steps, some of which can find nothing.
    async fn of_orders(
        connection: &DatabaseConnection,
        orders: Vec<String>,
        disputes: Option<&Vec<DisputeId>>,
        after: i64,
        up_to: i64,
        limit: u64,
    ) -> Result<FoundEvents, StorageError> {
        if orders.is_empty() {
            return Ok(FoundEvents { events: Vec::new(), looked_at: None });
        }
        let step = if disputes.is_some() { limit.max(SCAN_LIMIT / orders.len() as u64) } else { limit };
        let keys = connection.query_all(&keys_of_orders(orders, after, up_to, step)).await?;
        let (mut wanted, mut looked_at) = (Vec::new(), None);
        let mut is_all = (keys.len() as u64) < step;
        for (key, left) in keys.iter().zip((0..keys.len()).rev()) {
            let (seq, id) = key_of(key)?;
            looked_at = Some((seq, id));
            // A dispute id that cannot be read matches no dispute.
            let dispute = key.column(2).map(DisputeId);
            if disputes.is_none_or(|disputes| dispute.is_some_and(|dispute| disputes.contains(&dispute))) {
                wanted.push((seq, id));
            }
            if wanted.len() as u64 == limit {
                is_all = is_all && left == 0;
                break;
            }
        }
        let events = if wanted.is_empty() { Vec::new() } else { Self::with_keys(connection, &wanted).await? };
        Ok(FoundEvents { events, looked_at: looked_at.filter(|_| !is_all) })
    }

    /// The events with these keys, which are in order. It is an error if others are found because some were pruned or
    /// lost: those would not continue the log.
    pub(super) async fn with_keys(
        connection: &DatabaseConnection,
        keys: &[(i64, EventId)],
    ) -> Result<Vec<LoggedEvent>, StorageError> {
        let numbered = with_numbers(keys.iter().map(|(seq, _)| *seq).collect());
        let events = all(connection, &numbered.into_query()).await?;
        if events.iter().map(|event| (event.seq, event.id)).eq(keys.iter().copied()) {
            return Ok(events);
        }
        Err(StorageError::Unavailable("events were pruned or lost while they were being read".to_owned()))
    }
}

/// The number and the id of an event.
fn key_of(row: &QueryResult) -> Result<(i64, EventId), StorageError> {
    Ok((row.try_get_by_index(0)?, rows::event_id_at(row, 1).unwrap_or(EventId(Uuid::nil()))))
}

async fn all(connection: &impl ConnectionTrait, select: &SelectStatement) -> Result<Vec<LoggedEvent>, StorageError> {
    let rows = connection.query_all(select).await?;
    Ok(rows.iter().map(rows::event_at).collect())
}

/// The first events between two numbers, in order.
pub(super) fn within(after: i64, up_to: i64, limit: u64) -> Select<event::Entity> {
    event::Entity::find()
        .filter(event::Column::Seq.gt(after))
        .filter(event::Column::Seq.lte(up_to))
        .order_by(event::Column::Seq, Direction::Asc)
        .limit(limit)
}

/// The same for a party, using an index for each role. In one statement, which reads one snapshot: with two, one could
/// see events that a failover has lost, and the other their replacements.
pub(super) fn of_party(party: &UserId, after: i64, up_to: i64, limit: u64) -> SelectStatement {
    let roles = [event::Column::BuyerId, event::Column::SellerId];
    let each = roles.map(|role| within(after, up_to, limit).filter(role.eq(party.as_str())));
    merged(each, event::Column::iter(), limit)
}

/// The keys of the first events of these orders between two numbers, in order: number, id and dispute.
pub(super) fn keys_of_orders(mut orders: Vec<String>, after: i64, up_to: i64, limit: u64) -> SelectStatement {
    use event::Column;
    // No order has an empty id.
    orders.resize(orders.len().next_power_of_two(), String::new());
    let columns = || [Column::Seq, Column::EventId, Column::DisputeId].into_iter();
    let of_one = |order| within(after, up_to, limit).select_only().columns(columns()).filter(Column::OrderId.eq(order));
    merged(orders.into_iter().map(of_one), columns(), limit)
}

/// The first results of several scans, each read in order from an index up to the limit: neither database merges these
/// by itself, but would sort everything.
fn merged(
    each: impl IntoIterator<Item = Select<event::Entity>>,
    columns: impl Iterator<Item = event::Column> + Clone,
    limit: u64,
) -> SelectStatement {
    let one = |select: Select<event::Entity>| {
        SelectStatement::new().columns(columns.clone()).from_subquery(select.into_query(), "one").to_owned()
    };
    let mut each = each.into_iter().map(one);
    let mut merged = each.next().unwrap_or_default();
    merged.unions(each.map(|one| (UnionType::All, one))).order_by(event::Column::Seq, Direction::Asc).limit(limit);
    merged
}

/// The events with these numbers, in order.
pub(super) fn with_numbers(seqs: Vec<i64>) -> Select<event::Entity> {
    let numbered = event::Column::Seq.is_in(filled_up(seqs));
    event::Entity::find().filter(numbered).order_by(event::Column::Seq, Direction::Asc)
}

/// The orders of some disputes, each once.
pub(super) fn orders_of(disputes: &[DisputeId]) -> Select<dispute::Entity> {
    let named = dispute::Column::DisputeId.is_in(filled_up(disputes.iter().map(|dispute| dispute.0)));
    dispute::Entity::find().select_only().column(dispute::Column::OrderId).distinct().filter(named)
}

/// The events from number `first` on, in order, each beside the log.
pub(super) fn tail(first: i64, limit: u64) -> SelectStatement {
    beside_the_log(within(first.saturating_sub(1), i64::MAX, limit).into_query())
}

/// How many columns the state of the log has.
const LOG_COLUMNS: usize = 6;

/// Adds the state of the log to each row of a statement. Each column is looked up once, whatever the statement reads.
fn beside_the_log(mut select: SelectStatement) -> SelectStatement {
    for column in ["epoch", "token_key", "head", "floor", "floor_event"] {
        select.expr_as(Expr::cust(format!("(SELECT {column} FROM event_log WHERE id = 1)")), format!("log_{column}"));
    }
    let last = "(SELECT last.event_id FROM event_log JOIN events AS last ON last.seq = event_log.head WHERE id = 1)";
    select.expr_as(Expr::cust(last), "log_head_event").to_owned()
}

/// The state of the log in a row, whose columns begin at this position.
fn log_at(row: &impl Columns, first: usize) -> Result<Log, StorageError> {
    let [last_seq, pruned_seq, pruned_event, last_event] = [2, 3, 4, 5].map(|column| first.saturating_add(column));
    let number = |index| {
        let what = "a column is not of its type";
        row.column(index).ok_or_else(|| StorageError::Corrupt { table: "event_log", id: "1".to_owned(), what })
    };
    Ok(Log {
        id: log_id_at(row, first)?,
        last_seq: number(last_seq)?,
        last_event: rows::event_id_at(row, last_event),
        pruned_seq: number(pruned_seq)?,
        pruned_event: rows::event_id_at(row, pruned_event),
    })
}

pub(super) fn missing() -> StorageError {
    StorageError::Corrupt { table: "event_log", id: "1".to_owned(), what: "missing" }
}

/// The state of the event log, and the ids of those events with these numbers that are kept.
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
    for (index, id) in (LOG_COLUMNS..).zip(ids.iter_mut()) {
        *id = rows::event_id_at(&row, index);
    }
    Ok((log_at(&row, 0)?, ids))
}
