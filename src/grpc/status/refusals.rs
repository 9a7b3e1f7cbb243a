//! What a caller is told of each refusal of the rules.

use tonic::Code;

use super::Failure;
use crate::domain::{Refusal, Subject};
use crate::grpc::codes::{field_of_amount, field_of_identity};
use crate::proto::v1::{DisputeKind, DisputeStatus, ErrorReason, OrderStatus, SettlementStatus};

/// The table of refusals: each with its code, reason, text and facts.
impl From<&Refusal> for Failure {
    fn from(refusal: &Refusal) -> Self {
        use Code::{Aborted, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied};
        match refusal {
            Refusal::OrderNotFound { order } => {
                Self::new(NotFound, ErrorReason::OrderNotFound, "there is no such order").with("orderId", order)
            }
            Refusal::DisputeNotFound { dispute } => {
                Self::new(NotFound, ErrorReason::DisputeNotFound, "there is no such dispute").with("disputeId", dispute)
            }
            Refusal::WrongRole => {
                Self::new(PermissionDenied, ErrorReason::WrongRole, "the caller's role may not do this")
            }
            Refusal::OrderStatusNotAllowed { status } => {
                let status = OrderStatus::from(*status).name();
                let message = format!("an order in status {status} does not allow this");
                Self::new(FailedPrecondition, ErrorReason::OrderStatusNotAllowed, message).with("status", status)
            }
            Refusal::OpenDisputeExists { dispute } => {
                let message = "another dispute of this order is open and must be resolved first";
                Self::new(FailedPrecondition, ErrorReason::OpenDisputeExists, message).with("disputeId", dispute)
            }
            Refusal::RefundAlreadyAccepted { dispute } => {
                let message = "a partial refund was already accepted on this order";
                Self::new(FailedPrecondition, ErrorReason::RefundAlreadyAccepted, message).with("disputeId", dispute)
            }
            Refusal::RefundCapBelowMinimum { cap } => {
                let message = "the order is too small for a partial refund";
                Self::new(FailedPrecondition, ErrorReason::RefundCapBelowMinimum, message).with("cap", cap.decimal())
            }
            Refusal::AmountOutOfRange { min, max } => {
                let message = if max.minor < min.minor {
                    "no amount is possible now".to_owned()
                } else {
                    format!("the amount must be from {min} to {max}")
                };
                Self::new(InvalidArgument, ErrorReason::AmountOutOfRange, message)
                    .with("minAmount", min.decimal())
                    .with("maxAmount", max.decimal())
                    .with("currency", max.currency.code())
            }
            Refusal::CurrencyNotOfOrder { amount, expected } => {
                let field = format!("{}.currency_code", field_of_amount(*amount));
                Self::invalid_field(&field, format!("must be {}, the order's currency", expected.code()))
            }
            Refusal::TooPreciseForOrder { amount, expected } => {
                let field = field_of_amount(*amount);
                let (code, decimals) = (expected.code(), expected.exponent());
                Self::invalid_field(
                    field,
                    format!("must have at most {decimals} decimals, as this order's {code} amounts do"),
                )
            }
            Refusal::MessageRequired => Self::invalid_field("message", "must not be empty"),
            Refusal::ReasonNotValid => {
                let message = "the reason is not allowed for this kind and role; see ListReasons";
                Self::new(InvalidArgument, ErrorReason::ReasonNotValid, message).about("reason")
            }
            Refusal::WrongKind { kind } => {
                let kind = DisputeKind::from(*kind).name();
                let message = format!("this command does not apply to a dispute of kind {kind}");
                Self::new(FailedPrecondition, ErrorReason::WrongKind, message).with("kind", kind)
            }
            Refusal::EtagMismatch { etag } => {
                let message = "the dispute has changed since it was read; read it again";
                Self::new(Aborted, ErrorReason::EtagMismatch, message).with("etag", etag)
            }
            Refusal::DeadlinePassed { respond_by } => {
                let message = format!("the time to answer ended at {respond_by}");
                Self::new(FailedPrecondition, ErrorReason::DeadlinePassed, message).with("respondBy", respond_by)
            }
            Refusal::StatusNotAllowed { status } => {
                let status = DisputeStatus::from(*status).name();
                let message = format!("the dispute is {status}");
                Self::new(FailedPrecondition, ErrorReason::StatusNotAllowed, message).with("status", status)
            }
            Refusal::NewDueTimeOutOfRange { after, latest } => {
                let description = if latest <= after {
                    "the order is too late for an extension".to_owned()
                } else {
                    format!("must be after {after} and at most {latest}")
                };
                Self::invalid_field("new_due_time", description)
            }
            Refusal::DeadlineNotLater { respond_by } => {
                Self::invalid_field("respond_by", format!("must be later than the current deadline, {respond_by}"))
            }
            Refusal::CoolDown { retry_time } => {
                let message = format!("a similar dispute ended recently; try again at {retry_time}");
                Self::new(FailedPrecondition, ErrorReason::CoolDown, message).with("retryTime", retry_time)
            }
            Refusal::TooManyAttempts { attempts, max } => {
                let message = format!("this was requested {attempts} times on this order; the maximum is {max}");
                Self::new(FailedPrecondition, ErrorReason::TooManyAttempts, message)
                    .with("attempts", attempts)
                    .with("max", max)
            }
            Refusal::TooManyRounds { max } => {
                let message = format!("the maximum of {max} counter-offers on a dispute was reached");
                Self::new(FailedPrecondition, ErrorReason::TooManyRounds, message).with("max", max)
            }
            Refusal::NoFaultNotAvailable { used, max } => {
                let message = format!("the seller has no no-fault cancellation left; the maximum is {max}");
                let failure = Self::new(FailedPrecondition, ErrorReason::NoFaultNotAvailable, message).with("max", max);
                used.iter().fold(failure, |failure, used| failure.with("used", used))
            }
            Refusal::EscalationWindowClosed { closed_time } => {
                let message = format!("the time to escalate ended at {closed_time}");
                Self::new(FailedPrecondition, ErrorReason::EscalationWindowClosed, message)
                    .with("closedTime", closed_time)
            }
            Refusal::NothingToSettle => {
                Self::new(FailedPrecondition, ErrorReason::NothingToSettle, "this dispute's outcome contains no refund")
            }
            Refusal::AttemptUnknown { highest } => {
                Self::invalid_field("attempt", format!("must be at most {highest}, the highest attempt so far"))
            }
            Refusal::SettledTwice { attempt } => {
                let message = format!("the refund was already paid, by attempt {attempt}");
                Self::new(FailedPrecondition, ErrorReason::SettledTwice, message).with("attempt", attempt)
            }
            Refusal::SettlementStatusNotAllowed { status } => {
                let status = SettlementStatus::from(*status).name();
                let message = format!("the settlement is {status}");
                Self::new(FailedPrecondition, ErrorReason::StatusNotAllowed, message).with("status", status)
            }
            Refusal::OrderIdentityChanged { order, changed } => {
                let field = field_of_identity(*changed);
                let message = format!("the {field} of an order can never change");
                Self::new(FailedPrecondition, ErrorReason::OrderIdentityChanged, message)
                    .with("orderId", order)
                    .with("field", field)
            }
            Refusal::NewerReleaseNeeded { subject } => {
                let message = "this replica's release is too old to judge this; another replica may be able to";
                let failure = Self::new(Code::Unavailable, ErrorReason::NewerReleaseNeeded, message).with_retry();
                match subject {
                    Subject::Dispute(dispute) => failure.with("disputeId", dispute),
                    Subject::Order(order) => failure.with("orderId", order),
                }
            }
            Refusal::Unreadable { order } => {
                Self::internal(&format!("the order {order} has an open dispute that is stored corruptly"))
            }
        }
    }
}
