//! Why a party raises a dispute, and who may know.

use super::actor::PartyRole;
use super::carried::Carried;
use super::code::codes;
use super::kinds::DisputeKind;

codes! {
    /// The code of a reason.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[expect(missing_docs, reason = "each code is explained by its label, see the translations")]
    pub enum ReasonCode {
        Other = 1,
        ScopeChanged = 2,
        DelayCompensation = 3,
        BuyerPartlyDissatisfied = 4,
        DeliveredPartially = 5,
        QualityBelowAgreed = 6,
        Goodwill = 7,
        UnableToComplete = 8,
        MutualAgreement = 9,
        BuyerUnresponsive = 10,
        RequirementsMissing = 11,
        OrderedByMistake = 12,
        DuplicateOrder = 13,
        AbusiveBehaviour = 14,
        PolicyViolation = 15,
        RequirementsChanged = 16,
        NoLongerNeeded = 17,
        SellerCannotMeetExpectations = 18,
        LateDelivery = 19,
        SellerUnresponsive = 20,
        NotAsDescribed = 21,
        UnexpectedEvent = 22,
        UnclearRequirements = 23,
        WaitingForBuyer = 24,
        Workload = 25,
    }
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
