//! A subscription: a subscriber's place in the log, and what it waits for.

use std::sync::Arc;

use super::background_read::BackgroundRead;
use super::filter::EventFilter;
use super::page::{Bounds, Page};
use super::tail_cache::{Cursor, UNPROVEN};
use super::token::{Position, ResumeToken, SnapshotState};
use super::watchers::Registration;
use super::{Feed, FeedError};

/// How much one message to a subscriber holds. A subscriber that does not read costs the server about one message.
const MESSAGE: Bounds = Bounds { events: 256, bytes: 8 * 1024 };

/// A subscriber's place in the log. It is not a queue: nothing is read for a subscriber that
/// does not ask.
pub(super) struct Subscription {
    feed: Arc<Feed>,
    filter: Arc<EventFilter>,
    /// Everything up to here was looked at for this subscriber.
    cursor: Cursor,
    /// The furthest place that the subscriber was told of.
    told: Position,
    registration: Registration,
    cursor_state: CursorState,
}

enum CursorState {
    /// There is more in the tail cache, or may be; nothing up to this number is for this subscriber.
    Reading(i64),
    /// The log itself is being read.
    ReadingLog(BackgroundRead<(Page, Cursor)>),
    /// Everything was seen: the registration is notified when there is more.
    Waiting,
}

impl Subscription {
    /// Begins at a place that is known to be in the log, as is the furthest that the subscriber was told of. The registration was
    /// taken before that was known.
    pub(super) fn new(
        feed: Arc<Feed>,
        filter: Arc<EventFilter>,
        cursor: Cursor,
        told: Position,
        registration: Registration,
    ) -> Self {
        Self { feed, filter, cursor, told, registration, cursor_state: CursorState::Reading(0) }
    }

    /// The furthest place that the subscriber was told of: where it is, or beyond. The log is one chain: as long as the
    /// event there is what it was, so is everything before it.
    pub(super) fn told(&self) -> Position {
        self.cursor.position.or_further(self.told)
    }

    /// The subscriber is told of a place, otherwise than by what this brings; it is in the log with all it was told of
    /// before. Should it be lost, the subscription ends, although its own place may still be there.
    pub(super) fn tell(&mut self, told: Position) {
        if told.seq > self.told().seq {
            self.told = told;
            self.cursor.generation = UNPROVEN;
        }
    }

    /// The place up to which everything was looked at for this subscriber.
    pub(super) fn position(&self) -> Position {
        self.cursor.position
    }

    /// The token of that place.
    pub(super) fn token(&self) -> ResumeToken {
        let Cursor { log, position, .. } = self.cursor;
        ResumeToken { log, position, told: self.told(), snapshot: SnapshotState::Over }
    }

    /// The next events for this subscriber, once there are any. While the database is away it waits for it. Cancel safe: dropping the future
    /// loses no event.
    pub(super) async fn next(&mut self) -> Result<Page, FeedError> {
        loop {
            let read = match &mut self.cursor_state {
                CursorState::Waiting => {
                    let next = tokio::select! {
                        first = self.registration.notified() => first.saturating_sub(1),
                        () = self.feed.reaches(self.cursor, self.told()) => 0,
                    };
                    self.cursor_state = CursorState::Reading(next);
                    continue;
                }
                CursorState::Reading(skip_to) => {
                    let skip_to = std::mem::take(skip_to);
                    let told = self.cursor.position.or_further(self.told);
                    self.feed.read_memory(&mut self.cursor, told, skip_to, &self.filter, MESSAGE)
                }
                CursorState::ReadingLog(read) => {
                    let found = read.found().await;
                    self.cursor_state = CursorState::Reading(0);
                    let (page, cursor) = found?;
                    self.cursor = cursor;
                    Some(Page { more: true, ..page })
                }
            };
            let Some(page) = read else {
                self.registration.reads_after(Some(self.cursor.position.seq));
                self.cursor_state = self.reading_log();
                continue;
            };
            if !page.more {
                self.cursor_state = CursorState::Waiting;
            }
            self.registration.reads_after(page.more.then_some(page.position.seq));
            if !page.events.is_empty() {
                return Ok(page);
            }
        }
    }

    /// Moves on to the end of the log if nothing up to there is for this subscriber, so that it is never further behind
    /// than its last heartbeat.
    pub(super) fn advance(&mut self) {
        if matches!(self.cursor_state, CursorState::Waiting) {
            // In this order: a later notification is of events beyond this watermark.
            let high_watermark = self.feed.high_watermark();
            if !self.registration.is_notified()
                && high_watermark.generation == self.cursor.generation
                && high_watermark.position.seq > self.cursor.position.seq
            {
                self.cursor = high_watermark;
            }
        }
    }

    fn reading_log(&self) -> CursorState {
        let (feed, filter) = (self.feed.clone(), self.filter.clone());
        let (position, told) = (self.cursor.position, self.told());
        CursorState::ReadingLog(BackgroundRead::start(move || {
            let (feed, filter) = (feed.clone(), filter.clone());
            async move { feed.read_log(position, told, &filter, MESSAGE).await }
        }))
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Subscription").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
