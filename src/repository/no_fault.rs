//! Quotas of no-fault cancellations: how many places of its quota a seller has taken, and on PostgreSQL the lock under which
//! one more may be taken.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use rusqlite::Connection;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, Value};

use super::Transaction;
use super::columns::Columns as _;
use super::dialect::Session;
use super::entity::PENDING;
use super::error::StorageError;
use super::reader::Reader;
use crate::domain::{Code as _, OrderStatus, PartyRole, SilenceRule, Timestamp, UserId};

/// Which places are taken, as [`crate::domain::OrderAggregate::no_fault_places`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The time.
    pub now: Timestamp,
    /// Orders that ended after this count.
    pub window_start: Timestamp,
}

/// How many places sellers have taken, as far as that can be known now.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct QuotasTaken {
    /// By seller.
    pub used: HashMap<UserId, u32>,
    /// The sellers of whom another transaction may be taking one.
    pub busy: HashSet<UserId>,
}

/// The statement, from an index for each half.
pub(super) static COUNT_OF_TAKEN: LazyLock<String> = LazyLock::new(|| {
    let (buyer, accept) = (PartyRole::Buyer.code(), SilenceRule::Accept.code());
    let delivered: Vec<String> = OrderStatus::ALL
        .into_iter()
        .filter(|status| status.is_delivered())
        .map(|status| status.code().to_string())
        .collect();
    let delivered = delivered.join(", ");
    format!(
        "SELECT (SELECT count(*) FROM disputes JOIN orders ON orders.order_id = disputes.order_id \
         WHERE no_fault AND {PENDING} AND disputes.seller_id = $1 AND (respond_by > $2 OR (opener = {buyer} \
         AND CASE WHEN orders.status IN ({delivered}) THEN silence_rule_after_delivery ELSE silence_rule END = {accept}))) + \
         (SELECT count(*) FROM orders WHERE cancelled_no_fault AND seller_id = $1 AND end_time > $3)"
    )
});

fn on_sqlite(file: &Connection, seller: &str, taken: Taken) -> rusqlite::Result<i64> {
    let mut count = file.prepare_cached(&COUNT_OF_TAKEN)?;
    count.query_row((seller, taken.now.micros(), taken.window_start.micros()), |row| row.get(0))
}

async fn on_postgres(connection: &impl ConnectionTrait, seller: &str, taken: Taken) -> Result<i64, StorageError> {
    let values = [Value::from(seller), taken.now.micros().into(), taken.window_start.micros().into()];
    let count = Statement::from_sql_and_values(DbBackend::Postgres, COUNT_OF_TAKEN.as_str(), values);
    let row = connection.query_one_raw(count).await?;
    Ok(row.and_then(|row| row.column(0)).unwrap_or_default())
}

fn places(count: i64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Transaction {
    /// How many places these sellers have taken, of those whose quota is free: this transaction then has it locked. It waits for
    /// none: even who inserts the row of a seller for the first time tries a lock before.
    pub async fn no_fault_taken(&self, sellers: &BTreeSet<UserId>, taken: Taken) -> Result<QuotasTaken, StorageError> {
        let mut found = QuotasTaken::default();
        let server = match &self.inner {
            Session::Postgres(server) => server,
            Session::Sqlite(file) => {
                let sellers = sellers.clone();
                let read = move |file: &Connection| {
                    let count = |seller: UserId| Ok((seller.clone(), places(on_sqlite(file, seller.as_str(), taken)?)));
                    sellers.into_iter().map(count).collect::<rusqlite::Result<_>>()
                };
                found.used = file.lock().await.run(read).await?;
                return Ok(found);
            }
        };
        let names: Vec<String> = sellers.iter().map(|seller| seller.as_str().to_owned()).collect();
        let run = |text: &str| Statement::from_sql_and_values(DbBackend::Postgres, text, [Value::from(names.clone())]);
        // In the order in which every replica does.
        let known = "INSERT INTO no_fault_quotas SELECT name FROM unnest($1::text[]) AS name \
            WHERE NOT EXISTS (SELECT FROM no_fault_quotas WHERE seller_id = name) \
            AND pg_try_advisory_xact_lock(hashtextextended(name, 7305794241085369201)) \
            ORDER BY name ON CONFLICT DO NOTHING";
        server.execute_raw(run(known)).await?;
        let lock =
            "SELECT seller_id FROM no_fault_quotas WHERE seller_id = ANY($1) ORDER BY seller_id FOR UPDATE SKIP LOCKED";
        let locked = server.query_all_raw(run(lock)).await?;
        let locked: HashSet<String> = locked.iter().filter_map(|row| row.column(0)).collect();
        for seller in sellers {
            if locked.contains(seller.as_str()) {
                let count = on_postgres(server, seller.as_str(), taken).await?;
                found.used.insert(seller.clone(), places(count));
            } else {
                found.busy.insert(seller.clone());
            }
        }
        Ok(found)
    }
}

impl Reader {
    /// How many places a seller has taken.
    pub async fn no_fault_taken(&self, seller: &UserId, taken: Taken) -> Result<u32, StorageError> {
        let seller = seller.as_str().to_owned();
        let count = match &self.in_place {
            Some(in_place) => {
                in_place.read(self.permit.clone(), move |file: &Connection| on_sqlite(file, &seller, taken)).await?
            }
            None => {
                let read =
                    move |connection: DatabaseConnection| async move { on_postgres(&connection, &seller, taken).await };
                self.read(read).await?
            }
        };
        Ok(places(count))
    }
}
