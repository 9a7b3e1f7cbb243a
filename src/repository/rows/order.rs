//! Orders.

use super::{Row, exponent, uuid};
use crate::domain::{DisputeId, Money, Order, Timestamp};
use crate::repository::entity::order;
use crate::repository::error::StorageError;

pub(in crate::repository) fn order_from(row: order::Model) -> Result<Order, StorageError> {
    let order::Model {
        order_id,
        buyer_id,
        seller_id,
        title,
        currency,
        exponent,
        price_minor,
        paid_minor,
        refunded_elsewhere_minor,
        refunded_minor,
        status,
        create_time,
        due_time,
        agreed_due_time,
        extension_requests,
        end_time,
        cancellation_counts,
        cancelled_by,
        refund_accepted,
        source_version,
        revision,
        cancelled_no_fault,
    } = row;
    let row = Row { table: "orders", id: order_id };
    let currency = row.currency(&currency, exponent)?;
    let money = |minor: i64, column| {
        if minor < 0 { Err(row.corrupt(column)) } else { Ok(Money::new(minor, currency)) }
    };
    Ok(Order {
        id: row.order_id(&row.id)?,
        parties: row.parties(&buyer_id, &seller_id)?,
        title,
        price: money(price_minor, "price_minor")?,
        paid: money(paid_minor, "paid_minor")?,
        refunded_elsewhere: money(refunded_elsewhere_minor, "refunded_elsewhere_minor")?,
        refunded: money(refunded_minor, "refunded_minor")?,
        status: row.carried(status, "status")?,
        create_time: row.instant(create_time, "create_time")?,
        due_time: row.optional_instant(due_time, "due_time")?,
        agreed_due_time: row.optional_instant(agreed_due_time, "agreed_due_time")?,
        extension_requests: u32::try_from(extension_requests).map_err(|_| row.corrupt("extension_requests"))?,
        end_time: row.optional_instant(end_time, "end_time")?,
        cancellation_counts,
        cancelled_no_fault,
        cancelled_by: cancelled_by.map(DisputeId),
        refund_accepted: refund_accepted.map(DisputeId),
        source_version,
        revision,
    })
}

pub(in crate::repository) fn order_row(order: Order) -> order::Model {
    let currency = order.price.currency;
    order::Model {
        order_id: order.id.to_string(),
        buyer_id: order.parties.buyer.to_string(),
        seller_id: order.parties.seller.to_string(),
        title: order.title,
        currency: currency.code().to_owned(),
        exponent: exponent(currency),
        price_minor: order.price.minor,
        paid_minor: order.paid.minor,
        refunded_elsewhere_minor: order.refunded_elsewhere.minor,
        refunded_minor: order.refunded.minor,
        status: order.status.code(),
        create_time: order.create_time.micros(),
        due_time: order.due_time.map(Timestamp::micros),
        agreed_due_time: order.agreed_due_time.map(Timestamp::micros),
        extension_requests: order.extension_requests.into(),
        end_time: order.end_time.map(Timestamp::micros),
        cancellation_counts: order.cancellation_counts,
        cancelled_by: order.cancelled_by.map(uuid),
        refund_accepted: order.refund_accepted.map(uuid),
        source_version: order.source_version,
        revision: order.revision,
        cancelled_no_fault: order.cancelled_no_fault,
    }
}
