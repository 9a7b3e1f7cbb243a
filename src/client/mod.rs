//! For callers of the service: [`watch`] follows the events of disputes, reconnecting as necessary.
//!
//! Everything else is one call of the generated [`DisputeServiceClient`] or
//! [`OrderServiceClient`](v1::order_service_client::OrderServiceClient).

mod backoff;
mod deduplicator;
mod error;

use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use tonic::client::GrpcService;
use tonic::codegen::{Body, Bytes, StdError};
use tonic::{Status, Streaming};

use self::backoff::Backoff;
use self::deduplicator::Deduplicator;
pub use self::error::WatchError;
use crate::proto::v1::dispute_service_client::DisputeServiceClient;
use crate::proto::v1::watch_disputes_request::Start;
use crate::proto::v1::{self, WatchDisputesRequest, WatchDisputesResponse};

/// The maximum interval between messages, until the request or the service states one.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The shortest interval that the service accepts. A request for less gets this long to be refused.
const SHORTEST_HEARTBEAT: Duration = Duration::from_secs(1);

/// After how many heartbeats without a message a stream counts as dead.
const HEARTBEATS: u32 = 3;

/// An item of a watch: events, and the position after them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// Up to 256 events, in log order. Empty if only the token has advanced.
    pub events: Vec<v1::DisputeEvent>,
    /// Covers everything up to and including this batch: store it once the events are processed. A watch that starts
    /// with it continues from here.
    pub resume_token: String,
    /// Whether the requested snapshot is complete with this batch. Live events follow. Set again if the service had to
    /// repeat the snapshot.
    pub snapshot_complete: bool,
}

/// Follows disputes: yields every event that matches `request` and that the caller may see, in order, without gaps and
/// without repetitions, even if connections and servers fail meanwhile.
///
/// `request` selects the events, the start, whether a snapshot comes first, and the heartbeat. The start is used only
/// until a token was received: without one, a watch from now starts at the moment it connects.
///
/// `connect` is called for a client before each attempt, in a tokio runtime: it provides channel, interceptor and
/// credentials. Create a new channel each time, as below: a channel keeps its connection, even one that has gone
/// silent, unless it has a keepalive.
///
/// Nothing happens until the stream is polled, and dropping it ends the watch. Cancel safe: dropping the future of a
/// `next()` loses nothing.
///
/// # What it does
///
/// - **Reconnects** with the last token after every failure except a refusal: when the connection breaks, when the
///   service is unavailable or draining, and when nothing arrived for three heartbeats, on the stream or while
///   connecting. Each interruption is logged as a `tracing` event.
/// - **Backs off between attempts** for a random time of up to 100 ms, 200 ms, 400 ms … 10 s, in addition to the delay
///   that the service requests (`google.rpc.RetryInfo`). Starts with 100 ms again once a stream has sent more than its
///   first message.
/// - **Removes repetitions**: an event is yielded only if its revision is higher than all yielded ones of its dispute.
///   So a repeated snapshot does not repeat what it showed, and no event follows that a snapshot already reflects.
///
/// # Bounds
///
/// Holds one message (up to 256 events) besides the transport's buffers, and the id and revision of those 65,536 to
/// 131,072 disputes that most recently had an event: some 15 MB at most, and little for callers that see few disputes.
/// For disputes beyond that, a repeated snapshot is yielded again.
///
/// # Errors
///
/// The last item is a [`WatchError`] if reconnecting cannot help, for example when the request or the caller is refused
/// or the history after the token is no longer kept. The stream ends only with such an error.
///
/// ```no_run
/// use dispute_service::client;
/// use dispute_service::proto::v1::WatchDisputesRequest;
/// use dispute_service::proto::v1::dispute_service_client::DisputeServiceClient;
/// use futures_util::StreamExt as _;
/// use tonic::transport::Endpoint;
///
/// # async fn follow() -> Result<(), Box<dyn std::error::Error>> {
/// let service = Endpoint::from_static("http://127.0.0.1:50051");
/// let identity = |mut request: tonic::Request<()>| {
///     request.metadata_mut().insert("x-user-id", tonic::metadata::MetadataValue::from_static("bob"));
///     Ok(request)
/// };
/// let connect = move || DisputeServiceClient::with_interceptor(service.connect_lazy(), identity);
/// let mut watch = client::watch(connect, WatchDisputesRequest { include_snapshot: true, ..Default::default() });
/// while let Some(batch) = watch.next().await.transpose()? {
///     for event in batch.events {
///         println!("{:?} {}", event.r#type(), event.dispute.unwrap_or_default().order_id);
///     }
///     // Store batch.resume_token here.
/// }
/// # Ok(())
/// # }
/// ```
pub fn watch<F, T>(connect: F, request: WatchDisputesRequest) -> BoxStream<'static, Result<Batch, WatchError>>
where
    F: FnMut() -> DisputeServiceClient<T> + Send + 'static,
    T: GrpcService<tonic::body::Body> + Send + 'static,
    T::Error: Into<StdError>,
    T::Future: Send,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    stream::unfold(Watcher::new(connect, request), Watcher::next).fuse().boxed()
}

