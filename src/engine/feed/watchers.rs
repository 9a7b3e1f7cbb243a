//! Which subscribers an event wakes: those whom it may concern, and nobody else.
//!
//! Of ten thousand subscribers not all must wake for every event. So each registers under the keys that it asks for, with
//! a signal that remembers the first event since it was last read: the subscriber can then go on from there, and as long
//! as the signal is silent it knows that nothing is for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::filter::EventFilter;
use crate::domain::{DisputeId, OrderId, UserId};
use crate::repository::{EventScan, LoggedEvent};

/// A signal without an event.
const SILENT: i64 = i64::MAX;

#[derive(Debug)]
struct Signal {
    /// The number of the first event since the signal was last read.
    first: AtomicI64,
    /// The number up to which the subscriber was given everything while there is more for it; [`SILENT`] otherwise.
    reading_after: AtomicI64,
    news: Notify,
}

impl Signal {
    /// The number up to which the subscriber was given everything; `None` if nothing more is for it.
    fn behind(&self) -> Option<i64> {
        let reading = self.reading_after.load(Ordering::Relaxed);
        let waiting = self.first.load(Ordering::Relaxed).saturating_sub(1);
        // Before number 1: everybody was told to check its place, whatever that is.
        Some(reading.min(waiting)).filter(|after| (0..SILENT - 1).contains(after))
    }

    fn notify(&self, seq: i64) {
        if self.first.fetch_min(seq, Ordering::AcqRel) == SILENT {
            self.news.notify_one();
        }
    }
}

/// The registrations under one key, by number.
type Registrations = HashMap<u64, Arc<Signal>>;

#[derive(Debug, Default)]
pub(super) struct WatcherRegistry(Mutex<Shard>);

#[derive(Debug, Default)]
struct Shard {
    next: u64,
    everything: Registrations,
    parties: HashMap<UserId, Registrations>,
    orders: HashMap<OrderId, Registrations>,
    disputes: HashMap<DisputeId, Registrations>,
}

/// A subscriber's registration; dropping it removes it.
#[derive(Debug)]
pub(super) struct Registration {
    watchers: Arc<WatcherRegistry>,
    scan: EventScan,
    number: u64,
    signal: Arc<Signal>,
}

impl WatcherRegistry {
    /// Registers under the keys that a filter asks for, for every event from now on.
    pub(super) fn register(self: &Arc<Self>, filter: &EventFilter) -> Registration {
        let signal = Arc::new(Signal {
            first: AtomicI64::new(SILENT),
            reading_after: AtomicI64::new(SILENT),
            news: Notify::new(),
        });
        let scan = filter.scan();
        let mut shard = self.shard();
        let number = shard.next;
        shard.next = number.wrapping_add(1);
        shard.each(&scan, |registrations| drop(registrations.insert(number, signal.clone())));
        drop(shard);
        Registration { watchers: self.clone(), scan, number, signal }
    }

    /// Notifies those whom these events may concern.
    pub(super) fn notify(&self, events: &[Arc<LoggedEvent>]) {
        let shard = self.shard();
        if let Some(first) = events.first() {
            shard.everything.values().for_each(|signal| signal.notify(first.seq));
        }
        for event in events {
            let concerned = [
                shard.parties.get(&event.parties.buyer),
                shard.parties.get(&event.parties.seller),
                shard.orders.get(&event.order),
                shard.disputes.get(&event.dispute),
            ];
            for signal in concerned.into_iter().flatten().flat_map(Registrations::values) {
                signal.notify(event.seq);
            }
        }
    }

    /// Notifies everybody: nothing that was known of the log holds any more.
    pub(super) fn notify_all(&self) {
        let shard = self.shard();
        let few = shard.parties.values().chain(shard.orders.values()).chain(shard.disputes.values());
        for signal in few.chain([&shard.everything]).flat_map(Registrations::values) {
            signal.notify(0);
        }
    }

