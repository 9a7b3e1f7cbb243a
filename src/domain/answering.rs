//! Answering a dispute: who first, then what, then when.

use super::actor::{ActorRole, Caller, PartyRole};
use super::command::DisputeRef;
use super::dispute::{Dispute, DisputeStatus, Outcome, ResolvedBy};
use super::escalation;
use super::event::Event;
use super::kinds::AnsweredWith;
use super::order_aggregate::OrderAggregate;
use super::refusal::Refusal;
use super::rights::Operation;
use super::time::Timestamp;

pub(super) fn accept(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let outcome = may_accept(aggregate, caller, target, now)?;
    let (by, message) = (ResolvedBy::Responder, target.message.clone());
    Ok(vec![Event::Accepted { dispute: target.dispute, time: now, by, outcome, message }])
}

pub(super) fn decline(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    may_decline(aggregate, caller, target, now)?;
    Ok(vec![Event::Declined { dispute: target.dispute, time: now, message: target.message.clone() }])
}

pub(super) fn answer(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    may_answer(aggregate, caller, target, now)?;
    Ok(vec![Event::Answered { dispute: target.dispute, time: now, message: target.message.clone() }])
}

pub(super) fn withdraw(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let by = may_withdraw(aggregate, caller, target, now)?;
    Ok(vec![Event::Withdrawn { dispute: target.dispute, time: now, by }])
}

/// The guards of accepting. Returns what it will do.
pub(super) fn may_accept(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let dispute = may_respond(aggregate, caller, target, Operation::AcceptDispute, AnsweredWith::YesOrNo)?;
    dispute.require_acceptable(now)?;
    outcome_if_accepted(aggregate, dispute)
}

/// The guards of declining.
pub(super) fn may_decline(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<(), Refusal> {
    may_respond(aggregate, caller, target, Operation::DeclineDispute, AnsweredWith::YesOrNo)?.require_in_time(now)
}

/// The guards of answering with a message.
pub(super) fn may_answer(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<(), Refusal> {
    may_respond(aggregate, caller, target, Operation::AnswerOrderUpdate, AnsweredWith::Message)?.require_in_time(now)
}

/// The guards of withdrawing: the opener a pending dispute, who escalated it an escalated one. Returns which of them it is.
pub(super) fn may_withdraw(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<ResolvedBy, Refusal> {
    let (dispute, role) = aggregate.authorize(Operation::WithdrawDispute, caller, target.dispute)?;
    match &dispute.escalation {
        Some(escalation) if dispute.is_open() => escalation::may_take_back(dispute, escalation, role, target),
        Some(_) | None => {
            require_party(role, dispute.opener)?;
            dispute.require_unchanged(target)?;
            dispute.require_in_time(now)?;
            Ok(ResolvedBy::Opener)
        }
    }
}

/// The guards that all answers of the party that has to answer share, in their order, before those of the deadline and the
/// status.
fn may_respond<'a>(
    aggregate: &'a OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    operation: Operation,
    with: AnsweredWith,
) -> Result<&'a Dispute, Refusal> {
    let (dispute, role) = aggregate.authorize(operation, caller, target.dispute)?;
    require_party(role, dispute.responder())?;
    if with != dispute.kind().rules().answered_with {
        return Err(Refusal::WrongKind { kind: dispute.kind() });
    }
    dispute.require_unchanged(target)?;
    Ok(dispute)
}

/// This party alone may do it.
fn require_party(role: ActorRole, party: PartyRole) -> Result<(), Refusal> {
    if role.party() == Some(party) { Ok(()) } else { Err(Refusal::WrongRole) }
}

/// What accepting a dispute does to the order now, or what keeps it from being accepted: the guards of
/// opening that can have changed since. Silence re-checks the same.
pub(super) fn outcome_if_accepted(aggregate: &OrderAggregate, dispute: &Dispute) -> Result<Outcome, Refusal> {
    let order = &aggregate.order;
    if let Some(status) = order.status.known().filter(|status| !status.allows(dispute.kind())) {
        return Err(Refusal::OrderStatusNotAllowed { status });
    }
    dispute.terms.outcome_if_accepted(order)
}

impl Dispute {
    /// The dispute is the one that the caller has seen, if it says which.
    pub(super) fn require_unchanged(&self, target: &DisputeRef) -> Result<(), Refusal> {
        match &target.etag {
            Some(etag) if *etag != self.etag() => Err(Refusal::EtagMismatch { etag: self.etag() }),
            Some(_) | None => Ok(()),
        }
    }

    /// An acceptance counts in time, and as long as support has not decided: the parties can still agree.
    fn require_acceptable(&self, now: Timestamp) -> Result<(), Refusal> {
        match self.status() {
            DisputeStatus::Escalated => Ok(()),
            _ => self.require_in_time(now),
        }
    }

    /// An answer counts if and only if it comes before `respond_by`, whether or not the expiry has been
    /// recorded yet.
    pub(super) fn require_in_time(&self, now: Timestamp) -> Result<(), Refusal> {
        match self.status() {
            DisputeStatus::Pending if now < self.respond_by => Ok(()),
            DisputeStatus::Pending | DisputeStatus::Expired => {
                Err(Refusal::DeadlinePassed { respond_by: self.respond_by })
            }
            status => Err(Refusal::StatusNotAllowed { status }),
        }
    }
}