struct Watcher<F> {
    connect: F,
    /// The request of the next attempt: with the last token, once there is one.
    request: WatchDisputesRequest,
    stream: Option<Streaming<WatchDisputesResponse>>,
    heartbeat: Duration,
    backoff: Backoff,
    deduplicator: Deduplicator,
    /// Whether the error was yielded.
    is_over: bool,
}

impl<F, T> Watcher<F>
where
    F: FnMut() -> DisputeServiceClient<T>,
    T: GrpcService<tonic::body::Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    fn new(connect: F, request: WatchDisputesRequest) -> Self {
        let heartbeat = request.heartbeat_interval.and_then(|interval| interval.try_into().ok()).unwrap_or(HEARTBEAT);
        Self {
            connect,
            request,
            stream: None,
            heartbeat,
            backoff: Backoff::default(),
            deduplicator: Deduplicator::default(),
            is_over: false,
        }
    }

    async fn next(mut self) -> Option<(Result<Batch, WatchError>, Self)> {
        while !self.is_over {
            let patience = patience(self.heartbeat);
            let message = tokio::time::timeout(patience, self.message()).await;
            match message.unwrap_or_else(|_| Err(Status::deadline_exceeded("no message arrived for three heartbeats")))
            {
                Ok(message) => {
                    if let Some(batch) = self.batch(message) {
                        return Some((Ok(batch), self));
                    }
                }
                Err(status) => {
                    let was_let_in = self.stream.take().is_some();
                    let error = WatchError::from(status);
                    if error.is_final(was_let_in) {
                        self.is_over = true;
                        return Some((Err(error), self));
                    }
                    let delay = self.backoff.delay(error.retry_after(), fastrand::f64());
                    let causes = error.causes();
                    // As a text, so that the log escapes what a stranger may have written.
                    let error = error.to_string();
                    tracing::warn!(error, causes, ?delay, "the watch was interrupted: reconnecting");
                    sleep(delay).await;
                }
            }
        }
        None
    }

    /// Returns the next message of the stream; of a new one, if there is none.
    async fn message(&mut self) -> Result<WatchDisputesResponse, Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let response = (self.connect)().watch_disputes(self.request.clone()).await?;
                none.insert(response.into_inner())
            }
        };
        let message = stream.message().await?;
        message.ok_or_else(|| Status::unavailable("the stream ended without a status"))
    }

    /// The new part of a message, if any.
    fn batch(&mut self, message: WatchDisputesResponse) -> Option<Batch> {
        let WatchDisputesResponse { mut events, checkpoint, resume_token } = message;
        let checkpoint = checkpoint.unwrap_or_default();
        if let Some(heartbeat) = checkpoint.heartbeat_interval.and_then(|interval| interval.try_into().ok()) {
            self.heartbeat = heartbeat;
        }
        // A server that always fails after its first message must not be called without a pause.
        if !checkpoint.subscribed {
            self.backoff = Backoff::default();
        }
        events.retain(|event| {
            event.dispute.as_ref().is_none_or(|dispute| self.deduplicator.is_new(&dispute.dispute_id, event.revision))
        });
        let start = Start::ResumeToken(resume_token.clone());
        let moves_on = self.request.start.as_ref() != Some(&start);
        self.request.start = Some(start);
        // A token from within a snapshot requests the rest by itself.
        self.request.include_snapshot = false;
        let snapshot_complete = checkpoint.snapshot_complete;
        (moves_on || snapshot_complete || !events.is_empty()).then_some(Batch {
            events,
            resume_token,
            snapshot_complete,
        })
    }
}

