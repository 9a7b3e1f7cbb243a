//! Who is woken by an event: those whom it may concern, and nobody else.
//!
//! Ten thousand subscribers of one party each must not all wake for every event. So each has a seat under what it asks
//! for, with an alarm that remembers the first event since it was last looked at: it can then go on from there, and as
//! long as its alarm is silent it knows that nothing is for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::filter::EventFilter;
use crate::domain::{DisputeId, OrderId, UserId};
use crate::repository::{EventScan, LoggedEvent};

/// The alarm of no event.
const SILENT: i64 = i64::MAX;

#[derive(Debug)]
struct Alarm {
    /// The number of the first event that it rang for since it was last silenced.
    first: AtomicI64,
    rung: Notify,
}

impl Alarm {
    fn ring(&self, seq: i64) {
        if self.first.fetch_min(seq, Ordering::AcqRel) == SILENT {
            self.rung.notify_one();
        }
    }
}

/// Those who sit under the same thing, by number.
type Seats = HashMap<u64, Arc<Alarm>>;

#[derive(Debug, Default)]
pub(super) struct Wakeups(Mutex<Hall>);

#[derive(Debug, Default)]
struct Hall {
    next: u64,
    everything: Seats,
    parties: HashMap<UserId, Seats>,
    orders: HashMap<OrderId, Seats>,
    disputes: HashMap<DisputeId, Seats>,
}

/// A subscriber's place among those who are woken; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    wakeups: Arc<Wakeups>,
    scan: EventScan,
    number: u64,
    alarm: Arc<Alarm>,
}

impl Wakeups {
    /// Takes a seat under what a filter asks for. From now on its alarm rings.
    pub(super) fn sit(self: &Arc<Self>, filter: &EventFilter) -> Seat {
        let alarm = Arc::new(Alarm { first: AtomicI64::new(SILENT), rung: Notify::new() });
        let scan = filter.scan();
        let mut hall = self.hall();
        let number = hall.next;
        hall.next = number.wrapping_add(1);
        hall.each(&scan, |seats| drop(seats.insert(number, alarm.clone())));
        drop(hall);
        Seat { wakeups: self.clone(), scan, number, alarm }
    }

    /// Rings for those whom these events may concern.
    pub(super) fn ring(&self, events: &[Arc<LoggedEvent>]) {
        let hall = self.hall();
        if let Some(first) = events.first() {
            hall.everything.values().for_each(|alarm| alarm.ring(first.seq));
        }
        for event in events {
            let concerned = [
                hall.parties.get(&event.parties.buyer),
                hall.parties.get(&event.parties.seller),
                hall.orders.get(&event.order),
                hall.disputes.get(&event.dispute),
            ];
            for alarm in concerned.into_iter().flatten().flat_map(Seats::values) {
                alarm.ring(event.seq);
            }
        }
    }

    /// Rings for everybody: nothing that was known of the log holds any more.
    pub(super) fn ring_all(&self) {
        let hall = self.hall();
        let few = hall.parties.values().chain(hall.orders.values()).chain(hall.disputes.values());
        for alarm in few.chain([&hall.everything]).flat_map(Seats::values) {
            alarm.ring(0);
        }
    }

    fn hall(&self) -> MutexGuard<'_, Hall> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hall {
    /// Does something to each row of seats that a scan has a seat in. Rows without seats go.
    fn each(&mut self, scan: &EventScan, change: impl FnMut(&mut Seats)) {
        fn rows<K: Clone + Eq + Hash>(
            rows: &mut HashMap<K, Seats>,
            keys: impl IntoIterator<Item = K>,
            mut change: impl FnMut(&mut Seats),
        ) {
            for key in keys {
                let row = rows.entry(key.clone()).or_default();
                change(row);
                if row.is_empty() {
                    rows.remove(&key);
                }
            }
        }
        let mut change = change;
        match scan {
            EventScan::Everything => change(&mut self.everything),
            EventScan::OfParty(party) => rows(&mut self.parties, [party.clone()], change),
            EventScan::OfOrders(orders) => rows(&mut self.orders, orders.iter().cloned(), change),
            EventScan::OfDisputes(disputes) => rows(&mut self.disputes, disputes.iter().copied(), change),
        }
    }
}

