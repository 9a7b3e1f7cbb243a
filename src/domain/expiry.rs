//! First the clock: what the passing of a deadline does.

use super::answering::outcome_of_agreeing;
use super::cascade::Cascade;
use super::dispute::{Dispute, Outcome, SilenceRule};
use super::event::Event;
use super::order_aggregate::OrderAggregate;
use super::time::Timestamp;

/// Expires every dispute of the aggregate with `respond_by ≤ now`, earliest first. Judged before every
/// command on the order; stands even if the command is then refused. Nothing happens if nothing is overdue, or if
/// a newer release has to judge it.
pub fn expire_overdue(aggregate: &OrderAggregate, now: Timestamp) -> Vec<Event> {
    passed(aggregate, now).map_or_else(Vec::new, |cascade| cascade.events)
}

/// The aggregate once the clock has done what it has to do at `now`; `None` if that is nothing.
pub fn after_the_clock(aggregate: &OrderAggregate, now: Timestamp) -> Option<OrderAggregate> {
    passed(aggregate, now)?.aggregate
}

fn passed(aggregate: &OrderAggregate, now: Timestamp) -> Option<Cascade> {
    first_overdue(aggregate, now).filter(|_| aggregate.is_ours())?;
    let mut cascade = Cascade::new(Some(aggregate), now);
    // Looked for afresh each time: an expiry can supersede another dispute that is overdue too.
    while let Some(expired) = cascade.aggregate.as_ref().and_then(|aggregate| first_expiry(aggregate, now)) {
        cascade.add(expired);
    }
    Some(cascade)
}

fn first_expiry(aggregate: &OrderAggregate, now: Timestamp) -> Option<Event> {
    let overdue = first_overdue(aggregate, now)?;
    Some(Event::Expired { dispute: overdue.id, time: now, outcome: outcome_of_silence(aggregate, overdue) })
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
        SilenceRule::Accept => {
            outcome_of_agreeing(aggregate, dispute.terms.if_silent(dispute.opener)).unwrap_or(Outcome::Nothing)
        }
    }
}
