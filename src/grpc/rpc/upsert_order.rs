//! `UpsertOrder`: the platform reports an order.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Operation, OrderReport};
use crate::grpc::order_reports::{self, ORDER_LISTS};
use crate::grpc::responses;
use crate::grpc::status::Failure;
use crate::grpc::transport::{self, Field, Holds};
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc = Rpc::new("/disputes.v1.OrderService/UpsertOrder", Class::Command, Operation::UpsertOrder)
    .lists(&[Field { number: 1, name: "order", holds: Holds::Message(ORDER_LISTS) }]);

pub(super) fn parse(
    mut violations: Violations,
    _: &Caller,
    request: &v1::UpsertOrderRequest,
) -> Result<OrderReport, Failure> {
    let report = order_reports::read(&mut violations, "order", request.order.as_ref());
    violations.finish(report)
}

pub(super) async fn run(call: Call<'_>, request: v1::UpsertOrderRequest) -> Result<v1::UpsertOrderResponse, Failure> {
    let currencies = order_reports::currencies(&call, request.order.iter()).await?;
    let report = parse(Violations::with_currencies(currencies), &call.caller, &request)?;
    tracing::Span::current().record("order", report.id.as_str());
    let orders = call.shared.committer.orders(call.caller, vec![report], transport::trace()).await?;
    Ok(v1::UpsertOrderResponse { order: orders.first().map(responses::order) })
}
