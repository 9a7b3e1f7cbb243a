//! The aggregate: an order with its disputes, as far as they matter to a command; and the recorder of what happens
//! to it.

use std::collections::HashMap;
use std::time::Duration;

use super::actor::Actor;
use super::dispute::{Dispute, DisputeStatus, Outcome, Resolution, ResolvedBy};
use super::event::{Event, RecordedEvent};
use super::ids::DisputeId;
use super::kinds::DisputeKind;
use super::order::{Order, OrderStatus};
use super::refusal::Refusal;
use super::release::{NewerDispute, StoredDispute};
use super::time::Timestamp;

/// What time is counted in.
const MICROSECOND: Duration = Duration::from_micros(1);

/// An order with its disputes: every open one, those that the commands at hand name, and of the kinds of
/// which attempts are limited those that ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderAggregate {
    /// The order.
    pub order: Order,
    /// Its disputes, in no particular order.
    pub disputes: Vec<Dispute>,
    /// Those of its disputes that only a newer release may judge.
    pub newer: Vec<NewerDispute>,
    /// Whether it has open disputes that make no sense: nothing can be opened beside what is not known.
    pub has_unreadable: bool,
}

impl OrderAggregate {
    /// An order with disputes that this release may all judge.
    pub fn new(order: Order, disputes: Vec<Dispute>) -> Self {
        Self { order, disputes, newer: Vec::new(), has_unreadable: false }
    }

    /// Adds a dispute of this order, unless the aggregate holds it.
    pub fn add(&mut self, dispute: StoredDispute) {
        match dispute {
            StoredDispute::Judged(dispute) if self.dispute(dispute.id).is_none() => self.disputes.push(*dispute),
            StoredDispute::Newer(dispute) if self.newer(dispute.id).is_none() => self.newer.push(*dispute),
            StoredDispute::Judged(_) | StoredDispute::Newer(_) => {}
        }
    }

    /// The dispute with this id, if the aggregate holds it.
    pub fn dispute(&self, id: DisputeId) -> Option<&Dispute> {
        self.disputes.iter().find(|dispute| dispute.id == id)
    }

    /// The ids of its disputes, whoever may judge them.
    pub fn dispute_ids(&self) -> impl Iterator<Item = DisputeId> {
        self.disputes.iter().map(|dispute| dispute.id).chain(self.newer.iter().map(|dispute| dispute.id))
    }

    /// The dispute that a command names.
    pub(super) fn require_dispute(&self, id: DisputeId) -> Result<&Dispute, Refusal> {
        self.dispute(id).ok_or(Refusal::DisputeNotFound { dispute: id })
    }

    /// The open dispute that another one of this kind would meet.
    pub(super) fn open_that_excludes(&self, kind: DisputeKind) -> Option<&Dispute> {
        self.disputes.iter().find(|dispute| dispute.is_open() && dispute.kind().excludes(kind))
    }
}

/// What comes of a command: the aggregate after it, and the events that led there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The aggregate with everything applied.
    pub aggregate: OrderAggregate,
    /// What happened, in order: what causes others comes first.
    pub events: Vec<RecordedEvent>,
    /// Disputes to which nothing happened, and whose reminder is no longer for when it was.
    pub rescheduled: Vec<DisputeId>,
    /// The dispute that answers the command; `None` for an upsert, which the order answers.
    pub dispute: Option<DisputeId>,
}

