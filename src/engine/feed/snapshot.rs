//! How everything open stands, for a subscriber that begins.
//!
//! It is read page by page, each at a moment of its own, for as long as the subscriber takes, up to the last dispute that
//! was open at the moment of the first page: however much is opened meanwhile, it comes to an end. What happened
//! meanwhile follows in the log, and must come neither twice nor be missed: [`Coverage`] tells which of it a page shows,
//! once the log was read up to the last page.

mod coverage;

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use self::coverage::{Coverage, Key};
use super::background_read::BackgroundRead;
use super::filter::EventFilter;
use super::history::{end_of, require_known};
use super::page::Page;
use super::token::{Position, Shown, ShownPage, SnapshotState, TOKEN_PAGES};
use super::{Feed, FeedError};
use crate::chance::mint_id;
use crate::clock::Clock;
use crate::domain::{DisputeId, EventId, Timestamp};
use crate::engine::fitting::Fitting;
use crate::repository::{DisputeQuery, Found, LoggedEvent, ReadClass, Row, Sort};

/// How many disputes one read looks at …
const PAGE: usize = 32;
/// … and the size that the disputes in one message do not exceed, unless a single one does. A subscriber that does not
/// read costs the server about one message.
const PAGE_BYTES: usize = 16 * 1024;

/// How many events one read of the log looks for.
const EVENTS: usize = 256;

/// How an open dispute is told of, and what the payload of an event tells of its dispute. Given from above: what payloads
/// look like is not the engine's concern.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotCodec {
    /// The payload of an event that shows an open dispute, as it is found and at this time.
    pub encode: fn(EventId, &Found, Timestamp) -> Vec<u8>,
    /// When the dispute of a payload was created, and whether it is open after the event; `None` if it cannot be read.
    pub read: fn(&Bytes) -> Option<(Timestamp, bool)>,
}

/// What a snapshot is read with.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) feed: Arc<Feed>,
    pub(super) clock: Clock,
    pub(super) codec: SnapshotCodec,
    pub(super) filter: Arc<EventFilter>,
}

/// The snapshot of one stream.
pub(super) struct Snapshot {
    coverage: Coverage,
    /// The last one that is shown: what is opened later comes by the log. Known from the first read, if that finds any.
    up_to: Option<Key>,
    /// How many the next read looks at.
    size: usize,
    /// Whether the last page is the last one.
    all_read: bool,
    /// Up to where the log was looked at for what it says of the pages.
    judged: Position,
    /// The furthest place that the subscriber was told of: the end of the log when the last page was read.
    told: Position,
    /// Whether the subscriber was told that it is complete: on this stream, or on the one that this one resumes.
    is_announced: bool,
    /// What is being read for the next step.
    reading: Option<BackgroundRead<Read>>,
}

/// What a step reads.
enum Read {
    /// Some disputes, and the end of the log at their moment; from the first page also the last dispute to show.
    Disputes(Vec<Row<DisputeId, Found>>, Position, Option<Key>),
    /// What the log says of the pages.
    Log(Page),
}

/// What comes of a step.
pub(super) enum Step {
    /// The next open disputes.
    Page(Vec<Bytes>),
    /// Nothing to send, and more to do.
    More,
    /// Everything was sent, and it is known what the log goes on with.
    Complete,
}

impl Snapshot {
    /// A snapshot that begins, of a stream that goes on with what follows `position`; `told` is the furthest place that its
    /// subscriber was told of.
    pub(super) fn new(position: Position, told: Position) -> Self {
        Self {
            coverage: Coverage::of(Vec::new()),
            up_to: None,
            size: PAGE,
            all_read: false,
            judged: position,
            told,
            is_announced: false,
            reading: None,
        }
    }

    /// The rest of one that was sent on another stream; `None` if it was of something else than `of`: then it is not known
    /// what it has shown of that, and what it has comes again.
    pub(super) fn resumed(shown: Shown, of: Uuid, position: Position, told: Position) -> Option<Self> {
        let coverage = Coverage::of(shown.pages);
        let (up_to, size) = (None, PAGE);
        let resumed =
            Self { coverage, up_to, size, all_read: true, judged: position, told, is_announced: true, reading: None };
        (shown.of == of).then_some(resumed)
    }

    /// The subscriber is told that it is complete. `false` if that was done before.
    pub(super) fn announce(&mut self) -> bool {
        !std::mem::replace(&mut self.is_announced, true)
    }

    /// Whether nothing is left to do but to leave out the events that it covers.
    pub(super) fn is_done(&self) -> bool {
        self.is_announced && self.is_complete()
    }

    /// Whether everything was sent, and it is known which events it covers.
    fn is_complete(&self) -> bool {
        self.all_read && self.coverage.is_judged_at(self.judged.seq)
    }

    /// The furthest place that the subscriber was told of.
    pub(super) fn told(&self) -> Position {
        self.told
    }

    /// Whether nothing that follows `position` can be in it.
    pub(super) fn is_over_at(&self, position: Position) -> bool {
        self.is_done() && self.coverage.is_judged_at(position.seq)
    }

    /// Whether it is known of these events, which are the next ones, whether it shows them. If not, it looks for that
    /// from a place before them on, and is not done until it knows.
    pub(super) fn knows(&mut self, from: Position, events: &[Arc<LoggedEvent>]) -> bool {
        let is_known = events.last().is_none_or(|last| self.coverage.knows(last.seq));
        if !is_known {
            self.coverage.look_again(events.iter().map(|event| event.dispute));
            self.judged = from;
        }
        is_known
    }

