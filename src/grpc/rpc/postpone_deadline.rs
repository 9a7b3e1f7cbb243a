//! `PostponeDeadline`: support gives the responder more time.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Command, Operation, text};
use crate::grpc::commands::{self, AskedCommand};
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.v1.DisputeService/PostponeDeadline", Class::Command, Operation::PostponeDeadline);

pub(super) fn parse(
    mut violations: Violations,
    caller: &Caller,
    request: &v1::PostponeDeadlineRequest,
) -> Result<AskedCommand, Failure> {
    let respond_by = violations.required_instant("respond_by", request.respond_by.as_ref());
    let message = violations.text("message", &request.message, &text::REQUIRED_TEXT);
    let target = violations.dispute_ref(&request.dispute_id, &request.etag, message);
    let manner = commands::manner(&mut violations, caller, &RPC, request);
    let command = target.zip(respond_by).map(|(target, respond_by)| Command::Postpone(target, respond_by));
    violations.finish(command.zip(manner))
}

pub(super) async fn run(
    call: Call<'_>,
    request: v1::PostponeDeadlineRequest,
) -> Result<v1::PostponeDeadlineResponse, Failure> {
    let command = parse(Violations::default(), &call.caller, &request)?;
    Ok(v1::PostponeDeadlineResponse { dispute: commands::run(&call, command).await? })
}
