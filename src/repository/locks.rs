//! The locks of a batch: which of its orders are free, and what is read under their locks. On PostgreSQL two statements:
//! whatever is read before an order is locked could be out of date by then. SQLite has no row locks, and needs none: its
//! write transaction is the only one.

use std::collections::{BTreeSet, HashMap, HashSet};

use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DbBackend, EntityTrait as _, QueryFilter as _, QueryResult,
    QuerySelect as _, Statement, Value,
};
use uuid::Uuid;

use super::batch::filled_up;
use super::columns::row_at;
use super::corrupt::{Broken, Fetched};
use super::dialect::postgres::ServerTransaction;
use super::dialect::{Session, sqlite};
use super::entity::{dispute, order};
use super::error::StorageError;
use super::stored::Stored as _;
use super::transaction::{Records, Times, records_of};
use super::{Transaction, rows};
use crate::domain::{Code as _, DisputeId, DisputeKind, OrderAggregate, OrderId, Subject};

/// Which of the orders in question are free, and which are not.
#[derive(Default, Debug)]
pub struct LockedAggregates {
    /// The existing orders that are now locked by this transaction, each with its disputes.
    pub aggregates: Vec<OrderAggregate>,
    /// The orders that another transaction has locked, or with disputes that it has locked.
    pub busy: HashSet<OrderId>,
    /// Corrupt orders and disputes, each with what is wrong.
    pub unreadable: HashMap<Subject, StorageError>,
    /// The orders of the named disputes, locked or not.
    pub order_of: HashMap<DisputeId, OrderId>,
    /// The database's times and the records of the requests, where they were read in the same step.
    pub times_and_records: Option<(Times, Records)>,
}

impl LockedAggregates {
    /// Sorts the orders and their disputes; of corrupt ones only the error is kept.
    pub(super) fn of(orders: Fetched<order::Model>, disputes: Fetched<dispute::Model>, named: &[DisputeId]) -> Self {
        let mut found = Self::default();
        let named: HashSet<DisputeId> = named.iter().copied().collect();
        let is_named = |row: &&dispute::Model| named.contains(&DisputeId(row.dispute_id));
        let rows: Vec<dispute::Model> = disputes.iter().flatten().filter(is_named).cloned().collect();
        for broken in disputes.iter().filter_map(|row| row.as_ref().err()) {
            if let Some(id) = broken.key().map(DisputeId).filter(|id| named.contains(id)) {
                found.unreadable.insert(Subject::Dispute(id), broken.error.clone());
            }
        }
        for (id, aggregate) in rows::aggregates_from(orders, disputes) {
            match aggregate {
                Ok(aggregate) => found.aggregates.push(aggregate),
                Err(error) => drop(found.unreadable.insert(Subject::Order(OrderId::stored(&id)), error)),
            }
        }
        for row in rows {
            let id = Subject::Dispute(DisputeId(row.dispute_id));
            let of_order = found.unreadable.get(&Subject::Order(OrderId::stored(&row.order_id))).cloned();
            if let Some(error) = of_order.or_else(|| rows::dispute_from(row).err()) {
                found.unreadable.insert(id, error);
            }
        }
        found
    }
}

/// The order that a row belongs to, as far as that can be read.
fn order_of<M>(row: &Result<M, Broken>, id: impl Fn(&M) -> &String) -> Option<String> {
    row.as_ref().map_or_else(|broken| broken.order.clone(), |row| Some(id(row).clone()))
}

/// Locks those of the orders with these ids, and of the disputes with these ids, that are free.
fn lock_orders(orders: Vec<String>, disputes: Vec<Uuid>) -> (String, Vec<Value>) {
    let columns = order::Model::COLUMNS.join(", ");
    let lock = |some: &str| {
        format!("SELECT {columns} FROM orders WHERE order_id = ANY({some}) ORDER BY order_id FOR UPDATE SKIP LOCKED")
    };
    if disputes.is_empty() {
        return (lock("$1"), vec![orders.into()]);
    }
    let of_disputes = "$1 || ARRAY(SELECT order_id FROM disputes WHERE dispute_id = ANY($2))";
    (lock(of_disputes), vec![orders.into(), disputes.into()])
}

