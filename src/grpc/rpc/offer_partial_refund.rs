//! `OfferPartialRefund`: the seller offers a part of the price back.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Operation, OrderId, PartyRole, Subject};
use crate::grpc::commands::{self, AskedCommand};
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.v1.DisputeService/OfferPartialRefund", Class::Command, Operation::OfferPartialRefund);

pub(super) fn parse(
    mut violations: Violations,
    caller: &Caller,
    request: &v1::OfferPartialRefundRequest,
) -> Result<AskedCommand, Failure> {
    let (amount, reason) = (request.amount.as_ref(), (request.reason, request.reason_detail.as_str()));
    let command =
        commands::open_refund(&mut violations, PartyRole::Seller, &request.order_id, amount, &request.message, reason);
    let manner = commands::manner(&mut violations, caller, &RPC, request);
    violations.finish(command.zip(manner))
}

pub(super) async fn run(
    call: Call<'_>,
    request: v1::OfferPartialRefundRequest,
) -> Result<v1::OfferPartialRefundResponse, Failure> {
    let order = OrderId::parse(&request.order_id).ok().map(Subject::Order);
    let currency = commands::currency(&call, request.amount.as_ref().zip(order)).await?;
    let command = parse(Violations::with_currency(currency), &call.caller, &request)?;
    let dispute = commands::run(&call, command).await.map_err(|failure| failure.about_amount("amount"));
    Ok(v1::OfferPartialRefundResponse { dispute: dispute? })
}
