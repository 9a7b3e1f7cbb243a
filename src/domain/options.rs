//! What a party can open on an order now, judged by the guards that will judge it then, and what would come
//! of it.

use std::time::Duration;

use super::actor::PartyRole;
use super::code::codes;
use super::dispute::{Outcome, SilenceRule};
use super::ids::DisputeId;
use super::kinds::DisputeKind;
use super::money::Money;
use super::opening;
use super::order_aggregate::OrderAggregate;
use super::policy::Policy;
use super::refusal::Refusal;
use super::standing::SellerStanding;
use super::time::Timestamp;

/// One thing that a role can ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DisputeOption {
    /// The kind.
    pub kind: DisputeKind,
    /// Why it cannot be opened now; empty if it can.
    pub blockers: Vec<Refusal>,
    /// The other party's pending cancellation, if choosing this accepts it.
    pub accepts: Option<DisputeId>,
    /// The pending partial refund that stands in the way, if this party can counter it instead.
    pub counters: Option<DisputeId>,
    /// Whether it can be asked for as nobody's fault: the seller's quota has a place.
    pub no_fault_available: bool,
    /// The least and the most that can be offered; only for a refund.
    pub amounts: Option<(Money, Money)>,
    /// How long the other party will have, and what its silence will do; `None` if choosing this takes effect
    /// at once.
    pub waits: Option<(Duration, SilenceRule)>,
    /// What acceptance will do: without what only the form will say, an amount or a new due time. `None` if it
    /// cannot be opened, or not be accepted.
    pub if_accepted: Option<Outcome>,
    /// What choosing this can bring about beside that.
    pub effects: Vec<Effect>,
    /// The seller's completion rate in basis points now …
    pub rate_before_bps: Option<u32>,
    /// … and after acceptance. Both are for the seller only, and only if there is a rate.
    pub rate_after_bps: Option<u32>,
}

codes! {
    /// What choosing an option can bring about for the seller.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum Effect {
        /// Less revenue.
        Revenue = 1,
        /// Another completion rate.
        CompletionRate = 2,
        /// Less visible in search results.
        SearchVisibility = 3,
        /// Once accepted, no further refund can be offered on the order.
        NoFurtherRefund = 4,
    }
}

/// The options of a role, on an aggregate in which nothing is overdue. `standing` is the seller's, if the role is
/// that.
pub fn options(
    aggregate: &OrderAggregate,
    role: PartyRole,
    standing: Option<&SellerStanding>,
    policy: &Policy,
    now: Timestamp,
) -> Vec<DisputeOption> {
    let is_offered = |kind: &DisputeKind| kind.is_open_to(role, policy);
    DisputeKind::ALL
        .into_iter()
        .filter(is_offered)
        .map(|kind| option(aggregate, kind, role, standing, policy, now))
        .collect()
}

fn option(
    aggregate: &OrderAggregate,
    kind: DisputeKind,
    role: PartyRole,
    standing: Option<&SellerStanding>,
    policy: &Policy,
    now: Timestamp,
) -> DisputeOption {
    let rules = kind.rules();
    let blockers = opening::blockers(aggregate, kind, role, policy, now);
    let is_available = blockers.is_empty();
    let crossed = opening::conflict(aggregate, kind, role).crossed();
    let accepts = crossed.filter(|_| is_available).map(|first| first.id);
    let can_be_no_fault =
        kind == DisputeKind::Cancellation && aggregate.require_no_fault_place(crossed, role, policy).is_ok();
    let is_at_once =
        is_available && (accepts.is_some() || opening::is_immediate(&aggregate.order, kind, role, policy, now));
    let if_accepted = (rules.outcome_without_terms)(&aggregate.order).filter(|_| is_available);
    // Of a crossed cancellation the buyer has said already whether it shall count; else the form says.
    let is_crossed_no_fault = crossed.is_some_and(|first| first.terms.is_no_fault());
    let is_no_fault = role == PartyRole::Seller && is_crossed_no_fault && is_available;
    let if_accepted = if_accepted.map(|outcome| match outcome {
        Outcome::Cancellation { refund, counts } => Outcome::Cancellation { refund, counts: counts && !is_no_fault },
        Outcome::Nothing | Outcome::Refund(_) | Outcome::NewDueTime(_) => outcome,
    });
    DisputeOption {
        kind,
        blockers,
        accepts,
        counters: countered(aggregate, kind, role, policy, now),
        no_fault_available: can_be_no_fault,
        amounts: (rules.amounts)(&aggregate.order, policy),
        waits: (!is_at_once).then(|| (policy.response_window(kind), policy.silence(kind, role, &aggregate.order).rule)),
        if_accepted,
        effects: rules.effects.to_vec(),
        rate_before_bps: standing.and_then(SellerStanding::completion_rate_bps),
        rate_after_bps: standing
            .and_then(|standing| standing.completion_rate_bps_after(if_accepted.unwrap_or(Outcome::Nothing))),
    }
}

/// The pending partial refund on this order that this party may counter now, if one of this kind is bargained over.
fn countered(
    aggregate: &OrderAggregate,
    kind: DisputeKind,
    role: PartyRole,
    policy: &Policy,
    now: Timestamp,
) -> Option<DisputeId> {
    let is_bargained = kind.rules().is_bargained && aggregate.is_ours();
    let pending =
        aggregate.disputes.iter().filter(|dispute| dispute.kind() == kind && dispute.awaiting() == Some(role));
    let mut counterable = pending.filter(|dispute| dispute.require_counterable(&aggregate.order, policy, now).is_ok());
    counterable.next().filter(|_| is_bargained).map(|dispute| dispute.id)
}
