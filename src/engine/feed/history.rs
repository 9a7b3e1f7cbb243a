//! The history: what lies behind the tail cache, read from the log itself.
//!
//! A subscriber to everything reads the log in chunks, which all share: a thousand subscribers that resume from the same
//! old token read it once. One that asks for less finds it by an index, however much there is of the rest. Either way the
//! place that is read from is looked at too: a rollback is noticed whenever it happens, and what is forgotten is never
//! passed over.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::FeedError;
use super::filter::EventFilter;
use super::page::{Bounds, Page};
use super::tail_cache::Cursor;
use super::token::{Position, ResumeToken};
use crate::domain::EventId;
use crate::engine::error::Error;
use crate::repository::{EventScan, Log, LoggedEvent, Reader, StorageError};

/// How many numbers a chunk covers. It begins with the event before them, by which its generation is recognised.
const CHUNK: i64 = 1_024;

/// How many bytes of chunks are kept for others.
const CHUNK_BYTES: u64 = 16 * 1024 * 1024;

/// Few events are smaller. One read by an index looks for as many of this size as a page has room for.
const EVENT_BYTES: usize = 350;

type Chunk = Arc<[Arc<LoggedEvent>]>;

/// The generation of a chunk, its first number but one, and its last: the last chunk of all grows.
type ChunkKey = (u64, i64, i64);

#[derive(Debug)]
pub(super) struct History {
    chunks: Cache<ChunkKey, Chunk, Bytes>,
}

#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<ChunkKey, Chunk> for Bytes {
    fn weight(&self, _: &ChunkKey, chunk: &Chunk) -> u64 {
        let payloads: usize = chunk.iter().map(|event| event.payload.len()).sum();
        u64::try_from(payloads).unwrap_or(u64::MAX).max(1)
    }
}

impl Default for History {
    fn default() -> Self {
        // Of so few items the cache is not cut into shards, in which a chunk of large events would find no room.
        Self { chunks: Cache::with_weighter(32, CHUNK_BYTES, Bytes) }
    }
}

impl History {
    /// What follows a place, up to an end that was seen there. `tail` is how far the tailer had got before.
    pub(super) async fn read(
        &self,
        reader: &Reader,
        after: Position,
        end: Position,
        tail: Cursor,
        filter: &EventFilter,
        bounds: Bounds,
    ) -> Result<Page, FeedError> {
        if after.seq >= end.seq {
            self.require_known(reader, after).await?;
            return Ok(Page { events: Vec::new(), position: after, more: false });
        }
        match filter.scan() {
            EventScan::Everything => self.read_chunk(reader, after, end, tail, filter, bounds).await,
            scan => self.find(reader, scan, after, end, filter, bounds).await,
        }
    }

    /// What follows a place of the tailer's generation, if others have read it a moment ago.
    pub(super) fn read_kept(
        &self,
        after: Position,
        tail: Cursor,
        filter: &EventFilter,
        bounds: Bounds,
    ) -> Option<Page> {
        if filter.scan() != EventScan::Everything {
            return None;
        }
        let chunk = self.chunks.get(&chunk_key(after, tail, tail.position))?;
        Page::of(following(&chunk, after)?, after, tail.position.seq, filter, bounds).into()
    }

    async fn find(
        &self,
        reader: &Reader,
        scan: EventScan,
        after: Position,
        end: Position,
        filter: &EventFilter,
        bounds: Bounds,
    ) -> Result<Page, FeedError> {
        let limit = bounds.events.min(bounds.bytes / EVENT_BYTES).max(1);
        let found = reader.events(scan, after.seq, end.seq, u64::try_from(limit).unwrap_or(u64::MAX)).await?;
        // Afterwards: what is lost or forgotten by now may have been so before.
        self.require_known(reader, after).await?;
        let events: Vec<_> = found.events.into_iter().map(Arc::new).collect();
        let page = Page::of(&events, after, end.seq, filter, bounds);
        if events.last().is_some_and(|last| last.seq != page.position.seq) {
            return Ok(page);
        }
        // Nothing that was looked at and is not found is of this scan.
        let position = found.looked_at.map_or(end, |(seq, id)| Position::after(seq, id));
        Ok(Page { position, more: position.seq < end.seq, ..page })
    }

