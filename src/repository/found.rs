//! The results of lists: keys first, then the rows, each with what it is judged by. A corrupt row is left out, and the
//! list continues after its key.

use std::collections::{BTreeSet, HashMap};

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait, Order as Direction, QueryFilter as _, QuerySelect as _,
    QueryTrait as _, Select,
};
use uuid::Uuid;

use super::batch::filled_up;
use super::corrupt::{fetch, sound};
use super::entity::{dispute, order};
use super::error::StorageError;
use super::lists::{DisputeQuery, OrderQuery, Sort};
use super::reader::{ReadSnapshot, Reader};
use super::reads::disputes_of;
use super::{Log, log, rows};
use crate::domain::{
    Caller, Code as _, DisputeId, DisputeKind, DisputeStatus, EventId, OrderAggregate, OrderId, OrderStatus, Policy,
    ShownDispute, StoredDispute, Timestamp,
};

impl Reader {
    /// The orders that a query finds, each with its open disputes, in one snapshot.
    ///
    /// For a corrupt order only the key is returned, so that the list continues after it.
    pub async fn orders(&self, query: &OrderQuery) -> Result<Vec<Row<OrderId, OrderAggregate>>, StorageError> {
        let query = query.clone();
        let read = |snapshot: ReadSnapshot| async move {
            let newer = query.newer(&*snapshot).await?;
            let mut found = Vec::new();
            for select in query.selects(&newer, snapshot.get_database_backend()) {
                found.extend(fetch(select, &*snapshot).await?.into_iter().filter_map(sound));
            }
            found.sort_unstable_by(|a, b| (b.create_time, &b.order_id).cmp(&(a.create_time, &a.order_id)));
            // One that has several open disputes is perhaps found by two of them.
            found.dedup_by(|a, b| a.order_id == b.order_id);
            found.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
            found.retain(|order| order.create_time >= Timestamp::MIN.micros());
            let times: Vec<i64> = found.iter().map(|order| order.create_time).collect();
            let ids: Vec<String> = found.iter().map(|order| order.order_id.clone()).collect();
            let open = if ids.is_empty() { Vec::new() } else { fetch(disputes_of(ids, &[]), &*snapshot).await? };
            let aggregates = rows::aggregates_from(found.into_iter().map(Ok).collect(), open);
            let row = |((id, aggregate), time): ((String, _), i64)| {
                let key = (Timestamp::from_micros(time).unwrap_or(Timestamp::MAX), OrderId::stored(&id));
                Row { key, found: Result::ok(aggregate) }
            };
            Ok(aggregates.into_iter().zip(times).map(row).collect())
        };
        self.in_snapshot(read).await
    }

    /// The disputes that a query finds, each in its aggregate (its order with the order's open disputes), in one
    /// snapshot: otherwise a dispute that moves from one scan to another could be found twice or not at all. They come
    /// with the log of that snapshot, so that the result reflects every event up to its last one and none after it, and
    /// with the id of its event number `seq`, if that is kept.
    ///
    /// For a corrupt dispute only the key is returned, so that the list continues after it.
    pub async fn disputes(&self, query: &DisputeQuery, seq: i64) -> Result<FoundDisputes, StorageError> {
        let query = query.clone();
        let read = move |snapshot: ReadSnapshot| async move {
            let (log, [event]) = log::log_and_events_at(&*snapshot, [seq]).await?;
            Ok((query.read(&snapshot).await?, log, event))
        };
        self.in_snapshot(read).await
    }

    /// The same for a result that is read page by page to its end, however much is added meanwhile: also returns the
    /// last key that exists when the page is read, on this page or after it.
    pub async fn first_disputes(
        &self,
        query: &DisputeQuery,
        seq: i64,
    ) -> Result<(FoundDisputes, Option<(Timestamp, DisputeId)>), StorageError> {
        let query = query.clone();
        let read = move |snapshot: ReadSnapshot| async move {
            let (log, [event]) = log::log_and_events_at(&*snapshot, [seq]).await?;
            let found = query.read(&snapshot).await?;
            let is_full = found.len() >= usize::try_from(query.limit).unwrap_or(usize::MAX);
            let last = if is_full { query.last(&snapshot).await? } else { found.last().map(|row| row.key) };
            Ok(((found, log, event), last))
        };
        self.in_snapshot(read).await
    }
}

