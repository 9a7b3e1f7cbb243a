//! The feed: the event log, read once and shared by all subscribers.
//!
//! One tailer reads the log by its dense numbers into a [`Ring`] and wakes whom the events concern. A subscriber is a
//! place in the log, not a queue: it reads on from there, from the ring or, if it is behind that, from the
//! [`History`]. So a slow one costs nothing, delays nobody and loses nothing.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::error::Error;
use super::filter::EventFilter;
use super::history::{History, floor_of, head_of, require_known};
use super::page::{Bounds, Page};
use super::ring::{Cursor, Lookup, Ring, UNPROVEN};
use super::subscription::Subscription;
use super::token::{Position, ResumeToken, SnapshotState, TokenError};
use super::wakeups::Wakeups;
use crate::repository::{Log, LogId, LoggedEvent, ReadClass, Reader, Repository, StorageError};

/// How many events the tailer reads at a time.
const READ_EVENTS: usize = 512;

/// The log is looked at afresh this often, whoever has rung or not.
const LOOK: Duration = Duration::from_secs(1);

/// How often a page of a list reads on before it answers what it has found.
const LIST_READS: usize = 8;

/// How large a page of a list is at the most: far below what clients take for too large.
const LIST_BYTES: usize = 1024 * 1024;

/// The log's tail, shared by all subscribers.
#[derive(Debug)]
pub struct Feed {
    repository: Arc<Repository>,
    history: History,
    ring: RwLock<Ring>,
    wakeups: Arc<Wakeups>,
    /// The end of what everybody who is concerned was woken for.
    announced: watch::Sender<Cursor>,
    reachable: watch::Sender<bool>,
    wake: Notify,
    commits: watch::Sender<i64>,
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

/// Why the log cannot be read on from a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FeedError {
    /// Some of what follows it is no longer kept.
    Expired {
        /// The oldest place to start from.
        oldest: ResumeToken,
    },
    /// It is of another log, of the future, or of another past.
    Unknown,
    /// It is no place at all: no token of ours.
    Malformed,
    /// The log cannot be read now.
    Failed(Error),
}

impl From<Error> for FeedError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<StorageError> for FeedError {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}

impl Feed {
    /// A feed that starts at the head of the log. [`Feed::run`] keeps it going.
    pub async fn new(repository: Arc<Repository>) -> Result<Self, StorageError> {
        let log = repository.log().await?;
        let ring = Ring::new(log.id, head_of(&log));
        Ok(Self {
            history: History::default(),
            repository,
            announced: watch::Sender::new(ring.head()),
            ring: RwLock::new(ring),
            wakeups: Arc::default(),
            reachable: watch::Sender::new(true),
            wake: Notify::new(),
            commits: watch::Sender::new(0),
        })
    }

    /// Says that the log has grown.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Says that this process has committed events up to a number.
    pub fn committed(&self, head: i64) {
        self.wake();
        self.commits.send_replace(head);
    }

    /// What this process has committed, to tell other replicas of.
    pub fn commits(&self) -> watch::Receiver<i64> {
        self.commits.subscribe()
    }

    /// Says that the log has grown up to a number, of which the feed may know.
    pub fn wake_for(&self, head: i64) {
        if head > self.announced().position.seq {
            self.wake();
        }
    }

    /// Whether the log could be read when it was last looked at.
    pub fn reachable(&self) -> watch::Receiver<bool> {
        self.reachable.subscribe()
    }

    /// The end of what everybody who is concerned was woken for.
    pub(super) fn announced(&self) -> Cursor {
        *self.announced.borrow()
    }

