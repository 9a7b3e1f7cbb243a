//! How each event changes an order and its disputes. Applying an event cannot fail: whatever could speak against it was
//! judged before it was decided.

use super::bargain::CounterOffer;
use super::dispute::{
    Dispute, DisputeStatus, Escalation, Outcome, Resolution, ResolvedBy, Ruled, Silence, SilenceRule,
};
use super::event::Event;
use super::ids::DisputeId;
use super::kinds::Terms;
use super::order::{Order, OrderStatus};
use super::order_aggregate::OrderAggregate;
use super::settlement::SettlementReport;
use super::time::Timestamp;

/// Applies an event, which the log dates at `time`; there is an aggregate from the first report of its order on. An event
/// about a dispute that the aggregate does not hold changes nothing.
pub fn evolve(aggregate: &mut Option<OrderAggregate>, event: &Event, time: Timestamp) {
    match (aggregate.as_mut(), event) {
        (None, Event::OrderReported(order)) => {
            *aggregate = Some(OrderAggregate::new(Order::clone(order), Vec::new()));
        }
        (None, _) => {}
        (Some(aggregate), Event::OrderReported(order)) => aggregate.order = Order::clone(order),
        (Some(aggregate), Event::Opened(dispute)) => aggregate.open(Dispute::clone(dispute), time),
        (Some(aggregate), event) => aggregate.evolve(event, time),
    }
}

impl OrderAggregate {
    fn open(&mut self, dispute: Dispute, time: Timestamp) {
        (dispute.kind().rules().on_opened)(&mut self.order);
        self.disputes.push(Dispute { update_time: time, ..dispute });
    }

    fn evolve(&mut self, event: &Event, time: Timestamp) {
        let found = event.dispute().and_then(|id| self.disputes.iter_mut().find(|dispute| dispute.id == id));
        let Some(dispute) = found else { return };
        dispute.evolve(event);
        if event.event_type().is_some() {
            dispute.update_time = time;
            dispute.revision = dispute.revision.saturating_add(1);
        }
        let id = dispute.id;
        if let Some(resolution) = event.resolution() {
            self.order.take_outcome(id, &resolution);
        } else if let Event::SettlementVoided { .. } = event {
            let refund = dispute.resolution.as_ref().and_then(|resolution| resolution.outcome.refund());
            self.order.give_back(refund.map_or(0, |refund| refund.minor));
        }
    }
}

impl Event {
    /// How it ends its dispute, if it does.
    pub(super) fn resolution(&self) -> Option<Resolution> {
        use DisputeStatus::{Accepted, Answered, Decided, Declined, Expired, Superseded, Withdrawn};
        use ResolvedBy::{Deadline, Responder, Support};
        let (status, time, by, outcome) = match self {
            Self::Accepted { time, by, outcome, .. } => (Accepted, time, *by, *outcome),
            Self::Declined { time, by, .. } => (Declined, time, *by, Outcome::Nothing),
            Self::Answered { time, .. } => (Answered, time, Responder, Outcome::Nothing),
            Self::Withdrawn { time, by, .. } => (Withdrawn, time, *by, Outcome::Nothing),
            Self::Expired { time, outcome, .. } => (Expired, time, Deadline, *outcome),
            Self::Superseded { time, by, .. } => (Superseded, time, *by, Outcome::Nothing),
            Self::Decided { time, outcome, .. } => (Decided, time, Support, *outcome),
            Self::OrderReported(_)
            | Self::Opened(_)
            | Self::Countered { .. }
            | Self::ReminderSent { .. }
            | Self::ReminderMoved { .. }
            | Self::DeadlineMoved { .. }
            | Self::Escalated { .. }
            | Self::Settled { .. }
            | Self::SettlementFailed { .. }
            | Self::SettlementReturned { .. }
            | Self::SettlementVoided { .. } => return None,
        };
        Some(Resolution::new(status, *time, by, outcome))
    }
}

