//! What happened to a dispute, and how it changes a case. Applying an event cannot fail.

use super::actor::Actor;
use super::case::Case;
use super::dispute::{Dispute, DisputeKind, DisputeStatus, Escalation, Outcome, Resolution, Ruled};
use super::ids::DisputeId;
use super::order::OrderStatus;
use super::settlement::SettlementReport;
use super::time::Timestamp;
use super::view::Consequences;

/// One thing that happened to a dispute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The dispute.
    pub dispute: DisputeId,
    /// Who did it; of what an event caused, who did that event.
    pub actor: Actor,
    /// When.
    pub time: Timestamp,
    /// What changed.
    pub change: Change,
}

/// What an event changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The dispute came to be.
    Opened(Box<Dispute>),
    /// The dispute ended; with the text that came with it, if any.
    Resolved(Resolution, String),
    /// The responder is reminded, and will be again at this instant.
    Reminded {
        /// `None` if never again.
        next: Option<Timestamp>,
    },
    /// Support moved the deadline.
    Postponed {
        /// The new one.
        respond_by: Timestamp,
        /// When the responder is reminded next.
        remind_at: Option<Timestamp>,
        /// Support's words.
        message: String,
    },
    /// The dispute went to support: it is open again, or its deadline stops.
    Escalated(Escalation),
    /// Support decided it.
    Decided(Resolution, Ruled),
    /// The platform said what became of an attempt to pay.
    Settled {
        /// The attempt, from 1.
        attempt: u32,
        /// What became of it.
        report: SettlementReport,
    },
}

/// The type of an event, as subscribers can ask for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "each type is named after what happened")]
pub enum EventType {
    Opened,
    Accepted,
    Declined,
    Answered,
    Withdrawn,
    DeadlineApproaching,
    DeadlineMoved,
    DeadlineExpired,
    Superseded,
    Escalated,
    Decided,
    Settled,
    SettlementFailed,
    SettlementReturned,
    SettlementVoided,
    /// How an open dispute stands, for a subscriber who begins. Never in the log.
    Snapshot,
}

impl Change {
    /// The type of an event with this change.
    pub fn event_type(&self) -> EventType {
        let status = match self {
            Self::Opened(_) => DisputeStatus::Pending,
            Self::Resolved(resolution, _) | Self::Decided(resolution, _) => resolution.status,
            Self::Escalated(_) => DisputeStatus::Escalated,
            Self::Reminded { .. } => return EventType::DeadlineApproaching,
            Self::Postponed { .. } => return EventType::DeadlineMoved,
            Self::Settled { report, .. } => match report {
                SettlementReport::Settled { .. } => return EventType::Settled,
                SettlementReport::Failed { .. } => return EventType::SettlementFailed,
                SettlementReport::Returned { .. } => return EventType::SettlementReturned,
                SettlementReport::Voided { .. } => return EventType::SettlementVoided,
            },
        };
        match status {
            DisputeStatus::Pending => EventType::Opened,
            DisputeStatus::Escalated => EventType::Escalated,
            DisputeStatus::Accepted => EventType::Accepted,
            DisputeStatus::Declined => EventType::Declined,
            DisputeStatus::Answered => EventType::Answered,
            DisputeStatus::Withdrawn => EventType::Withdrawn,
            DisputeStatus::Expired => EventType::DeadlineExpired,
            DisputeStatus::Superseded => EventType::Superseded,
            DisputeStatus::Decided => EventType::Decided,
        }
    }
}

/// An event, with what it changed and what came of it: what the log keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// The event.
    pub event: Event,
    /// The dispute's status before; `None` for an opening.
    pub previous_status: Option<DisputeStatus>,
    /// The dispute after the event.
    pub dispute: Dispute,
    /// What would come of it, as its order stood then.
    pub consequences: Consequences,
}

impl Case {
    /// Applies an event. One about a dispute that the case does not hold changes nothing.
    pub fn apply(&mut self, event: &Event) {
        if let Change::Opened(dispute) = &event.change {
            if dispute.kind() == DisputeKind::DeliveryExtension {
                self.order.extension_requests = self.order.extension_requests.saturating_add(1);
            }
            self.disputes.push(Dispute::clone(dispute));
            return;
        }
        let Some(dispute) = self.disputes.iter_mut().find(|dispute| dispute.id == event.dispute) else {
            return;
        };
        dispute.apply(&event.change);
        dispute.update_time = event.time;
        dispute.revision = dispute.revision.saturating_add(1);
        match &event.change {
            Change::Resolved(resolution, _) | Change::Decided(resolution, _) => {
                self.apply_outcome(event.dispute, resolution);
            }
            Change::Settled { report: SettlementReport::Voided { .. }, .. } => {
                let refund = dispute.resolution.as_ref().and_then(|resolution| resolution.outcome.refund());
                self.give_back(refund.map_or(0, |refund| refund.minor));
            }
            Change::Settled { .. }
            | Change::Opened(_)
            | Change::Reminded { .. }
            | Change::Postponed { .. }
            | Change::Escalated(_) => {}
        }
    }

    /// What a dispute's end does to the order.
    fn apply_outcome(&mut self, dispute: DisputeId, resolution: &Resolution) {
        let order = &mut self.order;
        match resolution.outcome {
            Outcome::Nothing => return,
            // What support decides is no offer that was accepted.
            Outcome::Refund(_) if resolution.status == DisputeStatus::Decided => {}
            Outcome::Refund(_) => order.refund_accepted = Some(dispute),
            Outcome::Cancellation { counts, .. } => {
                order.status = OrderStatus::Cancelled.into();
                order.end_time = Some(resolution.time);
                order.cancelled_by = Some(dispute);
                order.cancellation_counts = counts;
            }
            Outcome::NewDueTime(time) => order.agreed_due_time = Some(time),
        }
        let refund = resolution.outcome.refund().map_or(0, |refund| refund.minor);
        order.refunded.minor = order.refunded.minor.saturating_add(refund);
        order.revision = order.revision.saturating_add(1);
    }

    /// What was decided and will not be paid is left to be refunded again. The order stays as the outcome made it.
    fn give_back(&mut self, refund: i64) {
        self.order.refunded.minor = self.order.refunded.minor.saturating_sub(refund);
        self.order.revision = self.order.revision.saturating_add(1);
    }
}

impl Dispute {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Opened(_) => {}
            Change::Resolved(resolution, message) => {
                self.resolution = Some(resolution.clone());
                self.remind_at = None;
                // What was said before an escalation stays.
                if !message.is_empty() {
                    self.answer_message.clone_from(message);
                }
            }
            Change::Reminded { next } => {
                self.remind_at = *next;
                self.reminders_sent = self.reminders_sent.saturating_add(1);
            }
            Change::Postponed { respond_by, remind_at, message } => {
                self.respond_by = *respond_by;
                self.remind_at = *remind_at;
                self.postpone_message.clone_from(message);
            }
            Change::Escalated(escalation) => {
                self.escalation = Some(escalation.clone());
                self.resolution = None;
                self.remind_at = None;
            }
            Change::Decided(resolution, ruled) => {
                self.resolution = Some(resolution.clone());
                if let Some(escalation) = &mut self.escalation {
                    escalation.ruling = Some(ruled.clone());
                }
            }
            Change::Settled { attempt, report } => {
                if let Some(settlement) = self.resolution.as_mut().and_then(|end| end.settlement.as_mut()) {
                    settlement.take(*attempt, report);
                }
            }
        }
    }
}
