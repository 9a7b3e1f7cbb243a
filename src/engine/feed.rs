//! The feed: the event log, read once and shared by all subscribers.
//!
//! One tailer reads the log by its dense numbers into a [`TailCache`] and notifies the subscribers whom the events may concern. A subscriber is a
//! place in the log, not a queue: it reads on from there, from the cache or, if it is behind that, from the
//! [`History`]. So a slow one costs nothing, delays nobody and loses nothing.
//!
//! - `subscription`: that place, which `watchers` wakes; `filter`: what it asks for; `page`: what it gets at a time.
//! - `watch`: a subscription with the `snapshot` that it can begin with.
//! - `tail_cache` and `history`: where events are read from; `background_read`: whether or not the subscriber waits.
//! - `token`: a place that clients keep, by `sealing` so that nobody else can read or make one.

mod background_read;
pub(super) mod filter;
pub(super) mod history;
mod page;
pub(super) mod sealing;
pub(super) mod snapshot;
mod subscription;
mod tail_cache;
pub(super) mod token;
pub(super) mod watch;
mod watchers;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::watch::{Receiver, Sender};

use self::filter::EventFilter;
use self::history::{History, end_of, require_known, start_of};
use self::page::{Bounds, Page};
use self::tail_cache::{Cursor, Lookup, TailCache, UNPROVEN};
use self::token::{Position, ResumeToken, SnapshotState, TokenError};
use self::watchers::WatcherRegistry;
use super::error::Error;
use super::outage::Outage;
use crate::metrics::METRICS;
use crate::repository::{Log, LogId, LoggedEvent, ReadClass, Reader, Repository, StorageError};

/// How many events the tailer reads at a time.
const READ_EVENTS: usize = 512;

/// The log is polled this often, whether or not a notification has arrived.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How often a page of a list reads on before it answers what it has found.
const LIST_READS: usize = 8;

/// How large a page of a list is at the most: far below what clients take for too large.
const LIST_BYTES: usize = 1024 * 1024;

/// The log's tail, shared by all subscribers.
#[derive(Debug)]
pub struct Feed {
    repository: Arc<Repository>,
    history: History,
    tail_cache: RwLock<TailCache>,
    watchers: Arc<WatcherRegistry>,
    /// Up to here every subscriber concerned has been notified.
    high_watermark: Sender<Cursor>,
    reachable: Sender<bool>,
    wake: Notify,
    commits: Sender<i64>,
}

/// Where a subscriber starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start<'a> {
    /// With what comes.
    Now,
    /// With the oldest event that is kept.
    Beginning,
    /// After what the token with this text covers.
    After(&'a str),
}

/// A page of the events that a filter lets through.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// The events, in log order.
    pub events: Vec<Arc<LoggedEvent>>,
    /// The token of the place up to which the log has been looked at.
    pub token: ResumeToken,
    /// Whether the log went on from there when it was read.
    pub more: bool,
}

/// How far the feed is, and its subscribers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The number of the last event that was read.
    pub last_seq: i64,
    /// How many events are kept in memory, and how many bytes.
    pub cached: (usize, usize),
    /// How many subscribers have not been given everything yet.
    pub behind: usize,
    /// By how many numbers of the log the slowest one is behind.
    pub lag: i64,
}

