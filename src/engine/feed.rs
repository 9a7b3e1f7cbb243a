//! The feed: the tail of the event log, read once and shared by all subscribers.
//!
//! One tailer reads the log by its dense numbers into a ring. A subscriber is a place in the log, not a
//! queue: it reads on from there, from the ring or, if it is behind that, from the log itself. So a slow
//! one costs nothing, delays nobody and loses nothing.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::error::Error;
use super::filter::EventFilter;
use super::token::{Position, ResumeToken, SnapshotState};
use crate::repository::{LoggedEvent, Repository, StorageError};

/// How many events the ring holds …
const RING_EVENTS: usize = 8_192;
/// … and how many bytes of payload.
const RING_BYTES: usize = 16 * 1024 * 1024;

/// How many events one read looks at.
const READ_EVENTS: usize = 512;
/// How many events one message to a subscriber holds at the most.
const PAGE_EVENTS: usize = 256;
/// A page ends with the event that reaches this size: far below what clients take for too large.
const PAGE_BYTES: usize = 1024 * 1024;

/// The log is looked at afresh this often, for what other replicas wrote: nothing wakes us for that.
const LOOK: Duration = Duration::from_secs(1);

/// The log's tail, shared by all subscribers.
#[derive(Debug)]
pub struct Feed {
    repository: Arc<Repository>,
    epoch: Uuid,
    ring: RwLock<Ring>,
    head: watch::Sender<i64>,
    reachable: watch::Sender<bool>,
    wake: Notify,
}

#[derive(Debug)]
struct Ring {
    /// The last events up to the head, without a gap.
    events: VecDeque<Arc<LoggedEvent>>,
    bytes: usize,
    head: i64,
}

/// Where a subscriber starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// With what comes.
    Now,
    /// With the oldest event that is kept.
    Beginning,
    /// After what a token covers.
    After(ResumeToken),
}

/// Why a subscriber cannot start where it wants to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartError {
    /// Some of what follows the token is no longer kept.
    Expired {
        /// The oldest place to start from.
        oldest: ResumeToken,
    },
    /// The token is of another log, of the future, or of another past.
    Unknown,
    /// The log cannot be read now.
    Failed(Error),
}

impl From<StorageError> for StartError {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}

/// A read of the log.
#[derive(Clone, Debug)]
pub struct Page {
    /// What the filter lets through, in log order.
    pub events: Vec<Arc<LoggedEvent>>,
    /// The place up to which the log has been looked at.
    pub position: Position,
    /// Whether the log went on from there when it was read.
    pub more: bool,
}

impl Feed {
    /// A feed that starts at the head of the log. [`Feed::run`] keeps it going.
    pub async fn new(repository: Arc<Repository>) -> Result<Self, StorageError> {
        let log = repository.log().await?;
        Ok(Self {
            repository,
            epoch: log.epoch,
            ring: RwLock::new(Ring { events: VecDeque::new(), bytes: 0, head: log.head }),
            head: watch::Sender::new(log.head),
            reachable: watch::Sender::new(true),
            wake: Notify::new(),
        })
    }

    /// Says that the log has grown.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The number of the last event that can be read; changes when there are more.
    pub fn head(&self) -> watch::Receiver<i64> {
        self.head.subscribe()
    }

    /// Whether the log could be read when it was last looked at.
    pub fn reachable(&self) -> watch::Receiver<bool> {
        self.reachable.subscribe()
    }

    /// The token of a place in this log.
    pub fn token(&self, position: Position) -> ResumeToken {
        ResumeToken { epoch: self.epoch, position, snapshot: SnapshotState::Over }
    }

