//! Plain reads, which lock nothing.

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait as _, Order as Direction,
    QueryFilter as _, QueryOrder as _, QueryResult, QuerySelect as _, QueryTrait as _, Select, Statement,
};

use super::batch::filled_up;
use super::columns::{Columns, row_at};
use super::corrupt::fetch;
use super::dialect::sqlite;
use super::entity::{OPEN, PENDING, dispute, order};
use super::error::StorageError;
use super::reader::{ReadSnapshot, Reader};
use super::transaction::{Times, times};
use super::{Deadline, Repository, rows};
use crate::domain::{
    Code as _, DisputeId, DisputeKind, Order, OrderAggregate, OrderId, OrderStatus, RELEASE, SellerStanding, Timestamp,
    UserId,
};

impl Repository {
    /// The database's clock.
    pub async fn database_time(&self) -> Result<Timestamp, StorageError> {
        self.background.read(|connection| async move { database_time(&connection).await }).await
    }

    /// The database's clock, if it decides, and the time of the last event of the log.
    pub async fn times(&self) -> Result<Times, StorageError> {
        self.background.read(|connection| async move { times(&connection).await }).await
    }

    /// The latest time at which something was stored, by the clock that commands are judged by: an event, an entry of the
    /// audit, or a request; `None` if nothing was.
    pub async fn last_stored_time(&self) -> Result<Option<Timestamp>, StorageError> {
        let read = |connection: DatabaseConnection| async move {
            let mut last = times(&connection).await?.last_event;
            for (table, column) in [("audit", "time"), ("idempotency_keys", "create_time")] {
                let ask = format!("SELECT max({column}) FROM {table}");
                let row =
                    connection.query_one_raw(Statement::from_string(connection.get_database_backend(), ask)).await?;
                let micros: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
                last = last.max(micros.and_then(Timestamp::from_micros));
            }
            Ok(last)
        };
        self.background.read(read).await
    }

    /// The first deadlines and reminders after this instant and dispute, including overdue ones.
    pub async fn next_deadlines(
        &self,
        after: (Timestamp, DisputeId),
        limit: u64,
    ) -> Result<Vec<Deadline>, StorageError> {
        let mut next = Vec::new();
        for select in next_deadlines(after, limit) {
            next.extend(self.deadlines(select).await?);
        }
        next.sort_unstable_by_key(|deadline| (deadline.time, deadline.dispute));
        next.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(next)
    }

    async fn deadlines(&self, select: Select<dispute::Entity>) -> Result<Vec<Deadline>, StorageError> {
        let read = |connection: DatabaseConnection| {
            let select = select.clone();
            async move { Ok(connection.query_all(&select.into_query()).await?) }
        };
        // A corrupt row must not hide the others. A deadline with an impossible time counts as passed: the dispute then
        // fails to expire and is quarantined.
        let deadline = |row: &QueryResult| {
            let time = row.try_get_by_index(0).ok().and_then(Timestamp::from_micros).unwrap_or(Timestamp::MIN);
            let (dispute, order): (_, String) = (row.try_get_by_index(1).ok()?, row.try_get_by_index(2).ok()?);
            Some(Deadline { time, dispute: DisputeId(dispute), order: OrderId::stored(&order) })
        };
        Ok(self.background.read(read).await?.iter().filter_map(deadline).collect())
    }
}

