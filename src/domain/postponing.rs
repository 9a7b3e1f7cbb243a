//! Deadlines that move, and the reminders before them.

use super::actor::Caller;
use super::bounds::Window;
use super::command::DisputeRef;
use super::dispute::Dispute;
use super::event::Event;
use super::order_aggregate::OrderAggregate;
use super::policy::Policy;
use super::refusal::Refusal;
use super::rights::Operation;
use super::time::Timestamp;

/// Support moves the deadline of a pending dispute to a later instant. The reminders move with it.
pub(super) fn postpone(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    respond_by: Timestamp,
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let dispute = may_postpone(aggregate, caller, target, now)?;
    if respond_by <= dispute.respond_by {
        return Err(Refusal::DeadlineNotLater { respond_by: dispute.respond_by });
    }
    let remind_at = next_reminder(respond_by, policy, now);
    let message = target.message.clone();
    Ok(vec![Event::DeadlineMoved { dispute: target.dispute, respond_by, remind_at, message }])
}

/// The guards of postponing that do not depend on the new instant.
pub(super) fn may_postpone<'a>(
    aggregate: &'a OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    now: Timestamp,
) -> Result<&'a Dispute, Refusal> {
    let (dispute, _) = aggregate.authorize(Operation::PostponeDeadline, caller, target.dispute)?;
    dispute.require_unchanged(target)?;
    dispute.require_in_time(now)?;
    Ok(dispute)
}

/// Reminds the parties that have to answer of every dispute of the aggregate whose time for that has come, earliest first; of
/// none if a newer release has to judge them. What is overdue has expired before, and is not reminded of.
/// The policy of now decides, not the one by which the instant was stored: if it names no offset of which the time has
/// come since, nothing is sent, and the reminder is for the next instant that it names, or for none.
pub fn remind(aggregate: &OrderAggregate, policy: &Policy, now: Timestamp) -> Vec<Event> {
    let is_due = |dispute: &&Dispute| dispute.is_pending() && dispute.remind_at.is_some_and(|time| time <= now);
    let mut due: Vec<&Dispute> = aggregate.disputes.iter().filter(is_due).collect();
    if due.is_empty() || !aggregate.is_ours() {
        return Vec::new();
    }
    due.sort_unstable_by_key(|dispute| (dispute.remind_at, dispute.id));
    due.into_iter().map(|dispute| reminder(dispute, policy, now)).collect()
}

fn reminder(due: &Dispute, policy: &Policy, now: Timestamp) -> Event {
    let (dispute, remind_at) = (due.id, next_reminder(due.respond_by, policy, now));
    let is_named = |offset: &Window| {
        let time = due.respond_by.minus(offset.get());
        time <= now && Some(time) >= due.remind_at
    };
    if policy.reminders.iter().any(is_named) {
        // One event, however many instants have passed since: of those that were missed only the latest is sent.
        Event::ReminderSent { dispute, remind_at }
    } else {
        Event::ReminderMoved { dispute, remind_at }
    }
}

/// The first instant after `now` at which who has to answer is to be reminded. An offset that is not shorter
/// than what is left of the window sends nothing.
pub(super) fn next_reminder(respond_by: Timestamp, policy: &Policy, now: Timestamp) -> Option<Timestamp> {
    policy.reminders.iter().map(|offset| respond_by.minus(offset.get())).filter(|time| *time > now).min()
}
