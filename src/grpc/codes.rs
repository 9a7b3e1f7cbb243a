//! The enums of the contract and those of the rules: the same names, one table each, read both ways,
//! but where the contract has one word for two things.

use crate::domain::{self, Carried};
use crate::proto::v1;

/// The number that a value has in the contract, also one that this release does not know.
pub(super) fn number<D, P: From<D> + Into<i32>>(value: Carried<D>) -> i32 {
    match value {
        Carried::Known(value) => P::from(value).into(),
        Carried::Newer(number) => number.into(),
    }
}

/// Declares that the values of a domain enum are those of the contract's enum of that name.
macro_rules! same_values {
    ($name:ident, $prefix:literal, [$($value:ident),+ $(,)?]) => {
        impl From<domain::$name> for v1::$name {
            fn from(value: domain::$name) -> Self {
                match value {
                    $(domain::$name::$value => Self::$value,)+
                }
            }
        }

        impl v1::$name {
            /// The value in the domain; `None` for UNSPECIFIED.
            #[allow(dead_code, reason = "not every enum comes in requests")]
            pub(super) fn known(self) -> Option<domain::$name> {
                match self {
                    Self::Unspecified => None,
                    $(Self::$value => Some(domain::$name::$value),)+
                }
            }

            /// The value's name without the enum's, as error metadata shows it.
            #[allow(dead_code, reason = "not every enum is shown in errors")]
            pub(super) fn name(self) -> &'static str {
                self.as_str_name().trim_start_matches($prefix)
            }
        }
    };
}

same_values!(
    OrderStatus,
    "ORDER_STATUS_",
    [RequirementsPending, InProgress, Delivered, InRevision, Completed, Cancelled]
);
same_values!(PartyRole, "PARTY_ROLE_", [Buyer, Seller]);
same_values!(ActorRole, "ACTOR_ROLE_", [Buyer, Seller, Support, Platform, System]);
same_values!(DisputeKind, "DISPUTE_KIND_", [PartialRefund, Cancellation, OrderUpdate, DeliveryExtension]);
same_values!(
    DisputeStatus,
    "DISPUTE_STATUS_",
    [Pending, Escalated, Accepted, Declined, Answered, Withdrawn, Expired, Superseded, Decided]
);
same_values!(SettlementStatus, "SETTLEMENT_STATUS_", [Due, Settled, Failed, Returned, Voided]);
same_values!(
    DisputeAction,
    "DISPUTE_ACTION_",
    [Accept, Decline, Answer, Withdraw, Escalate, Decide, Postpone, ReportSettlement]
);
same_values!(Effect, "EFFECT_", [Revenue, CompletionRate, SearchVisibility, NoFurtherRefund]);
same_values!(SilenceRule, "SILENCE_RULE_", [NoEffect, Accept]);
same_values!(
    EventType,
    "EVENT_TYPE_",
    [
        Opened,
        Accepted,
        Declined,
        Answered,
        Withdrawn,
        DeadlineApproaching,
        DeadlineMoved,
        DeadlineExpired,
        Superseded,
        Escalated,
        Decided,
        Settled,
        SettlementFailed,
        SettlementReturned,
        SettlementVoided,
        Snapshot,
    ]
);

impl From<domain::ResolvedBy> for v1::ResolvedBy {
    fn from(by: domain::ResolvedBy) -> Self {
        match by {
            domain::ResolvedBy::Responder => Self::Responder,
            domain::ResolvedBy::Opener => Self::Opener,
            domain::ResolvedBy::Crossed => Self::Crossed,
            domain::ResolvedBy::Immediate => Self::Immediate,
            domain::ResolvedBy::Deadline => Self::Deadline,
            // The contract has one word for both; only the rules of escalation tell them apart.
            domain::ResolvedBy::OrderCompleted | domain::ResolvedBy::OrderCancelled => Self::OrderEnded,
            domain::ResolvedBy::OrderStatus => Self::OrderStatus,
            domain::ResolvedBy::OtherDispute => Self::OtherDispute,
            domain::ResolvedBy::Support => Self::Support,
        }
    }
}

impl From<domain::ReasonCode> for v1::Reason {
    fn from(code: domain::ReasonCode) -> Self {
        REASONS.iter().find(|(known, _)| *known == code).map_or(Self::Unspecified, |(_, reason)| *reason)
    }
}

impl v1::Reason {
    /// The value in the domain; `None` for UNSPECIFIED.
    pub(super) fn known(self) -> Option<domain::ReasonCode> {
        REASONS.iter().find(|(_, reason)| *reason == self).map(|(known, _)| *known)
    }
}

const REASONS: [(domain::ReasonCode, v1::Reason); 25] = {
    use domain::ReasonCode as Known;
    use v1::Reason;
    [
        (Known::Other, Reason::Other),
        (Known::ScopeChanged, Reason::ScopeChanged),
        (Known::DelayCompensation, Reason::DelayCompensation),
        (Known::BuyerPartlyDissatisfied, Reason::BuyerPartlyDissatisfied),
        (Known::DeliveredPartially, Reason::DeliveredPartially),
        (Known::QualityBelowAgreed, Reason::QualityBelowAgreed),
        (Known::Goodwill, Reason::Goodwill),
        (Known::UnableToComplete, Reason::UnableToComplete),
        (Known::MutualAgreement, Reason::MutualAgreement),
        (Known::BuyerUnresponsive, Reason::BuyerUnresponsive),
        (Known::RequirementsMissing, Reason::RequirementsMissing),
        (Known::OrderedByMistake, Reason::OrderedByMistake),
        (Known::DuplicateOrder, Reason::DuplicateOrder),
        (Known::AbusiveBehaviour, Reason::AbusiveBehaviour),
        (Known::PolicyViolation, Reason::PolicyViolation),
        (Known::RequirementsChanged, Reason::RequirementsChanged),
        (Known::NoLongerNeeded, Reason::NoLongerNeeded),
        (Known::SellerCannotMeetExpectations, Reason::SellerCannotMeetExpectations),
        (Known::LateDelivery, Reason::LateDelivery),
        (Known::SellerUnresponsive, Reason::SellerUnresponsive),
        (Known::NotAsDescribed, Reason::NotAsDescribed),
        (Known::UnexpectedEvent, Reason::UnexpectedEvent),
        (Known::UnclearRequirements, Reason::UnclearRequirements),
        (Known::WaitingForBuyer, Reason::WaitingForBuyer),
        (Known::Workload, Reason::Workload),
    ]
};

/// The field of the command that has an amount.
pub(super) fn field_of_amount(amount: domain::AmountOf) -> &'static str {
    match amount {
        domain::AmountOf::Offer => "amount",
        domain::AmountOf::Ruling => "refund",
        domain::AmountOf::Paid => "paid",
        domain::AmountOf::RefundedElsewhere => "refunded_elsewhere",
    }
}

/// The field of an order that says what never changes.
pub(super) fn field_of_identity(identity: domain::OrderIdentity) -> &'static str {
    match identity {
        domain::OrderIdentity::Buyer => "buyer_id",
        domain::OrderIdentity::Seller => "seller_id",
        domain::OrderIdentity::Price => "price",
    }
}
