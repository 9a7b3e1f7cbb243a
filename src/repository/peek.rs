//! What a command is judged by, at one moment and without a lock: for commands that are only tried out.

use std::collections::{BTreeSet, HashMap};

use rusqlite::Connection;
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};
use uuid::Uuid;

use super::batch::filled_up;
use super::corrupt::{Fetched, apart, fetch};
use super::dialect::sqlite;
use super::entity::{dispute, order};
use super::error::StorageError;
use super::locks::LockedAggregates;
use super::reader::{ReadSnapshot, Reader};
use super::reads::disputes_of;
use super::rows;
use super::transaction::{Records, Times, records_of, times_and_records};
use crate::clock::{Asked, Clock};
use crate::domain::{Code as _, DisputeId, DisputeKind, OrderId, StoredDispute};

/// Disputes; for corrupt ones, by id, what is wrong.
pub type Disputes = (Vec<StoredDispute>, HashMap<Uuid, StorageError>);

/// What a command is judged by.
#[derive(Debug)]
pub struct Peeked {
    /// Its order, with the disputes that matter.
    pub found: LockedAggregates,
    /// The database's times, and when they were asked for.
    pub times: (Asked, Times),
    /// What is remembered of its request.
    pub records: Records,
    /// The disputes that came of that.
    pub done: Disputes,
}

impl Reader {
    /// Reads in one snapshot what [`super::Transaction::lock_aggregates`] would lock and read, with the records of these
    /// requests and the disputes that came of them.
    pub async fn peek(
        &self,
        orders: &BTreeSet<OrderId>,
        disputes: &[DisputeId],
        ended_too: &[DisputeKind],
        requests: &[Uuid],
        clock: &Clock,
    ) -> Result<Peeked, StorageError> {
        let ids: Vec<String> = orders.iter().map(OrderId::to_string).collect();
        let named: Vec<Uuid> = disputes.iter().map(|dispute| dispute.0).collect();
        let (ended_too, requests, clock) = (ended_too.to_vec(), requests.to_vec(), clock.clone());
        let (orders, rows, times, records, done) = match &self.in_place {
            Some(in_place) => {
                let read = move |file: &Connection| on_sqlite(file, ids.clone(), &named, &ended_too, &requests, &clock);
                in_place.read_elsewhere(self.permit.clone(), read).await?
            }
            None => {
                let read = |snapshot: ReadSnapshot| async move {
                    on_postgres(&*snapshot, ids, named, &ended_too, &requests, &clock).await
                };
                self.in_snapshot(read).await?
            }
        };
        let order_of = rows.iter().flatten().map(|row| (DisputeId(row.dispute_id), OrderId::stored(&row.order_id)));
        let order_of = order_of.collect();
        let found = LockedAggregates { order_of, ..LockedAggregates::of(orders, rows, disputes) };
        let done = done.into_iter().map(|row| row.map_err(|broken| broken.error).and_then(rows::dispute_from));
        Ok(Peeked { found, times, records, done: apart(done) })
    }
}

/// Orders, their disputes, the times, the records, and the disputes that came of those.
type Found = (Fetched<order::Model>, Fetched<dispute::Model>, (Asked, Times), Records, Fetched<dispute::Model>);

/// The disputes that came of what is remembered.
fn came_of((records, _): &Records) -> Vec<Uuid> {
    records.iter().map(|record| record.dispute.0).collect()
}

fn on_sqlite(
    file: &Connection,
    ids: Vec<String>,
    named: &[Uuid],
    ended_too: &[DisputeKind],
    requests: &[Uuid],
    clock: &Clock,
) -> rusqlite::Result<Found> {
    let _snapshot = file.unchecked_transaction()?;
    let ended_too: Vec<i16> = ended_too.iter().map(|kind| kind.code()).collect();
    let sqlite::Aggregates { orders, disputes, order_of: _ } = sqlite::aggregates(file, ids, named, &ended_too)?;
    let asked = clock.ask();
    let (last_event, records) = sqlite::last_event_and_records(file, requests)?;
    let records = records_of(records);
    let done = sqlite::disputes(file, &came_of(&records))?;
    Ok((orders, disputes, (asked, Times::of(None, last_event)), records, done))
}

async fn on_postgres(
    connection: &impl ConnectionTrait,
    mut ids: Vec<String>,
    named: Vec<Uuid>,
    ended_too: &[DisputeKind],
    requests: &[Uuid],
    clock: &Clock,
) -> Result<Found, StorageError> {
    let those = |ids: Vec<Uuid>| dispute::Entity::find().filter(dispute::Column::DisputeId.is_in(filled_up(ids)));
    let mut disputes = if named.is_empty() { Vec::new() } else { fetch(those(named), connection).await? };
    ids.extend(disputes.iter().flatten().map(|row| row.order_id.clone()));
    let of_these = order::Column::OrderId.is_in(filled_up(ids.iter().cloned()));
    let orders = if ids.is_empty() {
        Vec::new()
    } else {
        let others = fetch(disputes_of(ids, ended_too), connection).await?;
        let is_there = |row: &dispute::Model| disputes.iter().flatten().any(|named| named.dispute_id == row.dispute_id);
        let others: Vec<_> = others.into_iter().filter(|row| !row.as_ref().is_ok_and(is_there)).collect();
        disputes.extend(others);
        fetch(order::Entity::find().filter(of_these), connection).await?
    };
    let asked = clock.ask();
    let (times, records) = times_and_records(connection, requests).await?;
    let done = came_of(&records);
    let done = if done.is_empty() { Vec::new() } else { fetch(those(done), connection).await? };
    Ok((orders, disputes, (asked, times), records, done))
}
