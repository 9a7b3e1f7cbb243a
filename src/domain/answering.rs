//! Answering a dispute: who first, then what, then when.

use super::actor::{ActorRole, Caller, PartyRole};
use super::command::DisputeRef;
use super::dispute::{Dispute, DisputeStatus, Outcome, ResolvedBy};
use super::escalation;
use super::event::Event;
use super::kinds::{AnsweredWith, KindRules, Terms};
use super::order_aggregate::OrderAggregate;
use super::policy::Policy;
use super::refusal::Refusal;
use super::rights::Operation;
use super::time::Timestamp;

pub(super) fn accept(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let (outcome, by) = may_accept(aggregate, caller, target, policy, now)?;
    Ok(vec![Event::Accepted { dispute: target.dispute, time: now, by, outcome, message: target.message.clone() }])
}

pub(super) fn decline(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let by = may_decline(aggregate, caller, target, now)?;
    Ok(vec![Event::Declined { dispute: target.dispute, time: now, by, message: target.message.clone() }])
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

/// The guards of accepting. Returns what it will do, and which side accepts.
pub(super) fn may_accept(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    policy: &Policy,
    now: Timestamp,
) -> Result<(Outcome, ResolvedBy), Refusal> {
    let (dispute, side) = may_respond(aggregate, caller, target, Operation::AcceptDispute, is_yes_or_no)?;
    dispute.require_acceptable(now)?;
    let outcome = outcome_of_agreeing(aggregate, dispute.terms)?;
    // What is still pending has its place in the quota since it was asked for.
    if dispute.terms.is_no_fault() && !dispute.is_pending() {
        aggregate.require_no_fault_quota(dispute.answering_party(), policy)?;
    }
    Ok((outcome, side))
}

/// The guards of declining. Returns which side declines.
pub(super) fn may_decline(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<ResolvedBy, Refusal> {
    let (dispute, side) = may_respond(aggregate, caller, target, Operation::DeclineDispute, is_yes_or_no)?;
    dispute.require_in_time(now)?;
    Ok(side)
}

/// The guards of answering with a message.
pub(super) fn may_answer(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<(), Refusal> {
    let with_message = |rules: &KindRules| rules.answered_with == AnsweredWith::Message;
    may_respond(aggregate, caller, target, Operation::AnswerOrderUpdate, with_message)?.0.require_in_time(now)
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
/// status. `is_answered_so`: whether a kind can be answered this way. Also returns which side answers.
pub(super) fn may_respond<'a>(
    aggregate: &'a OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    operation: Operation,
    is_answered_so: impl FnOnce(&KindRules) -> bool,
) -> Result<(&'a Dispute, ResolvedBy), Refusal> {
    let (dispute, role) = aggregate.authorize(operation, caller, target.dispute)?;
    let answering = dispute.answering_party();
    require_party(role, answering)?;
    if !is_answered_so(dispute.kind().rules()) {
        return Err(Refusal::WrongKind { kind: dispute.kind() });
    }
    dispute.require_unchanged(target)?;
    Ok((dispute, if answering == dispute.opener { ResolvedBy::Opener } else { ResolvedBy::Responder }))
}

fn is_yes_or_no(rules: &KindRules) -> bool {
    rules.answered_with == AnsweredWith::YesOrNo
}

/// This party alone may do it.
fn require_party(role: ActorRole, party: PartyRole) -> Result<(), Refusal> {
    if role.party() == Some(party) { Ok(()) } else { Err(Refusal::WrongRole) }
}

/// What agreeing on these terms does to the order now, or what keeps them from being agreed on: the guards of opening that
/// can have changed since. Silence re-checks the same.
pub(super) fn outcome_of_agreeing(aggregate: &OrderAggregate, terms: Terms) -> Result<Outcome, Refusal> {
    let order = &aggregate.order;
    if let Some(status) = order.status.known().filter(|status| !status.allows(terms.kind())) {
        return Err(Refusal::OrderStatusNotAllowed { status });
    }
    terms.outcome_if_accepted(order)
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
