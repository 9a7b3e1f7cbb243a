//! Escalation: a dispute that the parties could not settle goes to support, which decides it.

use super::actor::{ActorRole, Caller, PartyRole};
use super::command::{DisputeRef, Ruling};
use super::dispute::{Dispute, DisputeStatus, Escalation, Outcome, Resolution, ResolvedBy};
use super::event::Event;
use super::money::Money;
use super::order::OrderStatus;
use super::order_aggregate::OrderAggregate;
use super::policy::Policy;
use super::refusal::{AmountOf, Refusal};
use super::rights::Operation;
use super::time::Timestamp;

pub(super) fn escalate(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let by = may_escalate(aggregate, caller, target, policy, now)?;
    Ok(vec![Event::Escalated { dispute: target.dispute, by, message: target.message.clone() }])
}

/// The guards of escalating, in their order. Returns who asks for it.
pub(super) fn may_escalate(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    policy: &Policy,
    now: Timestamp,
) -> Result<ActorRole, Refusal> {
    let (dispute, role) = aggregate.authorize(Operation::EscalateDispute, caller, target.dispute)?;
    dispute.require_unchanged(target)?;
    if dispute.is_pending() && role == ActorRole::Support {
        return Ok(role);
    }
    let unsettled = dispute.resolution.as_ref().filter(|resolution| can_escalate(dispute, resolution));
    let Some(resolution) = unsettled else {
        return Err(Refusal::StatusNotAllowed { status: dispute.status() });
    };
    let closed_time = resolution.time.plus(policy.escalation_window.get());
    if now >= closed_time {
        return Err(Refusal::EscalationWindowClosed { closed_time });
    }
    if aggregate.order.status == OrderStatus::Cancelled {
        return Err(Refusal::OrderStatusNotAllowed { status: OrderStatus::Cancelled });
    }
    if aggregate.has_unreadable {
        return Err(Refusal::Unreadable { order: aggregate.order.id.clone() });
    }
    if let Some(rival) = aggregate.open_that_excludes(dispute.kind()) {
        return Err(Refusal::OpenDisputeExists { dispute: rival.id });
    }
    Ok(role)
}

/// Whether a dispute that ended like this can go to support: declined, answered, expired without effect, or
/// superseded by the order's completion; and never a second time.
fn can_escalate(dispute: &Dispute, resolution: &Resolution) -> bool {
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

/// The guards of taking back a dispute that is escalated, beside the right to withdraw: only who escalated it can, and
/// support is one. Returns which of them it is.
pub(super) fn may_take_back(
    dispute: &Dispute,
    escalation: &Escalation,
    role: ActorRole,
    target: &DisputeRef,
) -> Result<ResolvedBy, Refusal> {
    if escalation.by != role {
        return Err(Refusal::WrongRole);
    }
    dispute.require_unchanged(target)?;
    Ok(match role {
        ActorRole::Buyer if dispute.opener == PartyRole::Buyer => ResolvedBy::Opener,
        ActorRole::Seller if dispute.opener == PartyRole::Seller => ResolvedBy::Opener,
        ActorRole::Buyer | ActorRole::Seller => ResolvedBy::Responder,
        ActorRole::Support | ActorRole::Platform | ActorRole::System => ResolvedBy::Support,
    })
}

pub(super) fn rule(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    ruling: Ruling,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    may_rule(aggregate, caller, target)?;
    let outcome = match ruling {
        Ruling::NoAction => Outcome::Nothing,
        Ruling::Refund(amount) => Outcome::Refund(require_refundable(aggregate, amount)?),
        Ruling::CancelOrder { counts } => aggregate.order.outcome_of_cancelling(counts),
    };
    let (agent, message) = (caller.user.clone(), target.message.clone());
    Ok(vec![Event::Decided { dispute: target.dispute, time: now, outcome, agent, message }])
}

/// The guards of deciding that do not depend on the decision. An escalated dispute of a cancelled order is
/// superseded, so that the order can always be cancelled.
pub(super) fn may_rule(aggregate: &OrderAggregate, caller: &Caller, target: &DisputeRef) -> Result<(), Refusal> {
    let (dispute, _) = aggregate.authorize(Operation::DecideDispute, caller, target.dispute)?;
    dispute.require_unchanged(target)?;
    dispute.require_escalated()
}

/// No decision refunds more than what is left.
fn require_refundable(aggregate: &OrderAggregate, amount: Money) -> Result<Money, Refusal> {
    let left = aggregate.order.left();
    amount.require_currency(AmountOf::Ruling, left.currency)?;
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
