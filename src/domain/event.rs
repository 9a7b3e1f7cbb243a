//! The facts of an order and its disputes: what commands and time bring about.

use super::actor::ActorRole;
use super::code::codes;
use super::dispute::{Dispute, Outcome, ResolvedBy};
use super::ids::{DisputeId, UserId};
use super::money::Money;
use super::order::Order;
use super::time::Timestamp;

/// One fact, with its own data alone. What an event that ends a dispute calls `time` is the clock's, from which windows
/// are counted; the time at which the log dates an event can be later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The order system said how the order stands. Not logged: an order is told of through its disputes.
    OrderReported(Box<Order>),
    /// The dispute came to be.
    Opened(Box<Dispute>),
    /// What was asked for takes effect.
    Accepted {
        /// The dispute.
        dispute: DisputeId,
        /// When.
        time: Timestamp,
        /// Who was asked, the opener of what was countered, a cancellation that crossed it, or the opening itself.
        by: ResolvedBy,
        /// What it does to the order.
        outcome: Outcome,
        /// The text of the cancellation that crossed it; else empty.
        message: String,
    },
    /// Who had to answer said no.
    Declined {
        /// The dispute.
        dispute: DisputeId,
        /// When.
        time: Timestamp,
        /// The responder, or the opener of what was countered.
        by: ResolvedBy,
        /// Its words; may be empty.
        message: String,
    },
    /// Who had to answer put another amount on the table: now the other party has to answer.
    Countered {
        /// The dispute.
        dispute: DisputeId,
        /// When.
        time: Timestamp,
        /// The amount.
        amount: Money,
        /// Its words; may be empty.
        message: String,
        /// When the new window closes.
        respond_by: Timestamp,
        /// When the party whose turn it is now is reminded; `None` if never.
        remind_at: Option<Timestamp>,
    },
    /// The responder gave the update that was asked for.
    Answered {
        /// The dispute.
        dispute: DisputeId,
        /// When.
        time: Timestamp,
        /// The update.
        message: String,
    },
    /// The request was taken back, or its escalation.
    Withdrawn {
        /// The dispute.
        dispute: DisputeId,
        /// When.
        time: Timestamp,
        /// The opener, or who escalated it.
        by: ResolvedBy,
    },
    /// The party that has to answer was reminded that the deadline approaches.
    ReminderSent {
        /// The dispute.
        dispute: DisputeId,
        /// When it is reminded again; `None` if never.
        remind_at: Option<Timestamp>,
    },
    /// The next reminder is for another instant, by a policy that has changed. Not logged: nothing has happened.
    ReminderMoved {
        /// The dispute.
        dispute: DisputeId,
        /// When it is now; `None` if never.
        remind_at: Option<Timestamp>,
    },
    /// Support moved the deadline.
    DeadlineMoved {
        /// The dispute.
        dispute: DisputeId,
        /// The new one.
        respond_by: Timestamp,
        /// When the party that has to answer is reminded next.
        remind_at: Option<Timestamp>,
        /// Support's words.
        message: String,
    },
    /// The response window closed with no answer.
    Expired {
        /// The dispute.
        dispute: DisputeId,
        /// When that was found.
        time: Timestamp,
        /// What silence does to the order.
        outcome: Outcome,
    },
    /// The dispute cannot go on as its order stands.
    Superseded {
        /// The dispute.
        dispute: DisputeId,
        /// When.
        time: Timestamp,
        /// What the order did, or another dispute.
        by: ResolvedBy,
    },
    /// The dispute went to support: it is open again, or its deadline stops.
    Escalated {
        /// The dispute.
        dispute: DisputeId,
        /// Who asked for it.
        by: ActorRole,
        /// Why.
        message: String,
    },
    /// Support decided it.
    Decided {
        /// The dispute.
        dispute: DisputeId,
        /// When.
        time: Timestamp,
        /// What it does to the order.
        outcome: Outcome,
        /// Who decided.
        agent: UserId,
        /// The agent's words.
        message: String,
    },
    /// The money has moved.
    Settled {
        /// The dispute.
        dispute: DisputeId,
        /// The attempt to pay, from 1.
        attempt: u32,
        /// The payment, as the platform calls it.
        reference: String,
    },
    /// The money has not moved.
    SettlementFailed {
        /// The dispute.
        dispute: DisputeId,
        /// The attempt to pay, from 1.
        attempt: u32,
        /// Why.
        detail: String,
    },
    /// The money came back.
    SettlementReturned {
        /// The dispute.
        dispute: DisputeId,
        /// The attempt to pay, from 1.
        attempt: u32,
        /// Why.
        detail: String,
    },
    /// The money will not be paid.
    SettlementVoided {
        /// The dispute.
        dispute: DisputeId,
        /// The attempt to pay, from 1.
        attempt: u32,
        /// Why.
        detail: String,
    },
}

