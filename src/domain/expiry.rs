//! First the clock: what the passing of a deadline does.

use super::actor::Actor;
use super::answering::outcome_if_accepted;
use super::dispute::{Dispute, DisputeStatus, Outcome, ResolvedBy, SilenceRule};
use super::order_aggregate::{Decision, EventRecorder, OrderAggregate};
use super::time::Timestamp;

/// Expires every dispute of the aggregate with `respond_by ≤ now`, earliest first. Judged before every
/// command on the order; stands even if the command is then refused. `None` if nothing is overdue, or if
/// a newer release has to judge it.
pub fn expire_overdue(aggregate: &OrderAggregate, now: Timestamp) -> Option<Decision> {
    first_overdue(aggregate, now).filter(|_| aggregate.is_ours())?;
    let mut recorder = EventRecorder::new(aggregate.clone(), Actor::System, now);
    // Looked for afresh each time: an expiry can supersede another dispute that is overdue too.
    while let Some(overdue) = first_overdue(&recorder.aggregate, now) {
        let (id, outcome) = (overdue.id, outcome_of_silence(&recorder.aggregate, overdue));
        recorder.resolve(id, DisputeStatus::Expired, ResolvedBy::Deadline, outcome, String::new());
    }
    Some(recorder.decided(None))
}

fn first_overdue(aggregate: &OrderAggregate, now: Timestamp) -> Option<&Dispute> {
    let overdue = aggregate.disputes.iter().filter(|dispute| dispute.is_overdue(now));
    overdue.min_by_key(|dispute| (dispute.respond_by, dispute.id))
}

/// What silence does. Before it takes effect it re-checks what accepting re-checks, and once work was
/// delivered the rule for that holds.
pub(super) fn outcome_of_silence(aggregate: &OrderAggregate, dispute: &Dispute) -> Outcome {
    let delivered = aggregate.order.status.is_delivered();
    let rule = if delivered { dispute.silence.after_delivery } else { dispute.silence.rule };
    match rule {
        SilenceRule::NoEffect => Outcome::Nothing,
        SilenceRule::Accept => outcome_if_accepted(aggregate, dispute).unwrap_or(Outcome::Nothing),
    }
}
