//! The reasons that each kind and role may give.

use super::fixtures::*;
use crate::domain::PartyRole::{Buyer, Seller};
use crate::domain::ReasonCode::*;
use crate::domain::*;

/// The table of the rules. Each kind with a reason also has OTHER.
const TABLE: [(DisputeKind, PartyRole, &[ReasonCode]); 6] = [
    (
        DisputeKind::PartialRefund,
        Buyer,
        &[NotAsDescribed, LateDelivery, DeliveredPartially, QualityBelowAgreed, SellerUnresponsive, Other],
    ),
    (
        DisputeKind::PartialRefund,
        Seller,
        &[
            ScopeChanged,
            DelayCompensation,
            BuyerPartlyDissatisfied,
            DeliveredPartially,
            QualityBelowAgreed,
            Goodwill,
            Other,
        ],
    ),
    (
        DisputeKind::Cancellation,
        Seller,
        &[
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
    ),
    (
        DisputeKind::Cancellation,
        Buyer,
        &[
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
    ),
    (DisputeKind::OrderUpdate, Buyer, &[]),
    (
        DisputeKind::DeliveryExtension,
        Seller,
        &[ScopeChanged, UnexpectedEvent, UnclearRequirements, WaitingForBuyer, Workload, Other],
    ),
];

#[test]
fn each_kind_and_role_has_its_reasons_in_this_order() {
    for kind in DisputeKind::ALL {
        for role in PartyRole::ALL {
            let row = TABLE.into_iter().find(|row| (row.0, row.1) == (kind, role));
            assert_eq!(reasons(kind, role), row.map_or(&[][..], |row| row.2), "{kind:?} by {role:?}");
        }
    }
    let is_given = |code| TABLE.iter().any(|(.., codes)| codes.contains(code));
    assert!(ReasonCode::ALL.iter().all(is_given), "no code is for nobody");
}

#[test]
fn every_reason_of_the_table_is_taken_and_nothing_else() {
    for (kind, role, codes) in TABLE {
        let told = |reason: Option<ReasonCode>| {
            let Command::Open(opening) = asking(1, kind, role) else { panic!("no opening") };
            let reason = reason.map(|code| Reason { code: code.into(), detail: "So it is.".to_owned() });
            let opened = Story::new(OrderStatus::InProgress)
                .asking()
                .tell(&party(role), &open(Opening { reason: reason.clone(), ..*opening }))?;
            assert_eq!(opened.unwrap().reason, reason, "as it was given");
            Ok(())
        };
        for code in ReasonCode::ALL {
            let expected = if codes.contains(&code) { Ok(()) } else { Err(Refusal::ReasonNotValid) };
            assert_eq!(told(Some(code)), expected, "{kind:?} by {role:?}: {code:?}");
        }
        let expected = if codes.is_empty() { Ok(()) } else { Err(Refusal::ReasonNotValid) };
        assert_eq!(told(None), expected, "{kind:?} by {role:?} without a reason");
    }
}
