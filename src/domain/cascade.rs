//! What an event brings about beside itself: what ends a dispute when its order moves on, or when another dispute ends.

use super::dispute::{Dispute, DisputeStatus, ResolvedBy};
use super::event::Event;
use super::evolve::evolve;
use super::ids::DisputeId;
use super::order::{Order, OrderStatus};
use super::order_aggregate::OrderAggregate;
use super::time::Timestamp;

/// Events as they are decided, each with what it brings about; and the aggregate as they leave it, on which the next is
/// decided.
pub(super) struct Cascade {
    pub(super) aggregate: Option<OrderAggregate>,
    pub(super) events: Vec<Event>,
    now: Timestamp,
}

impl Cascade {
    pub(super) fn new(aggregate: Option<&OrderAggregate>, now: Timestamp) -> Self {
        Self { aggregate: aggregate.cloned(), events: Vec::new(), now }
    }

    /// Adds an event, then what cannot go on because of it.
    pub(super) fn add(&mut self, event: Event) {
        let superseded_by = match &event {
            Event::OrderReported(order) => Some(by_report(order)),
            event => event.resolution().map(|_| ResolvedBy::OtherDispute),
        };
        self.push(event);
        let Some(by) = superseded_by else { return };
        for dispute in self.aggregate.as_ref().map_or_else(Vec::new, cannot_go_on) {
            self.push(Event::Superseded { dispute, time: self.now, by });
        }
    }

    fn push(&mut self, event: Event) {
        evolve(&mut self.aggregate, &event, self.now);
        self.events.push(event);
    }
}

/// The open disputes that cannot go on as the order stands, oldest first: a pending one whose kind the order's status
/// does not allow, and on a cancelled order also an escalated one.
fn cannot_go_on(aggregate: &OrderAggregate) -> Vec<DisputeId> {
    let order = aggregate.order.status;
    let is_over = |dispute: &&Dispute| match dispute.status() {
        DisputeStatus::Pending => !order.allows(dispute.kind()),
        DisputeStatus::Escalated => order == OrderStatus::Cancelled,
        DisputeStatus::Accepted
        | DisputeStatus::Declined
        | DisputeStatus::Answered
        | DisputeStatus::Withdrawn
        | DisputeStatus::Expired
        | DisputeStatus::Superseded
        | DisputeStatus::Decided => false,
    };
    let mut over: Vec<_> =
        aggregate.disputes.iter().filter(is_over).map(|dispute| (dispute.create_time, dispute.id)).collect();
    over.sort_unstable();
    over.into_iter().map(|(_, dispute)| dispute).collect()
}

/// What ends the disputes that cannot go on as the order is reported.
fn by_report(order: &Order) -> ResolvedBy {
    match order.status.known() {
        Some(OrderStatus::Completed) => ResolvedBy::OrderCompleted,
        Some(OrderStatus::Cancelled) => ResolvedBy::OrderCancelled,
        Some(
            OrderStatus::RequirementsPending
            | OrderStatus::InProgress
            | OrderStatus::Delivered
            | OrderStatus::InRevision,
        )
        | None => ResolvedBy::OrderStatus,
    }
}
