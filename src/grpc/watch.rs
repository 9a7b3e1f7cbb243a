//! `WatchDisputes`: the stream of events to one subscriber.
//!
//! The transport pulls: nothing is read for a subscriber that does not read. Whatever is being read, heartbeats go out in
//! time, and the stream ends when it has to.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, Stream};
use tonic::{Request, Status};

use super::Shared;
use super::encoded::WatchDisputesResponse;
use super::quota::StreamPermit;
use super::requests;
use super::responses::timestamp;
use super::snapshot::{Snapshot, Step};
use super::status::Failure;
use super::transport::Deadline;
use super::violations::Violations;
use crate::chance::jittered;
use crate::domain::Caller;
use crate::engine::{EventFilter, FeedError, Page, Position, ResumeToken, SnapshotState, Start, Subscription};
use crate::proto::v1;
use crate::repository::{LoggedEvent, ReadClass};

/// The stream of one subscriber.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<WatchDisputesResponse, Status>> + Send>>;

/// Everything that can be refused is refused here, before the first message.
pub(super) async fn watch(
    shared: Arc<Shared>,
    caller: &Caller,
    request: &Request<v1::WatchDisputesRequest>,
) -> Result<Events, Failure> {
    use v1::watch_disputes_request::Start as Asked;
    let deadline = request.extensions().get::<Deadline>().cloned();
    let request = request.get_ref();
    let mut violations = Violations::default();
    let filter = requests::event_filter(&mut violations, caller, request.filter.as_ref());
    let heartbeat = violations.heartbeat(request.heartbeat_interval);
    let (token, from_beginning) = match &request.start {
        Some(Asked::ResumeToken(token)) => (token.as_str(), false),
        Some(Asked::FromBeginning(from_beginning)) => ("", *from_beginning),
        None => ("", false),
    };
    if request.include_snapshot && (!token.is_empty() || from_beginning) {
        violations.add("include_snapshot", "must not be combined with start");
    }
    let (filter, heartbeat) = violations.finish(filter.zip(heartbeat))?;
    let filter = Arc::new(filter);
    if shared.drain.is_cancelled() {
        return Err(Failure::draining());
    }
    // Before anything is read for it: so no more reads wait than there can be streams.
    let permit = shared.quota.acquire(caller, filter.ids()).ok_or_else(Failure::too_many_subscriptions)?;
    let reader = shared.repository.reader(ReadClass::Start, caller).await?;
    let start = requests::start(&shared.feed, &reader, token, from_beginning).await?;
    let before = match &start {
        Start::After(token) => token.snapshot.clone(),
        Start::Now | Start::Beginning => SnapshotState::Over,
    };
    // Also of a snapshot that begins again: what happened since to what it has shown is no longer kept.
    let subscription = shared.feed.subscribe(&reader, start, filter.clone()).await?;
    drop(reader);
    let (position, told) = (subscription.position(), subscription.told());
    let snapshot = match before {
        SnapshotState::Shown(shown) => Snapshot::resumed(shown, &filter, position, told),
        SnapshotState::Incomplete => Some(Snapshot::new(position, told)),
        SnapshotState::Over => request.include_snapshot.then(|| Snapshot::new(position, told)),
    };
    let never = || std::future::pending().boxed();
    let rotation = match shared.max_stream_age {
        Duration::ZERO => never(),
        age => {
            let clock = shared.clock.clone();
            async move { clock.sleep(jittered(age)).await }.boxed()
        }
    };
    let subscriber = Subscriber {
        shared,
        filter,
        heartbeat,
        subscription,
        snapshot,
        held: None,
        next_heartbeat: never(),
        rotation,
        end: deadline.map_or_else(never, |deadline| deadline.passes().boxed()),
        state: State::Subscribing,
        _permit: permit,
    };
    Ok(Box::pin(stream::unfold(subscriber, Subscriber::next)))
}

struct Subscriber {
    shared: Arc<Shared>,
    filter: Arc<EventFilter>,
    heartbeat: Duration,
    subscription: Subscription,
    /// What was asked for first, until everything that it covers has gone by.
    snapshot: Option<Snapshot>,
    /// Events of which it is not known yet whether the snapshot shows them, and the place before them.
    held: Option<(Position, Page)>,
    next_heartbeat: BoxFuture<'static, ()>,
    /// When the stream has lasted long enough: the client comes back, perhaps to another replica.
    rotation: BoxFuture<'static, ()>,
    /// When the client has had enough.
    end: BoxFuture<'static, ()>,
    state: State,
    _permit: StreamPermit,
}