impl Reader {
    /// Those orders with these ids that exist.
    pub async fn orders_named(&self, ids: &[OrderId]) -> Result<Vec<Order>, StorageError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let named = order::Column::OrderId.is_in(filled_up(ids.iter().map(OrderId::to_string)));
        let select = order::Entity::find().filter(named);
        let rows = match &self.in_place {
            Some(in_place) => {
                let select = select.build(DbBackend::Sqlite);
                let read = move |file: &_| sqlite::query(file, &select, |row| row_at(row, 0));
                in_place.read_elsewhere(self.permit.clone(), read).await?
            }
            None => {
                let read = move |connection: DatabaseConnection| async move { fetch(select, &connection).await };
                self.read(read).await?
            }
        };
        let rows = rows.into_iter();
        rows.map(|row| rows::order_from(row.map_err(|broken| broken.error)?)).collect()
    }

    /// An order with its open disputes and the ended disputes of `ended_too`, in one snapshot.
    pub async fn aggregate(
        &self,
        id: &OrderId,
        ended_too: &[DisputeKind],
    ) -> Result<Option<OrderAggregate>, StorageError> {
        let (id, ended_too) = (id.to_string(), ended_too.to_vec());
        if let Some(in_place) = &self.in_place {
            let is_bounded = ended_too.is_empty();
            let ended_too: Vec<i16> = ended_too.iter().map(|kind| kind.code()).collect();
            let read = move |file: &rusqlite::Connection| {
                let _snapshot = file.unchecked_transaction()?;
                sqlite::aggregates(file, vec![id.clone()], &[], &ended_too)
            };
            // However many disputes of the order have ended.
            let found = if is_bounded {
                in_place.read(self.permit.clone(), read).await?
            } else {
                in_place.read_elsewhere(self.permit.clone(), read).await?
            };
            let sqlite::Aggregates { orders, disputes, order_of: _ } = found;
            return rows::aggregates_from(orders, disputes).pop().map(|(_, aggregate)| aggregate).transpose();
        }
        let read = |snapshot: ReadSnapshot| async move {
            let order = fetch(order::Entity::find_by_id(id.as_str()), &*snapshot).await?;
            let disputes = fetch(disputes_of(vec![id], &ended_too), &*snapshot).await?;
            rows::aggregates_from(order, disputes).pop().map(|(_, aggregate)| aggregate).transpose()
        };
        self.in_snapshot(read).await
    }

    /// How many orders of a seller ended, by outcome, after `window_start` and up to `window_end`.
    pub async fn seller_standing(
        &self,
        seller: &UserId,
        window_start: Timestamp,
        window_end: Timestamp,
    ) -> Result<SellerStanding, StorageError> {
        let select = ended_orders(seller, window_start, window_end);
        let counts = match &self.in_place {
            Some(in_place) => {
                let select = select.build(DbBackend::Sqlite);
                let read = move |file: &_| sqlite::query(file, &select, |row| count_at(row));
                in_place.read_elsewhere(self.permit.clone(), read).await?
            }
            None => {
                let read = move |connection: DatabaseConnection| async move {
                    let rows = connection.query_all(&select.into_query()).await?;
                    Ok(rows.iter().map(count_at).collect())
                };
                self.read(read).await?
            }
        };
        let counts: Vec<(i16, bool, i64)> = counts.into_iter().flatten().collect();
        let orders = |ended: OrderStatus, counted: &[bool]| {
            let those = counts.iter().filter(|(status, counts, _)| *status == ended.code() && counted.contains(counts));
            those.map(|(_, _, orders)| u64::try_from(*orders).unwrap_or_default()).sum()
        };
        Ok(SellerStanding {
            seller: seller.clone(),
            completed: orders(OrderStatus::Completed, &[true, false]),
            cancelled: orders(OrderStatus::Cancelled, &[true]),
            cancelled_not_counted: orders(OrderStatus::Cancelled, &[false]),
            window_start,
            window_end,
        })
    }
}

/// How many orders ended with a status, and whether they count. Orders with a corrupt status do not count, and do not
/// affect the others.
fn count_at(row: &impl Columns) -> Option<(i16, bool, i64)> {
    Some((row.column(0)?, row.column(1)?, row.column(2)?))
}

/// How many orders of a seller ended, by outcome, from an index alone.
pub(super) fn ended_orders(seller: &UserId, after: Timestamp, up_to: Timestamp) -> Select<order::Entity> {
    use order::Column;
    order::Entity::find()
        .select_only()
        .columns([Column::Status, Column::CancellationCounts])
        .column_as(Column::Status.count(), "orders")
        .filter(Column::SellerId.eq(seller.as_str()))
        .filter(Column::EndTime.gt(after.micros()))
        .filter(Column::EndTime.lte(up_to.micros()))
        .group_by(Column::Status)
        .group_by(Column::CancellationCounts)
}

/// The first deadlines and reminders. Bounded below: finished ones leave the index only when PostgreSQL has cleaned it,
/// which it cannot while anybody reads an old snapshot.
pub(super) fn next_deadlines(after: (Timestamp, DisputeId), limit: u64) -> [Select<dispute::Entity>; 2] {
    use dispute::Column;
    let (after, dispute) = after;
    // Disputes that are no longer pending have no reminder, whatever their rows say.
    let reminders = format!("disputes.remind_at IS NOT NULL AND {PENDING}");
    [(Column::RespondBy, PENDING.to_owned()), (Column::RemindAt, reminders)].map(|(time, some)| {
        dispute::Entity::find()
            .select_only()
            .columns([time, Column::DisputeId, Column::OrderId])
            .filter(Expr::cust(some))
            .filter(
                Expr::tuple([Expr::col(time), Expr::col(Column::DisputeId)])
                    .gt(Expr::tuple([Expr::value(after.micros()), Expr::value(dispute.0)])),
            )
            // Other disputes are left to newer releases.
            .filter(Column::LeastRelease.lte(RELEASE))
            .order_by(time, Direction::Asc)
            .order_by(Column::DisputeId, Direction::Asc)
            .limit(limit)
    })
}

/// The open disputes of these orders, and those of `ended_too` that ended.
pub(super) fn disputes_of(orders: Vec<String>, ended_too: &[DisputeKind]) -> Select<dispute::Entity> {
    use dispute::Column;
    let mut wanted = Condition::any().add(Expr::cust(OPEN));
    if !ended_too.is_empty() {
        wanted = wanted.add(Column::Kind.is_in(filled_up(ended_too.iter().map(|kind| kind.code()))));
    }
    dispute::Entity::find().filter(wanted).filter(Column::OrderId.is_in(filled_up(orders)))
}

/// PostgreSQL's current time, not that of the start of the transaction.
pub(super) async fn database_time(connection: &impl ConnectionTrait) -> Result<Timestamp, StorageError> {
    let ask = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros";
    let row = connection.query_one_raw(Statement::from_string(connection.get_database_backend(), ask)).await?;
    let micros: Option<i64> = row.map(|row| row.try_get("", "micros")).transpose()?;
    let time = micros.and_then(Timestamp::from_micros);
    time.ok_or_else(|| StorageError::Failed("the database did not return its time".to_owned()))
}
