//! A line of the queue: its callers take turns, so that nobody waits for all that another one has sent; and when it is
//! full, whoever has most in it gives way, so that nobody fills it for the others.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::time::Instant;

use super::submission::{Load, Submission};
use crate::domain::Caller;

/// A submission in the queue.
pub(in crate::engine) struct Waiting {
    pub(in crate::engine) submission: Submission,
    load: Load,
    /// Since when it has waited for an order that is locked.
    pub(super) busy_since: Option<Instant>,
    /// When it came into its line.
    arrival: Arrival,
}

impl Waiting {
    pub(super) fn new(submission: Submission) -> Self {
        let load = submission.load();
        Self { submission, load, busy_since: None, arrival: 0 }
    }
}

/// What is on its way to the committer's next transaction.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) waiting: Vec<Waiting>,
    /// How many orders it touches.
    pub(super) orders: usize,
}

/// Who waits in a line: a caller, or the service itself for what time brings.
type Who = Option<Caller>;

/// What something takes of a line's bound: of its orders or of its bytes, whichever is more, in bytes.
type Weight = u64;

/// Something that is counted up, so that what is otherwise equal stays in order.
type Arrival = u64;

/// What waits of one kind.
pub(super) struct Line {
    most: Load,
    load: Load,
    by_caller: HashMap<Who, Own>,
    /// Whoever has something that can be taken, once: by the weight that everybody whose turn was as early has had taken.
    turns: BTreeMap<(Weight, Arrival), Who>,
    /// The turn of what was taken last.
    turn: Weight,
    /// What is not to be taken before an instant.
    later: BTreeMap<(Instant, Arrival), Waiting>,
    /// Everybody, by how much they have waiting.
    by_weight: BTreeMap<(Weight, Arrival), Who>,
    arrivals: Arrival,
}

/// What waits of one caller.
struct Own {
    /// When the first of it came.
    arrival: Arrival,
    /// Of everything.
    weight: Weight,
    /// What can be taken, first come first served.
    waiting: VecDeque<Waiting>,
}

impl Line {
    /// A line that holds so much at the most.
    pub(super) fn new(most: Load) -> Self {
        Self {
            most,
            load: Load::default(),
            by_caller: HashMap::new(),
            turns: BTreeMap::new(),
            turn: 0,
            later: BTreeMap::new(),
            by_weight: BTreeMap::new(),
            arrivals: 0,
        }
    }

    /// Whether there is room for this. As long as there is not, whoever has more waiting than its caller would have gives
    /// way with what came last, which is added to `displaced`: so each can have the same share, and leave what they do not
    /// need to the others.
    pub(super) fn make_room_for(&mut self, waiting: &Waiting, displaced: &mut Vec<Waiting>) -> bool {
        let own = self.by_caller.get(&waiting.submission.caller().cloned()).map_or(0, |own| own.weight);
        let own = own.saturating_add(self.weight(waiting.load));
        while !self.load.plus(waiting.load).is_within(self.most) {
            let largest = self.by_weight.last_key_value().filter(|((weight, _), _)| *weight > own);
            let Some(last) = largest.map(|(_, who)| who.clone()).and_then(|who| self.remove_last(&who)) else {
                return false;
            };
            displaced.push(last);
        }
        true
    }

    /// Lets something wait for its caller's turn. There is room for it.
    pub(super) fn push(&mut self, mut waiting: Waiting) {
        self.count_in(&mut waiting);
        self.queue(waiting);
    }

    /// Lets something wait for an instant, and then for its caller's turn. There is room for it.
    pub(super) fn push_later(&mut self, mut waiting: Waiting, instant: Instant) {
        self.count_in(&mut waiting);
        self.later.insert((instant, waiting.arrival), waiting);
    }

