//! A case: an order with its disputes, as far as they matter to a command; and the draft of what a
//! command changes.

use super::actor::Actor;
use super::dispute::{Dispute, DisputeKind, DisputeStatus, Outcome, Resolution, ResolvedBy};
use super::event::{Change, Event, Recorded};
use super::ids::DisputeId;
use super::order::Order;
use super::time::Timestamp;

/// An order with its disputes: every open one, and those that the commands at hand name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// The order.
    pub order: Order,
    /// Its disputes, in no particular order.
    pub disputes: Vec<Dispute>,
}

impl Case {
    /// The dispute with this id, if the case holds it.
    pub fn dispute(&self, id: DisputeId) -> Option<&Dispute> {
        self.disputes.iter().find(|dispute| dispute.id == id)
    }

    /// The pending dispute that a new one of this kind would meet.
    pub(super) fn pending_that_excludes(&self, kind: DisputeKind) -> Option<&Dispute> {
        self.disputes.iter().find(|dispute| dispute.is_pending() && dispute.kind().excludes(kind))
    }
}

/// What comes of a command: the case after it, and the events that led there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The case with everything applied.
    pub case: Case,
    /// What happened, in order: what causes others comes first.
    pub events: Vec<Recorded>,
    /// The dispute that answers the command; `None` for an upsert, which the order answers.
    pub dispute: Option<DisputeId>,
}

/// A decision in the making.
pub(super) struct Draft {
    pub(super) case: Case,
    events: Vec<Recorded>,
    actor: Actor,
    now: Timestamp,
}

impl Draft {
    pub(super) fn new(case: Case, actor: Actor, now: Timestamp) -> Self {
        Self { case, events: Vec::new(), actor, now }
    }

    /// Opens a dispute.
    pub(super) fn open(&mut self, dispute: Dispute) {
        self.record(dispute.id, Change::Opened(Box::new(dispute)));
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
        let resolution = Resolution { status, time: self.now, by, outcome, answer_message };
        self.record(dispute, Change::Resolved(resolution));
        self.supersede(ResolvedBy::OtherDispute);
    }

    /// Ends every pending dispute whose kind the order's status no longer allows, oldest first.
    pub(super) fn supersede(&mut self, by: ResolvedBy) {
        let status = self.case.order.status;
        let mut over: Vec<_> = self
            .case
            .disputes
            .iter()
            .filter(|dispute| dispute.is_pending() && !status.allows(dispute.kind()))
            .map(|dispute| (dispute.create_time, dispute.id))
            .collect();
        over.sort_unstable();
        for (_, dispute) in over {
            let resolution = Resolution {
                status: DisputeStatus::Superseded,
                time: self.now,
                by,
                outcome: Outcome::Nothing,
                answer_message: String::new(),
            };
            self.record(dispute, Change::Resolved(resolution));
        }
    }

    pub(super) fn decided(self, dispute: Option<DisputeId>) -> Decision {
        Decision { case: self.case, events: self.events, dispute }
    }

    fn record(&mut self, dispute: DisputeId, change: Change) {
        let event = Event { dispute, actor: self.actor.clone(), time: self.now, change };
        let previous_status = self.case.dispute(dispute).map(Dispute::status);
        self.case.apply(&event);
        if let Some(dispute) = self.case.dispute(dispute).cloned() {
            self.events.push(Recorded { event, previous_status, dispute });
        }
    }
}
