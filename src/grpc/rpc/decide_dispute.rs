//! `DecideDispute`: support decides an escalated dispute.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Command, DisputeId, Operation, Ruling, Subject, text};
use crate::grpc::commands::{self, AskedCommand};
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;
use crate::proto::v1::decide_dispute_request::Decision;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.v1.DisputeService/DecideDispute", Class::Command, Operation::DecideDispute);

pub(super) fn parse(
    mut violations: Violations,
    caller: &Caller,
    request: &v1::DecideDisputeRequest,
) -> Result<AskedCommand, Failure> {
    let message = violations.text("message", &request.message, &text::REQUIRED_TEXT);
    let target = violations.dispute_ref(&request.dispute_id, &request.etag, message);
    let counts = request.counts_against_completion_rate;
    let ruling = match &request.decision {
        Some(Decision::NoAction(v1::NoAction {})) => Some(Ruling::NoAction),
        Some(Decision::Refund(refund)) => violations.money("refund", Some(refund)).map(Ruling::Refund),
        Some(Decision::CancelOrder(v1::CancelOrder {})) => Some(Ruling::CancelOrder { counts: counts.unwrap_or(true) }),
        None => {
            violations.add("decision", "must be set");
            None
        }
    };
    if counts.is_some() && !matches!(request.decision, Some(Decision::CancelOrder(_))) {
        violations.add("counts_against_completion_rate", "must only be set with cancel_order");
    }
    let manner = commands::manner(&mut violations, caller, &RPC, request);
    let command = target.zip(ruling).map(|(target, ruling)| Command::Decide(target, ruling));
    violations.finish(command.zip(manner))
}

pub(super) async fn run(
    call: Call<'_>,
    request: v1::DecideDisputeRequest,
) -> Result<v1::DecideDisputeResponse, Failure> {
    let refund = match &request.decision {
        Some(Decision::Refund(refund)) => Some(refund),
        Some(Decision::NoAction(_) | Decision::CancelOrder(_)) | None => None,
    };
    let dispute = request.dispute_id.parse().ok().map(|id| Subject::Dispute(DisputeId(id)));
    let currency = commands::currency(&call, refund.zip(dispute)).await?;
    let command = parse(Violations::with_currency(currency), &call.caller, &request)?;
    let dispute = commands::run(&call, command).await.map_err(|failure| failure.about_amount("refund"));
    Ok(v1::DecideDisputeResponse { dispute: dispute? })
}