    /// Moves what comes next into a batch, in turns, until that touches so many orders; there it is in the order in which
    /// it came. What nobody waits for any more is dropped: so calls that are cancelled as fast as they are made cost the
    /// others nothing.
    pub(super) fn take(&mut self, batch: &mut Batch, up_to: usize, now: Instant) {
        while let Some(later) = self.later.first_entry()
            && later.key().0 <= now
        {
            let waiting = later.remove();
            self.queue(waiting);
        }
        let before = batch.waiting.len();
        while batch.orders < up_to
            && let Some((turn, who)) = self.next_turn()
        {
            self.turn = turn;
            let mut cost = 0;
            while let Some(waiting) = self.by_caller.get_mut(&who).and_then(|own| own.waiting.pop_front()) {
                self.count_out(&waiting);
                if !waiting.submission.is_abandoned() {
                    cost = self.weight(waiting.load);
                    batch.orders = batch.orders.saturating_add(waiting.load.orders);
                    batch.waiting.push(waiting);
                    break;
                }
            }
            self.give_turn(turn.saturating_add(cost), who);
        }
        if let Some(taken) = batch.waiting.get_mut(before..) {
            taken.sort_unstable_by_key(|waiting| waiting.arrival);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_caller.is_empty()
    }

    /// How much waits.
    #[cfg(test)]
    pub(super) fn load(&self) -> Load {
        self.load
    }

    /// How much waits of some callers.
    #[cfg(test)]
    pub(super) fn count(&self, of: impl Fn(&Caller) -> bool) -> usize {
        let waiting = self.by_caller.values().flat_map(|own| &own.waiting).chain(self.later.values());
        waiting.filter(|waiting| waiting.submission.caller().is_some_and(&of)).count()
    }

    /// The instant before which nothing more can be taken, where nothing can be now.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((instant, _), _)| *instant)
    }

    fn next_turn(&mut self) -> Option<(Weight, Who)> {
        self.turns.pop_first().map(|((turn, _), who)| (turn, who))
    }

    /// Lets somebody have a turn, who has none, if there is anything to take.
    fn give_turn(&mut self, turn: Weight, who: Who) {
        if self.by_caller.get(&who).is_some_and(|own| !own.waiting.is_empty()) {
            let arrival = self.arrive();
            self.turns.insert((turn, arrival), who);
        }
    }

    fn queue(&mut self, waiting: Waiting) {
        let who = waiting.submission.caller().cloned();
        let Some(own) = self.by_caller.get_mut(&who) else { return };
        own.waiting.push_back(waiting);
        if own.waiting.len() == 1 {
            // As early as whoever had the last turn: before everybody who has had one since.
            self.give_turn(self.turn, who);
        }
    }

    /// Removes what came last of somebody: what can be taken, or else of what is to be taken later.
    fn remove_last(&mut self, who: &Who) -> Option<Waiting> {
        let last = self.by_caller.get_mut(who).and_then(|own| own.waiting.pop_back());
        let last = last.or_else(|| {
            let is_own = |waiting: &Waiting| waiting.submission.caller() == who.as_ref();
            let last = self.later.iter().rev().find(|(_, waiting)| is_own(waiting)).map(|(key, _)| *key);
            self.later.remove(&last?)
        })?;
        self.count_out(&last);
        Some(last)
    }

    fn count_in(&mut self, waiting: &mut Waiting) {
        self.load = self.load.plus(waiting.load);
        let (arrival, weight) = (self.arrive(), self.weight(waiting.load));
        waiting.arrival = arrival;
        let who = waiting.submission.caller().cloned();
        let own = self.by_caller.entry(who.clone()).or_insert(Own { arrival, weight: 0, waiting: VecDeque::new() });
        self.by_weight.remove(&(own.weight, own.arrival));
        own.weight = own.weight.saturating_add(weight);
        self.by_weight.insert((own.weight, own.arrival), who);
    }

    /// Whoever has nothing waiting any more leaves nothing behind.
    fn count_out(&mut self, waiting: &Waiting) {
        self.load = self.load.minus(waiting.load);
        let weight = self.weight(waiting.load);
        let Entry::Occupied(mut entry) = self.by_caller.entry(waiting.submission.caller().cloned()) else { return };
        let own = entry.get_mut();
        let who = self.by_weight.remove(&(own.weight, own.arrival));
        own.weight = own.weight.saturating_sub(weight);
        if own.weight == 0 {
            entry.remove();
        } else if let Some(who) = who {
            self.by_weight.insert((own.weight, own.arrival), who);
        }
    }

    fn weight(&self, load: Load) -> Weight {
        let bytes_per_order = self.most.bytes.checked_div(self.most.orders).unwrap_or(0);
        let weight = load.bytes.max(load.orders.saturating_mul(bytes_per_order));
        u64::try_from(weight.max(1)).unwrap_or(u64::MAX)
    }

    fn arrive(&mut self) -> Arrival {
        self.arrivals = self.arrivals.saturating_add(1);
        self.arrivals
    }
}
