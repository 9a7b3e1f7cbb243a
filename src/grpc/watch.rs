//! `WatchDisputes`: the stream of events to one subscriber, who is a place in the log.
//!
//! The transport pulls: nothing is read for a subscriber that does not read.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, Stream};
use tokio::sync::watch::Receiver;
use tonic::{Request, Status};

use super::Shared;
use super::encoded::WatchDisputesResponse;
use super::requests;
use super::responses::timestamp;
use super::snapshot::{Snapshot, Step};
use super::status::Failure;
use super::transport::Deadline;
use super::violations::Violations;
use crate::domain::Caller;
use crate::engine::{Error, EventFilter, Position, ResumeToken, SnapshotState, Start as Place, StartError};
use crate::proto::v1;
use crate::repository::LoggedEvent;

/// The stream of one subscriber.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<WatchDisputesResponse, Status>> + Send>>;

/// How long to wait before the log is read again while the database is away.
const READ_AGAIN: Duration = Duration::from_millis(250);

/// Everything that can be refused is refused here, before the first message.
pub(super) async fn watch(
    shared: Arc<Shared>,
    caller: &Caller,
    request: &Request<v1::WatchDisputesRequest>,
) -> Result<Events, Failure> {
    use v1::watch_disputes_request::Start;
    let deadline = request.extensions().get::<Deadline>().cloned();
    let request = request.get_ref();
    let mut violations = Violations::default();
    let filter = requests::event_filter(&mut violations, caller, request.filter.as_ref());
    let heartbeat = violations.heartbeat(request.heartbeat_interval);
    let (token, from_beginning) = match &request.start {
        Some(Start::ResumeToken(token)) => (token.as_str(), false),
        Some(Start::FromBeginning(from_beginning)) => ("", *from_beginning),
        None => ("", false),
    };
    if request.include_snapshot && (!token.is_empty() || from_beginning) {
        violations.add("include_snapshot", "must not be set together with a start");
    }
    let (filter, heartbeat) = violations.finish(filter.zip(heartbeat))?;
    let start = requests::start(token, from_beginning)?;
    let before = match &start {
        Place::After(token) => token.snapshot.clone(),
        Place::Now | Place::Beginning => SnapshotState::Over,
    };
    if shared.drain.is_cancelled() {
        return Err(Failure::draining());
    }
    let position = match shared.feed.start(start).await {
        // A snapshot that begins again needs nothing of what is no longer kept.
        Err(StartError::Expired { .. }) if before == SnapshotState::Incomplete => shared.feed.start(Place::Now).await?,
        position => position?,
    };
    let snapshot = match before {
        SnapshotState::Shown(shown) => Snapshot::resumed(shown, &filter, position),
        SnapshotState::Incomplete => Some(Snapshot::new(position)),
        SnapshotState::Over => request.include_snapshot.then(|| Snapshot::new(position)),
    };
    let head = shared.feed.head();
    let next_heartbeat = std::future::pending().boxed();
    let end = match deadline {
        Some(deadline) => deadline.passes().boxed(),
        None => std::future::pending().boxed(),
    };
    let subscriber = Subscriber {
        shared,
        filter,
        heartbeat,
        position,
        snapshot,
        head,
        next_heartbeat,
        end,
        state: State::Subscribing,
    };
    Ok(Box::pin(stream::unfold(subscriber, Subscriber::next)))
}

struct Subscriber {
    shared: Arc<Shared>,
    filter: EventFilter,
    heartbeat: Duration,
    /// Everything up to here was looked at for this subscriber.
    position: Position,
    /// What was asked for first, until everything that it covers has gone by.
    snapshot: Option<Snapshot>,
    head: Receiver<i64>,
    next_heartbeat: BoxFuture<'static, ()>,
    /// When the client has had enough.
    end: BoxFuture<'static, ()>,
    state: State,
}

