//! The audit: what callers with a scope did, and which confidential reasons they were shown. It is kept apart from the log of
//! events, which parties read: the identity of agents stays here.

use super::actor::{Caller, Scope};
use super::code::codes;
use super::command::{Command, Subject};
use super::ids::{DisputeId, OrderId, UserId};
use super::order_aggregate::OrderAggregate;
use super::time::Timestamp;
use super::view::ShownDispute;

codes! {
    /// Something that is recorded in the audit.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum AuditAction {
        /// The platform's report changed an order, or made it known.
        OrderUpserted = 1,
        /// The platform reported what became of a payment.
        SettlementReported = 2,
        /// Support moved the deadline of a dispute.
        DeadlinePostponed = 3,
        /// Support took a dispute over.
        DisputeEscalated = 4,
        /// Support decided a dispute.
        DisputeDecided = 5,
        /// Support gave back a dispute that it had taken over.
        DisputeWithdrawn = 6,
        /// Support was shown a reason that its opener gave in confidence.
        ReasonShown = 7,
    }
}

impl AuditAction {
    /// Its name in an export.
    pub fn name(self) -> &'static str {
        match self {
            Self::OrderUpserted => "ORDER_UPSERTED",
            Self::SettlementReported => "SETTLEMENT_REPORTED",
            Self::DeadlinePostponed => "DEADLINE_POSTPONED",
            Self::DisputeEscalated => "DISPUTE_ESCALATED",
            Self::DisputeDecided => "DISPUTE_DECIDED",
            Self::DisputeWithdrawn => "DISPUTE_WITHDRAWN",
            Self::ReasonShown => "REASON_SHOWN",
        }
    }

    /// What a command of this caller is recorded as once it is accepted; `None` if it is not. Commands of parties are not:
    /// the log of events has them, with their actor.
    pub fn for_command(caller: &Caller, command: &Command) -> Option<Self> {
        let (scope, action) = match command {
            Command::UpsertOrder(_) => (Scope::Platform, Self::OrderUpserted),
            Command::ReportSettlement { .. } => (Scope::Platform, Self::SettlementReported),
            Command::Postpone(..) => (Scope::Support, Self::DeadlinePostponed),
            Command::Escalate(_) => (Scope::Support, Self::DisputeEscalated),
            Command::Decide(..) => (Scope::Support, Self::DisputeDecided),
            Command::Withdraw(_) => (Scope::Support, Self::DisputeWithdrawn),
            Command::Open(_)
            | Command::Accept(_)
            | Command::Decline(_)
            | Command::Counter(..)
            | Command::AnswerOrderUpdate(_) => return None,
        };
        (caller.scope == Some(scope)).then_some(action)
    }
}

/// An entry of the audit. Once written it never changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    /// When, by the clock that commands are judged by.
    pub time: Timestamp,
    /// Who.
    pub user: UserId,
    /// By which right.
    pub scope: Scope,
    /// What.
    pub action: AuditAction,
    /// The order that it is about.
    pub order: OrderId,
    /// The dispute that it is about; `None` if it is about the order itself.
    pub dispute: Option<DisputeId>,
    /// The revision of the dispute afterwards, or of the order where there is none.
    pub revision: i64,
}

impl AuditEntry {
    /// What is recorded of a command that was accepted at `time` and changed something; `after` is the order afterwards, with
    /// the dispute that the command is about. `None` for commands that are not recorded.
    pub fn of_command(caller: &Caller, command: &Command, after: &OrderAggregate, time: Timestamp) -> Option<Self> {
        let action = AuditAction::for_command(caller, command)?;
        let (dispute, revision) = match command.subject() {
            Subject::Order(_) => (None, after.order.revision),
            Subject::Dispute(dispute) => (Some(dispute), after.dispute(dispute)?.revision),
        };
        let (user, order) = (caller.user.clone(), after.order.id.clone());
        Some(Self { time, user, scope: caller.scope?, action, order, dispute, revision })
    }

    /// What is recorded before a caller is shown a confidential reason.
    pub fn of_disclosure(caller: &Caller, reason: &ConfidentialReason, time: Timestamp) -> Option<Self> {
        let ConfidentialReason { order, dispute, revision } = reason.clone();
        let (user, scope, action) = (caller.user.clone(), caller.scope?, AuditAction::ReasonShown);
        Some(Self { time, user, scope, action, order, dispute: Some(dispute), revision })
    }
}

/// A confidential reason that is about to be shown to a caller other than its author.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfidentialReason {
    /// The order of the dispute.
    pub order: OrderId,
    /// The dispute that the reason was given for.
    pub dispute: DisputeId,
    /// The revision of the dispute as it is shown.
    pub revision: i64,
}

impl ConfidentialReason {
    /// The one that this dispute shows to this caller, if it does. Its opener is shown nothing new, and a reason that everybody
    /// may see is not confidential.
    pub fn shown_by(shown: &ShownDispute, caller: &Caller) -> Option<Self> {
        caller.scope?;
        let (order, dispute, revision, is_shown) = match shown {
            ShownDispute::Judged(view) => {
                let dispute = &view.dispute;
                let is_shown = dispute.reason_for(caller).is_some() && dispute.public_reason().is_none();
                (&dispute.order, dispute.id, dispute.revision, is_shown)
            }
            ShownDispute::Newer(dispute) => {
                let is_shown = dispute.reason_for(caller).is_some() && dispute.public_reason().is_none();
                (&dispute.order, dispute.id, dispute.revision, is_shown)
            }
        };
        is_shown.then(|| Self { order: order.clone(), dispute, revision })
    }
}
