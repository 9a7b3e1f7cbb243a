//! `GetOrder`: one order, as the caller may see it.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Operation, OrderId};
use crate::grpc::responses;
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc = Rpc::new("/disputes.v1.OrderService/GetOrder", Class::Read, Operation::GetOrder);

pub(super) fn parse(mut violations: Violations, _: &Caller, request: &v1::GetOrderRequest) -> Result<OrderId, Failure> {
    let id = violations.order_id("order_id", &request.order_id);
    violations.finish(id)
}

pub(super) async fn run(call: Call<'_>, request: v1::GetOrderRequest) -> Result<v1::GetOrderResponse, Failure> {
    let id = parse(Violations::default(), &call.caller, &request)?;
    let order = call.shared.reads.order(&call.caller, id).await?;
    Ok(v1::GetOrderResponse { order: Some(responses::order(&order)) })
}
