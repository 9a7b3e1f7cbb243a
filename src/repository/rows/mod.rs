//! Rows to domain values and back. Rows are taken apart without `..`: a column that nobody maps does not
//! compile. A row that makes no sense is an error that names it, never a panic.

mod dispute;
mod event;
mod order;

use std::collections::HashMap;

use uuid::Uuid;

use super::IdempotencyRecord;
use super::codes::Code;
use super::entity;
use super::entity::idempotency_key;
use super::error::StorageError;
use crate::domain::{Case, Currency, Dispute, DisputeId, OrderId, Parties, Timestamp, UserId};

pub(super) use dispute::{dispute_from, dispute_row, without_its_order};
pub(super) use event::{event_from, event_row};
pub(super) use order::{order_from, order_row};

/// Reads the columns of one row, and says which row it was if one of them makes no sense.
struct Row {
    table: &'static str,
    id: String,
}

impl Row {
    fn corrupt(&self, what: &'static str) -> StorageError {
        StorageError::Corrupt { table: self.table, id: self.id.clone(), what }
    }

    fn code<C: Code>(&self, code: i16, column: &'static str) -> Result<C, StorageError> {
        C::of(code).ok_or_else(|| self.corrupt(column))
    }

    fn instant(&self, micros: i64, column: &'static str) -> Result<Timestamp, StorageError> {
        Timestamp::from_micros(micros).ok_or_else(|| self.corrupt(column))
    }

    fn optional_instant(&self, micros: Option<i64>, column: &'static str) -> Result<Option<Timestamp>, StorageError> {
        micros.map(|micros| self.instant(micros, column)).transpose()
    }

    fn order_id(&self, id: &str) -> Result<OrderId, StorageError> {
        OrderId::parse(id).map_err(|_| self.corrupt("order_id"))
    }

    fn parties(&self, buyer: &str, seller: &str) -> Result<Parties, StorageError> {
        let user = |id: &str, column| UserId::parse(id).map_err(|_| self.corrupt(column));
        Ok(Parties { buyer: user(buyer, "buyer_id")?, seller: user(seller, "seller_id")? })
    }

    fn currency(&self, code: &str, exponent: i16) -> Result<Currency, StorageError> {
        let exponent = u32::try_from(exponent).map_err(|_| self.corrupt("exponent"))?;
        Currency::stored(code, exponent).ok_or_else(|| self.corrupt("currency"))
    }
}

/// Orders, each with those of the disputes that are about it.
pub(super) fn cases_from(
    orders: Vec<entity::order::Model>,
    disputes: Vec<entity::dispute::Model>,
) -> Result<Vec<Case>, StorageError> {
    let mut by_order: HashMap<String, Vec<Dispute>> = HashMap::new();
    for row in disputes {
        by_order.entry(row.order_id.clone()).or_default().push(dispute_from(row)?);
    }
    let case = |row: entity::order::Model| {
        let disputes = by_order.remove(&row.order_id).unwrap_or_default();
        Ok(Case { order: order_from(row)?, disputes })
    };
    orders.into_iter().map(case).collect()
}

pub(super) fn idempotency_record_from(row: idempotency_key::Model) -> Result<IdempotencyRecord, StorageError> {
    let idempotency_key::Model { key, fingerprint, dispute_id, create_time } = row;
    let row = Row { table: "idempotency_keys", id: key.to_string() };
    let create_time = row.instant(create_time, "create_time")?;
    Ok(IdempotencyRecord { key, fingerprint, dispute: DisputeId(dispute_id), create_time })
}

pub(super) fn idempotency_row(record: &IdempotencyRecord) -> idempotency_key::Model {
    idempotency_key::Model {
        key: record.key,
        fingerprint: record.fingerprint,
        dispute_id: record.dispute.0,
        create_time: record.create_time.micros(),
    }
}

fn exponent(currency: Currency) -> i16 {
    // At most 9.
    i16::try_from(currency.exponent()).unwrap_or_default()
}

fn uuid(dispute: DisputeId) -> Uuid {
    dispute.0
}