    /// Tails the log for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        loop {
            let reachable = match self.catch_up().await {
                Ok(()) => true,
                Err(error) => {
                    if *self.reachable.borrow() {
                        tracing::warn!(%error, "the event log cannot be read, subscribers wait");
                    }
                    false
                }
            };
            self.reachable.send_if_modified(|before| std::mem::replace(before, reachable) != reachable);
            let _ = tokio::time::timeout(LOOK, self.wake.notified()).await;
        }
    }

    async fn catch_up(&self) -> Result<(), StorageError> {
        loop {
            let head = *self.head.borrow();
            let events = self.repository.events_after(head, READ_EVENTS as u64).await?;
            let Some(last) = events.last().map(|event| event.seq) else {
                return Ok(());
            };
            self.ring.write().unwrap_or_else(PoisonError::into_inner).push(events);
            self.head.send_replace(last);
        }
    }

    /// Finds where a subscriber starts.
    pub async fn start(&self, start: Start) -> Result<Position, StartError> {
        let log = self.repository.log().await?;
        let token = match start {
            Start::Beginning => return Ok(Position::beginning(log.floor)),
            Start::Now => {
                let last = self.repository.event_id_at(log.head).await?;
                return Ok(last.map_or(Position::beginning(log.head), |last| Position::after(log.head, last)));
            }
            Start::After(token) => token,
        };
        let position = token.position;
        if token.epoch != log.epoch || position.seq > log.head {
            return Err(StartError::Unknown);
        }
        if position.seq < log.floor {
            return Err(StartError::Expired { oldest: self.token(Position::beginning(log.floor)) });
        }
        self.require_known(position, log.floor).await?;
        // What a snapshot has shown of another past is not what is there.
        if let SnapshotState::Shown(shown) = &token.snapshot {
            self.require_known(shown.end(), log.floor).await?;
        }
        Ok(position)
    }

    /// The place is one of this log, and of this past of it.
    async fn require_known(&self, position: Position, floor: i64) -> Result<(), StartError> {
        if position.seq <= floor {
            return Ok(());
        }
        let there = self.repository.event_id_at(position.seq).await?;
        match there.map(|event| Position::after(position.seq, event)) {
            Some(there) if there == position => Ok(()),
            Some(_) | None => Err(StartError::Unknown),
        }
    }

    /// Reads on from a place: from the ring, or from the log itself if the ring begins later. What was
    /// acknowledged a moment ago may not be there yet; [`Feed::head`] changes when it is.
    pub async fn read(&self, after: Position, filter: &EventFilter) -> Result<Page, Error> {
        let read = self.ring.read().unwrap_or_else(PoisonError::into_inner).after(after.seq);
        match read {
            Some((events, head)) => page(events, after, head, filter, PAGE_EVENTS),
            None => {
                let head = *self.head.borrow();
                page(self.read_log(after).await?, after, head, filter, PAGE_EVENTS)
            }
        }
    }

    /// Reads on from a place, from the log itself: everything that was acknowledged before is there.
    /// At most `most` events, 500 or less.
    pub async fn list(&self, after: Position, filter: &EventFilter, most: usize) -> Result<Page, Error> {
        let head = self.repository.log().await?.head;
        page(self.read_log(after).await?, after, head, filter, most)
    }

    async fn read_log(&self, after: Position) -> Result<Vec<Arc<LoggedEvent>>, StorageError> {
        let events = self.repository.events_after(after.seq, READ_EVENTS as u64).await?;
        Ok(events.into_iter().map(Arc::new).collect())
    }
}

/// What the filter lets through of the events that follow `after`, and at most so many.
fn page(
    events: Vec<Arc<LoggedEvent>>,
    after: Position,
    head: i64,
    filter: &EventFilter,
    most: usize,
) -> Result<Page, Error> {
    let mut page = Page { events: Vec::new(), position: after, more: false };
    let mut bytes = 0_usize;
    for event in events {
        if event.seq != page.position.seq.saturating_add(1) {
            return Err(Error::Internal(format!("the log has a gap after event {}", page.position.seq)));
        }
        page.position = Position::after(event.seq, event.id);
        if filter.lets_through(&event) {
            bytes = bytes.saturating_add(event.payload.len());
            page.events.push(event);
        }
        if page.events.len() >= most || bytes >= PAGE_BYTES {
            break;
        }
    }
    page.more = page.position.seq < head;
    Ok(page)
}

impl Ring {
    fn push(&mut self, events: Vec<LoggedEvent>) {
        for event in events {
            self.head = event.seq;
            self.bytes = self.bytes.saturating_add(event.payload.len());
            self.events.push_back(Arc::new(event));
        }
        while self.events.len() > RING_EVENTS || self.bytes > RING_BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.payload.len());
        }
    }

    /// What follows `seq`, and the head; `None` if the ring begins later than that.
    fn after(&self, seq: i64) -> Option<(Vec<Arc<LoggedEvent>>, i64)> {
        let first = self.events.front().map_or(self.head.saturating_add(1), |first| first.seq);
        let skip = usize::try_from(seq.saturating_add(1).checked_sub(first)?).ok()?;
        Some((self.events.iter().skip(skip).take(READ_EVENTS).cloned().collect(), self.head))
    }
}