    async fn read_chunk(
        &self,
        reader: &Reader,
        after: Position,
        end: Position,
        tail: Cursor,
        filter: &EventFilter,
        bounds: Bounds,
    ) -> Result<Page, FeedError> {
        let key @ (_, first, last) = chunk_key(after, tail, end);
        let load = Self::load(reader, first, last);
        let chunk = if last <= tail.position.seq {
            self.chunks.get_or_insert_async(&key, load).await?
        } else {
            // What the tailer has not read yet can be lost without its noticing: not to be kept for others.
            load.await?
        };
        if let Some(events) = following(&chunk, after) {
            return Ok(Page::of(events, after, end.seq, filter, bounds));
        }
        self.require_known(reader, after).await?;
        let next = chunk.partition_point(|event| event.seq <= after.seq);
        let events = chunk.get(next..).unwrap_or_default();
        if events.first().map(|event| event.seq) != Some(after.seq.saturating_add(1)) {
            // It was there when it was last looked at: unless it was forgotten meanwhile, there is a hole.
            if self.require_known(reader, after).await?.last_seq <= after.seq {
                // What followed is lost, and nobody has noticed yet.
                return Err(Error::Unavailable.into());
            }
            // What was read may be of a past that was lost since, as at a failover: it is read again, and not kept.
            self.chunks.remove(&key);
            if following(&Self::load(reader, first, last).await?, after).is_some() {
                return Err(Error::Unavailable.into());
            }
            return Err(Error::Internal(format!("the log has a hole after event {}", after.seq)).into());
        }
        Ok(Page::of(events, after, end.seq, filter, bounds))
    }

    /// The events from one number to another.
    async fn load(reader: &Reader, first: i64, last: i64) -> Result<Chunk, StorageError> {
        let before = first.saturating_sub(1);
        let limit = u64::try_from(last.saturating_sub(before)).unwrap_or_default();
        let found = reader.events(EventScan::Everything, before, last, limit).await?;
        Ok(found.events.into_iter().map(Arc::new).collect())
    }

    /// Checks that a place is one of this generation of this log, and that nothing after it was pruned. Returns the log.
    pub(super) async fn require_known(&self, reader: &Reader, position: Position) -> Result<Log, FeedError> {
        let (log, [there]) = reader.log_and_events_at([position.seq]).await?;
        require_known(position, there, &log).map(|()| log)
    }
}

/// The chunk that holds what follows a place, up to an end.
fn chunk_key(after: Position, tail: Cursor, end: Position) -> ChunkKey {
    let first = after.seq - after.seq.rem_euclid(CHUNK);
    (tail.generation, first, first.saturating_add(CHUNK).min(end.seq))
}

/// What follows a place in its chunk, if the chunk shows that the place is one of its log, and there is no hole after it.
fn following(chunk: &Chunk, after: Position) -> Option<&[Arc<LoggedEvent>]> {
    let next = chunk.partition_point(|event| event.seq <= after.seq);
    let before = next.checked_sub(1).and_then(|before| chunk.get(before));
    let is_known = after.seq == 0 || before.is_some_and(|before| Position::after(before.seq, before.id) == after);
    let events = chunk.get(next..)?;
    let continues = events.first()?.seq == after.seq.saturating_add(1);
    (is_known && continues).then_some(events)
}

/// Checks that a place is one of this generation of a log, and that nothing after it was pruned. `there` is the event at
/// that place when the log was read.
pub(in crate::engine) fn require_known(position: Position, there: Option<EventId>, log: &Log) -> Result<(), FeedError> {
    match there {
        Some(there) if Position::after(position.seq, there) == position => Ok(()),
        Some(_) => Err(FeedError::Unknown),
        None if position.seq < log.pruned_seq => {
            Err(FeedError::Expired { oldest: ResumeToken::of(log.id, start_of(log)) })
        }
        None if position == start_of(log) => Ok(()),
        // Ahead of the log, or of a generation that has pruned it.
        None => Err(FeedError::Unknown),
    }
}

/// The beginning of what is kept.
pub(super) fn start_of(log: &Log) -> Position {
    Position::at(log.pruned_seq, log.pruned_event)
}

/// The end of the log.
pub(in crate::engine) fn end_of(log: &Log) -> Position {
    Position::at(log.last_seq, log.last_event)
}