    /// How many subscribers have not been given everything up to this number yet, and by how much the slowest is behind.
    pub(super) fn lag(&self, last_seq: i64) -> (usize, i64) {
        let shard = self.shard();
        let few = shard.parties.values().chain(shard.orders.values()).chain(shard.disputes.values());
        // One that asks for several orders is registered several times.
        let mut behind: HashMap<u64, i64> = HashMap::new();
        for (number, signal) in few.chain([&shard.everything]).flatten() {
            behind.extend(signal.behind().map(|after| (*number, last_seq.saturating_sub(after).max(0))));
        }
        (behind.len(), behind.into_values().max().unwrap_or_default())
    }

    fn shard(&self) -> MutexGuard<'_, Shard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Changes the registrations under each key of a scan. Keys without any are removed.
    fn each(&mut self, scan: &EventScan, mut change: impl FnMut(&mut Registrations)) {
        fn under<K: Clone + Eq + Hash>(
            by_key: &mut HashMap<K, Registrations>,
            keys: impl IntoIterator<Item = K>,
            mut change: impl FnMut(&mut Registrations),
        ) {
            for key in keys {
                let registrations = by_key.entry(key.clone()).or_default();
                change(registrations);
                if registrations.is_empty() {
                    by_key.remove(&key);
                }
            }
        }
        match scan {
            EventScan::Everything => change(&mut self.everything),
            EventScan::OfParty(party) => under(&mut self.parties, [party.clone()], change),
            EventScan::OfOrders(orders) => under(&mut self.orders, orders.iter().cloned(), change),
            EventScan::OfDisputes(disputes) => under(&mut self.disputes, disputes.iter().copied(), change),
        }
    }
}

impl Registration {
    /// Waits for an event, and returns the number of the first one since the last call. The signal is silent then.
    pub(super) async fn notified(&self) -> i64 {
        loop {
            let first = self.signal.first.swap(SILENT, Ordering::AcqRel);
            if first != SILENT {
                return first;
            }
            self.signal.news.notified().await;
        }
    }

    /// Says that the subscriber was given everything up to a number, and that there is more; `None`: that there is no more.
    pub(super) fn reads_after(&self, seq: Option<i64>) {
        self.signal.reading_after.store(seq.unwrap_or(SILENT), Ordering::Relaxed);
    }

    /// Whether there was an event since the signal was last read.
    pub(super) fn is_notified(&self) -> bool {
        self.signal.first.load(Ordering::Acquire) != SILENT
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let number = self.number;
        self.watchers.shard().each(&self.scan, |registrations| drop(registrations.remove(&number)));
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
    fn an_event_notifies_those_whom_it_may_concern_and_nobody_else() {
        let watchers = Arc::<WatcherRegistry>::default();
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
        let registrations: Vec<_> = cases.iter().map(|(_, filter, _)| watchers.register(filter)).collect();
        watchers.notify(&[event(5, "o1", "ann")]);
        for ((who, _, wakes), registration) in cases.iter().zip(&registrations) {
            assert_eq!(registration.is_notified(), *wakes, "{who}");
        }
    }

    #[tokio::test]
    async fn a_signal_gives_the_first_event_since_it_was_last_read() {
        let watchers = Arc::<WatcherRegistry>::default();
        let registration = watchers.register(&filter("ann", None));
        watchers.notify(&[event(5, "o1", "ann"), event(6, "o1", "eve"), event(7, "o2", "ann")]);
        assert_eq!(registration.notified().await, 5);
        assert!(!registration.is_notified());
        watchers.notify_all();
        assert_eq!(registration.notified().await, 0);
    }

    #[test]
    fn who_leaves_leaves_nothing_behind() {
        let watchers = Arc::<WatcherRegistry>::default();
        let orders = ["o1", "o2"].map(|order| OrderId::parse(order).unwrap()).into();
        let registrations = [
            watchers.register(&filter("ann", None)),
            watchers.register(&filter("ann", None)),
            watchers.register(&filter("shop", Some(Scope::Support))),
            watchers.register(&EventFilter { orders, ..filter("ann", None) }),
        ];
        assert_eq!(watchers.shard().parties.len(), 1);
        assert_eq!(watchers.shard().orders.len(), 2);
        drop(registrations);
        let shard = watchers.shard();
        assert!(shard.parties.is_empty() && shard.orders.is_empty() && shard.everything.is_empty());
    }
}
