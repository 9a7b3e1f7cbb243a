//! An order update: the buyer asks how the work is going, and the seller answers with a message. Nothing else comes of
//! it, also of silence.
//!
//! When to use it: to know how the order is progressing, or to confirm details before the project is finished.

use super::{AnsweredWith, Exclusion, KindRules};
use crate::domain::actor::PartyRole;
use crate::domain::dispute::{Silence, SilenceRule};
use crate::domain::opening::Conflict;
use crate::domain::order::OrderStatus;
use crate::domain::rights::Operation;

pub(super) static RULES: KindRules = KindRules {
    opened_with: Operation::RequestOrderUpdate,
    openers: &[PartyRole::Buyer],
    is_open_to: |_, _| true,
    order_statuses: &[
        OrderStatus::RequirementsPending,
        OrderStatus::InProgress,
        OrderStatus::Delivered,
        OrderStatus::InRevision,
    ],
    exclusion: Exclusion::SameKind,
    conflict: |pending, _| Conflict::Blocked(pending.id),
    message_required_of: &PartyRole::ALL,
    reasons_of_buyer: &[],
    reasons_of_seller: &[],
    confidential_reason_of: &[],
    answered_with: AnsweredWith::Message,
    is_bargained: false,
    policy: |policy| &policy.order_update,
    silence: |_, _, _| Silence::always(SilenceRule::NoEffect),
    obstacles: |_, _, _| Vec::new(),
    is_immediate: |_, _, _, _| false,
    on_opened: |_| {},
    holds_completion_of: &[],
    amounts: |_, _| None,
    outcome_without_terms: |_| None,
    effects: &[],
};
