//! What a party can open on an order now, judged by the guards that will judge it then.

use std::time::Duration;

use super::actor::PartyRole;
use super::case::Case;
use super::dispute::{DisputeKind, SilenceRule};
use super::ids::DisputeId;
use super::money::Money;
use super::opening::{self, Way};
use super::policy::Policy;
use super::refusal::Refusal;

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
    /// How long the other party will have.
    pub response_window: Duration,
    /// What silence will do.
    pub silence_rule: SilenceRule,
}

/// The options of a role, on a case in which nothing is overdue.
pub fn options(case: &Case, role: PartyRole, policy: &Policy) -> Vec<DisputeOption> {
    DisputeKind::ALL
        .into_iter()
        .filter(|kind| kind.may_be_opened_by(role))
        .map(|kind| {
            let blockers = opening::blockers(case, kind, role, policy);
            let accepts = match opening::way(case, kind, role) {
                Way::AcceptsCancellation(first) if blockers.is_empty() => Some(first.id),
                Way::AcceptsCancellation(_) | Way::Free | Way::Blocked(_) | Way::DeclinesOffer(_) => None,
            };
            DisputeOption {
                kind,
                blockers,
                accepts,
                amounts: (kind == DisputeKind::PartialRefund).then(|| opening::refund_range(case, policy)),
                response_window: policy.response_window(kind),
                silence_rule: policy.silence(kind, case.order.status).rule,
            }
        })
        .collect()
}
