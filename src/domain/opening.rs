//! Opening a dispute: the guards, in the order in which they are judged.

use super::actor::{Actor, Caller, PartyRole};
use super::answering;
use super::case::{Case, Decision, Draft};
use super::command::Opening;
use super::dispute::{Dispute, DisputeKind, DisputeStatus, Outcome, ResolvedBy, Terms};
use super::ids::DisputeId;
use super::money::Money;
use super::policy::Policy;
use super::reason;
use super::refusal::Refusal;
use super::time::Timestamp;

pub(super) fn open(
    case: &Case,
    caller: &Caller,
    opening: &Opening,
    policy: &Policy,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let kind = opening.terms.kind();
    let role = case.order.party(caller)?;
    if !kind.may_be_opened_by(role) {
        return Err(Refusal::WrongRole);
    }
    if let Some(first) = blockers(case, kind, role, policy).into_iter().next() {
        return Err(first);
    }
    if let Terms::PartialRefund { amount } = opening.terms {
        require_amount_in_range(case, amount, policy)?;
    }
    require_message_and_reason(opening, kind, role)?;

    let mut draft = Draft::new(case.clone(), Actor::Party(role, caller.user.clone()), now);
    match way(case, kind, role) {
        Way::AcceptsCancellation(first) => {
            let outcome = answering::outcome_if_accepted(case, first)?;
            let message = opening.message.clone();
            let first = first.id;
            draft.resolve(first, DisputeStatus::Accepted, ResolvedBy::Crossed, outcome, message);
            return Ok(draft.decided(Some(first)));
        }
        Way::DeclinesOffer(offer) => {
            draft.resolve(offer, DisputeStatus::Declined, ResolvedBy::Responder, Outcome::Nothing, String::new());
        }
        Way::Free | Way::Blocked(_) => {}
    }
    draft.open(Dispute {
        id: opening.dispute,
        order: case.order.id.clone(),
        parties: case.order.parties.clone(),
        opener: role,
        terms: opening.terms,
        message: opening.message.clone(),
        reason: opening.reason.clone(),
        respond_by: now.plus(policy.response_window(kind)),
        silence: policy.silence(kind, case.order.status),
        create_time: now,
        update_time: now,
        revision: 1,
        resolution: None,
    });
    Ok(draft.decided(Some(opening.dispute)))
}

/// Everything in the case that keeps this role from opening a dispute of this kind, whatever it would
/// say in it; first what is judged first.
pub(super) fn blockers(case: &Case, kind: DisputeKind, role: PartyRole, policy: &Policy) -> Vec<Refusal> {
    let mut blockers = Vec::new();
    let order = &case.order;
    if !order.status.allows(kind) {
        blockers.push(Refusal::OrderStatusNotAllowed { status: order.status });
    }
    if let Way::Blocked(dispute) = way(case, kind, role) {
        blockers.push(Refusal::OpenDisputeExists { dispute });
    }
    if kind == DisputeKind::PartialRefund {
        if let Some(dispute) = order.refund_accepted {
            blockers.push(Refusal::RefundAlreadyAccepted { dispute });
        }
        let cap = refund_cap(case, policy);
        let (min, max) = refund_range(case, policy);
        let smallest_price = policy.partial_refund.smallest_price(order.price.currency);
        if cap.minor < min.minor || order.price.minor < smallest_price.minor {
            blockers.push(Refusal::RefundCapBelowMinimum { cap });
        } else if max.minor < min.minor {
            blockers.push(Refusal::AmountOutOfRange { min, max });
        }
    }
    blockers
}

/// What a new dispute meets: at most one money dispute is open per order, and at most one of each other
/// kind, but for two exceptions.
pub(super) enum Way<'a> {
    /// Nothing.
    Free,
    /// An open dispute that stands in the way.
    Blocked(DisputeId),
    /// Crossed cancellations merge: the second accepts the first.
    AcceptsCancellation(&'a Dispute),
    /// An offer cannot block the buyer's cancellation: it is declined.
    DeclinesOffer(DisputeId),
}

pub(super) fn way(case: &Case, kind: DisputeKind, role: PartyRole) -> Way<'_> {
    let Some(open) = case.pending_that_excludes(kind) else {
        return Way::Free;
    };
    match (kind, open.kind()) {
        (DisputeKind::Cancellation, DisputeKind::Cancellation) if open.opener != role => Way::AcceptsCancellation(open),
        (DisputeKind::Cancellation, DisputeKind::PartialRefund) if role == PartyRole::Buyer => {
            Way::DeclinesOffer(open.id)
        }
        _ => Way::Blocked(open.id),
    }
}

/// 60 % of the original price with the default policy, rounded down.
fn refund_cap(case: &Case, policy: &Policy) -> Money {
    case.order.price.share(policy.partial_refund.cap_bps)
}

/// The least and the most that can be offered: up to the cap, and never more than what is left.
pub(super) fn refund_range(case: &Case, policy: &Policy) -> (Money, Money) {
    let cap = refund_cap(case, policy);
    let most = cap.minor.min(case.order.left().minor);
    (policy.partial_refund.smallest_refund(cap.currency), Money::new(most, cap.currency))
}

fn require_amount_in_range(case: &Case, amount: Money, policy: &Policy) -> Result<(), Refusal> {
    let (min, max) = refund_range(case, policy);
    if amount.currency != max.currency {
        return Err(Refusal::CurrencyNotOfOrder { expected: max.currency.code() });
    }
    if !(min.minor..=max.minor).contains(&amount.minor) {
        return Err(Refusal::AmountOutOfRange { min, max });
    }
    Ok(())
}

fn require_message_and_reason(opening: &Opening, kind: DisputeKind, role: PartyRole) -> Result<(), Refusal> {
    if opening.message.is_empty() && kind.requires_message(role) {
        return Err(Refusal::MessageRequired);
    }
    match &opening.reason {
        Some(reason) if !reason::reasons(kind, role).contains(&reason.code) => Err(Refusal::ReasonNotValid),
        None if !reason::reasons(kind, role).is_empty() => Err(Refusal::ReasonNotValid),
        Some(_) | None => Ok(()),
    }
}
