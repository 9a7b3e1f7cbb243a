//! Opening a dispute: the guards, in the order in which they are judged.

use super::actor::{Caller, PartyRole};
use super::answering;
use super::bargain::Bargain;
use super::command::Opening;
use super::dispute::{Dispute, DisputeStatus, ResolvedBy};
use super::event::Event;
use super::ids::DisputeId;
use super::kinds::DisputeKind;
use super::order::Order;
use super::order_aggregate::OrderAggregate;
use super::policy::{Attempts, Policy};
use super::postponing::next_reminder;
use super::reason;
use super::refusal::Refusal;
use super::span::Span;
use super::time::Timestamp;

pub(super) fn open(
    aggregate: &OrderAggregate,
    caller: &Caller,
    opening: &Opening,
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let kind = opening.terms.kind();
    let not_found = || Refusal::OrderNotFound { order: opening.order.clone() };
    let role = kind.rules().opened_with.authorize_party(caller, &aggregate.order.parties, not_found)?;
    if opening.by.is_some_and(|by| by != role) || !kind.is_open_to(role, policy) {
        return Err(Refusal::WrongRole);
    }
    if let Some(first) = obstacles(aggregate, kind, role, policy, now).into_iter().next() {
        return Err(first);
    }
    opening.terms.require_in_range(&aggregate.order, policy, now)?;
    require_message_and_reason(opening, kind, role)?;
    if let Some(first) = limits_of_attempts(aggregate, kind, role, policy, now).into_iter().next() {
        return Err(first);
    }

    let conflict = conflict(aggregate, kind, role);
    if opening.terms.is_no_fault() {
        aggregate.require_no_fault_place(conflict.crossed(), role, policy)?;
    }

    let mut events = Vec::new();
    match conflict {
        Conflict::AcceptsCancellation(first) => {
            // The buyer's word decides whether it is nobody's fault, whoever came first.
            let agreed = if role == PartyRole::Buyer { opening.terms } else { first.terms };
            let outcome = answering::outcome_of_agreeing(aggregate, agreed)?;
            let (by, message) = (ResolvedBy::Crossed, opening.message.clone());
            return Ok(vec![Event::Accepted { dispute: first.id, time: now, by, outcome, message }]);
        }
        Conflict::EndsRefund(refund) => events.push(end_of_refund(refund, now)),
        Conflict::None | Conflict::Blocked(_) => {}
    }
    events.push(Event::Opened(Box::new(opened(&aggregate.order, opening, role, policy, now))));
    if is_immediate(&aggregate.order, kind, role, policy, now) {
        let outcome = opening.terms.outcome_if_accepted(&aggregate.order)?;
        let (by, message) = (ResolvedBy::Immediate, String::new());
        events.push(Event::Accepted { dispute: opening.dispute, time: now, by, outcome, message });
    }
    Ok(events)
}

/// How a partial refund ends that a buyer's cancellation takes the place of, whoever's turn it is: what the seller has offered
/// is declined, what the buyer has asked for is taken back.
fn end_of_refund(refund: &Dispute, now: Timestamp) -> Event {
    let dispute = refund.id;
    match refund.opener {
        PartyRole::Seller => Event::Declined { dispute, time: now, by: ResolvedBy::Responder, message: String::new() },
        PartyRole::Buyer => Event::Withdrawn { dispute, time: now, by: ResolvedBy::Opener },
    }
}

/// The dispute that an opening makes.
fn opened(order: &Order, opening: &Opening, opener: PartyRole, policy: &Policy, now: Timestamp) -> Dispute {
    let kind = opening.terms.kind();
    let respond_by = now.plus(policy.response_window(kind));
    let max_counter_offers = if kind.rules().is_bargained { policy.partial_refund.max_counter_offers.get() } else { 0 };
    Dispute {
        id: opening.dispute,
        order: order.id.clone(),
        order_create_time: Some(order.create_time),
        parties: order.parties.clone(),
        opener,
        terms: opening.terms,
        bargain: Bargain { max_counter_offers, ..Bargain::default() },
        message: opening.message.clone(),
        reason: opening.reason.clone(),
        respond_by,
        remind_at: next_reminder(respond_by, policy, now),
        reminders_sent: 0,
        postpone_message: String::new(),
        silence: policy.silence(kind, opener, order),
        create_time: now,
        update_time: now,
        revision: 1,
        answer_message: String::new(),
        escalation: None,
        resolution: None,
    }
}

