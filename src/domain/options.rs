//! What a party can open on an order now, judged by the guards that will judge it then, and what would come
//! of it.

use std::time::Duration;

use super::actor::PartyRole;
use super::code::codes;
use super::dispute::{Outcome, SilenceRule};
use super::ids::DisputeId;
use super::kinds::DisputeKind;
use super::money::Money;
use super::opening::{self, Conflict};
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
    let is_offered = |kind: &DisputeKind| policy.for_kind(*kind).enabled && kind.may_be_opened_by(role);
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
    let accepts = match opening::conflict(aggregate, kind, role) {
        Conflict::AcceptsCancellation(first) if is_available => Some(first.id),
        Conflict::AcceptsCancellation(_) | Conflict::None | Conflict::Blocked(_) | Conflict::DeclinesOffer(_) => None,
    };
    let is_at_once =
        is_available && (accepts.is_some() || opening::is_immediate(&aggregate.order, kind, role, policy, now));
    let if_accepted = (rules.outcome_without_terms)(&aggregate.order).filter(|_| is_available);
    DisputeOption {
        kind,
        blockers,
        accepts,
        amounts: (rules.amounts)(&aggregate.order, policy),
        waits: (!is_at_once).then(|| (policy.response_window(kind), policy.silence(kind, &aggregate.order).rule)),
        if_accepted,
        effects: rules.effects.to_vec(),
        rate_before_bps: standing.and_then(SellerStanding::completion_rate_bps),
        rate_after_bps: standing
            .and_then(|standing| standing.completion_rate_bps_after(if_accepted.unwrap_or(Outcome::Nothing))),
    }
}