/// Locks the disputes of these locked orders that can change, the open and the named ones, as far as they are free. Returns
/// these (0), those that are not ([`IS_BUSY`]), and the ended ones of some kinds (2). A dispute that was locked is returned
/// as it is now, any other one as it was when the statement began: when its order was locked already.
///
/// Each order and each dispute is looked up by itself: while nothing is known of a table that grows fast, PostgreSQL
/// takes open disputes for few, and would rather read them all: 23 ms instead of 1.8 for 64 orders, with 20,000 disputes.
fn lock_disputes(orders: Vec<String>, named: Vec<Uuid>, ended_too: &[DisputeKind]) -> (String, Vec<Value>) {
    let columns = dispute::Model::COLUMNS.join(", ");
    let one_by_one = |keys: &str, some: &str, lock: &str| {
        format!(
            "FROM unnest({keys}) AS wanted (id) CROSS JOIN LATERAL
            (SELECT * FROM disputes WHERE {some} OFFSET 0 {lock}) AS found"
        )
    };
    let mut values = vec![orders.into()];
    let mut can_change = vec![("open", "$1", "order_id = wanted.id AND resolve_time IS NULL")];
    let (mut locks, mut parts) = (Vec::new(), Vec::new());
    if !named.is_empty() {
        values.push(named.into());
        can_change.push(("named", "$2", "dispute_id = wanted.id AND order_id = ANY($1)"));
    }
    for (name, keys, some) in can_change {
        let (lock, read) = (one_by_one(keys, some, "FOR UPDATE SKIP LOCKED"), one_by_one(keys, some, ""));
        locks.push(format!("{name} AS (SELECT {columns} {lock})"));
        parts.push(format!("SELECT 0 AS standing, {columns} FROM {name}"));
        let is_locked = format!("SELECT FROM {name} WHERE {name}.dispute_id = found.dispute_id");
        parts.push(format!("SELECT {IS_BUSY}, {columns} {read} WHERE NOT EXISTS ({is_locked})"));
    }
    if !ended_too.is_empty() {
        values.push(ended_too.iter().map(|kind| kind.code()).collect::<Vec<i16>>().into());
        let kinds = format!("(kind + 0) = ANY(${})", values.len());
        let ended = format!("order_id = wanted.id AND {kinds} AND resolve_time IS NOT NULL");
        parts.push(format!("SELECT 2, {columns} {}", one_by_one("$1", &ended, "")));
    }
    (format!("WITH {} {}", locks.join(", "), parts.join(" UNION ALL ")), values)
}

/// A dispute that is not free although it can change.
const IS_BUSY: i32 = 1;

impl Transaction {
    /// Locks the named orders and those of the named disputes, unless they, or those of their disputes that can change,
    /// are locked by another transaction; waits for no lock. Returns the existing and free ones, each with its open
    /// disputes, the named ones, and the ended ones of `ended_too`. Where that costs no step of its own, the records of
    /// these requests are read too, and the times.
    pub async fn lock_aggregates(
        &self,
        orders: &BTreeSet<OrderId>,
        disputes: &[DisputeId],
        ended_too: &[DisputeKind],
        requests: &[Uuid],
    ) -> Result<LockedAggregates, StorageError> {
        if orders.is_empty() && disputes.is_empty() {
            return Ok(LockedAggregates::default());
        }
        let named: Vec<Uuid> = disputes.iter().map(|dispute| dispute.0).collect();
        let ids: Vec<String> = orders.iter().map(OrderId::to_string).collect();
        match &self.inner {
            Session::Postgres(server) => server.lock_free(orders, disputes, ended_too).await,
            // Everything is free.
            Session::Sqlite(file) => {
                let ended_too: Vec<i16> = ended_too.iter().map(|kind| kind.code()).collect();
                let requests = requests.to_vec();
                let read = move |file: &_| {
                    let aggregates = sqlite::aggregates(file, ids, &named, &ended_too)?;
                    Ok((aggregates, sqlite::last_event_and_records(file, &requests)?))
                };
                let (aggregates, (last_event, records)) = file.lock().await.run(read).await?;
                let sqlite::Aggregates { orders, disputes: rows, order_of } = aggregates;
                let order_of = order_of.iter().map(|(dispute, order)| (DisputeId(*dispute), OrderId::stored(order)));
                Ok(LockedAggregates {
                    order_of: order_of.collect(),
                    times_and_records: Some((Times::of(None, last_event), records_of(records))),
                    ..LockedAggregates::of(orders, rows, disputes)
                })
            }
        }
    }
}