enum State {
    Subscribing,
    Live,
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

/// What a subscriber that has seen everything waits for.
enum Woken {
    Events,
    Heartbeat,
    Drain,
    Deadline,
}

impl Subscriber {
    async fn next(mut self) -> Option<(Result<WatchDisputesResponse, Status>, Self)> {
        let message = match std::mem::replace(&mut self.state, State::Live) {
            State::Subscribing => Ok(self.checkpoint(Stage::Subscribed)),
            State::Live if self.snapshot.as_ref().is_some_and(|snapshot| !snapshot.is_done()) => self.snapshot().await,
            State::Live => self.live().await,
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

    /// The next message of a live stream: events, or a heartbeat if there are none for so long.
    async fn live(&mut self) -> Result<WatchDisputesResponse, Failure> {
        loop {
            if self.shared.drain.is_cancelled() {
                return Ok(self.last_checkpoint());
            }
            // Marked as seen before the log is read: whatever comes after that wakes us below.
            self.head.borrow_and_update();
            let mut wait = None;
            match self.shared.feed.read(self.position, &self.filter).await {
                Ok(page) => {
                    self.position = page.position;
                    let events = self.without_what_the_snapshot_covers(&page.events);
                    self.snapshot.take_if(|snapshot| snapshot.is_over_at(page.position));
                    if !events.is_empty() {
                        return Ok(WatchDisputesResponse { events, checkpoint: None, resume_token: self.token() });
                    }
                    if page.more && (&mut self.next_heartbeat).now_or_never().is_none() {
                        continue;
                    }
                    if page.more {
                        return Ok(self.checkpoint(Stage::Going));
                    }
                }
                Err(Error::Internal(what)) => return Err(Failure::internal(&what)),
                // The database is away: the stream stays, with heartbeats, and goes on by itself.
                Err(_) => wait = Some(READ_AGAIN),
            }
            match self.woken(wait).await {
                Woken::Events => {}
                Woken::Heartbeat => return Ok(self.checkpoint(Stage::Going)),
                Woken::Drain => return Ok(self.last_checkpoint()),
                Woken::Deadline => return Err(Failure::deadline_exceeded()),
            }
        }
    }

    /// The next message of the snapshot: how some open disputes stand, or that it is complete. Of one that an earlier
    /// stream has shown, the first message after it.
    async fn snapshot(&mut self) -> Result<WatchDisputesResponse, Failure> {
        loop {
            if self.shared.drain.is_cancelled() {
                return Ok(self.last_checkpoint());
            }
            let Some(snapshot) = &mut self.snapshot else { return self.live().await };
            let wait = match snapshot.step(&self.shared, &self.filter).await {
                Ok(Step::Page(events)) => {
                    return Ok(WatchDisputesResponse { events, checkpoint: None, resume_token: self.token() });
                }
                Ok(Step::Complete) => {
                    let is_first_told = snapshot.announce();
                    self.snapshot.take_if(|snapshot| snapshot.is_over_at(self.position));
                    return if is_first_told {
                        Ok(self.checkpoint(Stage::SnapshotComplete))
                    } else {
                        self.live().await
                    };
                }
                Ok(Step::More) => Duration::ZERO,
                Err(Error::Internal(what)) => return Err(Failure::internal(&what)),
                Err(_) => READ_AGAIN,
            };
            match self.woken(Some(wait)).await {
                Woken::Events => {}
                Woken::Heartbeat => return Ok(self.checkpoint(Stage::Going)),
                Woken::Drain => return Ok(self.last_checkpoint()),
                Woken::Deadline => return Err(Failure::deadline_exceeded()),
            }
        }
    }

    /// The payloads of these events, without those that a snapshot already shows.
    fn without_what_the_snapshot_covers(&self, events: &[Arc<LoggedEvent>]) -> Vec<Bytes> {
        let is_covered = |event: &LoggedEvent| self.snapshot.as_ref().is_some_and(|snapshot| snapshot.covers(event));
        events.iter().filter(|event| !is_covered(event)).map(|event| event.payload.clone()).collect()
    }

    async fn woken(&mut self, at_latest_after: Option<Duration>) -> Woken {
        let changed = async {
            let changed = self.head.changed();
            match at_latest_after {
                Some(span) => drop(tokio::time::timeout(span, std::future::pending::<()>()).await),
                // The feed lives as long as the handlers: this cannot fail.
                None => drop(changed.await),
            }
        };
        tokio::select! {
            biased;
            () = self.shared.drain.cancelled() => Woken::Drain,
            () = &mut self.end => Woken::Deadline,
            () = &mut self.next_heartbeat => Woken::Heartbeat,
            () = changed => Woken::Events,
        }
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
        ResumeToken { snapshot, ..self.shared.feed.token(self.position) }.encode()
    }
}
