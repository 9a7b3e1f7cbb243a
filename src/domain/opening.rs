//! Opening a dispute: the guards, in the order in which they are judged.

use super::actor::{Actor, Caller, PartyRole};
use super::answering;
use super::case::{Case, Decision, Draft};
use super::command::Opening;
use super::dispute::{Dispute, DisputeKind, DisputeStatus, Outcome, ResolvedBy, Terms};
use super::ids::DisputeId;
use super::money::Money;
use super::order::OrderStatus;
use super::policy::{Attempts, Policy};
use super::postponing::next_reminder;
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
    if !policy.of(kind).enabled || !kind.may_be_opened_by(role) {
        return Err(Refusal::WrongRole);
    }
    if let Some(first) = obstacles(case, kind, role, policy, now).into_iter().next() {
        return Err(first);
    }
    match opening.terms {
        Terms::PartialRefund { amount } => require_amount_in_range(case, amount, policy)?,
        Terms::DeliveryExtension { new_due_time } => require_due_time_in_range(case, new_due_time, policy, now)?,
        Terms::Cancellation | Terms::OrderUpdate => {}
    }
    require_message_and_reason(opening, kind, role)?;
    if let Some(first) = limits_of_attempts(case, kind, role, policy, now).into_iter().next() {
        return Err(first);
    }

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
    let respond_by = now.plus(policy.of(kind).response_window);
    draft.open(Dispute {
        id: opening.dispute,
        order: case.order.id.clone(),
        parties: case.order.parties.clone(),
        opener: role,
        terms: opening.terms,
        message: opening.message.clone(),
        reason: opening.reason.clone(),
        respond_by,
        remind_at: next_reminder(respond_by, policy, now),
        reminders_sent: 0,
        postpone_message: String::new(),
        silence: policy.silence(kind, &case.order),
        create_time: now,
        update_time: now,
        revision: 1,
        answer_message: String::new(),
        escalation: None,
        resolution: None,
    });
    if is_immediate(case, kind, role, policy, now) {
        let outcome = Outcome::Cancellation { refund: answering::refund_of_cancellation(case), counts: true };
        let (status, by) = (DisputeStatus::Accepted, ResolvedBy::Immediate);
        draft.resolve(opening.dispute, status, by, outcome, String::new());
    }
    Ok(draft.decided(Some(opening.dispute)))
}

/// Everything that keeps this role from opening a dispute of this kind now, whatever it would say in it; first
/// what is judged first.
pub(super) fn blockers(
    case: &Case,
    kind: DisputeKind,
    role: PartyRole,
    policy: &Policy,
    now: Timestamp,
) -> Vec<Refusal> {
    let mut blockers: Vec<_> = case
        .beyond_us_to_open(kind, policy)
        .map(|subject| Refusal::NewerReleaseNeeded { subject })
        .into_iter()
        .chain(obstacles(case, kind, role, policy, now))
        .collect();
    blockers.extend(limits_of_attempts(case, kind, role, policy, now));
    blockers
}

/// What stands in the way as the order and its disputes are.
fn obstacles(case: &Case, kind: DisputeKind, role: PartyRole, policy: &Policy, now: Timestamp) -> Vec<Refusal> {
    let mut blockers = Vec::new();
    let order = &case.order;
    if case.has_unreadable {
        blockers.push(Refusal::Unreadable { order: order.id.clone() });
    }
    if let Some(status) = order.status.known().filter(|status| !status.allows(kind)) {
        blockers.push(Refusal::OrderStatusNotAllowed { status });
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
    if kind == DisputeKind::DeliveryExtension {
        let (after, latest) = due_time_range(case, policy, now);
        if latest <= after {
            blockers.push(Refusal::NewDueTimeOutOfRange { after, latest });
        }
    }
    blockers
}

/// By policy: how soon and how often the same can be tried again on the same order, after it was declined,
/// withdrawn or left without an answer.
fn limits_of_attempts(
    case: &Case,
    kind: DisputeKind,
    role: PartyRole,
    policy: &Policy,
    now: Timestamp,
) -> Vec<Refusal> {
    use DisputeStatus::{Declined, Expired, Withdrawn};
    let Attempts { cool_down, max } = policy.of(kind).attempts;
    let same = case.disputes.iter().filter(|dispute| dispute.kind() == kind && dispute.opener == role);
    let in_vain = same.filter(|dispute| matches!(dispute.status(), Declined | Withdrawn | Expired));
    let ended: Vec<_> = in_vain.filter_map(|dispute| Some(dispute.resolution.as_ref()?.time)).collect();
    let mut limits = Vec::new();
    let retry_time = ended.iter().max().map(|last| last.plus(cool_down));
    // Without a cool-down there is none, also where the clock was set back since.
    if let Some(retry_time) = retry_time.filter(|retry_time| !cool_down.is_zero() && now < *retry_time) {
        limits.push(Refusal::CoolDown { retry_time });
    }
    let attempts = u32::try_from(ended.len()).unwrap_or(u32::MAX);
    if max > 0 && attempts >= max {
        limits.push(Refusal::TooManyAttempts { attempts, max });
    }
    limits
}

/// By policy: whether the buyer cancels alone. Before the work has started, or when the order is late by more
/// than a given time with nothing delivered.
pub(super) fn is_immediate(case: &Case, kind: DisputeKind, role: PartyRole, policy: &Policy, now: Timestamp) -> bool {
    let (order, rules) = (&case.order, &policy.cancellation);
    let has_not_started = order.status == OrderStatus::RequirementsPending;
    let is_late = order.effective_due_time().is_some_and(|due| due.plus(rules.immediate_when_late) < now);
    (kind, role) == (DisputeKind::Cancellation, PartyRole::Buyer)
        && ((rules.immediate_before_start && has_not_started)
            || (!rules.immediate_when_late.is_zero() && is_late && !order.status.is_delivered()))
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
    let Some(open) = case.open_that_excludes(kind) else {
        return Way::Free;
    };
    match (kind, open.kind()) {
        // What support has to decide is not for the parties to settle.
        _ if !open.is_pending() => Way::Blocked(open.id),
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
    amount.require_currency("amount", max.currency)?;
    if !(min.minor..=max.minor).contains(&amount.minor) {
        return Err(Refusal::AmountOutOfRange { min, max });
    }
    Ok(())
}

/// A new due time is after the effective one and after now, and at most so much after the effective one; of an
/// order without one, after now.
fn due_time_range(case: &Case, policy: &Policy, now: Timestamp) -> (Timestamp, Timestamp) {
    let due = case.order.effective_due_time().unwrap_or(now);
    (due.max(now), due.plus(policy.delivery_extension.max_extension))
}

fn require_due_time_in_range(
    case: &Case,
    new_due_time: Timestamp,
    policy: &Policy,
    now: Timestamp,
) -> Result<(), Refusal> {
    let (after, latest) = due_time_range(case, policy, now);
    if after < new_due_time && new_due_time <= latest {
        Ok(())
    } else {
        Err(Refusal::NewDueTimeOutOfRange { after, latest })
    }
}

fn require_message_and_reason(opening: &Opening, kind: DisputeKind, role: PartyRole) -> Result<(), Refusal> {
    if opening.message.is_empty() && kind.requires_message(role) {
        return Err(Refusal::MessageRequired);
    }
    match &opening.reason {
        Some(reason) if !reason::reasons(kind, role).iter().any(|code| reason.code == *code) => {
            Err(Refusal::ReasonNotValid)
        }
        None if !reason::reasons(kind, role).is_empty() => Err(Refusal::ReasonNotValid),
        Some(_) | None => Ok(()),
    }
}
