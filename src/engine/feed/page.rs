//! A page: the result of one read of the log for a subscriber.

use std::sync::Arc;

use super::filter::EventFilter;
use super::token::Position;
use crate::repository::LoggedEvent;

/// The result of one read of the log.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// The events that match the filter, in log order.
    pub(super) events: Vec<Arc<LoggedEvent>>,
    /// The position up to which the log has been examined.
    pub(super) position: Position,
    /// Whether the log continued after it when it was read.
    pub(super) more: bool,
}

/// The maximum size of a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) events: usize,
    /// The page ends with the event that reaches this size.
    pub(super) bytes: usize,
}

impl Page {
    /// The matching ones of some events after `after`. The events are contiguous, except for events known not to match;
    /// `last_seq` is the last number of the log.
    pub(super) fn of<'a>(
        events: impl IntoIterator<Item = &'a Arc<LoggedEvent>>,
        after: Position,
        last_seq: i64,
        filter: &EventFilter,
        bounds: Bounds,
    ) -> Self {
        let mut page = Self { events: Vec::new(), position: after, more: false };
        let mut bytes = 0_usize;
        for event in events {
            page.position = Position::after(event.seq, event.id);
            if filter.lets_through(event) {
                bytes = bytes.saturating_add(event.payload.len());
                page.events.push(event.clone());
            }
            if page.events.len() >= bounds.events || bytes >= bounds.bytes {
                break;
            }
        }
        page.more = page.position.seq < last_seq;
        page
    }
}
