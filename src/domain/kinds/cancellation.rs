//! A cancellation: a party asks to cancel the order; what is left is paid back.
//!
//! When to use it: the seller when the scope has changed or the order cannot be completed; the buyer when the
//! requirements have changed, the service is no longer needed, or the seller cannot meet expectations; either when both
//! have agreed to cancel.

use super::{AnsweredWith, DisputeKind, Exclusion, KindRules};
use crate::domain::actor::PartyRole;
use crate::domain::dispute::{Dispute, Silence, SilenceRule};
use crate::domain::opening::Conflict;
use crate::domain::options::Effect;
use crate::domain::order::{Order, OrderStatus};
use crate::domain::policy::{KindPolicy, Policy};
use crate::domain::reason::ReasonCode;
use crate::domain::rights::Operation;
use crate::domain::settings::settings;
use crate::domain::span::Span;
use crate::domain::time::Timestamp;

pub(super) static RULES: KindRules = KindRules {
    opened_with: Operation::RequestCancellation,
    openers: &PartyRole::ALL,
    is_open_to: |_, _| true,
    order_statuses: &[
        OrderStatus::RequirementsPending,
        OrderStatus::InProgress,
        OrderStatus::Delivered,
        OrderStatus::InRevision,
    ],
    exclusion: Exclusion::Money,
    conflict,
    // A seller's personal note is optional.
    message_required_of: &[PartyRole::Buyer],
    reasons_of_buyer: &[
        ReasonCode::RequirementsChanged,
        ReasonCode::NoLongerNeeded,
        ReasonCode::SellerCannotMeetExpectations,
        ReasonCode::OrderedByMistake,
        ReasonCode::DuplicateOrder,
        ReasonCode::LateDelivery,
        ReasonCode::SellerUnresponsive,
        ReasonCode::NotAsDescribed,
        ReasonCode::AbusiveBehaviour,
        ReasonCode::Other,
    ],
    reasons_of_seller: &[
        ReasonCode::ScopeChanged,
        ReasonCode::UnableToComplete,
        ReasonCode::MutualAgreement,
        ReasonCode::BuyerUnresponsive,
        ReasonCode::RequirementsMissing,
        ReasonCode::OrderedByMistake,
        ReasonCode::DuplicateOrder,
        ReasonCode::AbusiveBehaviour,
        ReasonCode::PolicyViolation,
        ReasonCode::Other,
    ],
    confidential_reason_of: &[PartyRole::Buyer],
    answered_with: AnsweredWith::YesOrNo,
    is_bargained: false,
    policy: |policy| &policy.cancellation.kind,
    silence,
    obstacles: |_, _, _| Vec::new(),
    is_immediate,
    on_opened: |_| {},
    holds_completion_of: &[PartyRole::Buyer],
    amounts: |_, _| None,
    // Whether it shall count, only the form will say.
    outcome_without_terms: |order| Some(order.outcome_of_cancelling(true)),
    effects: &[Effect::Revenue, Effect::CompletionRate, Effect::SearchVisibility],
};

settings! {
    /// About cancellations.
    pub struct CancellationPolicy with kind: KindPolicy {
        /// How many no-fault cancellations a seller can have within standing_window; 0 for none
        no_fault_per_window: u32 = 0,
        /// What silence does before any work was delivered
        silence_rule: SilenceRule = SilenceRule::Accept,
        /// What silence does once work was delivered
        silence_rule_after_delivery: SilenceRule = SilenceRule::NoEffect,
        /// Whether the buyer cancels alone before the work has started,
        immediate_before_start: bool = false,
        /// or when the order is late by more than this with nothing delivered; 0s for never
        immediate_when_late: Span = Span::default(),
    }
}

/// Crossed cancellations merge: the second accepts the first. A partial refund cannot block the buyer's cancellation: it
/// ends. Everything else stands in the way.
fn conflict(pending: &Dispute, opener: PartyRole) -> Conflict<'_> {
    let is_refund = pending.kind() == DisputeKind::PartialRefund;
    if pending.kind() == DisputeKind::Cancellation && pending.opener != opener {
        Conflict::AcceptsCancellation(pending)
    } else if is_refund && opener == PartyRole::Buyer {
        Conflict::EndsRefund(pending)
    } else {
        Conflict::Blocked(pending.id)
    }
}

/// Two rules of the policy: one that holds until the work is delivered, and one from then on, whether that was before the
/// opening or before the window closes.
fn silence(policy: &Policy, _: PartyRole, order: &Order) -> Silence {
    let (rule, after_delivery) = (policy.cancellation.silence_rule, policy.cancellation.silence_rule_after_delivery);
    Silence { rule: if order.status.is_delivered() { after_delivery } else { rule }, after_delivery }
}

/// By policy the buyer cancels alone: before the work has started, or when the order is late by more than a given time
/// with nothing delivered.
fn is_immediate(order: &Order, opener: PartyRole, policy: &Policy, now: Timestamp) -> bool {
    let rules = &policy.cancellation;
    let has_not_started = order.status == OrderStatus::RequirementsPending;
    let is_late = order.effective_due_time().is_some_and(|due| due.plus(rules.immediate_when_late.0) < now);
    opener == PartyRole::Buyer
        && ((rules.immediate_before_start && has_not_started)
            || (!rules.immediate_when_late.0.is_zero() && is_late && !order.status.is_delivered()))
}
