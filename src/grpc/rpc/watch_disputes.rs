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
use prost::Message as _;
use tonic::Status;

use super::{Call, Class, Rpc, Shape};
use crate::chance::jittered;
use crate::domain::{Caller, Operation};
use crate::engine::{self, EventFilter, News, Watch, WatchRequest};
use crate::grpc::Shared;
use crate::grpc::encoded::WatchDisputesResponse;
use crate::grpc::event_filter::{self, EVENT_FILTER};
use crate::grpc::payloads::{SNAPSHOT_CODEC, TracedEvent};
use crate::grpc::quota::StreamPermit;
use crate::grpc::responses::timestamp;
use crate::grpc::status::Failure;
use crate::grpc::violations::{Violations, known_instant};
use crate::metrics::METRICS;
use crate::proto::v1;
use crate::proto::v1::watch_disputes_request::Start;
use crate::traces::TraceParent;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.v1.DisputeService/WatchDisputes", Class::Stream, Operation::WatchDisputes)
        .shape(Shape::ServerStreaming)
        .lists(EVENT_FILTER);

/// How late a delivery is recorded in the trace of its event.
const DELIVERED_WITHIN: Duration = Duration::from_secs(60);

/// The stream of one subscriber.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<WatchDisputesResponse, Status>> + Send>>;

/// What is looked for, and the interval of heartbeats.
pub(super) fn parse(
    mut violations: Violations,
    caller: &Caller,
    request: &v1::WatchDisputesRequest,
) -> Result<(EventFilter, Duration), Failure> {
    let filter = event_filter::read(&mut violations, caller, request.filter.as_ref());
    let heartbeat = violations.heartbeat(request.heartbeat_interval);
    let has_start = match &request.start {
        Some(Start::ResumeToken(token)) => !token.is_empty(),
        Some(Start::FromBeginning(from_beginning)) => *from_beginning,
        None => false,
    };
    if request.include_snapshot && has_start {
        violations.add("include_snapshot", "must not be combined with start");
    }
    violations.finish(filter.zip(heartbeat))
}

/// Everything that can be refused is refused here, before the first message.
pub(super) async fn run(call: Call<'_>, request: v1::WatchDisputesRequest) -> Result<Events, Failure> {
    let Call { shared, caller, deadline, validity } = call;
    let (filter, heartbeat) = parse(Violations::default(), &caller, &request)?;
    if shared.drain.is_cancelled() {
        return Err(Failure::draining());
    }
    // Before anything is read for it: so no more reads wait than there can be streams.
    let permit = shared.quota.acquire(&caller, filter.ids()).ok_or_else(Failure::too_many_subscriptions)?;
    let start = match &request.start {
        Some(Start::ResumeToken(token)) => event_filter::start(token, false),
        Some(Start::FromBeginning(from_beginning)) => event_filter::start("", *from_beginning),
        None => event_filter::start("", false),
    };
    let audience = event_filter::audience(&filter);
    let asked = WatchRequest { filter, audience, start, include_snapshot: request.include_snapshot };
    let watch = shared.feed.watch(asked, shared.clock.clone(), SNAPSHOT_CODEC).await?;
    METRICS.streams_started.one([match start {
        engine::Start::After(_) => "token",
        engine::Start::Beginning => "beginning",
        engine::Start::Now if request.include_snapshot => "snapshot",
        engine::Start::Now => "now",
    }]);
    let never = || std::future::pending().boxed();
    let rotation = match shared.max_stream_age {
        Duration::ZERO => never(),
        age => {
            let clock = shared.clock.clone();
            async move { clock.sleep(jittered(age)).await }.boxed()
        }
    };
    let expiry = match validity {
        Some(validity) => validity.ends(shared.clock.clone()).boxed(),
        None => std::future::pending().boxed(),
    };
    let subscriber = Subscriber {
        shared: shared.clone(),
        caller,
        heartbeat,
        watch,
        next_heartbeat: never(),
        rotation,
        expiry,
        end: deadline.map_or_else(never, |deadline| deadline.passes().boxed()),
        state: State::Subscribing,
        _permit: permit,
    };
    Ok(Box::pin(stream::unfold(subscriber, Subscriber::next)))
}

struct Subscriber {
    shared: Arc<Shared>,
    caller: Caller,
    heartbeat: Duration,
    watch: Watch,
    next_heartbeat: BoxFuture<'static, ()>,
    /// When the stream has lasted long enough: the client comes back, perhaps to another replica.
    rotation: BoxFuture<'static, ()>,
    /// When the token or certificate that the stream was opened with is no longer valid, and why.
    expiry: BoxFuture<'static, Failure>,
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

impl Subscriber {
    async fn next(mut self) -> Option<(Result<WatchDisputesResponse, Status>, Self)> {
        let message = match std::mem::replace(&mut self.state, State::Going) {
            State::Subscribing => Ok(self.checkpoint(Stage::Subscribed)),
            State::Going => self.message().await,
            State::Ending(failure) => Err(failure),
            State::Ended => return None,
        };
        match &message {
            Ok(message) => {
                METRICS.stream_messages.one([]);
                METRICS.events_sent.more([], message.events.len());
                self.record(&message.events);
            }
            Err(_) => self.state = State::Ended,
        }
        let clock = self.shared.clock.clone();
        let heartbeat = self.heartbeat;
        self.next_heartbeat = async move { clock.sleep(heartbeat).await }.boxed();
        Some((message.map_err(Status::from), self))
    }

    /// The next message: of the snapshot, events, or a heartbeat if there are none for so long.
    async fn message(&mut self) -> Result<WatchDisputesResponse, Failure> {
        tokio::select! {
            biased;
            () = self.shared.drain.cancelled() => Ok(self.last_checkpoint(Failure::draining())),
            () = &mut self.rotation => Ok(self.last_checkpoint(Failure::draining())),
            failure = &mut self.expiry => Ok(self.last_checkpoint(failure)),
            () = &mut self.end => Err(Failure::deadline_exceeded()),
            news = self.watch.next() => match news? {
                News::Events(events) => {
                    Ok(WatchDisputesResponse { events, checkpoint: None, resume_token: self.token() })
                }
                News::SnapshotComplete => Ok(self.checkpoint(Stage::SnapshotComplete)),
            },
            () = &mut self.next_heartbeat => {
                self.watch.advance();
                Ok(self.checkpoint(Stage::Going))
            }
        }
    }

    /// Records the delivery of what has just happened, in the traces of the calls that it came of. What is sent again later
    /// belongs to no trace: collectors do not keep them open.
    fn record(&self, events: &[Bytes]) {
        if !self.shared.tracer.is_on() {
            return;
        }
        let now = self.shared.clock.now();
        for event in events.iter().filter_map(|event| TracedEvent::decode(event.clone()).ok()) {
            let text = str::from_utf8(&event.trace_parent).unwrap_or_default();
            let Some(trace) = TraceParent::parse(text).filter(TraceParent::is_sampled) else { continue };
            let time = event.event_time.as_ref().and_then(known_instant);
            if time.is_some_and(|time| now < time.plus(DELIVERED_WITHIN)) {
                let mut span = self.shared.tracer.delivery(trace, &self.caller);
                span.set("disputes.event.id", String::from_utf8_lossy(&event.event_id).into_owned());
            }
        }
    }

    /// The checkpoint before the stream ends with `failure`.
    fn last_checkpoint(&mut self, failure: Failure) -> WatchDisputesResponse {
        self.state = State::Ending(failure);
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
        self.watch.token().encode()
    }
}
