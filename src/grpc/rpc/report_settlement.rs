//! `ReportSettlement`: the platform says whether the money has moved.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Command, Operation, SettlementReport, text};
use crate::grpc::commands::{self, AskedCommand};
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;
use crate::proto::v1::report_settlement_request::Result as Report;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.v1.DisputeService/ReportSettlement", Class::Command, Operation::ReportSettlement);

pub(super) fn parse(
    mut violations: Violations,
    caller: &Caller,
    request: &v1::ReportSettlementRequest,
) -> Result<AskedCommand, Failure> {
    let dispute = violations.dispute_id("dispute_id", &request.dispute_id);
    let mut text = |field: &str, raw: &str| violations.text(field, raw, &text::SETTLEMENT_TEXT);
    let report = match &request.result {
        Some(Report::Settled(v1::Settled { reference })) => {
            text("settled.reference", reference).map(|reference| SettlementReport::Settled { reference })
        }
        Some(Report::Failed(v1::Failed { detail })) => {
            text("failed.detail", detail).map(|detail| SettlementReport::Failed { detail })
        }
        Some(Report::Returned(v1::Returned { detail })) => {
            text("returned.detail", detail).map(|detail| SettlementReport::Returned { detail })
        }
        Some(Report::Voided(v1::Voided { detail })) => {
            text("voided.detail", detail).map(|detail| SettlementReport::Voided { detail })
        }
        None => {
            violations.add("result", "must be set");
            None
        }
    };
    let attempt = violations.check("attempt", u32::try_from(request.attempt).map_err(|_| "must not be negative"));
    let manner = commands::manner(&mut violations, caller, &RPC, request);
    let command = || Some(Command::ReportSettlement { dispute: dispute?, attempt: attempt?, report: report? });
    violations.finish(command().zip(manner))
}

pub(super) async fn run(
    call: Call<'_>,
    request: v1::ReportSettlementRequest,
) -> Result<v1::ReportSettlementResponse, Failure> {
    let command = parse(Violations::default(), &call.caller, &request)?;
    Ok(v1::ReportSettlementResponse { dispute: commands::run(&call, command).await? })
}
