//! A subscription: a subscriber's place in the log, and what it waits for.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::error::Error;
use super::feed::{Feed, FeedError};
use super::filter::EventFilter;
use super::page::{Bounds, Page};
use super::ring::Cursor;
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
    seat: Seat,
    pace: Pace,
}

enum Pace {
    /// There is more in the ring, or may be; nothing up to this number is for this subscriber.
    Reading(i64),
    /// The log itself is being read. In a task of its own: a subscriber that the transport leaves waiting must not keep a
    /// connection to the database, nor a chunk that others wait for.
    ReadingLog(JoinHandle<Result<(Page, Cursor), FeedError>>),
    /// Everything was seen: the alarm rings when there is more.
    Waiting,
}

impl Subscription {
    /// Begins at a place that is known to be in the log. The seat was taken before that was known.
    pub(super) fn new(feed: Arc<Feed>, filter: Arc<EventFilter>, cursor: Cursor, seat: Seat) -> Self {
        Self { feed, filter, cursor, seat, pace: Pace::Reading(0) }
    }

    /// The place up to which everything was looked at for this subscriber.
    pub fn position(&self) -> Position {
        self.cursor.position
    }

    /// The token of that place.
    pub fn token(&self) -> ResumeToken {
        let Cursor { epoch, position, .. } = self.cursor;
        ResumeToken { epoch, position, snapshot: SnapshotState::Over }
    }

    /// The next events for this subscriber, once there are any. While the database is away it waits for it. Who stops
    /// waiting for them misses nothing.
    pub async fn next(&mut self) -> Result<Page, FeedError> {
        loop {
            let read = match &mut self.pace {
                Pace::Waiting => {
                    let next = tokio::select! {
                        first = self.seat.rung() => first.saturating_sub(1),
                        () = self.feed.reaches(self.cursor) => 0,
                    };
                    self.pace = Pace::Reading(next);
                    continue;
                }
                Pace::Reading(skip_to) => {
                    let skip_to = std::mem::take(skip_to);
                    self.feed.read_ring(&mut self.cursor, skip_to, &self.filter, MESSAGE)
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
        let (feed, filter, position) = (self.feed.clone(), self.filter.clone(), self.cursor.position);
        Pace::ReadingLog(tokio::spawn(async move {
            if !after.is_zero() {
                pause(after).await;
            }
            feed.read_log(position, &filter, MESSAGE).await
        }))
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Subscription").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