/// Why the log cannot be read on from a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FeedError {
    /// Some of what follows it is no longer kept.
    Expired {
        /// The oldest place to start from.
        oldest: ResumeToken,
    },
    /// It is of another log, or the log was rolled back and does not contain it.
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
    /// A feed that starts at the end of the log. [`Feed::run`] keeps it going.
    pub async fn new(repository: Arc<Repository>) -> Result<Self, StorageError> {
        let log = repository.log().await?;
        let cache = TailCache::new(log.id, end_of(&log));
        Ok(Self {
            history: History::default(),
            repository,
            high_watermark: Sender::new(cache.end()),
            tail_cache: RwLock::new(cache),
            watchers: Arc::default(),
            reachable: Sender::new(true),
            wake: Notify::new(),
            commits: Sender::new(0),
        })
    }

    /// Says that the log has grown.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Says that this process has committed events up to a number.
    pub fn committed(&self, last_seq: i64) {
        self.wake();
        self.commits.send_replace(last_seq);
    }

    /// What this process has committed, to tell other replicas of.
    pub fn commits(&self) -> Receiver<i64> {
        self.commits.subscribe()
    }

    /// Says that the log has grown up to a number, of which the feed may know.
    pub fn wake_for(&self, last_seq: i64) {
        if last_seq > self.high_watermark().position.seq {
            self.wake();
        }
    }

    /// Whether the log could be read when it was last looked at.
    pub fn reachable(&self) -> Receiver<bool> {
        self.reachable.subscribe()
    }

    /// How far it is now.
    pub fn progress(&self) -> Progress {
        let (last_seq, cached) = {
            let cache = self.tail_cache.read().unwrap_or_else(PoisonError::into_inner);
            (cache.end().position.seq, cache.size())
        };
        let (behind, lag) = self.watchers.lag(last_seq);
        Progress { last_seq, cached, behind, lag }
    }

    /// The place up to which every subscriber concerned has been notified.
    fn high_watermark(&self) -> Cursor {
        *self.high_watermark.borrow()
    }

    /// Returns once everybody was notified beyond a place that is still unproven: it can be compared then.
    async fn reaches(&self, cursor: Cursor, told: Position) {
        if cursor.generation == UNPROVEN {
            let is_there = |end: &Cursor| end.position.seq >= told.seq;
            // The sender lives as long as this: waiting cannot fail.
            let _ = self.high_watermark.subscribe().wait_for(is_there).await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// Tails the log for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let mut outage = Outage::default();
        loop {
            match self.catch_up().await {
                Ok(()) => {
                    if outage.end() {
                        self.reachable.send_replace(true);
                        tracing::info!("the event log can be read again");
                    }
                }
                Err(error) => {
                    if outage.begin() {
                        tracing::warn!(%error, "the event log cannot be read, subscribers wait");
                        self.reachable.send_replace(false);
                    }
                }
            }
            let _ = tokio::time::timeout(POLL_INTERVAL, self.wake.notified()).await;
        }
    }

    async fn catch_up(&self) -> Result<(), StorageError> {
        loop {
            let end = self.end();
            // With the event at the end: by it the log is recognised.
            let (log, events) = self.repository.tail(end.position.seq, READ_EVENTS as u64 + 1).await?;
            let events: Vec<_> = events.into_iter().map(Arc::new).collect();
            let new = match events.split_first() {
                // The same event can be in another log, and an empty one has none.
                _ if log.id != end.log => return self.begin_again(&log),
                Some((first, new)) if Position::after(first.seq, first.id) == end.position => new,
                // The first event has none before it; or it was pruned since, as there are younger ones.
                _ if end.position.seq == 0 || start_of(&log) == end.position => &events,
                _ => return self.begin_again(&log),
            };
            if !follows(end.position.seq, new) {
                return self.begin_again(&log);
            }
            let Some(last) = new.last() else { return Ok(()) };
            self.tail_cache.write().unwrap_or_else(PoisonError::into_inner).push(new);
            self.watchers.notify(new);
            let end = Cursor { position: Position::after(last.seq, last.id), ..end };
            self.high_watermark.send_replace(end);
            if new.len() < READ_EVENTS {
                return Ok(());
            }
        }
    }

    /// The log is not what it was: the database was restored, has lost commits, or was pruned beyond what the cache has
    /// seen. Every subscriber checks whether its place still exists.
    fn begin_again(&self, log: &Log) -> Result<(), StorageError> {
        let end = self.end();
        // Pruned beyond what this replica has read, it is the same log.
        if log.id != end.log || log.pruned_seq <= end.position.seq {
            METRICS.log_rollbacks.one([]);
        }
        tracing::warn!(
            last_seq = log.last_seq,
            "the event log was rolled back or replaced, every subscriber checks its place"
        );
        let end = {
            let mut cache = self.tail_cache.write().unwrap_or_else(PoisonError::into_inner);
            cache.begin_again(log.id, end_of(log));
            cache.end()
        };
        self.high_watermark.send_replace(end);
        self.watchers.notify_all();
        Ok(())
    }

    fn end(&self) -> Cursor {
        self.tail_cache.read().unwrap_or_else(PoisonError::into_inner).end()
    }

    /// The log, as far as the tailer knows: it may have been replaced a moment ago.
    pub fn log_id(&self) -> LogId {
        self.end().log
    }

    /// Reads a token. The log itself is asked only where the token is of another one than the tailer knows.
    async fn read_token(&self, reader: &Reader, text: &str) -> Result<ResumeToken, FeedError> {
        let read = match ResumeToken::decode(text, self.log_id()) {
            Err(TokenError::OtherLog) => ResumeToken::decode(text, reader.log().await?.id),
            read => read,
        };
        read.map_err(|error| match error {
            TokenError::Malformed => FeedError::Malformed,
            TokenError::OtherLog => FeedError::Unknown,
        })
    }

    /// The events that a filter lets through, from a place on; at most `most`, 500 or less.
    pub async fn events(&self, start: Start<'_>, filter: &EventFilter, most: usize) -> Result<EventPage, FeedError> {
        let reader = self.repository.reader(ReadClass::List, &filter.caller).await?;
        let token = self.start(&reader, start).await?;
        let Page { events, position, more } = self.list(&reader, token.position, token.told, filter, most).await?;
        let token = ResumeToken { snapshot: SnapshotState::Over, ..token };
        Ok(EventPage { events, token: token.moved_to(position), more })
    }

    /// Finds where to start. Returns the token of that place.
    async fn start(&self, reader: &Reader, start: Start<'_>) -> Result<ResumeToken, FeedError> {
        let token = match start {
            Start::Beginning => {
                let log = reader.log().await?;
                return Ok(ResumeToken::of(log.id, start_of(&log)));
            }
            Start::Now => {
                let log = reader.log().await?;
                return Ok(ResumeToken::of(log.id, end_of(&log)));
            }
            Start::After(text) => self.read_token(reader, text).await?,
        };
        let (position, told) = (token.position, token.told);
        let (log, [there, where_told]) = reader.log_and_events_at([position.seq, told.seq]).await?;
        if token.log != log.id {
            return Err(FeedError::Unknown);
        }
        require_known(position, there, &log)?;
        // What a snapshot showed of another generation is not what is there.
        require_known(told, where_told, &log)?;
        Ok(token)
    }

    /// Reads on from a place, from what is in memory; `None` if it is not there or of another generation. An event that
    /// was acknowledged a moment ago may not be there yet: the registration is notified when it is.
    fn read_memory(
        &self,
        cursor: &mut Cursor,
        told: Position,
        skip_to: i64,
        filter: &EventFilter,
        bounds: Bounds,
    ) -> Option<Page> {
        let end = {
            let cache = self.tail_cache.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(page) = cache.read(cursor, told, skip_to, filter, bounds) {
                return Some(page);
            }
            cache.is_known(cursor, told).then(|| cache.end())?
        };
        let page = self.history.read_kept(cursor.position, end, filter, bounds)?;
        cursor.position = page.position;
        Some(page)
    }

    /// Reads on from a place, from the log itself and as far as the cache goes. Returns where that ends, too. `told` is
    /// that place, or a later one that must be of the same generation.
    async fn read_log(
        &self,
        after: Position,
        told: Position,
        filter: &EventFilter,
        bounds: Bounds,
    ) -> Result<(Page, Cursor), FeedError> {
        let reader = self.repository.reader(ReadClass::Stream, &filter.caller).await?;
        let (end, lookups) = {
            let cache = self.tail_cache.read().unwrap_or_else(PoisonError::into_inner);
            (cache.end(), [after, told].map(|place| cache.lookup(place)))
        };
        if lookups.contains(&Lookup::Other) {
            self.history.require_known(&reader, after).await?;
            self.history.require_known(&reader, told).await?;
            // It is the cache that holds lost events, and the tailer has not noticed yet.
            self.wake();
            return Err(Error::Unavailable.into());
        }
        let page = self.history.read(&reader, after, end.position, end, filter, bounds).await?;
        if told != after {
            // Afterwards: lost events never come back, so that what was read before `told` was found is of its generation.
            self.history.require_known(&reader, told).await?;
        }
        // If the log still contains the end of the cache, this page is of the cache's generation; otherwise the tailer
        // misses that end at its next poll, and the generation is over. Beyond that end the tailer would miss nothing.
        let furthest = page.position.or_further(told).seq;
        let generation = if furthest <= end.position.seq { end.generation } else { UNPROVEN };
        let cursor = Cursor { position: page.position, generation, log: end.log };
        Ok((page, cursor))
    }

    /// Reads on from a place, from the log itself: everything that was acknowledged before is there. `told` is that place,
    /// or a later one that must be of the same generation. At most `most` events, 500 or less.
    async fn list(
        &self,
        reader: &Reader,
        after: Position,
        told: Position,
        filter: &EventFilter,
        most: usize,
    ) -> Result<Page, FeedError> {
        let tail = self.end();
        let end = end_of(&reader.log().await?);
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
