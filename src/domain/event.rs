//! What happened to a dispute, and how it changes a case. Applying an event cannot fail.

use super::actor::Actor;
use super::case::Case;
use super::dispute::{Dispute, DisputeStatus, Outcome, Resolution};
use super::ids::DisputeId;
use super::order::OrderStatus;
use super::time::Timestamp;

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
    /// The dispute ended.
    Resolved(Resolution),
}

/// The type of an event, as subscribers can ask for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "each type is named after the status that it leads to")]
pub enum EventType {
    Opened,
    Accepted,
    Declined,
    Answered,
    Withdrawn,
    DeadlineExpired,
    Superseded,
}

impl Change {
    /// The type of an event with this change.
    pub fn event_type(&self) -> EventType {
        let status = match self {
            Self::Opened(_) => DisputeStatus::Pending,
            Self::Resolved(resolution) => resolution.status,
        };
        match status {
            DisputeStatus::Pending => EventType::Opened,
            DisputeStatus::Accepted => EventType::Accepted,
            DisputeStatus::Declined => EventType::Declined,
            DisputeStatus::Answered => EventType::Answered,
            DisputeStatus::Withdrawn => EventType::Withdrawn,
            DisputeStatus::Expired => EventType::DeadlineExpired,
            DisputeStatus::Superseded => EventType::Superseded,
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
}

impl Case {
    /// Applies an event. One about a dispute that the case does not hold changes nothing.
    pub fn apply(&mut self, event: &Event) {
        match &event.change {
            Change::Opened(dispute) => self.disputes.push(Dispute::clone(dispute)),
            Change::Resolved(resolution) => {
                let Some(dispute) = self.disputes.iter_mut().find(|dispute| dispute.id == event.dispute) else {
                    return;
                };
                dispute.resolution = Some(resolution.clone());
                dispute.update_time = event.time;
                dispute.revision = dispute.revision.saturating_add(1);
                self.apply_outcome(event.dispute, resolution.outcome, event.time);
            }
        }
    }

    /// What a dispute's outcome does to the order.
    fn apply_outcome(&mut self, dispute: DisputeId, outcome: Outcome, time: Timestamp) {
        let order = &mut self.order;
        match outcome {
            Outcome::Nothing => return,
            Outcome::Refund(_) => order.refund_accepted = Some(dispute),
            Outcome::Cancellation { counts, .. } => {
                order.status = OrderStatus::Cancelled;
                order.end_time = Some(time);
                order.cancelled_by = Some(dispute);
                order.cancellation_counts = counts;
            }
        }
        let refund = outcome.refund().map_or(0, |refund| refund.minor);
        order.refunded.minor = order.refunded.minor.saturating_add(refund);
        order.revision = order.revision.saturating_add(1);
    }
}