impl ServerTransaction {
    /// Locks what is free.
    async fn lock_free(
        &self,
        orders: &BTreeSet<OrderId>,
        disputes: &[DisputeId],
        ended_too: &[DisputeKind],
    ) -> Result<LockedAggregates, StorageError> {
        let named: Vec<Uuid> = disputes.iter().map(|dispute| dispute.0).collect();
        let ids: Vec<String> = orders.iter().map(OrderId::to_string).collect();
        let locked = self.query(lock_orders(ids, named.clone())).await?;
        let mut locked: Fetched<order::Model> = locked.iter().map(|row| row_at(row, 0)).collect();
        let held: BTreeSet<String> = locked.iter().filter_map(|row| order_of(row, |row| &row.order_id)).collect();
        let found = match held.is_empty() {
            true => Vec::new(),
            false => {
                let ids: Vec<String> = held.iter().cloned().collect();
                self.query(lock_disputes(ids, named, ended_too)).await?
            }
        };
        let (mut rows, mut seen, mut busy) = (Vec::new(), HashSet::new(), HashSet::new());
        for row in &found {
            let standing: i32 = row.try_get_by_index(0)?;
            let row: Result<dispute::Model, _> = row_at(row, 1);
            if standing == IS_BUSY {
                busy.extend(order_of(&row, |row| &row.order_id));
            }
            // An open dispute can be a named one, too.
            if row.as_ref().map_or(true, |row| seen.insert(row.dispute_id)) {
                rows.push(row);
            }
        }
        let known = rows.iter().flatten().map(|row| (DisputeId(row.dispute_id), OrderId::stored(&row.order_id)));
        let mut orders_of: HashMap<DisputeId, OrderId> = known.collect();
        let unknown: Vec<_> = disputes.iter().copied().filter(|id| !orders_of.contains_key(id)).collect();
        orders_of.extend(self.orders_of(&unknown).await?);
        let mut missing: BTreeSet<_> = orders.iter().chain(orders_of.values()).cloned().collect();
        missing.retain(|order| !held.contains(order.as_str()));
        busy.extend(self.existing(missing).await?);
        locked.retain(|row| order_of(row, |row| &row.order_id).is_none_or(|order| !busy.contains(&order)));
        rows.retain(|row| order_of(row, |row| &row.order_id).is_none_or(|order| !busy.contains(&order)));
        let busy = busy.iter().map(|order| OrderId::stored(order)).collect();
        Ok(LockedAggregates { busy, order_of: orders_of, ..LockedAggregates::of(locked, rows, disputes) })
    }

    async fn query(&self, (text, values): (String, Vec<Value>)) -> Result<Vec<QueryResult>, StorageError> {
        let query = Statement::from_sql_and_values(DbBackend::Postgres, text, values);
        Ok(self.query_all_raw(query).await?)
    }

    /// The orders of these disputes.
    async fn orders_of(&self, disputes: &[DisputeId]) -> Result<HashMap<DisputeId, OrderId>, StorageError> {
        if disputes.is_empty() {
            return Ok(HashMap::new());
        }
        use dispute::Column;
        let named = Column::DisputeId.is_in(filled_up(disputes.iter().map(|dispute| dispute.0)));
        let select = dispute::Entity::find().select_only().columns([Column::DisputeId, Column::OrderId]);
        let found: Vec<(Uuid, String)> = select.filter(named).into_tuple().all(self).await?;
        Ok(found.into_iter().map(|(dispute, order)| (DisputeId(dispute), OrderId::stored(&order))).collect())
    }

    /// Which of the orders that could not be locked exist: another transaction has locked them.
    async fn existing(&self, orders: BTreeSet<OrderId>) -> Result<Vec<String>, StorageError> {
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        use order::Column;
        let named = Column::OrderId.is_in(filled_up(orders.iter().map(OrderId::to_string)));
        let select = order::Entity::find().select_only().column(Column::OrderId).filter(named);
        Ok(select.into_tuple().all(self).await?)
    }
}