/// The disputes that a query finds, the log of that snapshot, and an event of it.
pub type FoundDisputes = (Vec<Row<DisputeId, Found>>, Log, Option<EventId>);

impl DisputeQuery {
    /// The disputes found, each in its aggregate: its order with the order's open disputes.
    async fn read(&self, snapshot: &ReadSnapshot) -> Result<Vec<Row<DisputeId, Found>>, StorageError> {
        let keys = self.find(snapshot).await?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let named = dispute::Column::DisputeId.is_in(filled_up(keys.iter().map(|(_, id)| *id)));
        let disputes = fetch(dispute::Entity::find().filter(named), &**snapshot).await?.into_iter().filter_map(sound);
        let disputes: Vec<dispute::Model> = disputes.collect();
        let orders: BTreeSet<String> = disputes.iter().map(|dispute| dispute.order_id.clone()).collect();
        let mut aggregates = Vec::new();
        if !orders.is_empty() {
            let named = order::Column::OrderId.is_in(filled_up(orders.iter().cloned()));
            let found = fetch(order::Entity::find().filter(named), &**snapshot).await?;
            // What can be done with a dispute depends on the order's other open disputes: they can prevent an
            // escalation, and be overdue.
            let open = fetch(disputes_of(orders.into_iter().collect(), &[]), &**snapshot).await?;
            aggregates = rows::aggregates_from(found, open);
        }
        let aggregates: HashMap<String, OrderAggregate> =
            aggregates.into_iter().filter_map(|(id, aggregate)| Some((id, aggregate.ok()?))).collect();
        let in_its_aggregate = |row: dispute::Model| {
            let (id, order) = (row.dispute_id, row.order_id.clone());
            Some((id, Found::new(sound(rows::dispute_from(row))?, aggregates.get(&order).cloned())))
        };
        let mut found: HashMap<Uuid, Found> = disputes.into_iter().filter_map(in_its_aggregate).collect();
        let row = |(time, id): (i64, Uuid)| {
            let (nearest, _) = self.ends();
            let time = Timestamp::from_micros(time).unwrap_or(nearest);
            Row { key: (time, DisputeId(id)), found: found.remove(&id) }
        };
        Ok(keys.into_iter().map(row).collect())
    }

    /// The last key of a result that is read oldest first.
    async fn last(&self, snapshot: &ReadSnapshot) -> Result<Option<(Timestamp, DisputeId)>, StorageError> {
        let newest = Self { sort: Sort::NewestFirst, limit: 1, ..self.clone() };
        let key = newest.find(snapshot).await?.pop();
        Ok(key.map(|(time, id)| (Timestamp::from_micros(time).unwrap_or(Timestamp::MAX), DisputeId(id))))
    }

    /// The keys found, in order. Disputes with an impossible time come first, or not at all.
    async fn find(&self, snapshot: &ReadSnapshot) -> Result<Vec<(i64, Uuid)>, StorageError> {
        let backend = snapshot.get_database_backend();
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let newer = self.newer(&**snapshot).await?;
        let mut keys: Vec<(i64, Uuid)> = Vec::new();
        for scan in self.scans(&newer, backend) {
            if !scan.comes_last || keys.len() < limit {
                let rows = snapshot.query_all(&self.keys(scan, backend).into_query()).await?;
                keys.extend(
                    rows.iter().filter_map(|row| Some((row.try_get_by_index(0).ok()?, row.try_get_by_index(1).ok()?))),
                );
            }
        }
        keys.sort_unstable();
        if self.direction() == Direction::Desc {
            keys.reverse();
        }
        keys.truncate(limit);
        let (_, farthest) = self.ends();
        let is_beyond = |time: i64| match self.direction() {
            Direction::Desc => time < farthest.micros(),
            _ => time > farthest.micros(),
        };
        keys.retain(|(time, _)| !is_beyond(*time));
        Ok(keys)
    }