    /// Whether it shows this event.
    pub(super) fn covers(&self, event: &LoggedEvent) -> bool {
        self.coverage.covers(event.seq, event.dispute)
    }

    /// What a token says of it; `of` is to whom it is shown and of what, digested.
    pub(super) fn state(&self, of: Uuid) -> SnapshotState {
        let pages = self.coverage.pages();
        if self.is_announced && pages.len() <= TOKEN_PAGES {
            SnapshotState::Shown(Shown { of, pages: pages.to_vec() })
        } else {
            SnapshotState::Incomplete
        }
    }

    /// Goes on by one read. While the database is away it waits for it. Cancel safe: dropping the future loses nothing.
    pub(super) async fn step(&mut self, source: &Source) -> Result<Step, FeedError> {
        if self.is_complete() {
            return Ok(Step::Complete);
        }
        let reading = match self.reading.take() {
            Some(reading) => reading,
            None => {
                let (source, what) = (source.clone(), Arc::new(self.to_read(&source.filter)));
                BackgroundRead::start(move || read(source.clone(), what.clone()))
            }
        };
        let found = self.reading.insert(reading).found().await;
        self.reading = None;
        match found? {
            Read::Disputes(found, end, up_to) => {
                self.up_to = self.up_to.or(up_to);
                Ok(self.show(&found, end, source))
            }
            Read::Log(page) => self.judge(&page, source.codec),
        }
    }

    /// What to read next.
    fn to_read(&self, filter: &EventFilter) -> ToRead {
        if self.all_read {
            // Whether a dispute was open is told by events of every type.
            let filter = EventFilter { event_types: Default::default(), ..filter.clone() };
            return ToRead::Log(self.judged, self.told, filter);
        }
        let query = DisputeQuery {
            visible_to: filter.caller.sees_only().cloned(),
            disputes: filter.disputes.iter().copied().collect(),
            orders: filter.orders.iter().cloned().collect(),
            party: filter.party.clone(),
            kinds: filter.kinds.iter().copied().collect(),
            open: true,
            sort: Sort::OldestFirst,
            after: self.coverage.pages().last().map(|last| last.up_to),
            up_to: self.up_to,
            limit: self.size as u64,
            ..DisputeQuery::default()
        };
        ToRead::Disputes(query, self.told)
    }

    /// Takes in a page of disputes.
    fn show(&mut self, found: &[Row<DisputeId, Found>], end: Position, source: &Source) -> Step {
        let now = source.clock.now();
        let encode = |found: &Found| Bytes::from((source.codec.encode)(EventId(mint_id()), found, now));
        let Fitting { messages: events, rows: seen, last: up_to } = Fitting::of(found, PAGE_BYTES, encode, Bytes::len);
        let is_cut = seen < found.len();
        self.all_read = !is_cut && (found.len() < self.size || up_to == self.up_to);
        // Of long texts few fit: the next read looks at no more than about as many.
        self.size = if is_cut { seen.saturating_add(1) } else { self.size.saturating_mul(2) }.min(PAGE);
        if let Some(up_to) = up_to {
            self.coverage.add_page(ShownPage { up_to, last_seq: end.seq });
        }
        // Also by what it does not show.
        self.told = end;
        if events.is_empty() { Step::More } else { Step::Page(events) }
    }

    /// Takes in what the log says of the pages.
    fn judge(&mut self, page: &Page, codec: SnapshotCodec) -> Result<Step, FeedError> {
        for event in &page.events {
            // By what it says of the dispute, and not by its type, which this release may not know. One that cannot be
            // read is none of those that a page shows: it comes again.
            if let Some((created, is_open)) = (codec.read)(&event.payload) {
                self.coverage.add_event(event.seq, (created, event.dispute), is_open);
            }
        }
        if page.position == self.judged {
            // The log ends before what the pages have shown: that is lost.
            return Err(FeedError::Unknown);
        }
        self.judged = page.position;
        Ok(Step::More)
    }
}

/// What a step has to read.
enum ToRead {
    Disputes(DisputeQuery, Position),
    Log(Position, Position, EventFilter),
}

// Between any two reads the database can fail over and lose commits, of which the pages may have told already. What has
// happened since would then be taken for what they show, as the numbers are the same. The log is one chain: as long as
// the event at the end of one page is there, so is everything before it, and ends never go back. So it is enough to look
// for the event at the last page's end (for the first page: where the stream begins) at the moment of each page, which
// is one with its reads, and after each read of the log, as nothing that is lost comes back.

async fn read(source: Source, what: Arc<ToRead>) -> Result<Read, FeedError> {
    let Source { feed, filter, clock: _, codec: _ } = &source;
    let reader = feed.repository.reader(ReadClass::Stream, &filter.caller).await?;
    match &*what {
        ToRead::Disputes(query, told) => {
            let ((found, log, there), last) = match query.after {
                None => reader.first_disputes(query, told.seq).await?,
                Some(_) => (reader.disputes(query, told.seq).await?, None),
            };
            require_known(*told, there, &log)?;
            Ok(Read::Disputes(found, end_of(&log), last))
        }
        ToRead::Log(after, told, filter) => feed.list(&reader, *after, *told, filter, EVENTS).await.map(Read::Log),
    }
}
