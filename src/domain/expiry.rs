//! First the clock: what the passing of a deadline does.

use super::actor::Actor;
use super::answering::outcome_if_accepted;
use super::case::{Case, Decision, Draft};
use super::dispute::{Dispute, DisputeStatus, Outcome, ResolvedBy, SilenceRule};
use super::time::Timestamp;

/// Expires every dispute of the case with `respond_by ≤ now`, earliest first. Judged before every
/// command on the order; stands even if the command is then refused. `None` if nothing is overdue, or if
/// a newer release has to judge it.
pub fn expire_overdue(case: &Case, now: Timestamp) -> Option<Decision> {
    first_overdue(case, now).filter(|_| case.is_ours())?;
    let mut draft = Draft::new(case.clone(), Actor::System, now);
    // Looked for afresh each time: an expiry can supersede another dispute that is overdue too.
    while let Some(overdue) = first_overdue(&draft.case, now) {
        let (id, outcome) = (overdue.id, outcome_of_silence(&draft.case, overdue));
        draft.resolve(id, DisputeStatus::Expired, ResolvedBy::Deadline, outcome, String::new());
    }
    Some(draft.decided(None))
}

fn first_overdue(case: &Case, now: Timestamp) -> Option<&Dispute> {
    let overdue = case.disputes.iter().filter(|dispute| dispute.is_overdue(now));
    overdue.min_by_key(|dispute| (dispute.respond_by, dispute.id))
}

/// What silence does. Before it takes effect it re-checks what accepting re-checks, and once work was
/// delivered the rule for that holds.
pub(super) fn outcome_of_silence(case: &Case, dispute: &Dispute) -> Outcome {
    let delivered = case.order.status.is_delivered();
    let rule = if delivered { dispute.silence.after_delivery } else { dispute.silence.rule };
    match rule {
        SilenceRule::NoEffect => Outcome::Nothing,
        SilenceRule::Accept => outcome_if_accepted(case, dispute).unwrap_or(Outcome::Nothing),
    }
}
