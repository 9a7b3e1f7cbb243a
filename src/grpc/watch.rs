//! `WatchDisputes`: the stream of events to one subscriber, who is a place in the log.
//!
//! The transport pulls: nothing is read for a subscriber that does not read.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, Stream};
use prost::Message as _;
use tokio::sync::watch::Receiver;
use tonic::{Request, Status};

use super::Shared;
use super::encoded::WatchDisputesResponse;
use super::requests;
use super::responses::{self, timestamp};
use super::status::Failure;
use super::transport::Deadline;
use super::violations::Violations;
use crate::clock::mint_id;
use crate::domain::Caller;
use crate::domain::{DisputeId, DisputeStatus, EventId, Timestamp};
use crate::engine::{Error, EventFilter, Position, ResumeToken, Start as Place, StartError};
use crate::proto::v1;
use crate::repository::{DisputeQuery, LoggedEvent, Sort};

/// The stream of one subscriber.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<WatchDisputesResponse, Status>> + Send>>;

/// How many disputes one read of a snapshot looks at …
const SNAPSHOT_PAGE: u64 = 256;
/// … and the size that the disputes in one message do not exceed, unless a single one does.
const PAGE_BYTES: usize = 1024 * 1024;

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
    if request.include_snapshot && request.start.is_some() {
        violations.add("include_snapshot", "must not be set together with a start");
    }
    let (filter, heartbeat) = violations.finish(filter.zip(heartbeat))?;
    let (token, from_beginning) = match &request.start {
        Some(Start::ResumeToken(token)) => (Some(token.as_str()), false),
        Some(Start::FromBeginning(from_beginning)) => (None, *from_beginning),
        None => (None, false),
    };
    let start = requests::start(token, from_beginning)?;
    let repeats_snapshot = matches!(start, Place::After(ResumeToken { in_snapshot: true, .. }));
    if shared.drain.is_cancelled() {
        return Err(Failure::draining());
    }
    let position = match shared.feed.start(start).await {
        // A snapshot that begins again needs nothing of what is no longer kept.
        Ok(_) | Err(StartError::Expired { .. }) if repeats_snapshot => shared.feed.start(Place::Now).await?,
        position => position?,
    };
    let snapshot = (request.include_snapshot || repeats_snapshot).then(Snapshot::default);
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

/// How each open dispute stands, sent before what comes.
#[derive(Default)]
struct Snapshot {
    /// The last one that was sent.
    last: Option<(Timestamp, DisputeId)>,
    /// What was sent, with its revision. Bounded by how many disputes are open.
    sent: HashMap<DisputeId, i64>,
    /// Set when everything was sent: events up to this number can be in what was sent.
    covers: Option<i64>,
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
            State::Live if self.is_in_snapshot() => self.snapshot().await,
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

    fn is_in_snapshot(&self) -> bool {
        self.snapshot.as_ref().is_some_and(|snapshot| snapshot.covers.is_none())
    }

    /// The next message of the snapshot: how some open disputes stand, or that it is complete.
    async fn snapshot(&mut self) -> Result<WatchDisputesResponse, Failure> {
        loop {
            if self.shared.drain.is_cancelled() {
                return Ok(self.last_checkpoint());
            }
            match self.read_snapshot().await {
                Ok(events) if !events.is_empty() => {
                    return Ok(WatchDisputesResponse { events, checkpoint: None, resume_token: self.token() });
                }
                Ok(_) => return Ok(self.checkpoint(Stage::SnapshotComplete)),
                Err(Error::Internal(what)) => return Err(Failure::internal(&what)),
                Err(_) => {}
            }
            match self.woken(Some(READ_AGAIN)).await {
                Woken::Events => {}
                Woken::Heartbeat => return Ok(self.checkpoint(Stage::Going)),
                Woken::Drain => return Ok(self.last_checkpoint()),
                Woken::Deadline => return Err(Failure::deadline_exceeded()),
            }
        }
    }

    /// Reads on in the snapshot. Each page is read at a moment of its own; the revisions tell which events a
    /// dispute that was sent has behind it.
    async fn read_snapshot(&mut self) -> Result<Vec<Bytes>, Error> {
        let Some(snapshot) = &mut self.snapshot else { return Ok(Vec::new()) };
        let filter = &self.filter;
        let query = DisputeQuery {
            visible_to: filter.caller.scope.is_none().then(|| filter.caller.user.clone()),
            disputes: filter.disputes.iter().copied().collect(),
            orders: filter.orders.iter().cloned().collect(),
            party: filter.party.clone(),
            kinds: filter.kinds.iter().copied().collect(),
            statuses: vec![DisputeStatus::Pending, DisputeStatus::Escalated],
            sort: Sort::OldestFirst,
            after: snapshot.last,
            limit: SNAPSHOT_PAGE,
            ..DisputeQuery::default()
        };
        let found = self.shared.repository.disputes(&query).await?;
        let now = self.shared.clock.now();
        let mut events = Vec::with_capacity(found.len());
        let mut bytes = 0_usize;
        for (id, case) in &found {
            let Some(dispute) = case.dispute(*id) else { continue };
            let event = responses::encode_snapshot(EventId(mint_id()), case, dispute, now);
            bytes = bytes.saturating_add(event.len());
            if bytes > PAGE_BYTES && !events.is_empty() {
                break;
            }
            events.push(event.into());
            snapshot.last = Some((dispute.create_time, *id));
            snapshot.sent.insert(*id, dispute.revision);
        }
        if events.is_empty() {
            let log = self.shared.repository.log().await?;
            snapshot.covers = Some(log.head);
        }
        Ok(events)
    }

    /// The payloads of these events, without those that a snapshot already shows.
    fn without_what_the_snapshot_covers(&mut self, events: &[Arc<LoggedEvent>]) -> Vec<Bytes> {
        let is_covered = |event: &LoggedEvent| {
            let sent = self.snapshot.as_ref().and_then(|snapshot| snapshot.sent.get(&event.dispute));
            sent.is_some_and(|sent| v1::DisputeEvent::decode(event.payload.clone()).is_ok_and(|e| e.revision <= *sent))
        };
        let events = events.iter().filter(|event| !is_covered(event)).map(|event| event.payload.clone()).collect();
        self.snapshot.take_if(|snapshot| snapshot.covers.is_some_and(|head| head <= self.position.seq));
        events
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
        let token = self.shared.feed.token(self.position);
        ResumeToken { in_snapshot: self.is_in_snapshot(), ..token }.encode()
    }
}
