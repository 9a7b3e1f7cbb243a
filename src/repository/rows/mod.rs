//! Rows to domain values and back. Rows are taken apart without `..`: a column that nobody maps does not
//! compile. A row that makes no sense is an error that names it, never a panic.

mod audit;
mod bargain;
mod dispute;
mod event;
mod newer;
mod order;

use std::collections::HashMap;

use uuid::Uuid;

use super::IdempotencyRecord;
use super::corrupt::{Broken, Fetched, note};
use super::entity;
use super::entity::idempotency_key;
use super::error::StorageError;
use crate::domain::{
    Carried, Code, Currency, DisputeId, Order, OrderAggregate, OrderId, Parties, Reason, StoredDispute, Timestamp,
    UserId,
};

pub(super) use audit::{audit_record_from, audit_row};
pub(super) use dispute::{dispute_from, dispute_row};
pub(super) use event::{event_at, event_id_at, event_row};
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
        C::from_code(code).ok_or_else(|| self.corrupt(column))
    }

    fn carried<C: Code>(&self, code: i16, column: &'static str) -> Result<Carried<C>, StorageError> {
        C::carried(code).ok_or_else(|| self.corrupt(column))
    }

    fn reason(&self, code: Option<i16>, detail: String) -> Result<Option<Reason>, StorageError> {
        let code = code.map(|code| self.carried(code, "reason")).transpose()?;
        Ok(code.map(|code| Reason { code, detail }))
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

/// Orders, each by its key with those of the disputes that are about it, or with what is wrong with it. Disputes that
/// make no sense are left out.
pub(super) fn aggregates_from(
    orders: Fetched<entity::order::Model>,
    disputes: Fetched<entity::dispute::Model>,
) -> Vec<(String, Result<OrderAggregate, StorageError>)> {
    let mut by_order: HashMap<String, Vec<Result<StoredDispute, StorageError>>> = HashMap::new();
    for row in disputes {
        let (order, dispute) = match row {
            Ok(row) => (Some(row.order_id.clone()), in_a_case(row)),
            Err(Broken { error, order }) => (order, Some(Err(error))),
        };
        if let Some((order, dispute)) = order.zip(dispute) {
            by_order.entry(order).or_default().push(dispute);
        }
    }
    let aggregate = |row: Result<entity::order::Model, Broken>| match row {
        Ok(row) => {
            let id = row.order_id.clone();
            let mut disputes = by_order.remove(&id).unwrap_or_default();
            (id, order_from(row).map(|order| aggregate_of(order, disputes.drain(..))))
        }
        Err(Broken { error, order }) => (order.unwrap_or_default(), Err(error)),
    };
    orders
        .into_iter()
        .map(aggregate)
        .inspect(|(_, aggregate)| aggregate.as_ref().err().into_iter().for_each(note))
        .collect()
}

/// A dispute of an order; one that ended and makes no sense is nothing to the order.
fn in_a_case(row: entity::dispute::Model) -> Option<Result<StoredDispute, StorageError>> {
    let is_open = row.resolve_time.is_none();
    let dispute = dispute_from(row).inspect_err(note);
    (is_open || dispute.is_ok()).then_some(dispute)
}

fn aggregate_of(order: Order, disputes: impl Iterator<Item = Result<StoredDispute, StorageError>>) -> OrderAggregate {
    let mut aggregate = OrderAggregate::new(order, Vec::new());
    for dispute in disputes {
        match dispute {
            Ok(dispute) => aggregate.add(dispute),
            Err(_) => aggregate.has_unreadable = true,
        }
    }
    aggregate
}

pub(super) fn idempotency_record_from(row: idempotency_key::Model) -> IdempotencyRecord {
    let idempotency_key::Model { key, fingerprint, dispute_id, create_time } = row;
    // Only pruning uses it.
    let create_time = Timestamp::from_micros(create_time).unwrap_or(Timestamp::MIN);
    IdempotencyRecord { key, fingerprint, dispute: DisputeId(dispute_id), create_time }
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
