//! What the commands on disputes share: how one is had done, once, and what must be known before one can be read.

use prost::Message;

use super::digest::digest;
use super::responses;
use super::rpc::{Call, Rpc};
use super::status::Failure;
use super::transport;
use super::violations::{Violations, is_of_the_list};
use crate::chance::mint_id;
use crate::domain::{
    Caller, Command, Currency, DisputeId, Opening, OrderId, PartyRole, Reason, Scope, Subject, Terms, text,
};
use crate::engine::RequestKey;
use crate::proto::{Money as ProtoMoney, v1};

/// A command, and how it is to be done.
pub(super) type AskedCommand = (Command, Manner);

/// How a command is to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// What makes it happen once.
    once: Option<RequestKey>,
    /// Whether it is judged alone.
    validate_only: bool,
}

/// The request of a command on a dispute.
pub(super) trait CommandRequest: Message + Clone {
    /// Its id, and whether it is judged alone.
    fn manner(&mut self) -> (&mut String, &mut bool);
}

macro_rules! command_requests {
    ($($Request:ident,)*) => {
        $(impl CommandRequest for v1::$Request {
            fn manner(&mut self) -> (&mut String, &mut bool) {
                (&mut self.request_id, &mut self.validate_only)
            }
        })*
    };
}

command_requests! {
    AcceptDisputeRequest,
    AnswerOrderUpdateRequest,
    CounterOfferRequest,
    DecideDisputeRequest,
    DeclineDisputeRequest,
    EscalateDisputeRequest,
    OfferPartialRefundRequest,
    PostponeDeadlineRequest,
    ReportSettlementRequest,
    RequestCancellationRequest,
    RequestDeliveryExtensionRequest,
    RequestOrderUpdateRequest,
    RequestPartialRefundRequest,
    WithdrawDisputeRequest,
}

/// Has a command done, or only judged. Returns the dispute as the caller may see it.
pub(super) async fn run(call: &Call<'_>, command: AskedCommand) -> Result<Option<v1::Dispute>, Failure> {
    let Call { shared, caller, .. } = call;
    let (command, Manner { once, validate_only }) = command;
    let (span, subject) = (tracing::Span::current(), command.subject());
    if validate_only {
        shared.rates.only_asks(caller)?;
        span.record("trial", true);
    } else {
        shared.rates.admit_texts(caller, command.written_bytes())?;
    }
    // What it names at once: it may be refused or fail. Each once: the log would show it twice.
    match &subject {
        Subject::Order(order) => span.record("order", order.as_str()),
        Subject::Dispute(dispute) => span.record("dispute", tracing::field::display(dispute.0)),
    };
    let view = if validate_only {
        shared.committer.validate(caller, &command, once).await?
    } else {
        shared.committer.dispute(caller.clone(), command, once, transport::trace()).await?
    };
    match &subject {
        Subject::Order(_) => span.record("dispute", tracing::field::display(view.dispute.id.0)),
        Subject::Dispute(_) => span.record("order", view.dispute.order.as_str()),
    };
    Ok(Some(responses::dispute_for(&view, caller)))
}

/// The currency of the order that an amount is about, where the amount cannot be read without, and if the caller may see
/// the order: nobody else learns of it.
pub(super) async fn currency(
    call: &Call<'_>,
    amount: Option<(&ProtoMoney, Subject)>,
) -> Result<Option<Currency>, Failure> {
    let Some((_, subject)) = amount.filter(|(amount, _)| !is_of_the_list(amount)) else { return Ok(None) };
    Ok(call.shared.reads.currency(&call.caller, subject).await?)
}

/// The command that opens a dispute; `by`: which party it is for.
pub(super) fn open(
    order: OrderId,
    by: Option<PartyRole>,
    terms: Terms,
    message: String,
    reason: Option<Reason>,
) -> Command {
    Command::Open(Box::new(Opening { order, dispute: DisputeId(mint_id()), by, terms, message, reason }))
}

/// The command that opens a partial refund: what the seller offers, or what the buyer asks for. `reason`: with its detail.
pub(super) fn open_refund(
    violations: &mut Violations,
    by: PartyRole,
    order_id: &str,
    amount: Option<&ProtoMoney>,
    message: &str,
    (reason, detail): (i32, &str),
) -> Option<Command> {
    let order = violations.order_id("order_id", order_id);
    let amount = violations.money("amount", amount);
    let message = violations.text("message", message, &text::REQUIRED_TEXT);
    let reason = violations.reason(reason, detail)?;
    Some(open(order?, Some(by), Terms::PartialRefund { amount: amount? }, message?, Some(reason)))
}

/// How a command is to be done: whether it is judged alone, and what makes it happen once: who sends it under which id, and
/// what it says beside that. The same id can be written in more than one way.
pub(super) fn manner(
    violations: &mut Violations,
    caller: &Caller,
    rpc: &Rpc,
    request: &impl CommandRequest,
) -> Option<Manner> {
    let mut rest = request.clone();
    let (request_id, validate_only) = rest.manner();
    let (request_id, validate_only) = (std::mem::take(request_id), std::mem::take(validate_only));
    let request_id = violations.request_id(&request_id)?;
    let once = request_id.map(|request_id| {
        let scope = caller.scope.map_or("party", Scope::name);
        RequestKey {
            key: digest(&[scope.as_bytes(), caller.user.as_str().as_bytes(), request_id.as_bytes()]),
            fingerprint: digest(&[rpc.name().as_bytes(), &rest.encode_to_vec()]),
        }
    });
    Some(Manner { once, validate_only })
}
