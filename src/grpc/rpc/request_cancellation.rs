//! `RequestCancellation`: a party asks to cancel the order.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Operation, Terms, text};
use crate::grpc::commands::{self, AskedCommand};
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.v1.DisputeService/RequestCancellation", Class::Command, Operation::RequestCancellation);

pub(super) fn parse(
    mut violations: Violations,
    caller: &Caller,
    request: &v1::RequestCancellationRequest,
) -> Result<AskedCommand, Failure> {
    let order = violations.order_id("order_id", &request.order_id);
    // A buyer's is required, but who is the buyer only the order knows.
    let message = violations.text("message", &request.message, &text::OPTIONAL_TEXT);
    let reason = violations.reason(request.reason, &request.reason_detail);
    let manner = commands::manner(&mut violations, caller, &RPC, request);
    let command = || {
        Some(commands::open(order?, None, Terms::Cancellation { no_fault: request.no_fault }, message?, Some(reason?)))
    };
    violations.finish(command().zip(manner))
}

pub(super) async fn run(
    call: Call<'_>,
    request: v1::RequestCancellationRequest,
) -> Result<v1::RequestCancellationResponse, Failure> {
    let command = parse(Violations::default(), &call.caller, &request)?;
    Ok(v1::RequestCancellationResponse { dispute: commands::run(&call, command).await? })
}
