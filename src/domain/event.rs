//! What happened to a dispute, and how it changes the aggregate. Applying an event cannot fail.

use super::actor::Actor;
use super::dispute::{Dispute, DisputeStatus, Escalation, Outcome, Resolution, Ruled};
use super::ids::DisputeId;
use super::order::OrderStatus;
use super::order_aggregate::OrderAggregate;
use super::settlement::SettlementReport;
use super::time::Timestamp;
use super::view::Consequences;

/// One thing that happened to a dispute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
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

impl Event {
    /// The type, as subscribers can ask for it.
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

/// An event with its actor, its time and what came of it: what the log keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedEvent {
    /// What happened.
    pub event: Event,
    /// Who did it; of what an event caused, who did that event.
    pub actor: Actor,
    /// When.
    pub time: Timestamp,
    /// The dispute's status before; `None` for an opening.
    pub previous_status: Option<DisputeStatus>,
    /// The dispute after the event.
    pub dispute: Dispute,
    /// What would come of it, as its order stood then.
    pub consequences: Consequences,
}

impl OrderAggregate {
    /// Applies an event that happened to a dispute at `time`. One about a dispute that the aggregate does not hold
    /// changes nothing.
    pub fn evolve(&mut self, dispute: DisputeId, event: &Event, time: Timestamp) {
        if let Event::Opened(dispute) = event {
            (dispute.kind().rules().on_opened)(&mut self.order);
            self.disputes.push(Dispute::clone(dispute));
            return;
        }
        let Some(dispute) = self.disputes.iter_mut().find(|found| found.id == dispute) else {
            return;
        };
        dispute.evolve(event);
        dispute.update_time = time;
        dispute.revision = dispute.revision.saturating_add(1);
        match event {
            Event::Resolved(resolution, _) | Event::Decided(resolution, _) => {
                let id = dispute.id;
                self.apply_outcome(id, resolution);
            }
            Event::Settled { report: SettlementReport::Voided { .. }, .. } => {
                let refund = dispute.resolution.as_ref().and_then(|resolution| resolution.outcome.refund());
                self.give_back(refund.map_or(0, |refund| refund.minor));
            }
            Event::Settled { .. }
            | Event::Opened(_)
            | Event::Reminded { .. }
            | Event::Postponed { .. }
            | Event::Escalated(_) => {}
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
    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Opened(_) => {}
            Event::Resolved(resolution, message) => {
                self.resolution = Some(resolution.clone());
                self.remind_at = None;
                // What was said before an escalation stays.
                if !message.is_empty() {
                    self.answer_message.clone_from(message);
                }
            }
            Event::Reminded { next } => {
                self.remind_at = *next;
                self.reminders_sent = self.reminders_sent.saturating_add(1);
            }
            Event::Postponed { respond_by, remind_at, message } => {
                self.respond_by = *respond_by;
                self.remind_at = *remind_at;
                self.postpone_message.clone_from(message);
            }
            Event::Escalated(escalation) => {
                self.escalation = Some(escalation.clone());
                self.resolution = None;
                self.remind_at = None;
            }
            Event::Decided(resolution, ruled) => {
                self.resolution = Some(resolution.clone());
                if let Some(escalation) = &mut self.escalation {
                    escalation.ruling = Some(ruled.clone());
                }
            }
            Event::Settled { attempt, report } => {
                if let Some(settlement) = self.resolution.as_mut().and_then(|end| end.settlement.as_mut()) {
                    settlement.take(*attempt, report);
                }
            }
        }
    }
}