/// Everything that keeps this role from opening a dispute of this kind now, whatever it would say in it; first
/// what is judged first.
pub(super) fn blockers(
    aggregate: &OrderAggregate,
    kind: DisputeKind,
    role: PartyRole,
    policy: &Policy,
    now: Timestamp,
) -> Vec<Refusal> {
    let mut blockers: Vec<_> = aggregate
        .beyond_us_to_open(kind, policy)
        .map(|subject| Refusal::NewerReleaseNeeded { subject })
        .into_iter()
        .chain(obstacles(aggregate, kind, role, policy, now))
        .collect();
    blockers.extend(limits_of_attempts(aggregate, kind, role, policy, now));
    blockers
}

/// What stands in the way as the order and its disputes are.
fn obstacles(
    aggregate: &OrderAggregate,
    kind: DisputeKind,
    role: PartyRole,
    policy: &Policy,
    now: Timestamp,
) -> Vec<Refusal> {
    let mut blockers = Vec::new();
    let order = &aggregate.order;
    if aggregate.has_unreadable {
        blockers.push(Refusal::Unreadable { order: order.id.clone() });
    }
    if let Some(status) = order.status.known().filter(|status| !status.allows(kind)) {
        blockers.push(Refusal::OrderStatusNotAllowed { status });
    }
    if let Conflict::Blocked(dispute) = conflict(aggregate, kind, role) {
        blockers.push(Refusal::OpenDisputeExists { dispute });
    }
    blockers.extend((kind.rules().obstacles)(order, policy, now));
    blockers
}

/// By policy: how soon and how often the same can be tried again on the same order, after it was declined,
/// withdrawn or left without an answer.
fn limits_of_attempts(
    aggregate: &OrderAggregate,
    kind: DisputeKind,
    role: PartyRole,
    policy: &Policy,
    now: Timestamp,
) -> Vec<Refusal> {
    use DisputeStatus::{Declined, Expired, Withdrawn};
    let Attempts { cool_down: Span(cool_down), max } = policy.for_kind(kind).attempts;
    let same = aggregate.disputes.iter().filter(|dispute| dispute.kind() == kind && dispute.opener == role);
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

/// Whether a dispute of this kind takes effect as soon as this role opens it.
pub(super) fn is_immediate(order: &Order, kind: DisputeKind, role: PartyRole, policy: &Policy, now: Timestamp) -> bool {
    (kind.rules().is_immediate)(order, role, policy, now)
}

/// What a new dispute meets: at most one money dispute is open per order, and at most one of each other
/// kind, but for two exceptions.
pub(super) enum Conflict<'a> {
    /// Nothing.
    None,
    /// An open dispute that stands in the way.
    Blocked(DisputeId),
    /// Crossed cancellations merge: the second accepts the first.
    AcceptsCancellation(&'a Dispute),
    /// A partial refund cannot block the buyer's cancellation: it ends.
    EndsRefund(&'a Dispute),
}

impl<'a> Conflict<'a> {
    /// The other party's cancellation that is accepted.
    pub(super) fn crossed(&self) -> Option<&'a Dispute> {
        match self {
            Self::AcceptsCancellation(first) => Some(first),
            Self::None | Self::Blocked(_) | Self::EndsRefund(_) => None,
        }
    }
}

pub(super) fn conflict(aggregate: &OrderAggregate, kind: DisputeKind, role: PartyRole) -> Conflict<'_> {
    match aggregate.open_that_excludes(kind) {
        None => Conflict::None,
        // What support has to decide is not for the parties to settle.
        Some(open) if !open.is_pending() => Conflict::Blocked(open.id),
        Some(open) => (kind.rules().conflict)(open, role),
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
