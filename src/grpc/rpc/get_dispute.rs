//! `GetDispute`: one dispute, as the caller may see it.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, ConfidentialReason, DisputeId, Operation};
use crate::grpc::responses;
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc = Rpc::new("/disputes.v1.DisputeService/GetDispute", Class::Read, Operation::GetDispute);

pub(super) fn parse(
    mut violations: Violations,
    _: &Caller,
    request: &v1::GetDisputeRequest,
) -> Result<DisputeId, Failure> {
    let id = violations.dispute_id("dispute_id", &request.dispute_id);
    violations.finish(id)
}

pub(super) async fn run(call: Call<'_>, request: v1::GetDisputeRequest) -> Result<v1::GetDisputeResponse, Failure> {
    let Call { shared, caller, .. } = call;
    let id = parse(Violations::default(), &caller, &request)?;
    let found = shared.reads.dispute(&caller, id).await?;
    let now = shared.clock.now();
    let shown = found.shown(&caller, &shared.policy, now);
    let reason = ConfidentialReason::shown_by(&shown, &caller);
    shared.committer.disclose(&caller, reason.into_iter().collect()).await?;
    Ok(v1::GetDisputeResponse {
        dispute: Some(responses::shown_to(&shown, &caller)),
        server_time: Some(responses::timestamp(now)),
    })
}
