//! A delivery extension: the seller asks for more time to deliver.
//!
//! When to use it: before the order is late, because the scope has changed, something unexpected has happened, or the
//! seller is waiting for the buyer.

use std::time::Duration;

use super::{AnsweredWith, Exclusion, KindRules};
use crate::domain::actor::PartyRole;
use crate::domain::dispute::{Outcome, Silence, SilenceRule};
use crate::domain::opening::Conflict;
use crate::domain::order::{Order, OrderStatus};
use crate::domain::policy::{KindPolicy, Policy};
use crate::domain::reason::ReasonCode;
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;

pub(super) static RULES: KindRules = KindRules {
    openers: &[PartyRole::Seller],
    order_statuses: &[OrderStatus::InProgress, OrderStatus::InRevision],
    exclusion: Exclusion::SameKind,
    conflict: |pending, _| Conflict::Blocked(pending.id),
    message_required_of: &PartyRole::ALL,
    reasons_of_buyer: &[],
    reasons_of_seller: &[
        ReasonCode::ScopeChanged,
        ReasonCode::UnexpectedEvent,
        ReasonCode::UnclearRequirements,
        ReasonCode::WaitingForBuyer,
        ReasonCode::Workload,
        ReasonCode::Other,
    ],
    confidential_reason_of: &[],
    answered_with: AnsweredWith::YesOrNo,
    policy: |policy| &policy.delivery_extension.kind,
    silence,
    obstacles,
    is_immediate: |_, _, _, _| false,
    // Whatever becomes of it, it was one of those that silence may grant.
    on_opened: |order| order.extension_requests = order.extension_requests.saturating_add(1),
    holds_completion_of: &[],
    amounts: |_, _| None,
    outcome_of_kind: |_| Some(Outcome::Nothing),
    effects: &[],
};

/// About extensions of the delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeliveryExtensionPolicy {
    /// What can be set for every kind.
    pub kind: KindPolicy,
    /// What the buyer's silence does to the first extensions of an order …
    pub silence_rule: SilenceRule,
    /// … namely to so many; silence has no effect on later ones.
    pub silent_grants: u32,
    /// How long after the effective due time the new one can be.
    pub max_extension: Duration,
}

impl Default for DeliveryExtensionPolicy {
    fn default() -> Self {
        Self {
            kind: KindPolicy::default(),
            silence_rule: SilenceRule::Accept,
            silent_grants: 1,
            max_extension: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

/// Silence accepts the first extension of an order, and has no effect on later ones.
fn silence(policy: &Policy, order: &Order) -> Silence {
    let rules = &policy.delivery_extension;
    let is_granted = order.extension_requests < rules.silent_grants;
    Silence::always(if is_granted { rules.silence_rule } else { SilenceRule::NoEffect })
}

/// A new due time is after the effective one and after now, and at most so much after the effective one; on an order
/// without one, after now.
fn range(order: &Order, policy: &Policy, now: Timestamp) -> (Timestamp, Timestamp) {
    let due = order.effective_due_time().unwrap_or(now);
    (due.max(now), due.plus(policy.delivery_extension.max_extension))
}

/// The order is not so late that no new due time is in range.
fn obstacles(order: &Order, policy: &Policy, now: Timestamp) -> Vec<Refusal> {
    let (after, latest) = range(order, policy, now);
    if latest <= after { vec![Refusal::NewDueTimeOutOfRange { after, latest }] } else { Vec::new() }
}

/// The new due time is in range.
pub(super) fn require_in_range(
    order: &Order,
    new_due_time: Timestamp,
    policy: &Policy,
    now: Timestamp,
) -> Result<(), Refusal> {
    let (after, latest) = range(order, policy, now);
    if after < new_due_time && new_due_time <= latest {
        Ok(())
    } else {
        Err(Refusal::NewDueTimeOutOfRange { after, latest })
    }
}
