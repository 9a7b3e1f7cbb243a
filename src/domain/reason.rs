//! Why a party raises a dispute, and who may know.

use super::actor::PartyRole;
use super::carried::Carried;
use super::kinds::DisputeKind;

/// The code of a reason.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "each code is explained by its label, see the translations")]
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
    UnexpectedEvent,
    UnclearRequirements,
    WaitingForBuyer,
    Workload,
}

impl ReasonCode {
    /// Every code.
    pub const ALL: [Self; 25] = [
        Self::Other,
        Self::ScopeChanged,
        Self::DelayCompensation,
        Self::BuyerPartlyDissatisfied,
        Self::DeliveredPartially,
        Self::QualityBelowAgreed,
        Self::Goodwill,
        Self::UnableToComplete,
        Self::MutualAgreement,
        Self::BuyerUnresponsive,
        Self::RequirementsMissing,
        Self::OrderedByMistake,
        Self::DuplicateOrder,
        Self::AbusiveBehaviour,
        Self::PolicyViolation,
        Self::RequirementsChanged,
        Self::NoLongerNeeded,
        Self::SellerCannotMeetExpectations,
        Self::LateDelivery,
        Self::SellerUnresponsive,
        Self::NotAsDescribed,
        Self::UnexpectedEvent,
        Self::UnclearRequirements,
        Self::WaitingForBuyer,
        Self::Workload,
    ];
}

/// A reason as it was given: a code and, with [`ReasonCode::Other`], a detail of 1 to 500 characters.
/// Both are confidential together, see [`is_confidential`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// The code.
    pub code: Carried<ReasonCode>,
    /// What [`ReasonCode::Other`] means here; empty for every other code.
    pub detail: String,
}

/// The reasons that a role may give for a kind, in the order in which they are offered. No reason is
/// given where this is empty.
pub fn reasons(kind: DisputeKind, role: PartyRole) -> &'static [ReasonCode] {
    match role {
        PartyRole::Buyer => kind.rules().reasons_of_buyer,
        PartyRole::Seller => kind.rules().reasons_of_seller,
    }
}

/// Whether the reason for a dispute of this kind stays between its opener and support.
pub fn is_confidential(kind: DisputeKind, opener: PartyRole) -> bool {
    kind.rules().confidential_reason_of.contains(&opener)
}
