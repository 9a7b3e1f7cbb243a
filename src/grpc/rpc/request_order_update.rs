//! `RequestOrderUpdate`: the buyer asks how the order stands.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Operation, Terms, text};
use crate::grpc::commands::{self, AskedCommand};
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.v1.DisputeService/RequestOrderUpdate", Class::Command, Operation::RequestOrderUpdate);

pub(super) fn parse(
    mut violations: Violations,
    caller: &Caller,
    request: &v1::RequestOrderUpdateRequest,
) -> Result<AskedCommand, Failure> {
    let order = violations.order_id("order_id", &request.order_id);
    let message = violations.text("message", &request.message, &text::REQUIRED_TEXT);
    let manner = commands::manner(&mut violations, caller, &RPC, request);
    let command = || Some(commands::open(order?, None, Terms::OrderUpdate, message?, None));
    violations.finish(command().zip(manner))
}

pub(super) async fn run(
    call: Call<'_>,
    request: v1::RequestOrderUpdateRequest,
) -> Result<v1::RequestOrderUpdateResponse, Failure> {
    let command = parse(Violations::default(), &call.caller, &request)?;
    Ok(v1::RequestOrderUpdateResponse { dispute: commands::run(&call, command).await? })
}
