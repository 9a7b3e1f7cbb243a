//! `DeclineDispute`: the responder disagrees.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Command, Operation, text};
use crate::grpc::commands::{self, AskedCommand};
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.v1.DisputeService/DeclineDispute", Class::Command, Operation::DeclineDispute);

pub(super) fn parse(
    mut violations: Violations,
    caller: &Caller,
    request: &v1::DeclineDisputeRequest,
) -> Result<AskedCommand, Failure> {
    let message = violations.text("message", &request.message, &text::OPTIONAL_TEXT);
    let target = violations.dispute_ref(&request.dispute_id, &request.etag, message);
    let manner = commands::manner(&mut violations, caller, &RPC, request);
    violations.finish(target.map(Command::Decline).zip(manner))
}

pub(super) async fn run(
    call: Call<'_>,
    request: v1::DeclineDisputeRequest,
) -> Result<v1::DeclineDisputeResponse, Failure> {
    let command = parse(Violations::default(), &call.caller, &request)?;
    Ok(v1::DeclineDisputeResponse { dispute: commands::run(&call, command).await? })
}