    /// Returns once everybody was woken for what follows a place that is still unproven: it can be compared then.
    pub(super) async fn reaches(&self, cursor: Cursor, told: Position) {
        if cursor.past == UNPROVEN {
            let is_there = |head: &Cursor| head.position.seq >= told.seq;
            // The sender lives as long as this: waiting cannot fail.
            let _ = self.announced.subscribe().wait_for(is_there).await;
        } else {
            std::future::pending::<()>().await;
        }
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
            let has_changed =
                self.reachable.send_if_modified(|before| std::mem::replace(before, reachable) != reachable);
            if has_changed && reachable {
                tracing::info!("the event log can be read again");
            }
            let _ = tokio::time::timeout(LOOK, self.wake.notified()).await;
        }
    }

    async fn catch_up(&self) -> Result<(), StorageError> {
        loop {
            let head = self.head();
            // With the event at the head: by it the log is recognised.
            let (log, events) = self.repository.tail(head.position.seq, READ_EVENTS as u64 + 1).await?;
            let events: Vec<_> = events.into_iter().map(Arc::new).collect();
            let new = match events.split_first() {
                // The same event can be in another log, and an empty one has none.
                _ if log.id != head.log => return self.begin_again(&log),
                Some((first, new)) if Position::after(first.seq, first.id) == head.position => new,
                // Before the first of all there is none. Or it was forgotten since, as there are younger ones.
                _ if head.position.seq == 0 || floor_of(&log) == head.position => &events,
                _ => return self.begin_again(&log),
            };
            if !follows(head.position.seq, new) {
                return self.begin_again(&log);
            }
            let Some(last) = new.last() else { return Ok(()) };
            self.ring.write().unwrap_or_else(PoisonError::into_inner).push(new);
            self.wakeups.ring(new);
            let head = Cursor { position: Position::after(last.seq, last.id), ..head };
            self.announced.send_replace(head);
            if new.len() < READ_EVENTS {
                return Ok(());
            }
        }
    }

    /// The log is not what it was: the database was restored, has lost commits, or has forgotten more than the ring has
    /// seen. Every subscriber looks whether its place is still there.
    fn begin_again(&self, log: &Log) -> Result<(), StorageError> {
        tracing::warn!(head = log.head, "the event log has another past than before, subscribers look for their place");
        let head = {
            let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
            ring.begin_again(log.id, head_of(log));
            ring.head()
        };
        self.announced.send_replace(head);
        self.wakeups.ring_all();
        Ok(())
    }

    fn head(&self) -> Cursor {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).head()
    }

    /// The log, as far as the tailer knows: it may have been replaced a moment ago.
    pub fn log_id(&self) -> LogId {
        self.head().log
    }

    /// Reads a token. The log itself is asked only where the token is of another one than the tailer knows.
    pub async fn read_token(&self, reader: &Reader, text: &str) -> Result<ResumeToken, FeedError> {
        let read = match ResumeToken::decode(text, self.log_id()) {
            Err(TokenError::OtherLog) => ResumeToken::decode(text, reader.log().await?.id),
            read => read,
        };
        read.map_err(|error| match error {
            TokenError::Malformed => FeedError::Malformed,
            TokenError::OtherLog => FeedError::Unknown,
        })
    }

    /// Subscribes to what a filter lets through.
    pub async fn subscribe(
        self: &Arc<Self>,
        reader: &Reader,
        start: Start,
        filter: Arc<EventFilter>,
    ) -> Result<Subscription, FeedError> {
        // First of all: whatever comes after what is read below rings.
        let seat = self.wakeups.sit(&filter);
        let ResumeToken { log, position, told, .. } = self.start(reader, start).await?;
        Ok(Subscription::new(self.clone(), filter, Cursor { position, past: UNPROVEN, log }, told, seat))
    }

    /// Finds where to start. The answer is the token of that place.
    pub async fn start(&self, reader: &Reader, start: Start) -> Result<ResumeToken, FeedError> {
        let token = match start {
            Start::Beginning => {
                let log = reader.log().await?;
                return Ok(ResumeToken::of(log.id, floor_of(&log)));
            }
            Start::Now => {
                let log = reader.log().await?;
                return Ok(ResumeToken::of(log.id, head_of(&log)));
            }
            Start::After(token) => token,
        };
        let (position, told) = (token.position, token.told);
        let (log, [there, where_told]) = reader.log_and_events_at([position.seq, told.seq]).await?;
        if token.log != log.id {
            return Err(FeedError::Unknown);
        }
        require_known(position, there, &log)?;
        // What a snapshot has shown of another past is not what is there.
        require_known(told, where_told, &log)?;
        Ok(ResumeToken { snapshot: SnapshotState::Over, ..token })
    }

    /// Reads on from a place, from the ring; `None` if the ring begins later, or is of another past. What was
    /// acknowledged a moment ago may not be there yet: it rings when it is.
    pub(super) fn read_ring(
        &self,
        cursor: &mut Cursor,
        told: Position,
        skip_to: i64,
        filter: &EventFilter,
        bounds: Bounds,
    ) -> Option<Page> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).read(cursor, told, skip_to, filter, bounds)
    }

    /// Reads on from a place, from the log itself and as far as the ring goes. Answers where that ends, too. `told` is
    /// that place, or one after it that must be of the same past.
    pub(super) async fn read_log(
        &self,
        after: Position,
        told: Position,
        filter: &EventFilter,
        bounds: Bounds,
    ) -> Result<(Page, Cursor), FeedError> {
        let reader = self.repository.reader(ReadClass::Stream, &filter.caller).await?;
        let (head, lookups) = {
            let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
            (ring.head(), [after, told].map(|place| ring.lookup(place)))
        };
        if lookups.contains(&Lookup::Other) {
            self.history.require_known(&reader, after).await?;
            self.history.require_known(&reader, told).await?;
            // It is the ring that is of what is lost, and the tailer has not noticed yet.
            self.wake();
            return Err(Error::Unavailable.into());
        }
        let page = self.history.read(&reader, after, head.position, head, filter, bounds).await?;
        if told != after {
            // Afterwards: what is lost never comes back, so that what was read before it is found there is of its past.
            self.history.require_known(&reader, told).await?;
        }
        // What is in the log after the ring's head was read from it is in the ring's past of it, or else the tailer misses
        // that head at its next look, and that past is over. Of what lies beyond the tailer would miss nothing.
        let furthest = page.position.or_further(told).seq;
        let past = if furthest <= head.position.seq { head.past } else { UNPROVEN };
        let cursor = Cursor { position: page.position, past, log: head.log };
        Ok((page, cursor))
    }

    /// Reads on from a place, from the log itself: everything that was acknowledged before is there. `told` is that place,
    /// or one after it that must be of the same past. At most `most` events, 500 or less.
    pub async fn list(
        &self,
        reader: &Reader,
        after: Position,
        told: Position,
        filter: &EventFilter,
        most: usize,
    ) -> Result<Page, FeedError> {
        let tail = self.head();
        let end = head_of(&reader.log().await?);
        let mut page = Page { events: Vec::new(), position: after, more: true };
        let mut bytes = 0_usize;
        for _ in 0..LIST_READS {
            let left =
                Bounds { events: most.saturating_sub(page.events.len()), bytes: LIST_BYTES.saturating_sub(bytes) };
            let next = self.history.read(reader, page.position, end, tail, filter, left).await?;
            bytes = next.events.iter().map(|event| event.payload.len()).fold(bytes, usize::saturating_add);
            page.events.extend(next.events);
            (page.position, page.more) = (next.position, next.more);
            if !page.more || page.events.len() >= most || bytes >= LIST_BYTES {
                break;
            }
        }
        if told != after {
            self.history.require_known(reader, told).await?;
        }
        Ok(page)
    }
}

/// Whether events follow a number, and each other, without a hole.
fn follows(seq: i64, events: &[Arc<LoggedEvent>]) -> bool {
    events.iter().zip(seq.saturating_add(1)..).all(|(event, expected)| event.seq == expected)
}
