//! The numbers under which the values of enums are stored: those of the contract, and one of our own where the
//! contract has one word for two things. They never change.

use crate::domain::{
    ActorRole, Carried, DisputeKind, DisputeStatus, EventType, OrderStatus, PartyRole, ReasonCode, ResolvedBy,
    SettlementStatus, SilenceRule,
};

/// A value that is stored as a number.
pub(super) trait Code: Copy + PartialEq + 'static {
    /// Each value with its number.
    const TABLE: &'static [(Self, i16)];

    /// The number of a value.
    fn code(self) -> i16 {
        // Every value is in its table: a test of this file reads it from the contract's side.
        Self::TABLE.iter().find(|(value, _)| *value == self).map_or(0, |(_, code)| *code)
    }

    /// The value with this number, if there is one.
    fn of(code: i16) -> Option<Self> {
        Self::TABLE.iter().find(|(_, known)| *known == code).map(|(value, _)| *value)
    }

    /// The highest number that this release knows.
    fn highest() -> i16 {
        Self::TABLE.iter().map(|(_, code)| *code).max().unwrap_or_default()
    }

    /// Whether this can be the number of a value that a newer release has added: those are above zero.
    fn is_newer(code: i16) -> bool {
        code > 0 && Self::of(code).is_none()
    }

    /// The value with this number, or the number of a newer one; `None` if it can be neither.
    fn carried(code: i16) -> Option<Carried<Self>> {
        Self::of(code).map(Carried::Known).or(Self::is_newer(code).then_some(Carried::Newer(code)))
    }
}

/// The number of a value that is carried.
pub(super) fn number<C: Code>(value: Carried<C>) -> i16 {
    match value {
        Carried::Known(value) => value.code(),
        Carried::Newer(code) => code,
    }
}

macro_rules! codes {
    ($name:ident { $($value:ident = $code:literal),+ $(,)? }) => {
        impl Code for $name {
            const TABLE: &'static [(Self, i16)] = &[$((Self::$value, $code)),+];
        }

        // A value that has no number does not compile.
        const _: fn($name) = |value| match value {
            $($name::$value => {})+
        };
    };
}

codes!(OrderStatus {
    RequirementsPending = 1,
    InProgress = 2,
    Delivered = 3,
    InRevision = 4,
    Completed = 5,
    Cancelled = 6,
});
codes!(PartyRole { Buyer = 1, Seller = 2 });
codes!(ActorRole { Buyer = 1, Seller = 2, Support = 3, Platform = 4, System = 5 });
codes!(DisputeKind { PartialRefund = 1, Cancellation = 2, OrderUpdate = 3, DeliveryExtension = 4 });
codes!(DisputeStatus {
    Pending = 1,
    Escalated = 2,
    Accepted = 3,
    Declined = 4,
    Answered = 5,
    Withdrawn = 6,
    Expired = 7,
    Superseded = 8,
    Decided = 9,
});
codes!(SettlementStatus { Due = 1, Settled = 2, Failed = 3, Returned = 4, Voided = 5 });
codes!(SilenceRule { NoEffect = 1, Accept = 2 });
codes!(ResolvedBy {
    Responder = 1,
    Opener = 2,
    Crossed = 3,
    Immediate = 4,
    Deadline = 5,
    OrderCompleted = 6,
    OrderStatus = 7,
    OtherDispute = 8,
    Support = 9,
    OrderCancelled = 10,
});
codes!(EventType {
    Opened = 1,
    Accepted = 2,
    Declined = 3,
    Answered = 4,
    Withdrawn = 5,
    DeadlineApproaching = 6,
    DeadlineMoved = 7,
    DeadlineExpired = 8,
    Superseded = 9,
    Escalated = 10,
    Decided = 11,
    Settled = 12,
    SettlementFailed = 13,
    Snapshot = 14,
    SettlementReturned = 15,
    SettlementVoided = 16,
});
codes!(ReasonCode {
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
});

/// The group of which one dispute may be open per order: one for all money disputes, one for each other kind.
pub(super) fn exclusion_group(kind: DisputeKind) -> i16 {
    if kind.is_money() { DisputeKind::PartialRefund.code() } else { kind.code() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Debug;

    use super::*;

    fn check<C: Code + Debug>() {
        let codes: HashSet<i16> = C::TABLE.iter().map(|(_, code)| *code).collect();
        assert_eq!(codes.len(), C::TABLE.len(), "a number comes twice");
        for (value, code) in C::TABLE {
            assert_eq!(value.code(), *code);
            assert_eq!(C::of(*code), Some(*value));
            assert_eq!(C::carried(*code).map(number), Some(*code));
        }
        assert_eq!(C::carried(99), Some(Carried::Newer(99)));
        assert_eq!((C::carried(0), C::carried(-1)), (None, None));
        assert_eq!(C::of(0), None);
        assert_eq!(C::of(99), None);
    }

    #[test]
    fn each_value_has_a_number_of_its_own() {
        check::<OrderStatus>();
        check::<PartyRole>();
        check::<ActorRole>();
        check::<SettlementStatus>();
        check::<DisputeKind>();
        check::<DisputeStatus>();
        check::<SilenceRule>();
        check::<ResolvedBy>();
        check::<EventType>();
        check::<ReasonCode>();
    }

    #[test]
    fn groups_exclude_as_the_rules_do() {
        for a in DisputeKind::ALL {
            for b in DisputeKind::ALL {
                assert_eq!(exclusion_group(a) == exclusion_group(b), a.excludes(b), "{a:?} {b:?}");
            }
        }
    }
}
