//! The ring: the last events of the log, for all who are not far behind.

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use super::filter::EventFilter;
use super::page::{Bounds, Page};
use super::token::Position;
use crate::repository::LoggedEvent;

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
    pub(super) past: u64,
    /// The log.
    pub(super) epoch: Uuid,
}

#[derive(Debug)]
pub(super) struct Ring {
    /// The last events up to the head, without a gap.
    events: VecDeque<Arc<LoggedEvent>>,
    bytes: usize,
    head: Cursor,
}

impl Ring {
    /// An empty ring that begins at a place.
    pub(super) fn new(epoch: Uuid, position: Position) -> Self {
        Self { events: VecDeque::new(), bytes: 0, head: Cursor { position, past: 0, epoch } }
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
        }
    }

    /// Begins again at a place in another past.
    pub(super) fn begin_again(&mut self, epoch: Uuid, position: Position) {
        self.events.clear();
        self.bytes = 0;
        self.head = Cursor { position, past: self.head.past.wrapping_add(1), epoch };
    }

    /// What follows a cursor; nothing up to number `skip_to` is for this subscriber. `None` if the ring begins later, or
    /// is of another past.
    pub(super) fn read(&self, after: Cursor, skip_to: i64, filter: &EventFilter, bounds: Bounds) -> Option<Page> {
        if after.past != self.head.past {
            return None;
        }
        let first = self.events.front().map_or(self.head.position.seq.saturating_add(1), |first| first.seq);
        // Beyond the head it is of another past.
        let from = if skip_to < self.head.position.seq { after.position.seq.max(skip_to) } else { after.position.seq };
        let skip = usize::try_from(from.saturating_add(1).checked_sub(first)?).ok()?;
        let events = self.events.iter().skip(skip).take(LOOK);
        Some(Page::of(events, after.position, self.head.position.seq, filter, bounds))
    }
}
