//! `AcceptDispute`: the responder agrees.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Command, Operation};
use crate::grpc::commands::{self, AskedCommand};
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.v1.DisputeService/AcceptDispute", Class::Command, Operation::AcceptDispute);

pub(super) fn parse(
    mut violations: Violations,
    caller: &Caller,
    request: &v1::AcceptDisputeRequest,
) -> Result<AskedCommand, Failure> {
    let target = violations.dispute_ref(&request.dispute_id, &request.etag, Some(String::new()));
    let manner = commands::manner(&mut violations, caller, &RPC, request);
    violations.finish(target.map(Command::Accept).zip(manner))
}

pub(super) async fn run(
    call: Call<'_>,
    request: v1::AcceptDisputeRequest,
) -> Result<v1::AcceptDisputeResponse, Failure> {
    let command = parse(Violations::default(), &call.caller, &request)?;
    Ok(v1::AcceptDisputeResponse { dispute: commands::run(&call, command).await? })
}
