//! Deadlines that move, and the reminders before them.

use std::time::Duration;

use super::actor::{Actor, Caller};
use super::case::{Case, Decision, Draft};
use super::command::Answer;
use super::dispute::Dispute;
use super::event::Change;
use super::policy::Policy;
use super::refusal::Refusal;
use super::time::Timestamp;

/// Support moves the deadline of a pending dispute to a later instant. The reminders move with it.
pub(super) fn postpone(
    case: &Case,
    caller: &Caller,
    answer: &Answer,
    respond_by: Timestamp,
    policy: &Policy,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let dispute = may_postpone(case, caller, answer, now)?;
    if respond_by <= dispute.respond_by {
        return Err(Refusal::DeadlineNotLater { respond_by: dispute.respond_by });
    }
    let mut draft = Draft::new(case.clone(), Actor::Support(caller.user.clone()), now);
    let remind_at = next_reminder(respond_by, policy, now);
    draft.record(answer.dispute, Change::Postponed { respond_by, remind_at, message: answer.message.clone() });
    Ok(draft.decided(Some(answer.dispute)))
}

/// The guards of postponing that do not depend on the new instant.
pub(super) fn may_postpone<'a>(
    case: &'a Case,
    caller: &Caller,
    answer: &Answer,
    now: Timestamp,
) -> Result<&'a Dispute, Refusal> {
    let dispute = case.named(answer.dispute)?;
    dispute.require_support(caller)?;
    dispute.require_unchanged(answer)?;
    dispute.require_in_time(now)?;
    Ok(dispute)
}

/// Reminds the responders of every dispute of the case whose time for that has come, earliest first; `None`
/// if there are none, or if a newer release has to judge them. What is overdue has expired before, and is not reminded of.
/// The policy of now decides, not the one by which the instant was stored: if it names no offset of which the time has
/// come since, nothing is sent, and the reminder is for the next instant that it names, or for none.
pub fn remind(case: &Case, policy: &Policy, now: Timestamp) -> Option<Decision> {
    let is_due = |dispute: &&Dispute| dispute.is_pending() && dispute.remind_at.is_some_and(|time| time <= now);
    let mut due: Vec<&Dispute> = case.disputes.iter().filter(is_due).collect();
    if due.is_empty() || !case.is_ours() {
        return None;
    }
    due.sort_unstable_by_key(|dispute| (dispute.remind_at, dispute.id));
    let mut draft = Draft::new(case.clone(), Actor::System, now);
    for dispute in due {
        let next = next_reminder(dispute.respond_by, policy, now);
        let is_named = |offset: &Duration| {
            let time = dispute.respond_by.minus(*offset);
            time <= now && Some(time) >= dispute.remind_at
        };
        if policy.reminders.iter().any(is_named) {
            // One event, however many instants have passed since: of those that were missed only the latest is sent.
            draft.record(dispute.id, Change::Reminded { next });
        } else {
            draft.reschedule(dispute.id, next);
        }
    }
    Some(draft.decided(None))
}

/// The first instant after `now` at which the responder is to be reminded. An offset that is not shorter
/// than what is left of the window sends nothing.
pub(super) fn next_reminder(respond_by: Timestamp, policy: &Policy, now: Timestamp) -> Option<Timestamp> {
    policy.reminders.iter().map(|offset| respond_by.minus(*offset)).filter(|time| *time > now).min()
}
