//! `BatchUpsertOrders`: the platform reports many orders, all or nothing.

use std::collections::HashSet;

use super::{Call, Class, Rpc, Size};
use crate::domain::{Caller, Operation, OrderReport};
use crate::grpc::order_reports::{self, BATCH_ORDERS, ORDER_LISTS};
use crate::grpc::responses;
use crate::grpc::status::Failure;
use crate::grpc::transport::{self, Bound, Field, Holds};
use crate::grpc::violations::Violations;
use crate::proto::v1;

/// Beyond its bound a batch is refused without anything else, also by its parser.
const BATCH: Bound = Bound { most: BATCH_ORDERS, of: "orders", unread: BATCH_ORDERS };

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.v1.OrderService/BatchUpsertOrders", Class::Command, Operation::BatchUpsertOrders)
        .size(Size::Batch)
        .lists(&[Field { number: 1, name: "orders", holds: Holds::List(BATCH, ORDER_LISTS) }]);

pub(super) fn parse(
    mut violations: Violations,
    _: &Caller,
    request: &v1::BatchUpsertOrdersRequest,
) -> Result<Vec<OrderReport>, Failure> {
    if request.orders.len() > BATCH_ORDERS {
        violations.add("orders", format!("must have at most {BATCH_ORDERS} orders"));
        return violations.finish(None);
    }
    let mut ids = HashSet::new();
    let mut reports = Vec::with_capacity(request.orders.len());
    for (index, order) in request.orders.iter().enumerate() {
        let path = format!("orders[{index}]");
        if !order.order_id.is_empty() && !ids.insert(&order.order_id) {
            violations.add(format!("{path}.order_id"), "must appear only once in a batch");
        }
        reports.extend(order_reports::read(&mut violations, &path, Some(order)));
    }
    violations.finish(Some(reports))
}

pub(super) async fn run(
    call: Call<'_>,
    request: v1::BatchUpsertOrdersRequest,
) -> Result<v1::BatchUpsertOrdersResponse, Failure> {
    let currencies = order_reports::currencies(&call, request.orders.iter()).await?;
    let reports = parse(Violations::with_currencies(currencies), &call.caller, &request)?;
    let orders = call.shared.committer.orders(call.caller, reports, transport::trace()).await?;
    Ok(v1::BatchUpsertOrdersResponse { orders: orders.iter().map(responses::order).collect() })
}