impl Seat {
    /// The number of the first event that the alarm has rung for since; waits for one. The alarm is silent then.
    pub(super) async fn rung(&self) -> i64 {
        loop {
            let first = self.alarm.first.swap(SILENT, Ordering::AcqRel);
            if first != SILENT {
                return first;
            }
            self.alarm.rung.notified().await;
        }
    }

    /// Whether the alarm has rung and was not looked at yet.
    pub(super) fn is_rung(&self) -> bool {
        self.alarm.first.load(Ordering::Acquire) != SILENT
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let number = self.number;
        self.wakeups.hall().each(&self.scan, |seats| drop(seats.remove(&number)));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Caller, DisputeKind, EventId, EventType, Parties, Scope};

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn filter(caller: &str, scope: Option<Scope>) -> EventFilter {
        let caller = Caller { user: user(caller), scope };
        EventFilter {
            caller,
            orders: Default::default(),
            disputes: Default::default(),
            party: None,
            kinds: Default::default(),
            event_types: Default::default(),
        }
    }

    fn event(seq: i64, order: &str, buyer: &str) -> Arc<LoggedEvent> {
        Arc::new(LoggedEvent {
            seq,
            id: EventId(Uuid::from_u128(9)),
            dispute: DisputeId(Uuid::from_u128(7)),
            order: OrderId::parse(order).unwrap(),
            parties: Parties { buyer: user(buyer), seller: user("bob") },
            kind: DisputeKind::OrderUpdate.into(),
            event_type: EventType::Opened.into(),
            payload: Default::default(),
        })
    }

    #[test]
    fn an_event_rings_for_those_whom_it_may_concern_and_for_nobody_else() {
        let wakeups = Arc::<Wakeups>::default();
        let all = || filter("shop", Some(Scope::Platform));
        let order = |id| [OrderId::parse(id).unwrap()].into();
        let dispute = |id| [DisputeId(Uuid::from_u128(id))].into();
        let cases = [
            ("who sees everything", all(), true),
            ("its buyer", filter("ann", None), true),
            ("its seller", filter("bob", None), true),
            ("somebody else", filter("eve", None), false),
            ("who asks for its buyer", EventFilter { party: Some(user("ann")), ..all() }, true),
            ("who asks for somebody else", EventFilter { party: Some(user("eve")), ..all() }, false),
            ("who asks for its order", EventFilter { orders: order("o1"), ..all() }, true),
            ("who asks for another order", EventFilter { orders: order("o2"), ..all() }, false),
            ("who asks for its dispute", EventFilter { disputes: dispute(7), ..all() }, true),
            ("who asks for another dispute", EventFilter { disputes: dispute(8), ..all() }, false),
            (
                "its buyer, who asks for another order",
                EventFilter { orders: order("o2"), ..filter("ann", None) },
                false,
            ),
        ];
        let seats: Vec<_> = cases.iter().map(|(_, filter, _)| wakeups.sit(filter)).collect();
        wakeups.ring(&[event(5, "o1", "ann")]);
        for ((who, _, rings), seat) in cases.iter().zip(&seats) {
            assert_eq!(seat.is_rung(), *rings, "{who}");
        }
    }

    #[tokio::test]
    async fn an_alarm_tells_the_first_event_since_it_was_silenced() {
        let wakeups = Arc::<Wakeups>::default();
        let seat = wakeups.sit(&filter("ann", None));
        wakeups.ring(&[event(5, "o1", "ann"), event(6, "o1", "eve"), event(7, "o2", "ann")]);
        assert_eq!(seat.rung().await, 5);
        assert!(!seat.is_rung());
        wakeups.ring_all();
        assert_eq!(seat.rung().await, 0);
    }

    #[test]
    fn who_leaves_leaves_nothing_behind() {
        let wakeups = Arc::<Wakeups>::default();
        let orders = ["o1", "o2"].map(|order| OrderId::parse(order).unwrap()).into();
        let seats = [
            wakeups.sit(&filter("ann", None)),
            wakeups.sit(&filter("ann", None)),
            wakeups.sit(&filter("shop", Some(Scope::Support))),
            wakeups.sit(&EventFilter { orders, ..filter("ann", None) }),
        ];
        assert_eq!(wakeups.hall().parties.len(), 1);
        assert_eq!(wakeups.hall().orders.len(), 2);
        drop(seats);
        let hall = wakeups.hall();
        assert!(hall.parties.is_empty() && hall.orders.is_empty() && hall.everything.is_empty());
    }
}
