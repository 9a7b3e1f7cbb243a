//! `AdvanceClock`: moves the clock of a service that is tried out, and waits for all that time brings.

use std::time::Duration;

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Operation, Timestamp};
use crate::engine::ResumeToken;
use crate::grpc::responses::timestamp;
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::testing;
use crate::proto::testing::advance_clock_request::Target;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.testing.v1.TestClockService/AdvanceClock", Class::Command, Operation::AdvanceClock);

/// How far the clock can be advanced at once: ten years.
const FARTHEST: Duration = Duration::from_secs(3_653 * 24 * 60 * 60);

/// Where the clock is to go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    To(Timestamp),
    By(Duration),
}

pub(super) fn parse(
    mut violations: Violations,
    _: &Caller,
    request: &testing::AdvanceClockRequest,
) -> Result<Goal, Failure> {
    let goal = match request.target {
        Some(Target::To(to)) => violations.required_instant("to", Some(&to)).map(Goal::To),
        Some(Target::By(by)) => {
            let by = Duration::try_from(by).ok().filter(|by| *by <= FARTHEST);
            violations.check("by", by.ok_or("must be from nothing to ten years")).map(Goal::By)
        }
        None => {
            violations.add("target", "must be set");
            None
        }
    };
    violations.finish(goal)
}

pub(super) async fn run(
    call: Call<'_>,
    request: testing::AdvanceClockRequest,
) -> Result<testing::AdvanceClockResponse, Failure> {
    let goal = parse(Violations::default(), &call.caller, &request)?;
    let clock = call.shared.test_clock.as_ref().ok_or_else(Failure::method_unknown)?;
    let mut turn = clock.turn().await;
    let now = call.shared.clock.now();
    let to = match goal {
        Goal::By(by) => now.plus(by),
        Goal::To(to) => to,
    };
    if to < now || to > now.plus(FARTHEST) {
        return Err(Failure::invalid_field(
            "to",
            format!("must be from {now}, the service's time, to ten years later"),
        ));
    }
    let position = turn.advance_to(to).await?;
    let token = ResumeToken::of(call.shared.feed.log_id(), position).encode();
    Ok(testing::AdvanceClockResponse { time: Some(timestamp(to)), resume_token: token })
}
