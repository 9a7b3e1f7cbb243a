//! A line of the queue: its callers take turns, so that nobody waits for everything that another caller sent; and when
//! it is full, the caller with the most waiting gives way, so that nobody fills it at the expense of others.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::time::Instant;

use super::submission::{Load, Submission};
use crate::domain::Caller;
use crate::engine::error::Error;
use crate::traces::Span;

/// A submission in the queue.
pub(in crate::engine) struct Waiting {
    pub(in crate::engine) submission: Submission,
    load: Load,
    /// From its arrival in the queue to its reply.
    pub(in crate::engine) span: Span,
    /// Since when it has waited for a locked order.
    pub(super) busy_since: Option<Instant>,
    /// Its arrival in the line.
    arrival: Arrival,
}

impl Waiting {
    pub(in crate::engine) fn new(submission: Submission) -> Self {
        let load = submission.load();
        Self { submission, load, span: Span::default(), busy_since: None, arrival: 0 }
    }

    /// Tells its caller that it was not done.
    pub(in crate::engine) fn fail(mut self, error: Error) {
        self.span.fail();
        self.submission.fail(error);
    }
}

/// The next batch for the committer's transaction.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) waiting: Vec<Waiting>,
    /// How many orders it touches.
    pub(super) orders: usize,
}

/// The owner of a submission: a caller, or the service itself for expiries and reminders.
type Who = Option<Caller>;

/// The share of a line's bound: of its orders or of its bytes, whichever is larger, in bytes.
type Weight = u64;

/// A counter that keeps otherwise equal entries in order.
type Arrival = u64;

/// The waiting submissions of one kind.
pub(super) struct Line {
    most: Load,
    load: Load,
    by_caller: HashMap<Who, Own>,
    /// Every caller with something ready, once, by its turn: the weight already taken for callers whose turn was
    /// equally early.
    turns: BTreeMap<(Weight, Arrival), Who>,
    /// The turn of the submission taken last.
    turn: Weight,
    /// Submissions that are not ready before an instant.
    later: BTreeMap<(Instant, Arrival), Waiting>,
    /// Every caller, by the weight of its waiting submissions.
    by_weight: BTreeMap<(Weight, Arrival), Who>,
    arrivals: Arrival,
}

/// The waiting submissions of one caller.
struct Own {
    /// The arrival of the first one.
    arrival: Arrival,
    /// The total.
    weight: Weight,
    /// Submissions that are ready, first come, first served.
    waiting: VecDeque<Waiting>,
}

impl Line {
    /// A line with this bound.
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

    /// Whether there is room for this submission. While there is not, the caller with the most waiting, if that is more
    /// than this caller would have, loses its newest submission, which is added to `displaced`. So all callers can have
    /// the same share, and leave what they do not need to others.
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

    /// Enqueues a submission for its caller's turn. There is room for it.
    pub(super) fn push(&mut self, mut waiting: Waiting) {
        self.count_in(&mut waiting);
        self.queue(waiting);
    }

    /// Enqueues a submission that is ready at an instant, and then waits for its caller's turn. There is room for it.
    pub(super) fn push_later(&mut self, mut waiting: Waiting, instant: Instant) {
        self.count_in(&mut waiting);
        self.later.insert((instant, waiting.arrival), waiting);
    }

    /// Moves the next submissions into a batch, in turns, until it touches this many orders; within the batch they are
    /// in order of arrival. Abandoned ones are dropped, so that calls that are cancelled as fast as they are made cost
    /// the others nothing.
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

    /// How much is waiting.
    pub(super) fn load(&self) -> Load {
        self.load
    }

    /// How much is waiting for some callers.
    #[cfg(test)]
    pub(super) fn count(&self, of: impl Fn(&Caller) -> bool) -> usize {
        let waiting = self.by_caller.values().flat_map(|own| &own.waiting).chain(self.later.values());
        waiting.filter(|waiting| waiting.submission.caller().is_some_and(&of)).count()
    }

    /// The instant before which nothing is ready, if nothing is ready now.
    pub(super) fn next_try(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((instant, _), _)| *instant)
    }

    fn next_turn(&mut self) -> Option<(Weight, Who)> {
        self.turns.pop_first().map(|((turn, _), who)| (turn, who))
    }

    /// Gives a turn to a caller that has none, if it has something ready.
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
            // As early as the caller that had the last turn: before everybody who has had one since.
            self.give_turn(self.turn, who);
        }
    }

    /// Removes a caller's newest submission: of the ready ones, or else of the postponed ones.
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

    /// A caller with nothing waiting leaves nothing behind.
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
