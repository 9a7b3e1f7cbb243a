//! The decider: what comes of a command, by the rules. [`super::evolve`] applies it.

use std::borrow::Cow;

use super::actor::Caller;
use super::cascade::Cascade;
use super::command::{Command, Subject};
use super::event::Event;
use super::ids::DisputeId;
use super::order_aggregate::OrderAggregate;
use super::policy::Policy;
use super::refusal::Refusal;
use super::time::Timestamp;
use super::{answering, bargain, escalation, opening, order, postponing, settlement};

/// Judges `command` on `aggregate` at `now`. Every rule of the resolution centre is reachable from here.
///
/// `aggregate` is the order that the command is about, with its open disputes and the one that the command names, nothing
/// overdue; `None` if there is no such order. Returns what happens, in order: what causes others comes first. That is
/// nothing if the command says nothing new.
pub fn decide(
    aggregate: Option<&OrderAggregate>,
    caller: &Caller,
    command: &Command,
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    if let Some(aggregate) = aggregate {
        aggregate.require_ours(caller, command, policy)?;
    }
    let command =
        &*aggregate.map_or(Cow::Borrowed(command), |aggregate| command.of_order(aggregate.order.price.currency));
    let mut cascade = Cascade::new(aggregate, now);
    for event in by_command(aggregate, caller, command, policy, now)? {
        cascade.add(event);
    }
    Ok(cascade.events)
}

/// What a command does itself.
fn by_command(
    aggregate: Option<&OrderAggregate>,
    caller: &Caller,
    command: &Command,
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    match (command, aggregate) {
        (Command::UpsertOrder(report), aggregate) => order::report(aggregate, report, now),
        (Command::Open(opening), Some(aggregate)) => opening::open(aggregate, caller, opening, policy, now),
        (Command::Accept(target), Some(aggregate)) => answering::accept(aggregate, caller, target, policy, now),
        (Command::Decline(target), Some(aggregate)) => answering::decline(aggregate, caller, target, now),
        (Command::Counter(target, amount), Some(aggregate)) => {
            bargain::counter(aggregate, caller, target, *amount, policy, now)
        }
        (Command::AnswerOrderUpdate(target), Some(aggregate)) => answering::answer(aggregate, caller, target, now),
        (Command::Withdraw(target), Some(aggregate)) => answering::withdraw(aggregate, caller, target, now),
        (Command::Escalate(target), Some(aggregate)) => escalation::escalate(aggregate, caller, target, policy, now),
        (Command::Decide(target, ruling), Some(aggregate)) => escalation::rule(aggregate, caller, target, *ruling, now),
        (Command::Postpone(target, respond_by), Some(aggregate)) => {
            postponing::postpone(aggregate, caller, target, *respond_by, policy, now)
        }
        (Command::ReportSettlement { dispute, attempt, report }, Some(aggregate)) => {
            settlement::report(aggregate, caller, *dispute, *attempt, report)
        }
        (_, None) => Err(match command.subject() {
            Subject::Order(order) => Refusal::OrderNotFound { order },
            Subject::Dispute(dispute) => Refusal::DisputeNotFound { dispute },
        }),
    }
}

/// The dispute that answers a command of which these events came: the one that it names or opened, or the cancellation
/// that it crossed; `None` for an upsert, which the order answers.
pub fn answered_by(command: &Command, events: &[Event]) -> Option<DisputeId> {
    match (command, command.subject()) {
        (_, Subject::Dispute(dispute)) => Some(dispute),
        (Command::Open(opening), Subject::Order(_)) => {
            let is_opened = |event: &Event| event.dispute() == Some(opening.dispute);
            if events.iter().any(is_opened) { Some(opening.dispute) } else { events.first()?.dispute() }
        }
        (_, Subject::Order(_)) => None,
    }
}
