//! `RequestDeliveryExtension`: the seller asks for more time.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Operation, Terms, text};
use crate::grpc::commands::{self, AskedCommand};
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc = Rpc::new(
    "/disputes.v1.DisputeService/RequestDeliveryExtension",
    Class::Command,
    Operation::RequestDeliveryExtension,
);

pub(super) fn parse(
    mut violations: Violations,
    caller: &Caller,
    request: &v1::RequestDeliveryExtensionRequest,
) -> Result<AskedCommand, Failure> {
    let order = violations.order_id("order_id", &request.order_id);
    let new_due_time = violations.required_instant("new_due_time", request.new_due_time.as_ref());
    let message = violations.text("message", &request.message, &text::REQUIRED_TEXT);
    let reason = violations.reason(request.reason, &request.reason_detail);
    let manner = commands::manner(&mut violations, caller, &RPC, request);
    let command = || {
        Some(commands::open(
            order?,
            None,
            Terms::DeliveryExtension { new_due_time: new_due_time? },
            message?,
            Some(reason?),
        ))
    };
    violations.finish(command().zip(manner))
}

pub(super) async fn run(
    call: Call<'_>,
    request: v1::RequestDeliveryExtensionRequest,
) -> Result<v1::RequestDeliveryExtensionResponse, Failure> {
    let command = parse(Violations::default(), &call.caller, &request)?;
    Ok(v1::RequestDeliveryExtensionResponse { dispute: commands::run(&call, command).await? })
}
