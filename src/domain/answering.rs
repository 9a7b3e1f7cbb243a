//! Answering a dispute: who first, then what, then when.

use super::actor::{Actor, Caller};
use super::case::{Case, Decision, Draft};
use super::command::Answer;
use super::dispute::{Dispute, DisputeKind, DisputeStatus, Outcome, ResolvedBy, Terms};
use super::money::Money;
use super::refusal::Refusal;
use super::time::Timestamp;

pub(super) fn accept(case: &Case, caller: &Caller, answer: &Answer, now: Timestamp) -> Result<Decision, Refusal> {
    let (dispute, draft) = admit(case, caller, answer, Side::Responder, Some(takes_yes_or_no), now)?;
    let outcome = outcome_if_accepted(case, dispute)?;
    Ok(resolved(draft, dispute, DisputeStatus::Accepted, ResolvedBy::Responder, outcome, answer))
}

pub(super) fn decline(case: &Case, caller: &Caller, answer: &Answer, now: Timestamp) -> Result<Decision, Refusal> {
    let (dispute, draft) = admit(case, caller, answer, Side::Responder, Some(takes_yes_or_no), now)?;
    Ok(resolved(draft, dispute, DisputeStatus::Declined, ResolvedBy::Responder, Outcome::Nothing, answer))
}

pub(super) fn answer(case: &Case, caller: &Caller, answer: &Answer, now: Timestamp) -> Result<Decision, Refusal> {
    let (dispute, draft) = admit(case, caller, answer, Side::Responder, Some(takes_a_message), now)?;
    Ok(resolved(draft, dispute, DisputeStatus::Answered, ResolvedBy::Responder, Outcome::Nothing, answer))
}

pub(super) fn withdraw(case: &Case, caller: &Caller, answer: &Answer, now: Timestamp) -> Result<Decision, Refusal> {
    let (dispute, draft) = admit(case, caller, answer, Side::Opener, None, now)?;
    Ok(resolved(draft, dispute, DisputeStatus::Withdrawn, ResolvedBy::Opener, Outcome::Nothing, answer))
}

/// Which party may do it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Opener,
    Responder,
}

/// A request for an update is answered with a message …
fn takes_a_message(kind: DisputeKind) -> bool {
    kind == DisputeKind::OrderUpdate
}

/// … and everything else with yes or no.
fn takes_yes_or_no(kind: DisputeKind) -> bool {
    !takes_a_message(kind)
}

/// The guards that all answers share, in their order, and an empty draft.
fn admit<'a>(
    case: &'a Case,
    caller: &Caller,
    answer: &Answer,
    side: Side,
    kind: Option<fn(DisputeKind) -> bool>,
    now: Timestamp,
) -> Result<(&'a Dispute, Draft), Refusal> {
    let dispute = case.dispute(answer.dispute).ok_or(Refusal::DisputeNotFound { dispute: answer.dispute })?;
    let role = dispute.party(caller)?;
    if (role == dispute.opener) != (side == Side::Opener) {
        return Err(Refusal::WrongRole);
    }
    if kind.is_some_and(|is_right| !is_right(dispute.kind())) {
        return Err(Refusal::WrongKind { kind: dispute.kind() });
    }
    dispute.require_unchanged(answer)?;
    dispute.require_in_time(now)?;
    Ok((dispute, Draft::new(case.clone(), Actor::Party(role, caller.user.clone()), now)))
}

fn resolved(
    mut draft: Draft,
    dispute: &Dispute,
    status: DisputeStatus,
    by: ResolvedBy,
    outcome: Outcome,
    answer: &Answer,
) -> Decision {
    draft.resolve(dispute.id, status, by, outcome, answer.message.clone());
    draft.decided(Some(dispute.id))
}

/// What accepting a dispute does to the order now, or what keeps it from being accepted: the guards of
/// opening that can have changed since. Silence re-checks the same.
pub(super) fn outcome_if_accepted(case: &Case, dispute: &Dispute) -> Result<Outcome, Refusal> {
    let order = &case.order;
    if !order.status.allows(dispute.kind()) {
        return Err(Refusal::OrderStatusNotAllowed { status: order.status });
    }
    let left = order.left();
    match dispute.terms {
        Terms::PartialRefund { amount } => {
            if let Some(dispute) = order.refund_accepted {
                return Err(Refusal::RefundAlreadyAccepted { dispute });
            }
            if amount.minor > left.minor {
                return Err(Refusal::AmountOutOfRange { min: Money::new(1, left.currency), max: left });
            }
            Ok(Outcome::Refund(amount))
        }
        Terms::Cancellation => {
            let refund = (left.minor > 0).then_some(left);
            Ok(Outcome::Cancellation { refund, counts: true })
        }
        Terms::OrderUpdate => Ok(Outcome::Nothing),
    }
}

impl Dispute {
    fn require_unchanged(&self, answer: &Answer) -> Result<(), Refusal> {
        match &answer.etag {
            Some(etag) if *etag != self.etag() => Err(Refusal::EtagMismatch { etag: self.etag() }),
            Some(_) | None => Ok(()),
        }
    }

    /// An answer counts if and only if it comes before `respond_by`, whether or not the expiry has been
    /// recorded yet.
    fn require_in_time(&self, now: Timestamp) -> Result<(), Refusal> {
        match self.status() {
            DisputeStatus::Pending if now < self.respond_by => Ok(()),
            DisputeStatus::Pending | DisputeStatus::Expired => {
                Err(Refusal::DeadlinePassed { respond_by: self.respond_by })
            }
            status => Err(Refusal::StatusNotAllowed { status }),
        }
    }
}