/// How long to wait for a message.
fn patience(heartbeat: Duration) -> Duration {
    heartbeat.max(SHORTEST_HEARTBEAT).saturating_mul(HEARTBEATS)
}

#[expect(clippy::disallowed_methods, reason = "clock.rs is the service's, whose clock a test moves; clients have none")]
async fn sleep(span: Duration) {
    tokio::time::sleep(span).await;
}

#[cfg(test)]
mod tests {
    use tonic::transport::Channel;

    use super::*;

    fn watcher(heartbeat: Option<prost_types::Duration>) -> Watcher<impl FnMut() -> DisputeServiceClient<Channel>> {
        let request =
            WatchDisputesRequest { include_snapshot: true, heartbeat_interval: heartbeat, ..Default::default() };
        Watcher::new(|| panic!("nothing is sent"), request)
    }

    fn seconds(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    fn message(resume_token: &str, checkpoint: v1::Checkpoint) -> WatchDisputesResponse {
        let resume_token = resume_token.to_owned();
        WatchDisputesResponse { events: Vec::new(), checkpoint: Some(checkpoint), resume_token }
    }

    #[test]
    fn silence_is_borne_for_three_heartbeats_of_the_interval_that_the_service_states() {
        // The requested interval, the one that the service states, and the seconds before and after the timeout.
        for (asked_for, stated, before, after) in [
            (None, None, 45, 45),
            (None, seconds(20), 45, 60),
            (seconds(60), None, 180, 180),
            (seconds(5), seconds(2), 15, 6),
            (seconds(0), seconds(0), 3, 3),
            (seconds(-1), seconds(-1), 45, 45),
        ] {
            let mut watcher = watcher(asked_for);
            assert_eq!(patience(watcher.heartbeat).as_secs(), before, "{asked_for:?}");
            watcher.batch(message("a", v1::Checkpoint { heartbeat_interval: stated, ..Default::default() }));
            assert_eq!(patience(watcher.heartbeat).as_secs(), after, "{asked_for:?} {stated:?}");
        }
    }

    #[test]
    fn what_says_nothing_new_is_not_yielded_and_the_last_token_is_asked_for_next() {
        let beat = v1::Checkpoint::default;
        let complete = v1::Checkpoint { snapshot_complete: true, ..beat() };
        let mut watcher = watcher(None);
        for (token, checkpoint, is_yielded) in [
            ("a", beat(), true),
            ("a", beat(), false),
            ("b", beat(), true),
            ("b", complete, true),
            ("b", beat(), false),
        ] {
            let batch = watcher.batch(message(token, checkpoint));
            assert_eq!(batch.is_some(), is_yielded, "{token} {checkpoint:?}");
            assert!(batch.is_none_or(|batch| batch.snapshot_complete == checkpoint.snapshot_complete));
            assert_eq!(watcher.request.start, Some(Start::ResumeToken(token.to_owned())));
            assert!(!watcher.request.include_snapshot, "a token does not go together with it");
        }
    }

    #[test]
    fn the_waits_begin_anew_when_a_stream_has_said_more_than_hello() {
        let mut watcher = watcher(None);
        let mut next_wait = |subscribed| {
            watcher.batch(message("a", v1::Checkpoint { subscribed, ..Default::default() }));
            watcher.backoff.delay(None, 1.0).as_millis()
        };
        assert_eq!([true, true, true, false, true].map(&mut next_wait), [100, 200, 400, 100, 200]);
    }
}
