//! A subscription: a subscriber's place in the log, and what it waits for.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::error::Error;
use super::feed::{Feed, FeedError};
use super::filter::EventFilter;
use super::page::{Bounds, Page};
use super::ring::{Cursor, UNPROVEN};
use super::token::{Position, ResumeToken, SnapshotState};
use super::wakeups::Seat;
use crate::clock::pause;

/// How much one message to a subscriber holds. A subscriber that does not read costs the server about one message.
const MESSAGE: Bounds = Bounds { events: 256, bytes: 8 * 1024 };

/// How long to wait before the log is read again while the database is away.
const READ_AGAIN: Duration = Duration::from_millis(250);

/// A subscriber's place in the log. It is not a queue: nothing is read for who does not ask.
pub struct Subscription {
    feed: Arc<Feed>,
    filter: Arc<EventFilter>,
    /// Everything up to here was looked at for this subscriber.
    cursor: Cursor,
    /// The furthest place that the subscriber was told of.
    told: Position,
    seat: Seat,
    pace: Pace,
}

enum Pace {
    /// There is more in the ring, or may be; nothing up to this number is for this subscriber.
    Reading(i64),
    /// The log itself is being read. In a task of its own, which ends with the subscription: a subscriber that the
    /// transport leaves waiting must not keep a connection to the database, nor a chunk that others wait for.
    ReadingLog(AbortOnDropHandle<Result<(Page, Cursor), FeedError>>),
    /// Everything was seen: the alarm rings when there is more.
    Waiting,
}

impl Subscription {
    /// Begins at a place that is known to be in the log, as is the furthest that the subscriber was told of. The seat was
    /// taken before that was known.
    pub(super) fn new(feed: Arc<Feed>, filter: Arc<EventFilter>, cursor: Cursor, told: Position, seat: Seat) -> Self {
        Self { feed, filter, cursor, told, seat, pace: Pace::Reading(0) }
    }

    /// The furthest place that the subscriber was told of: where it is, or beyond. The log is one chain: as long as the
    /// event there is what it was, so is everything before it.
    pub fn told(&self) -> Position {
        self.cursor.position.or_further(self.told)
    }

    /// The subscriber is told of a place, otherwise than by what this brings; it is in the log with all it was told of
    /// before. Should it be lost, the subscription ends, although its own place may still be there.
    pub fn tell(&mut self, told: Position) {
        if told.seq > self.told().seq {
            self.told = told;
            self.cursor.past = UNPROVEN;
        }
    }

    /// The place up to which everything was looked at for this subscriber.
    pub fn position(&self) -> Position {
        self.cursor.position
    }

    /// The token of that place.
    pub fn token(&self) -> ResumeToken {
        let Cursor { log, position, .. } = self.cursor;
        ResumeToken { log, position, told: self.told(), snapshot: SnapshotState::Over }
    }

    /// The next events for this subscriber, once there are any. While the database is away it waits for it. Who stops
    /// waiting for them misses nothing.
    pub async fn next(&mut self) -> Result<Page, FeedError> {
        loop {
            let read = match &mut self.pace {
                Pace::Waiting => {
                    let next = tokio::select! {
                        first = self.seat.rung() => first.saturating_sub(1),
                        () = self.feed.reaches(self.cursor, self.told()) => 0,
                    };
                    self.pace = Pace::Reading(next);
                    continue;
                }
                Pace::Reading(skip_to) => {
                    let skip_to = std::mem::take(skip_to);
                    let told = self.cursor.position.or_further(self.told);
                    self.feed.read_ring(&mut self.cursor, told, skip_to, &self.filter, MESSAGE)
                }
                Pace::ReadingLog(read) => {
                    let read = read.await.unwrap_or_else(|_| Err(Error::Unavailable.into()));
                    self.pace = Pace::Reading(0);
                    match read {
                        Ok((page, cursor)) => {
                            self.cursor = cursor;
                            Some(Page { more: true, ..page })
                        }
                        Err(FeedError::Failed(error)) if error.is_transient() => {
                            self.pace = self.reading_log(READ_AGAIN);
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                }
            };
            let Some(page) = read else {
                self.pace = self.reading_log(Duration::ZERO);
                continue;
            };
            if !page.more {
                self.pace = Pace::Waiting;
            }
            if !page.events.is_empty() {
                return Ok(page);
            }
        }
    }

    /// Moves on to the end of the log if nothing up to there is for this subscriber, so that it is never further behind
    /// than its last heartbeat.
    pub fn keep_up(&mut self) {
        if matches!(self.pace, Pace::Waiting) {
            // In this order: whatever rings later is behind what was announced.
            let announced = self.feed.announced();
            if !self.seat.is_rung()
                && announced.past == self.cursor.past
                && announced.position.seq > self.cursor.position.seq
            {
                self.cursor = announced;
            }
        }
    }

    fn reading_log(&self, after: Duration) -> Pace {
        let (feed, filter) = (self.feed.clone(), self.filter.clone());
        let (position, told) = (self.cursor.position, self.told());
        Pace::ReadingLog(AbortOnDropHandle::new(tokio::spawn(async move {
            if !after.is_zero() {
                pause(after).await;
            }
            feed.read_log(position, told, &filter, MESSAGE).await
        })))
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Subscription").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