impl Dispute {
    fn evolve(&mut self, event: &Event) {
        if let Some(resolution) = event.resolution() {
            self.terms = self.terms.once_ended(self.opener, &resolution);
            self.resolution = Some(resolution);
            self.remind_at = None;
        }
        match event {
            Event::OrderReported(_)
            | Event::Opened(_)
            | Event::Withdrawn { .. }
            | Event::Expired { .. }
            | Event::Superseded { .. } => {}
            // Who agrees while support has it leaves what was said before.
            Event::Accepted { message, .. } if message.is_empty() => {}
            Event::Accepted { message, .. } | Event::Declined { message, .. } | Event::Answered { message, .. } => {
                self.answer_message.clone_from(message);
            }
            Event::Countered { time, amount, message, respond_by, remind_at, .. } => {
                let counter = CounterOffer { amount: *amount, message: message.clone(), time: *time };
                self.bargain.opened_with = self.bargain.opened_with.or(self.terms.amount());
                self.bargain.counter_offers.push(counter);
                self.terms = Terms::PartialRefund { amount: *amount };
                // Whatever the rule was at the opening.
                self.silence = Silence::always(SilenceRule::NoEffect);
                self.respond_by = *respond_by;
                self.remind_at = *remind_at;
            }
            Event::ReminderSent { remind_at, .. } => {
                self.remind_at = *remind_at;
                self.reminders_sent = self.reminders_sent.saturating_add(1);
            }
            Event::ReminderMoved { remind_at, .. } => self.remind_at = *remind_at,
            Event::DeadlineMoved { respond_by, remind_at, message, .. } => {
                self.respond_by = *respond_by;
                self.remind_at = *remind_at;
                self.postpone_message.clone_from(message);
            }
            Event::Escalated { by, message, .. } => {
                self.escalation = Some(Escalation { by: (*by).into(), message: message.clone(), ruling: None });
                self.resolution = None;
                self.remind_at = None;
            }
            Event::Decided { agent, message, .. } => {
                if let Some(escalation) = &mut self.escalation {
                    escalation.ruling = Some(Ruled { agent: agent.clone(), message: message.clone() });
                }
            }
            Event::Settled { attempt, reference, .. } => {
                self.settle(*attempt, SettlementReport::Settled { reference: reference.clone() });
            }
            Event::SettlementFailed { attempt, detail, .. } => {
                self.settle(*attempt, SettlementReport::Failed { detail: detail.clone() });
            }
            Event::SettlementReturned { attempt, detail, .. } => {
                self.settle(*attempt, SettlementReport::Returned { detail: detail.clone() });
            }
            Event::SettlementVoided { attempt, detail, .. } => {
                self.settle(*attempt, SettlementReport::Voided { detail: detail.clone() });
            }
        }
    }

    fn settle(&mut self, attempt: u32, report: SettlementReport) {
        if let Some(settlement) = self.resolution.as_mut().and_then(|end| end.settlement.as_mut()) {
            settlement.take(attempt, report);
        }
    }
}

impl Order {
    /// What a dispute's end does to the order.
    fn take_outcome(&mut self, dispute: DisputeId, resolution: &Resolution) {
        match resolution.outcome {
            Outcome::Nothing => return,
            // What support decides is no offer that was accepted.
            Outcome::Refund(_) if resolution.status == DisputeStatus::Decided => {}
            Outcome::Refund(_) => self.refund_accepted = Some(dispute),
            Outcome::Cancellation { counts, .. } => {
                self.status = OrderStatus::Cancelled.into();
                self.end_time = Some(resolution.time);
                self.cancelled_by = Some(dispute);
                self.cancellation_counts = counts;
                // What support decides is no agreement.
                self.cancelled_no_fault = !counts && resolution.status != DisputeStatus::Decided;
            }
            Outcome::NewDueTime(time) => self.agreed_due_time = Some(time),
        }
        let refund = resolution.outcome.refund().map_or(0, |refund| refund.minor);
        self.refunded.minor = self.refunded.minor.saturating_add(refund);
        self.revision = self.revision.saturating_add(1);
    }

    /// What was decided and will not be paid is left to be refunded again. The order stays as the outcome made it.
    fn give_back(&mut self, refund: i64) {
        self.refunded.minor = self.refunded.minor.saturating_sub(refund);
        self.revision = self.revision.saturating_add(1);
    }
}
