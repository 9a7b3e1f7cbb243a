//! `CounterOffer`: the party that has to answer a partial refund puts another amount on the table.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Command, DisputeId, Operation, Subject, text};
use crate::grpc::commands::{self, AskedCommand};
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.v1.DisputeService/CounterOffer", Class::Command, Operation::CounterOffer);

pub(super) fn parse(
    mut violations: Violations,
    caller: &Caller,
    request: &v1::CounterOfferRequest,
) -> Result<AskedCommand, Failure> {
    let amount = violations.money("amount", request.amount.as_ref());
    let message = violations.text("message", &request.message, &text::OPTIONAL_TEXT);
    let target = violations.dispute_ref(&request.dispute_id, &request.etag, message);
    let manner = commands::manner(&mut violations, caller, &RPC, request);
    let command = target.zip(amount).map(|(target, amount)| Command::Counter(target, amount));
    violations.finish(command.zip(manner))
}

pub(super) async fn run(call: Call<'_>, request: v1::CounterOfferRequest) -> Result<v1::CounterOfferResponse, Failure> {
    let dispute = request.dispute_id.parse().ok().map(|id| Subject::Dispute(DisputeId(id)));
    let currency = commands::currency(&call, request.amount.as_ref().zip(dispute)).await?;
    let command = parse(Violations::with_currency(currency), &call.caller, &request)?;
    let dispute = commands::run(&call, command).await.map_err(|failure| failure.about_amount("amount"));
    Ok(v1::CounterOfferResponse { dispute: dispute? })
}