codes! {
    /// The type of an event, as subscribers can ask for it.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[expect(missing_docs, reason = "each type is named after what happened")]
    pub enum EventType {
        Opened = 1,
        Accepted = 2,
        Declined = 3,
        Answered = 4,
        Withdrawn = 5,
        DeadlineApproaching = 6,
        DeadlineMoved = 7,
        DeadlineExpired = 8,
        Superseded = 9,
        Escalated = 10,
        Decided = 11,
        Settled = 12,
        SettlementFailed = 13,
        SettlementReturned = 15,
        SettlementVoided = 16,
        Countered = 17,
        /// How an open dispute stands, for a subscriber who begins. Never in the log.
        Snapshot = 14,
    }
}

impl Event {
    /// The type, as subscribers can ask for it; `None` for what is not logged.
    pub fn event_type(&self) -> Option<EventType> {
        Some(match self {
            Self::OrderReported(_) | Self::ReminderMoved { .. } => return None,
            Self::Opened(_) => EventType::Opened,
            Self::Accepted { .. } => EventType::Accepted,
            Self::Declined { .. } => EventType::Declined,
            Self::Countered { .. } => EventType::Countered,
            Self::Answered { .. } => EventType::Answered,
            Self::Withdrawn { .. } => EventType::Withdrawn,
            Self::ReminderSent { .. } => EventType::DeadlineApproaching,
            Self::DeadlineMoved { .. } => EventType::DeadlineMoved,
            Self::Expired { .. } => EventType::DeadlineExpired,
            Self::Superseded { .. } => EventType::Superseded,
            Self::Escalated { .. } => EventType::Escalated,
            Self::Decided { .. } => EventType::Decided,
            Self::Settled { .. } => EventType::Settled,
            Self::SettlementFailed { .. } => EventType::SettlementFailed,
            Self::SettlementReturned { .. } => EventType::SettlementReturned,
            Self::SettlementVoided { .. } => EventType::SettlementVoided,
        })
    }

    /// The dispute that it happened to; `None` for a report of the order.
    pub fn dispute(&self) -> Option<DisputeId> {
        match self {
            Self::OrderReported(_) => None,
            Self::Opened(dispute) => Some(dispute.id),
            Self::Accepted { dispute, .. }
            | Self::Declined { dispute, .. }
            | Self::Countered { dispute, .. }
            | Self::Answered { dispute, .. }
            | Self::Withdrawn { dispute, .. }
            | Self::ReminderSent { dispute, .. }
            | Self::ReminderMoved { dispute, .. }
            | Self::DeadlineMoved { dispute, .. }
            | Self::Expired { dispute, .. }
            | Self::Superseded { dispute, .. }
            | Self::Escalated { dispute, .. }
            | Self::Decided { dispute, .. }
            | Self::Settled { dispute, .. }
            | Self::SettlementFailed { dispute, .. }
            | Self::SettlementReturned { dispute, .. }
            | Self::SettlementVoided { dispute, .. } => Some(*dispute),
        }
    }
}
