//! Settlement: whether the money of an outcome has really moved. Apart from the decision: a refund that
//! fails never opens a dispute again.

use super::actor::{Actor, Caller, Scope};
use super::case::{Case, Decision, Draft};
use super::dispute::Dispute;
use super::event::Change;
use super::ids::DisputeId;
use super::refusal::Refusal;
use super::time::Timestamp;

/// How the money stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Settlement {
    /// It is to be paid.
    Due,
    /// The platform tried.
    Reported(SettlementReport),
}

/// What the platform says of an attempt to pay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SettlementReport {
    /// The money has moved.
    Settled {
        /// The payment, as the platform calls it. 0 to 200 characters.
        reference: String,
    },
    /// It has not.
    Failed {
        /// Why. 0 to 200 characters; for support and the platform alone.
        detail: String,
    },
}

/// How the money stands, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "explained by Settlement")]
pub enum SettlementStatus {
    Due,
    Settled,
    Failed,
}

impl Settlement {
    /// How the money stands, in one word.
    pub fn status(&self) -> SettlementStatus {
        match self {
            Self::Due => SettlementStatus::Due,
            Self::Reported(SettlementReport::Settled { .. }) => SettlementStatus::Settled,
            Self::Reported(SettlementReport::Failed { .. }) => SettlementStatus::Failed,
        }
    }
}

impl Dispute {
    /// What the platform sends with every attempt to pay, so that it pays once.
    pub fn settlement_key(&self) -> String {
        format!("refund-{}", self.id)
    }
}

/// The platform reports what became of the money. The same report again is fine and changes nothing.
pub(super) fn report(
    case: &Case,
    caller: &Caller,
    id: DisputeId,
    report: &SettlementReport,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let settlement = unsettled_or_same(case, caller, id, Some(report))?;
    let mut draft = Draft::new(case.clone(), Actor::Platform(caller.user.clone()), now);
    if *settlement != Settlement::Reported(report.clone()) {
        draft.record(id, Change::Settled(report.clone()));
    }
    Ok(draft.decided(Some(id)))
}

/// The guards of a report; without one, those of any report that says something new.
pub(super) fn unsettled_or_same<'a>(
    case: &'a Case,
    caller: &Caller,
    id: DisputeId,
    report: Option<&SettlementReport>,
) -> Result<&'a Settlement, Refusal> {
    let dispute = case.named(id)?;
    if caller.scope != Some(Scope::Platform) {
        return dispute.party(caller).and(Err(Refusal::WrongRole));
    }
    let settlement = dispute.resolution.as_ref().and_then(|resolution| resolution.settlement.as_ref());
    match settlement.ok_or(Refusal::NothingToSettle)? {
        Settlement::Reported(settled @ SettlementReport::Settled { .. }) if Some(settled) != report => {
            Err(Refusal::AlreadySettled)
        }
        settlement => Ok(settlement),
    }
}
