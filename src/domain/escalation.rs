//! Escalation: a dispute that the parties could not settle goes to support, which decides it.

use super::actor::{Actor, ActorRole, Caller, Scope};
use super::answering::refund_of_cancellation;
use super::case::{Case, Decision, Draft};
use super::command::{Answer, Ruling};
use super::dispute::{Dispute, DisputeStatus, Escalation, Outcome, Resolution, ResolvedBy, Ruled};
use super::event::Change;
use super::money::Money;
use super::order::OrderStatus;
use super::policy::Policy;
use super::refusal::Refusal;
use super::time::Timestamp;

pub(super) fn escalate(
    case: &Case,
    caller: &Caller,
    answer: &Answer,
    policy: &Policy,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let actor = may_escalate(case, caller, answer, policy, now)?;
    let escalation = Escalation { by: actor.role().into(), message: answer.message.clone(), ruling: None };
    let mut draft = Draft::new(case.clone(), actor, now);
    draft.record(answer.dispute, Change::Escalated(escalation));
    Ok(draft.decided(Some(answer.dispute)))
}

/// The guards of escalating, in their order.
pub(super) fn may_escalate(
    case: &Case,
    caller: &Caller,
    answer: &Answer,
    policy: &Policy,
    now: Timestamp,
) -> Result<Actor, Refusal> {
    let dispute = case.named(answer.dispute)?;
    let actor = party_or_support(dispute, caller)?;
    dispute.require_unchanged(answer)?;
    if dispute.is_pending() && actor.role() == ActorRole::Support {
        return Ok(actor);
    }
    let unsettled = dispute.resolution.as_ref().filter(|resolution| leaves_a_quarrel(dispute, resolution));
    let Some(resolution) = unsettled else {
        return Err(Refusal::StatusNotAllowed { status: dispute.status() });
    };
    let closed_time = resolution.time.plus(policy.escalation_window);
    if now >= closed_time {
        return Err(Refusal::EscalationWindowClosed { closed_time });
    }
    if case.order.status == OrderStatus::Cancelled {
        return Err(Refusal::OrderStatusNotAllowed { status: OrderStatus::Cancelled });
    }
    if case.has_unreadable {
        return Err(Refusal::Unreadable { order: case.order.id.clone() });
    }
    if let Some(rival) = case.open_that_excludes(dispute.kind()) {
        return Err(Refusal::OpenDisputeExists { dispute: rival.id });
    }
    Ok(actor)
}

/// Whether a dispute that ended like this can go to support: declined, answered, expired without effect, or
/// superseded by the order's completion; and never a second time.
fn leaves_a_quarrel(dispute: &Dispute, resolution: &Resolution) -> bool {
    let ended_so = match resolution.status {
        DisputeStatus::Declined | DisputeStatus::Answered => true,
        DisputeStatus::Expired => resolution.outcome == Outcome::Nothing,
        DisputeStatus::Superseded => resolution.by == ResolvedBy::OrderCompleted,
        DisputeStatus::Pending
        | DisputeStatus::Escalated
        | DisputeStatus::Accepted
        | DisputeStatus::Withdrawn
        | DisputeStatus::Decided => false,
    };
    ended_so && dispute.escalation.is_none()
}

/// Who asks, if it is a party of the dispute or support.
fn party_or_support(dispute: &Dispute, caller: &Caller) -> Result<Actor, Refusal> {
    match caller.scope {
        Some(Scope::Support) => Ok(Actor::Support(caller.user.clone())),
        Some(Scope::Platform) | None => Ok(Actor::Party(dispute.party(caller)?, caller.user.clone())),
    }
}

/// The guards of taking back a dispute that is escalated: only who escalated it can, and support is one.
pub(super) fn may_take_back(
    dispute: &Dispute,
    escalation: &Escalation,
    caller: &Caller,
    answer: &Answer,
) -> Result<(Actor, ResolvedBy), Refusal> {
    let actor = party_or_support(dispute, caller)?;
    if escalation.by != actor.role() {
        return Err(Refusal::WrongRole);
    }
    dispute.require_unchanged(answer)?;
    let by = match &actor {
        Actor::Party(role, _) if *role == dispute.opener => ResolvedBy::Opener,
        Actor::Party(..) => ResolvedBy::Responder,
        Actor::Support(_) | Actor::Platform(_) | Actor::System => ResolvedBy::Support,
    };
    Ok((actor, by))
}

pub(super) fn rule(
    case: &Case,
    caller: &Caller,
    answer: &Answer,
    ruling: Ruling,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    may_rule(case, caller, answer)?;
    let outcome = match ruling {
        Ruling::NoAction => Outcome::Nothing,
        Ruling::Refund(amount) => Outcome::Refund(require_refundable(case, amount)?),
        Ruling::CancelOrder { counts } => Outcome::Cancellation { refund: refund_of_cancellation(case), counts },
    };
    let mut draft = Draft::new(case.clone(), Actor::Support(caller.user.clone()), now);
    let ruled = Ruled { agent: caller.user.clone(), message: answer.message.clone() };
    let resolution = Resolution::new(DisputeStatus::Decided, now, ResolvedBy::Support, outcome);
    draft.record(answer.dispute, Change::Decided(resolution, ruled));
    draft.supersede(ResolvedBy::OtherDispute);
    Ok(draft.decided(Some(answer.dispute)))
}

/// The guards of deciding that do not depend on the decision. An escalated dispute of a cancelled order is
/// superseded, so that the order can always be cancelled.
pub(super) fn may_rule(case: &Case, caller: &Caller, answer: &Answer) -> Result<(), Refusal> {
    let dispute = case.named(answer.dispute)?;
    dispute.require_support(caller)?;
    dispute.require_unchanged(answer)?;
    dispute.require_escalated()
}

/// No decision refunds more than what is left.
fn require_refundable(case: &Case, amount: Money) -> Result<Money, Refusal> {
    let left = case.order.left();
    amount.require_currency("refund", left.currency)?;
    if !(1..=left.minor).contains(&amount.minor) {
        return Err(Refusal::AmountOutOfRange { min: Money::new(1, left.currency), max: left });
    }
    Ok(amount)
}

impl Dispute {
    fn require_escalated(&self) -> Result<(), Refusal> {
        match self.status() {
            DisputeStatus::Escalated => Ok(()),
            status => Err(Refusal::StatusNotAllowed { status }),
        }
    }
}
