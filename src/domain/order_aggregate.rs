//! The aggregate: an order with its disputes, as far as they matter to a command.

use super::dispute::Dispute;
use super::ids::DisputeId;
use super::kinds::DisputeKind;
use super::order::Order;
use super::release::{NewerDispute, StoredDispute};

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
    /// How many no-fault cancellations its seller has, see [`OrderAggregate::no_fault_places`]: on all orders, known where
    /// one is asked for or can be agreed on.
    pub no_fault_used: u32,
}

impl OrderAggregate {
    /// An order with disputes that this release may all judge.
    pub fn new(order: Order, disputes: Vec<Dispute>) -> Self {
        Self { order, disputes, newer: Vec::new(), has_unreadable: false, no_fault_used: 0 }
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

    /// Takes the dispute with this id out, if the aggregate holds it.
    pub fn take(&mut self, id: DisputeId) -> Option<Dispute> {
        let index = self.disputes.iter().position(|dispute| dispute.id == id)?;
        Some(self.disputes.swap_remove(index))
    }

    /// The ids of its disputes, whoever may judge them.
    pub fn dispute_ids(&self) -> impl Iterator<Item = DisputeId> {
        self.disputes.iter().map(|dispute| dispute.id).chain(self.newer.iter().map(|dispute| dispute.id))
    }

    /// The open dispute that another one of this kind would meet.
    pub(super) fn open_that_excludes(&self, kind: DisputeKind) -> Option<&Dispute> {
        self.disputes.iter().find(|dispute| dispute.is_open() && dispute.kind().excludes(kind))
    }
}
