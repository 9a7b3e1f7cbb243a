//! `GetClock`: the time of a service whose clock is moved by hand.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Operation};
use crate::grpc::responses::timestamp;
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::testing;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.testing.v1.TestClockService/GetClock", Class::Read, Operation::GetClock);

pub(super) fn parse(violations: Violations, _: &Caller, _: &testing::GetClockRequest) -> Result<(), Failure> {
    violations.finish(Some(()))
}

pub(super) async fn run(
    call: Call<'_>,
    request: testing::GetClockRequest,
) -> Result<testing::GetClockResponse, Failure> {
    parse(Violations::default(), &call.caller, &request)?;
    Ok(testing::GetClockResponse { time: Some(timestamp(call.shared.clock.now())) })
}