impl Decision {
    /// The same with the times of its events raised, so that time never runs back in what is stored: no event is
    /// earlier than `earliest` or than the event ahead of it, and each is at least a microsecond later than the one
    /// before it of the same dispute, which `decided_on` holds. Whatever else the decision dates stays the clock's.
    #[must_use]
    pub fn dated(mut self, decided_on: Option<&OrderAggregate>, earliest: Timestamp) -> Self {
        let stored = decided_on.into_iter().flat_map(|aggregate| &aggregate.disputes);
        let mut updated: HashMap<_, _> = stored.map(|dispute| (dispute.id, dispute.update_time)).collect();
        let mut time = earliest;
        for recorded in &mut self.events {
            let dispute = &mut recorded.dispute;
            let after_the_last = updated.get(&dispute.id).map(|last| last.plus(MICROSECOND));
            time = time.max(recorded.time).max(after_the_last.unwrap_or(Timestamp::MIN));
            recorded.time = time;
            dispute.update_time = time;
            if let Event::Opened(opened) = &mut recorded.event {
                opened.update_time = time;
            }
            updated.insert(dispute.id, time);
        }
        for dispute in &mut self.aggregate.disputes {
            dispute.update_time = updated.get(&dispute.id).copied().unwrap_or(dispute.update_time);
        }
        self
    }
}

/// A decision in the making.
pub(super) struct EventRecorder {
    pub(super) aggregate: OrderAggregate,
    events: Vec<RecordedEvent>,
    rescheduled: Vec<DisputeId>,
    actor: Actor,
    now: Timestamp,
}

impl EventRecorder {
    pub(super) fn new(aggregate: OrderAggregate, actor: Actor, now: Timestamp) -> Self {
        Self { aggregate, events: Vec::new(), rescheduled: Vec::new(), actor, now }
    }

    /// Opens a dispute.
    pub(super) fn open(&mut self, dispute: Dispute) {
        self.record(dispute.id, Event::Opened(Box::new(dispute)));
    }

    /// Ends a dispute, and what cannot go on because of it.
    pub(super) fn resolve(
        &mut self,
        dispute: DisputeId,
        status: DisputeStatus,
        by: ResolvedBy,
        outcome: Outcome,
        answer_message: String,
    ) {
        let resolution = Resolution::new(status, self.now, by, outcome);
        self.record(dispute, Event::Resolved(resolution, answer_message));
        self.supersede(ResolvedBy::OtherDispute);
    }

    /// Ends what cannot go on as the order stands, oldest first: a pending dispute whose kind the order's status
    /// does not allow, and on a cancelled order also an escalated one.
    pub(super) fn supersede(&mut self, by: ResolvedBy) {
        let order = self.aggregate.order.status;
        let is_over = |dispute: &&Dispute| match dispute.status() {
            DisputeStatus::Pending => !order.allows(dispute.kind()),
            DisputeStatus::Escalated => order == OrderStatus::Cancelled,
            _ => false,
        };
        let mut over: Vec<_> =
            self.aggregate.disputes.iter().filter(is_over).map(|dispute| (dispute.create_time, dispute.id)).collect();
        over.sort_unstable();
        for (_, dispute) in over {
            let resolution = Resolution::new(DisputeStatus::Superseded, self.now, by, Outcome::Nothing);
            self.record(dispute, Event::Resolved(resolution, String::new()));
        }
    }

    /// Sets when the responder of a dispute is reminded next. Nothing has happened to it: that is no event.
    pub(super) fn reschedule(&mut self, dispute: DisputeId, remind_at: Option<Timestamp>) {
        if let Some(found) = self.aggregate.disputes.iter_mut().find(|found| found.id == dispute) {
            found.remind_at = remind_at;
            self.rescheduled.push(dispute);
        }
    }

    pub(super) fn decided(self, dispute: Option<DisputeId>) -> Decision {
        Decision { aggregate: self.aggregate, events: self.events, rescheduled: self.rescheduled, dispute }
    }

    /// Has something happen to a dispute.
    pub(super) fn record(&mut self, dispute: DisputeId, event: Event) {
        let previous_status = self.aggregate.dispute(dispute).map(Dispute::status);
        self.aggregate.evolve(dispute, &event, self.now);
        if let Some(dispute) = self.aggregate.dispute(dispute).cloned() {
            let consequences = self.aggregate.consequences(&dispute);
            let (actor, time) = (self.actor.clone(), self.now);
            self.events.push(RecordedEvent { event, actor, time, previous_status, dispute, consequences });
        }
    }
}
