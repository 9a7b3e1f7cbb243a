//! The ring: the last events of the log, for all who are not far behind.

use std::collections::VecDeque;
use std::sync::Arc;

use super::filter::EventFilter;
use super::page::{Bounds, Page};
use super::token::Position;
use crate::repository::{LogId, LoggedEvent};

/// How many events the ring holds …
const EVENTS: usize = 8_192;
/// … and how many bytes of payload.
const BYTES: usize = 16 * 1024 * 1024;

/// How many events one read passes over: the tailer waits for as long.
const LOOK: usize = 1_024;

/// A place in one past of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cursor {
    /// The place.
    pub(super) position: Position,
    /// Which past, as this process counts them: it has seen another one if the database was restored, or has lost commits.
    /// [`UNPROVEN`] as long as the place was not compared with what the ring holds.
    pub(super) past: u64,
    /// The log.
    pub(super) log: LogId,
}

/// The past of a place that was in the log when it was looked for, beyond what the tailer had read: if it is lost before
/// the tailer gets there, nobody but who compares it will notice.
pub(super) const UNPROVEN: u64 = 0;

#[derive(Debug)]
pub(super) struct Ring {
    /// The place before the first of the events.
    base: Position,
    /// The last events up to the head, without a gap.
    events: VecDeque<Arc<LoggedEvent>>,
    bytes: usize,
    head: Cursor,
}

/// How a place lies to what a ring holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lookup {
    /// It is one of its places.
    Held,
    /// There is another event: either the place is lost, or the ring is of what is lost.
    Other,
    /// The ring begins later.
    Before,
    /// The ring has not got there yet.
    Ahead,
}

impl Ring {
    /// An empty ring that begins at a place.
    pub(super) fn new(log: LogId, position: Position) -> Self {
        let head = Cursor { position, past: UNPROVEN + 1, log };
        Self { base: position, events: VecDeque::new(), bytes: 0, head }
    }

    pub(super) fn head(&self) -> Cursor {
        self.head
    }

    /// Takes in what follows the head, without a gap.
    pub(super) fn push(&mut self, events: &[Arc<LoggedEvent>]) {
        for event in events {
            self.head.position = Position::after(event.seq, event.id);
            self.bytes = self.bytes.saturating_add(event.payload.len());
            self.events.push_back(event.clone());
        }
        while self.events.len() > EVENTS || self.bytes > BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.payload.len());
            self.base = Position::after(oldest.seq, oldest.id);
        }
    }

    /// Begins again at a place in another past.
    pub(super) fn begin_again(&mut self, log: LogId, position: Position) {
        self.events.clear();
        self.bytes = 0;
        self.base = position;
        self.head = Cursor { position, past: self.head.past.saturating_add(1), log };
    }

    /// How a place lies to what the ring holds.
    pub(super) fn lookup(&self, place: Position) -> Lookup {
        let Some(steps) = place.seq.checked_sub(self.base.seq).and_then(|steps| usize::try_from(steps).ok()) else {
            return Lookup::Before;
        };
        let there = match steps.checked_sub(1) {
            None => Some(self.base),
            Some(index) => self.events.get(index).map(|event| Position::after(event.seq, event.id)),
        };
        match there {
            Some(there) if there == place => Lookup::Held,
            Some(_) => Lookup::Other,
            None => Lookup::Ahead,
        }
    }

    /// What follows a cursor; nothing up to number `skip_to` is for this subscriber. `told` is the cursor's place, or one
    /// after it that must be of the same past. `None` if that is not known here: the ring begins later, or is of another
    /// past. Nothing is read, nor passed over, before both are known to be places of the ring's: whenever the ring holds
    /// their numbers they are compared, and that is remembered for when it does no longer.
    pub(super) fn read(
        &self,
        cursor: &mut Cursor,
        told: Position,
        skip_to: i64,
        filter: &EventFilter,
        bounds: Bounds,
    ) -> Option<Page> {
        let after = cursor.position;
        // The number is of the past that was known when the alarm rang.
        let skip_to = if cursor.past == self.head.past && skip_to < self.head.position.seq { skip_to } else { 0 };
        match (self.lookup(after), self.lookup(told)) {
            (Lookup::Other, _) | (_, Lookup::Other) => return None,
            (Lookup::Held, Lookup::Held) => *cursor = Cursor { position: after, ..self.head },
            (_, Lookup::Ahead) if cursor.past == UNPROVEN && after.seq >= self.head.position.seq => {
                return Some(Page { events: Vec::new(), position: after, more: false });
            }
            (_, Lookup::Ahead) => return None,
            (_, Lookup::Held | Lookup::Before) if cursor.past == self.head.past => {}
            (_, Lookup::Held | Lookup::Before) => return None,
        }
        let skip = usize::try_from(after.seq.max(skip_to).checked_sub(self.base.seq)?).ok()?;
        let events = self.events.iter().skip(skip).take(LOOK);
        let page = Page::of(events, after, self.head.position.seq, filter, bounds);
        cursor.position = page.position;
        Some(page)
    }
}
