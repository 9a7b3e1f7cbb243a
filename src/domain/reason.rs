//! Why a party raises a dispute, and who may know.

use super::actor::PartyRole;
use super::dispute::DisputeKind;

/// The code of a reason.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "each code is explained by its label")]
pub enum ReasonCode {
    Other,
    ScopeChanged,
    DelayCompensation,
    BuyerPartlyDissatisfied,
    DeliveredPartially,
    QualityBelowAgreed,
    Goodwill,
    UnableToComplete,
    MutualAgreement,
    BuyerUnresponsive,
    RequirementsMissing,
    OrderedByMistake,
    DuplicateOrder,
    AbusiveBehaviour,
    PolicyViolation,
    RequirementsChanged,
    NoLongerNeeded,
    SellerCannotMeetExpectations,
    LateDelivery,
    SellerUnresponsive,
    NotAsDescribed,
}

/// A reason as it was given: a code and, with [`ReasonCode::Other`], a detail of 1 to 500 characters.
/// Both are confidential together, see [`is_confidential`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// The code.
    pub code: ReasonCode,
    /// What [`ReasonCode::Other`] means here; empty for every other code.
    pub detail: String,
}

/// The reasons that a role may give for a kind, in the order in which they are offered. No reason is
/// given where this is empty.
pub fn reasons(kind: DisputeKind, role: PartyRole) -> &'static [ReasonCode] {
    use ReasonCode::*;
    match (kind, role) {
        (DisputeKind::PartialRefund, PartyRole::Seller) => &[
            ScopeChanged,
            DelayCompensation,
            BuyerPartlyDissatisfied,
            DeliveredPartially,
            QualityBelowAgreed,
            Goodwill,
            Other,
        ],
        (DisputeKind::Cancellation, PartyRole::Seller) => &[
            ScopeChanged,
            UnableToComplete,
            MutualAgreement,
            BuyerUnresponsive,
            RequirementsMissing,
            OrderedByMistake,
            DuplicateOrder,
            AbusiveBehaviour,
            PolicyViolation,
            Other,
        ],
        (DisputeKind::Cancellation, PartyRole::Buyer) => &[
            RequirementsChanged,
            NoLongerNeeded,
            SellerCannotMeetExpectations,
            OrderedByMistake,
            DuplicateOrder,
            LateDelivery,
            SellerUnresponsive,
            NotAsDescribed,
            AbusiveBehaviour,
            Other,
        ],
        (DisputeKind::PartialRefund, PartyRole::Buyer) | (DisputeKind::OrderUpdate, _) => &[],
    }
}

/// Whether the reason for a dispute of this kind stays between its opener and support: a seller's for
/// an offer, a buyer's for a cancellation.
pub fn is_confidential(kind: DisputeKind, opener: PartyRole) -> bool {
    match (kind, opener) {
        (DisputeKind::PartialRefund, _) | (DisputeKind::Cancellation, PartyRole::Buyer) => true,
        (DisputeKind::Cancellation, PartyRole::Seller) | (DisputeKind::OrderUpdate, _) => false,
    }
}

/// What a person reads when choosing a reason, in English.
pub fn label(code: ReasonCode) -> &'static str {
    match code {
        ReasonCode::Other => "Another reason",
        ReasonCode::ScopeChanged => "The scope of the work changed",
        ReasonCode::DelayCompensation => "To make up for a delay",
        ReasonCode::BuyerPartlyDissatisfied => "The buyer is not satisfied with a part of the work",
        ReasonCode::DeliveredPartially => "Only a part was delivered",
        ReasonCode::QualityBelowAgreed => "The quality is below what was agreed",
        ReasonCode::Goodwill => "A gesture of goodwill",
        ReasonCode::UnableToComplete => "The seller cannot complete the order",
        ReasonCode::MutualAgreement => "Both parties agreed to cancel",
        ReasonCode::BuyerUnresponsive => "The buyer does not respond",
        ReasonCode::RequirementsMissing => "The buyer did not provide what is needed",
        ReasonCode::OrderedByMistake => "The order was placed by mistake",
        ReasonCode::DuplicateOrder => "The order was placed twice",
        ReasonCode::AbusiveBehaviour => "Abusive behaviour",
        ReasonCode::PolicyViolation => "The order breaks the rules of the marketplace",
        ReasonCode::RequirementsChanged => "The requirements changed",
        ReasonCode::NoLongerNeeded => "The service is no longer needed",
        ReasonCode::SellerCannotMeetExpectations => "The seller cannot meet the expectations",
        ReasonCode::LateDelivery => "The delivery is late",
        ReasonCode::SellerUnresponsive => "The seller does not respond",
        ReasonCode::NotAsDescribed => "The work is not as described",
    }
}
