//! `WatchDisputes`: the stream of events to one subscriber, who is a place in the log.
//!
//! The transport pulls: nothing is read for a subscriber that does not read.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, Stream};
use tokio::sync::watch::Receiver;
use tonic::{Request, Status};

use super::Shared;
use super::encoded::WatchDisputesResponse;
use super::requests;
use super::responses::timestamp;
use super::status::Failure;
use super::transport::Deadline;
use super::violations::Violations;
use crate::domain::Caller;
use crate::engine::{Error, EventFilter, Position};
use crate::proto::v1;

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
    let (filter, heartbeat) = violations.finish(filter.zip(heartbeat))?;
    let (token, from_beginning) = match &request.start {
        Some(Start::ResumeToken(token)) => (Some(token.as_str()), false),
        Some(Start::FromBeginning(from_beginning)) => (None, *from_beginning),
        None => (None, false),
    };
    let start = requests::start(token, from_beginning)?;
    if shared.drain.is_cancelled() {
        return Err(Failure::draining());
    }
    let position = shared.feed.start(start).await?;
    let head = shared.feed.head();
    let next_heartbeat = std::future::pending().boxed();
    let end = match deadline {
        Some(deadline) => deadline.passes().boxed(),
        None => std::future::pending().boxed(),
    };
    let subscriber =
        Subscriber { shared, filter, heartbeat, position, head, next_heartbeat, end, state: State::Subscribing };
    Ok(Box::pin(stream::unfold(subscriber, Subscriber::next)))
}

struct Subscriber {
    shared: Arc<Shared>,
    filter: EventFilter,
    heartbeat: Duration,
    /// Everything up to here was looked at for this subscriber.
    position: Position,
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
            State::Subscribing => Ok(self.checkpoint(true)),
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
                    if !page.events.is_empty() {
                        let events = page.events.iter().map(|event| event.payload.clone()).collect();
                        return Ok(WatchDisputesResponse { events, checkpoint: None, resume_token: self.token() });
                    }
                    if page.more && (&mut self.next_heartbeat).now_or_never().is_none() {
                        continue;
                    }
                    if page.more {
                        return Ok(self.checkpoint(false));
                    }
                }
                Err(Error::Internal(what)) => return Err(Failure::internal(&what)),
                // The database is away: the stream stays, with heartbeats, and goes on by itself.
                Err(_) => wait = Some(READ_AGAIN),
            }
            match self.woken(wait).await {
                Woken::Events => {}
                Woken::Heartbeat => return Ok(self.checkpoint(false)),
                Woken::Drain => return Ok(self.last_checkpoint()),
                Woken::Deadline => return Err(Failure::deadline_exceeded()),
            }
        }
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
        self.checkpoint(false)
    }

    fn checkpoint(&self, subscribed: bool) -> WatchDisputesResponse {
        let checkpoint = v1::Checkpoint {
            server_time: Some(timestamp(self.shared.clock.now())),
            subscribed,
            heartbeat_interval: prost_types::Duration::try_from(self.heartbeat).ok(),
        };
        WatchDisputesResponse { events: Vec::new(), checkpoint: Some(checkpoint), resume_token: self.token() }
    }

    fn token(&self) -> String {
        self.shared.feed.token(self.position).encode()
    }
}
