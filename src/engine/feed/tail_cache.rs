//! The tail cache: the last events of the log, for all subscribers that are not far behind.

use std::collections::VecDeque;
use std::sync::Arc;

use super::filter::EventFilter;
use super::page::{Bounds, Page};
use super::token::Position;
use crate::repository::{LogId, LoggedEvent};

/// How many events the cache holds …
const EVENTS: usize = 8_192;
/// … and how many bytes of payload.
const BYTES: usize = 16 * 1024 * 1024;

/// How many events one read scans: the tailer waits for as long.
const SCAN_LIMIT: usize = 1_024;

/// A place in one generation of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cursor {
    /// The place.
    pub(super) position: Position,
    /// The generation, as this process counts them: a new one begins when the database was restored or has lost commits.
    /// [`UNPROVEN`] as long as the place was not compared with what the cache holds.
    pub(super) generation: u64,
    /// The log.
    pub(super) log: LogId,
}

/// The generation of a place that was in the log when it was looked for, beyond what the tailer had read: if it is lost before
/// the tailer gets there, nobody but who compares it will notice.
pub(super) const UNPROVEN: u64 = 0;

#[derive(Debug)]
pub(super) struct TailCache {
    /// The place before the first of the events.
    base: Position,
    /// The last events up to the end, without a gap.
    events: VecDeque<Arc<LoggedEvent>>,
    bytes: usize,
    end: Cursor,
}

/// How a place relates to what the cache holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lookup {
    /// It is one of its places.
    Held,
    /// There is another event: either the place is lost, or the cache holds lost events.
    Other,
    /// The cache begins later.
    Before,
    /// The cache has not got there yet.
    Ahead,
}

impl TailCache {
    /// An empty cache that begins at a place.
    pub(super) fn new(log: LogId, position: Position) -> Self {
        let end = Cursor { position, generation: UNPROVEN + 1, log };
        Self { base: position, events: VecDeque::new(), bytes: 0, end }
    }

    /// How many events it holds, and how many bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.events.len(), self.bytes)
    }

    pub(super) fn end(&self) -> Cursor {
        self.end
    }

    /// Takes in what follows the end, without a gap.
    pub(super) fn push(&mut self, events: &[Arc<LoggedEvent>]) {
        for event in events {
            self.end.position = Position::after(event.seq, event.id);
            self.bytes = self.bytes.saturating_add(event.payload.len());
            self.events.push_back(event.clone());
        }
        while self.events.len() > EVENTS || self.bytes > BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.payload.len());
            self.base = Position::after(oldest.seq, oldest.id);
        }
    }

    /// Begins again at a place, as a new generation.
    pub(super) fn begin_again(&mut self, log: LogId, position: Position) {
        self.events.clear();
        self.bytes = 0;
        self.base = position;
        self.end = Cursor { position, generation: self.end.generation.saturating_add(1), log };
    }

    /// How a place relates to what the cache holds.
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

    /// Whether a cursor, and `told` with it, are places of this generation that lie before what the cache holds, or in it.
    pub(super) fn is_known(&self, cursor: &Cursor, told: Position) -> bool {
        let is_behind = |place| matches!(self.lookup(place), Lookup::Held | Lookup::Before);
        cursor.generation == self.end.generation && is_behind(cursor.position) && is_behind(told)
    }

    /// What follows a cursor; nothing up to number `skip_to` is for this subscriber. `told` is the cursor's place, or one
    /// after it that must be of the same generation. `None` if that is not known here: the cache begins later, or holds
    /// another generation. Nothing is read or passed over before both are known to be places of the cache: whenever it holds
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
        // The number is of the generation that was known when the subscriber was notified.
        let skip_to =
            if cursor.generation == self.end.generation && skip_to < self.end.position.seq { skip_to } else { 0 };
        match (self.lookup(after), self.lookup(told)) {
            (Lookup::Other, _) | (_, Lookup::Other) => return None,
            (Lookup::Held, Lookup::Held) => *cursor = Cursor { position: after, ..self.end },
            (_, Lookup::Ahead) if cursor.generation == UNPROVEN && after.seq >= self.end.position.seq => {
                return Some(Page { events: Vec::new(), position: after, more: false });
            }
            (_, Lookup::Ahead) => return None,
            (_, Lookup::Held | Lookup::Before) if cursor.generation == self.end.generation => {}
            (_, Lookup::Held | Lookup::Before) => return None,
        }
        let skip = usize::try_from(after.seq.max(skip_to).checked_sub(self.base.seq)?).ok()?;
        let events = self.events.iter().skip(skip).take(SCAN_LIMIT);
        let page = Page::of(events, after, self.end.position.seq, filter, bounds);
        cursor.position = page.position;
        Some(page)
    }
}