enum State {
    Subscribing,
    Going,
    Ending(Failure),
    Ended,
}

/// What a checkpoint says beside that the stream is alive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Subscribed,
    SnapshotComplete,
    Going,
}

/// What there is to tell a subscriber.
enum News {
    Snapshot(Step),
    Events(Page),
    /// Events that were held back.
    Judged(Page),
}

impl Subscriber {
    async fn next(mut self) -> Option<(Result<WatchDisputesResponse, Status>, Self)> {
        let message = match std::mem::replace(&mut self.state, State::Going) {
            State::Subscribing => Ok(self.checkpoint(Stage::Subscribed)),
            State::Going => self.message().await,
            State::Ending(failure) => Err(failure),
            State::Ended => return None,
        };
        if message.is_err() {
            self.state = State::Ended;
        }
        let clock = self.shared.clock.clone();
        let heartbeat = self.heartbeat;
        self.next_heartbeat = async move { clock.sleep(heartbeat).await }.boxed();
        Some((message.map_err(Status::from), self))
    }

    /// The next message: of the snapshot, events, or a heartbeat if there are none for so long.
    async fn message(&mut self) -> Result<WatchDisputesResponse, Failure> {
        loop {
            let before = self.subscription.position();
            let news = tokio::select! {
                biased;
                () = self.shared.drain.cancelled() => return Ok(self.last_checkpoint()),
                () = &mut self.rotation => return Ok(self.last_checkpoint()),
                () = &mut self.end => return Err(Failure::deadline_exceeded()),
                news = news(&mut self.snapshot, &mut self.held, &mut self.subscription, &self.shared, &self.filter) => news?,
                () = &mut self.next_heartbeat => {
                    self.subscription.advance();
                    self.prune_coverage();
                    return Ok(self.checkpoint(Stage::Going));
                }
            };
            if let Some(snapshot) = &self.snapshot {
                self.subscription.tell(snapshot.told());
            }
            let events = match news {
                News::Snapshot(Step::Page(events)) => events,
                News::Snapshot(Step::More) => continue,
                News::Snapshot(Step::Complete) => {
                    let is_first_told = self.snapshot.as_mut().is_some_and(Snapshot::announce);
                    self.prune_coverage();
                    if is_first_told {
                        return Ok(self.checkpoint(Stage::SnapshotComplete));
                    }
                    continue;
                }
                News::Events(page) if !self.is_judged(before, &page) => {
                    self.held = Some((before, page));
                    continue;
                }
                News::Events(page) | News::Judged(page) => {
                    let events = self.without_what_the_snapshot_covers(&page.events);
                    self.prune_coverage();
                    events
                }
            };
            if !events.is_empty() {
                return Ok(WatchDisputesResponse { events, checkpoint: None, resume_token: self.token() });
            }
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

    fn last_checkpoint(&mut self) -> WatchDisputesResponse {
        self.state = State::Ending(Failure::draining());
        self.checkpoint(Stage::Going)
    }

    fn checkpoint(&self, stage: Stage) -> WatchDisputesResponse {
        let checkpoint = v1::Checkpoint {
            server_time: Some(timestamp(self.shared.clock.now())),
            subscribed: stage == Stage::Subscribed,
            snapshot_complete: stage == Stage::SnapshotComplete,
            heartbeat_interval: prost_types::Duration::try_from(self.heartbeat).ok(),
        };
        WatchDisputesResponse { events: Vec::new(), checkpoint: Some(checkpoint), resume_token: self.token() }
    }

    fn token(&self) -> String {
        let snapshot = self.snapshot.as_ref().map_or(SnapshotState::Over, |snapshot| snapshot.state(&self.filter));
        ResumeToken { snapshot, position: self.position(), ..self.subscription.token() }.encode()
    }
}

/// What comes next. Who stops waiting for it misses nothing.
async fn news(
    snapshot: &mut Option<Snapshot>,
    held: &mut Option<(Position, Page)>,
    subscription: &mut Subscription,
    shared: &Arc<Shared>,
    filter: &Arc<EventFilter>,
) -> Result<News, FeedError> {
    match snapshot.as_mut().filter(|snapshot| !snapshot.is_done()) {
        Some(snapshot) => snapshot.step(shared, filter).await.map(News::Snapshot),
        None => match held.take() {
            Some((_, page)) => Ok(News::Judged(page)),
            None => subscription.next().await.map(News::Events),
        },
    }
}