    /// The first and the last possible instant, in the order of the list.
    fn ends(&self) -> (Timestamp, Timestamp) {
        match self.direction() {
            Direction::Desc => (Timestamp::MAX, Timestamp::MIN),
            _ => (Timestamp::MIN, Timestamp::MAX),
        }
    }
}

/// A result of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row<I, T> {
    /// Its sort value and its id: the list continues after them.
    pub key: (Timestamp, I),
    /// The result; `None` if it is corrupt.
    pub found: Option<T>,
}

/// A dispute as it was found, with what it is judged by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    dispute: StoredDispute,
    /// Its order, with this dispute and the order's open ones; `None` if the order is corrupt.
    aggregate: Option<OrderAggregate>,
}

impl Found {
    pub(super) fn new(dispute: StoredDispute, mut aggregate: Option<OrderAggregate>) -> Self {
        if let Some(aggregate) = &mut aggregate {
            aggregate.add(dispute.clone());
        }
        Self { dispute, aggregate }
    }

    /// Its order with its disputes, if that could be read, to be completed by what else they are judged by.
    pub fn aggregate_mut(&mut self) -> Option<&mut OrderAggregate> {
        self.aggregate.as_mut()
    }

    /// The dispute.
    pub fn dispute(&self) -> &StoredDispute {
        &self.dispute
    }

    /// Its order, with this dispute and the order's open ones; `None` if the order is corrupt.
    pub fn aggregate(&self) -> Option<&OrderAggregate> {
        self.aggregate.as_ref()
    }

    /// The dispute as this caller may see it.
    pub fn shown(&self, caller: &Caller, policy: &Policy, now: Timestamp) -> ShownDispute {
        let in_its_aggregate =
            self.aggregate.as_ref().and_then(|aggregate| aggregate.show(self.dispute.id(), caller, policy, now));
        in_its_aggregate.unwrap_or_else(|| self.dispute.clone().shown_alone())
    }
}

/// The numbers of newer releases in columns over which a list is the sum of scans.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct NewerNumbers {
    pub(super) kinds: Vec<i16>,
    pub(super) statuses: Vec<i16>,
}

impl DisputeQuery {
    /// The numbers that affect this query.
    async fn newer(&self, connection: &impl ConnectionTrait) -> Result<NewerNumbers, StorageError> {
        use dispute::Column;
        let numbers = |column: Column, known: i16| above(dispute::Entity::find(), column, known, connection);
        let (kinds, statuses) =
            if self.is_of_everybody() { (self.kinds.is_empty(), self.open) } else { (false, false) };
        Ok(NewerNumbers {
            kinds: if kinds { numbers(Column::Kind, DisputeKind::highest()).await? } else { Vec::new() },
            statuses: if statuses { numbers(Column::Status, DisputeStatus::highest()).await? } else { Vec::new() },
        })
    }
}

impl OrderQuery {
    /// The numbers that affect this query.
    async fn newer(&self, connection: &impl ConnectionTrait) -> Result<NewerNumbers, StorageError> {
        if !self.is_sum_of_statuses() {
            return Ok(NewerNumbers::default());
        }
        let statuses = above(order::Entity::find(), order::Column::Status, OrderStatus::highest(), connection).await?;
        Ok(NewerNumbers { statuses, ..NewerNumbers::default() })
    }
}

/// The numbers in a column above the known ones: few if any, each found by one index lookup.
async fn above<E: EntityTrait>(
    all: Select<E>,
    column: E::Column,
    known: i16,
    connection: &impl ConnectionTrait,
) -> Result<Vec<i16>, StorageError> {
    let (mut numbers, mut last) = (Vec::new(), known);
    loop {
        let next = all.clone().select_only().column_as(column.min(), "next").filter(column.gt(last));
        let row = connection.query_one(&next.into_query()).await?;
        let Some(next) = row.and_then(|row| row.try_get::<Option<i16>>("", "next").ok().flatten()) else {
            return Ok(numbers);
        };
        numbers.push(next);
        last = next;
    }
}
