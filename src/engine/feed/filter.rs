//! What a subscriber asks to see, and what it may see.

use std::collections::HashSet;

use crate::domain::{Caller, DisputeId, DisputeKind, EventType, OrderId, UserId};
use crate::repository::{EventScan, LoggedEvent};

/// The events that a subscriber receives: values within a list are combined with OR, lists with AND; and never an event
/// that the caller may not see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventFilter {
    /// The caller.
    pub caller: Caller,
    /// Events of these orders.
    pub orders: HashSet<OrderId>,
    /// Events of these disputes.
    pub disputes: HashSet<DisputeId>,
    /// Events of orders with this party.
    pub party: Option<UserId>,
    /// Events of disputes of these kinds.
    pub kinds: HashSet<DisputeKind>,
    /// Events of these types.
    pub event_types: HashSet<EventType>,
}

impl EventFilter {
    /// The most selective condition of the filter by which events can be looked up: no event outside it matches.
    pub(super) fn scan(&self) -> EventScan {
        let own = self.caller.sees_only();
        if !self.disputes.is_empty() {
            EventScan::OfDisputes(self.disputes.iter().copied().collect())
        } else if !self.orders.is_empty() {
            EventScan::OfOrders(self.orders.iter().cloned().collect())
        } else {
            own.or(self.party.as_ref()).map_or(EventScan::Everything, |party| EventScan::OfParty(party.clone()))
        }
    }

    /// How many ids it contains: its memory grows with these.
    pub fn ids(&self) -> usize {
        self.orders.len().saturating_add(self.disputes.len())
    }

    /// Whether the subscriber receives this event.
    pub fn lets_through(&self, event: &LoggedEvent) -> bool {
        let parties = &event.parties;
        parties.may_be_seen_by(&self.caller)
            && (self.orders.is_empty() || self.orders.contains(&event.order))
            && (self.disputes.is_empty() || self.disputes.contains(&event.dispute))
            && self.party.as_ref().is_none_or(|party| *party == parties.buyer || *party == parties.seller)
            && (self.kinds.is_empty() || event.kind.known().is_some_and(|kind| self.kinds.contains(&kind)))
            && (self.event_types.is_empty()
                || event.event_type.known().is_some_and(|known| self.event_types.contains(&known)))
    }
}
