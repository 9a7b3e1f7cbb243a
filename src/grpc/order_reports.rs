//! Orders as the platform reports them.

use super::rpc::Call;
use super::status::Failure;
use super::transport::{Bound, Field, Holds};
use super::violations::{Currencies, FILTER_VALUES, Violations, is_of_the_list};
use crate::domain::{Money, OrderId, OrderReport, Parties};
use crate::proto::v1;

/// How many orders one batch can have.
pub(super) const BATCH_ORDERS: usize = 500;

/// The lists in an order. What is ignored in a request need not be as long as it can be.
pub(super) const ORDER_LISTS: &[Field] = {
    const IGNORED: Bound = Bound { most: FILTER_VALUES, of: "values", unread: FILTER_VALUES };
    &[Field { number: 16, name: "open_dispute_ids", holds: Holds::List(IGNORED, &[]) }]
};

/// The currencies of the stored orders whose amounts cannot be read without: there are few, if any.
pub(super) async fn currencies(
    call: &Call<'_>,
    orders: impl Iterator<Item = &v1::Order> + Send,
) -> Result<Currencies, Failure> {
    let orders = orders.take(BATCH_ORDERS).filter(|order| needs_its_currency(order));
    let ids: Vec<OrderId> = orders.filter_map(|order| OrderId::parse(&order.order_id).ok()).collect();
    if ids.is_empty() {
        return Ok(Currencies::new());
    }
    Ok(call.shared.reads.currencies(&call.caller, &ids).await?)
}

/// Whether the amounts of an order can only be read with the currency that it was stored with.
fn needs_its_currency(order: &v1::Order) -> bool {
    let amounts = [&order.price, &order.paid, &order.refunded_elsewhere];
    amounts.into_iter().flatten().any(|amount| !is_of_the_list(amount))
}

/// The order that is reported. Its amounts are read in the currency that it is stored with, if that is known.
pub(super) fn read(violations: &mut Violations, path: &str, order: Option<&v1::Order>) -> Option<OrderReport> {
    let Some(order) = order else {
        violations.add(path, "must be set");
        return None;
    };
    let field = |name: &str| format!("{path}.{name}");
    let id = violations.order_id(&field("order_id"), &order.order_id);
    let buyer = violations.user_id(&field("buyer_id"), &order.buyer_id);
    let seller = violations.user_id(&field("seller_id"), &order.seller_id);
    if buyer.is_some() && buyer == seller {
        violations.add(field("seller_id"), "must differ from buyer_id");
    }
    let title = violations.title(&field("title"), &order.title);
    violations.set_order(id.as_ref());
    let price = violations.money(&field("price"), order.price.as_ref());
    if price.is_some_and(|price| price.minor < 0) {
        violations.add(field("price"), "must not be negative");
    }
    let paid = match &order.paid {
        None => price,
        paid => violations.money(&field("paid"), paid.as_ref()),
    };
    if let (Some(price), Some(paid)) = (price, paid) {
        if paid.currency != price.currency {
            violations.add(field("paid.currency_code"), "must be the currency of the price");
        } else if paid.minor < price.minor {
            violations.add(field("paid"), "must not be below the price");
        }
    }
    let refunded_elsewhere = match &order.refunded_elsewhere {
        None => price.map(|price| Money::new(0, price.currency)),
        refunded => violations.money(&field("refunded_elsewhere"), refunded.as_ref()),
    };
    if let (Some(price), Some(refunded)) = (price, refunded_elsewhere) {
        if refunded.currency != price.currency {
            violations.add(field("refunded_elsewhere.currency_code"), "must be the currency of the price");
        } else if refunded.minor < 0 {
            violations.add(field("refunded_elsewhere"), "must not be negative");
        }
    }
    let status = violations.value(&field("status"), order.status, v1::OrderStatus::known);
    let create_time = violations.instant(&field("create_time"), order.create_time.as_ref());
    let due_time = violations.instant(&field("due_time"), order.due_time.as_ref());
    let end_time = violations.instant(&field("end_time"), order.end_time.as_ref());
    if order.end_time.is_some() && status.is_some_and(|status| !status.is_ended()) {
        violations.add(field("end_time"), "must only be set with a status that ends the order");
    }
    if order.source_version < 1 {
        violations.add(field("source_version"), "must be at least 1");
    }
    Some(OrderReport {
        id: id?,
        parties: Parties { buyer: buyer?, seller: seller? },
        title: title?,
        price: price?,
        paid: paid?,
        refunded_elsewhere: refunded_elsewhere?,
        status: status?,
        create_time: create_time?,
        due_time: due_time?,
        end_time: end_time?,
        cancellation_counts: order.cancellation_counts.unwrap_or(true),
        source_version: order.source_version,
    })
}
