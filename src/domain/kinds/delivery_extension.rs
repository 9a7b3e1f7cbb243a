//! A delivery extension: the seller asks for more time to deliver.
//!
//! When to use it: before the order is late, because the scope has changed, something unexpected has happened, or the
//! seller is waiting for the buyer.

use super::{AnsweredWith, Exclusion, KindRules};
use crate::domain::actor::PartyRole;
use crate::domain::bounds::Window;
use crate::domain::dispute::{Outcome, Silence, SilenceRule};
use crate::domain::opening::Conflict;
use crate::domain::order::{Order, OrderStatus};
use crate::domain::policy::{KindPolicy, Policy};
use crate::domain::reason::ReasonCode;
use crate::domain::refusal::Refusal;
use crate::domain::rights::Operation;
use crate::domain::settings::settings;
use crate::domain::time::Timestamp;

pub(super) static RULES: KindRules = KindRules {
    opened_with: Operation::RequestDeliveryExtension,
    openers: &[PartyRole::Seller],
    is_open_to: |_, _| true,
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
    is_bargained: false,
    policy: |policy| &policy.delivery_extension.kind,
    silence,
    obstacles,
    is_immediate: |_, _, _, _| false,
    // Whatever becomes of it, it was one of those that silence may grant.
    on_opened: |order| order.extension_requests = order.extension_requests.saturating_add(1),
    holds_completion_of: &[],
    amounts: |_, _| None,
    outcome_without_terms: |_| Some(Outcome::Nothing),
    effects: &[],
};

settings! {
    /// About extensions of the delivery.
    pub struct DeliveryExtensionPolicy with kind: KindPolicy {
        /// What the buyer's silence does to the first extensions of an order
        silence_rule: SilenceRule = SilenceRule::Accept,
        /// How many those are; silence has no effect on later ones
        silent_grants: u32 = 1,
        /// How long after the due time that holds the new one can be
        max_extension: Window = Window::days(30),
    }
}

/// The rule of the policy applies to the first `silent_grants` extensions of an order; on later ones silence has no effect.
fn silence(policy: &Policy, _: PartyRole, order: &Order) -> Silence {
    let rules = &policy.delivery_extension;
    let is_among_first = order.extension_requests < rules.silent_grants;
    Silence::always(if is_among_first { rules.silence_rule } else { SilenceRule::NoEffect })
}

/// A new due time is after the effective one and after now, and at most so much after the effective one; on an order
/// without one, after now.
fn range(order: &Order, policy: &Policy, now: Timestamp) -> (Timestamp, Timestamp) {
    let due = order.effective_due_time().unwrap_or(now);
    (due.max(now), due.plus(policy.delivery_extension.max_extension.get()))
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
