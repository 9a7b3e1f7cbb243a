//! A watch: a subscription, and the snapshot that it can begin with.
//!
//! The snapshot is sent first. Of the events that follow, those are left out that it already shows.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::filter::EventFilter;
use super::page::Page;
use super::snapshot::{Snapshot, SnapshotCodec, Source, Step};
use super::subscription::Subscription;
use super::tail_cache::{Cursor, UNPROVEN};
use super::token::{Position, ResumeToken, SnapshotState};
use super::{Feed, FeedError, Start};
use crate::clock::Clock;
use crate::repository::{LoggedEvent, ReadClass};

/// What a subscriber asks for.
#[derive(Debug)]
pub struct WatchRequest<'a> {
    /// Which events.
    pub filter: EventFilter,
    /// Who asks to see what, whatever happens to it, digested: what a snapshot has shown, it has shown of that.
    pub audience: Uuid,
    /// Where it starts.
    pub start: Start<'a>,
    /// Whether it begins with a snapshot.
    pub include_snapshot: bool,
}

/// What one subscriber gets, and how far it is.
pub struct Watch {
    source: Source,
    audience: Uuid,
    subscription: Subscription,
    /// What was asked for first, until everything that it covers has gone by.
    snapshot: Option<Snapshot>,
    /// Events of which it is not known yet whether the snapshot shows them, and the place before them.
    held: Option<(Position, Page)>,
}

/// What there is to tell a subscriber.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// The payloads of events, at least one: of the snapshot, or of the log.
    Events(Vec<Bytes>),
    /// All of the snapshot was sent.
    SnapshotComplete,
}

/// What comes next.
enum Next {
    Snapshot(Step),
    Events(Page),
    /// Events that were held back.
    Judged(Page),
}

impl Feed {
    /// Begins a watch. Everything that can be wrong with where it starts is found out here.
    pub async fn watch(
        self: &Arc<Self>,
        request: WatchRequest<'_>,
        clock: Clock,
        codec: SnapshotCodec,
    ) -> Result<Watch, FeedError> {
        let WatchRequest { filter, audience, start, include_snapshot } = request;
        let reader = self.repository.reader(ReadClass::Start, &filter.caller).await?;
        // First: every event after what is read below then notifies this registration.
        let registration = self.watchers.register(&filter);
        // Also of a snapshot that begins again: what happened since to what it has shown is no longer kept.
        let ResumeToken { log, position, told, snapshot } = self.start(&reader, start).await?;
        drop(reader);
        let filter = Arc::new(filter);
        let cursor = Cursor { position, generation: UNPROVEN, log };
        let subscription = Subscription::new(self.clone(), filter.clone(), cursor, told, registration);
        let snapshot = match snapshot {
            SnapshotState::Shown(shown) => Snapshot::resumed(shown, audience, position, told),
            SnapshotState::Incomplete => Some(Snapshot::new(position, told)),
            SnapshotState::Over => include_snapshot.then(|| Snapshot::new(position, told)),
        };
        let source = Source { feed: self.clone(), clock, codec, filter };
        Ok(Watch { source, audience, subscription, snapshot, held: None })
    }
}

impl Watch {
    /// What there is to tell next, once there is anything. While the database is away it waits for it. Cancel safe:
    /// dropping the future loses no event.
    pub async fn next(&mut self) -> Result<News, FeedError> {
        loop {
            let before = self.subscription.position();
            let next = self.read().await?;
            if let Some(snapshot) = &self.snapshot {
                self.subscription.tell(snapshot.told());
            }
            let events = match next {
                Next::Snapshot(Step::Page(events)) => events,
                Next::Snapshot(Step::More) => continue,
                Next::Snapshot(Step::Complete) => {
                    let is_first_told = self.snapshot.as_mut().is_some_and(Snapshot::announce);
                    self.prune_coverage();
                    if is_first_told {
                        return Ok(News::SnapshotComplete);
                    }
                    continue;
                }
                Next::Events(page) if !self.is_judged(before, &page) => {
                    self.held = Some((before, page));
                    continue;
                }
                Next::Events(page) | Next::Judged(page) => {
                    let events = self.without_what_the_snapshot_covers(&page.events);
                    self.prune_coverage();
                    events
                }
            };
            if !events.is_empty() {
                return Ok(News::Events(events));
            }
        }
    }

    /// Moves on to the end of the log if nothing up to there is for this subscriber.
    pub fn advance(&mut self) {
        self.subscription.advance();
        self.prune_coverage();
    }

    /// The token of the place up to which everything was sent.
    pub fn token(&self) -> ResumeToken {
        let snapshot = self.snapshot.as_ref().map_or(SnapshotState::Over, |snapshot| snapshot.state(self.audience));
        ResumeToken { snapshot, position: self.position(), ..self.subscription.token() }
    }

    /// What comes next. Cancel safe: dropping the future loses no event.
    async fn read(&mut self) -> Result<Next, FeedError> {
        match self.snapshot.as_mut().filter(|snapshot| !snapshot.is_done()) {
            Some(snapshot) => snapshot.step(&self.source).await.map(Next::Snapshot),
            None => match self.held.take() {
                Some((_, page)) => Ok(Next::Judged(page)),
                None => self.subscription.next().await.map(Next::Events),
            },
        }
    }

    /// Whether it is known which events of a page the snapshot shows; if not, it begins to look for that.
    fn is_judged(&mut self, before: Position, page: &Page) -> bool {
        self.snapshot.as_mut().is_none_or(|snapshot| snapshot.knows(before, &page.events))
    }

    /// The place up to which everything was sent.
    fn position(&self) -> Position {
        self.held.as_ref().map_or_else(|| self.subscription.position(), |(before, _)| *before)
    }

    fn prune_coverage(&mut self) {
        let position = self.position();
        self.snapshot.take_if(|snapshot| snapshot.is_over_at(position));
    }

    /// The payloads of these events, without those that a snapshot already shows.
    fn without_what_the_snapshot_covers(&self, events: &[Arc<LoggedEvent>]) -> Vec<Bytes> {
        let is_covered = |event: &LoggedEvent| self.snapshot.as_ref().is_some_and(|snapshot| snapshot.covers(event));
        events.iter().filter(|event| !is_covered(event)).map(|event| event.payload.clone()).collect()
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Watch").field("subscription", &self.subscription).finish_non_exhaustive()
    }
}
