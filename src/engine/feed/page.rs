//! A page: what a subscriber gets of one look at the log.

use std::sync::Arc;

use super::filter::EventFilter;
use super::token::Position;
use crate::repository::LoggedEvent;

/// A look at the log.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// What the filter lets through, in log order.
    pub(super) events: Vec<Arc<LoggedEvent>>,
    /// The place up to which the log has been looked at.
    pub(super) position: Position,
    /// Whether the log went on from there when it was read.
    pub(super) more: bool,
}

/// How much a page holds at the most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) events: usize,
    /// The page ends with the event that reaches this size.
    pub(super) bytes: usize,
}

impl Page {
    /// What the filter lets through of some events after `after`. They follow each other without a gap, unless what is
    /// left out is known not to match; `last_seq` is the last number that there is.
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
