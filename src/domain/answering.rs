//! Answering a dispute: who first, then what, then when.

use super::actor::{Caller, Scope};
use super::command::DisputeRef;
use super::dispute::{Dispute, DisputeStatus, Outcome, ResolvedBy};
use super::escalation;
use super::event::Event;
use super::kinds::AnsweredWith;
use super::order_aggregate::OrderAggregate;
use super::refusal::Refusal;
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
    let dispute = authorize(aggregate, caller, target, Side::Responder, Some(AnsweredWith::YesOrNo), now)?;
    outcome_if_accepted(aggregate, dispute)
}

/// The guards of declining.
pub(super) fn may_decline(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<(), Refusal> {
    authorize(aggregate, caller, target, Side::Responder, Some(AnsweredWith::YesOrNo), now).map(drop)
}

/// The guards of answering with a message.
pub(super) fn may_answer(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<(), Refusal> {
    authorize(aggregate, caller, target, Side::Responder, Some(AnsweredWith::Message), now).map(drop)
}

/// The guards of withdrawing: the opener a pending dispute, who escalated it an escalated one. Returns which of them it is.
pub(super) fn may_withdraw(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<ResolvedBy, Refusal> {
    let dispute = aggregate.require_dispute(target.dispute)?;
    match &dispute.escalation {
        Some(escalation) if dispute.is_open() => escalation::may_take_back(dispute, escalation, caller, target),
        Some(_) | None => {
            authorize(aggregate, caller, target, Side::Opener, None, now)?;
            Ok(ResolvedBy::Opener)
        }
    }
}

/// Which party may do it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Opener,
    Responder,
}

/// The guards that all answers share, in their order.
fn authorize<'a>(
    aggregate: &'a OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    side: Side,
    with: Option<AnsweredWith>,
    now: Timestamp,
) -> Result<&'a Dispute, Refusal> {
    let dispute = aggregate.require_dispute(target.dispute)?;
    let role = dispute.role_of(caller)?;
    if (role == dispute.opener) != (side == Side::Opener) {
        return Err(Refusal::WrongRole);
    }
    if with.is_some_and(|with| with != dispute.kind().rules().answered_with) {
        return Err(Refusal::WrongKind { kind: dispute.kind() });
    }
    dispute.require_unchanged(target)?;
    dispute.require_in_time(now)?;
    Ok(dispute)
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
    /// Support alone may do it.
    pub(super) fn require_support(&self, caller: &Caller) -> Result<(), Refusal> {
        match caller.scope {
            Some(Scope::Support) => Ok(()),
            Some(Scope::Platform) | None => self.role_of(caller).and(Err(Refusal::WrongRole)),
        }
    }

    /// The dispute is the one that the caller has seen, if it says which.
    pub(super) fn require_unchanged(&self, target: &DisputeRef) -> Result<(), Refusal> {
        match &target.etag {
            Some(etag) if *etag != self.etag() => Err(Refusal::EtagMismatch { etag: self.etag() }),
            Some(_) | None => Ok(()),
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
