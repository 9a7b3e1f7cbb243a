//! The connections: each is accepted, speaks HTTP/2 soon, and ends when the service drains and nothing is in flight on it.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use http::{Request, Response};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::transport::server::TcpIncoming;
use tower::Service;

use super::accept::Accepting;
use super::calls::{Calls, Counted};
use super::socket::{BytesRead, Counting};
use crate::clock::pause;

/// What every client begins with: the 24 bytes of the preface, and the header of a SETTINGS frame.
const OPENING_BYTES: usize = 24 + 9;

/// How many calls a client may cancel before the server has looked at them. More look like an attack: the connection ends
/// with ENHANCE_YOUR_CALM.
const CANCELLED_UNSEEN: usize = 1_000;

/// How many streams of one connection the server may have to reset because of the client's errors.
const RESETS_BY_ERRORS: usize = 1_024;

/// While draining, a connection with nothing in flight has twice so long to confirm its end.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// The bounds of each connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How long a client may take to begin with HTTP/2; zero for ever.
    pub(super) preface_timeout: Duration,
    /// How long a connection is silent before it is pinged, and how long the reply may take.
    pub(super) keepalive: Duration,
    /// How many calls can be in flight at once.
    pub(super) calls: u32,
    /// The longest header list that is read, as HTTP/2 counts it; the transport itself answers a longer one.
    pub(super) header_bytes: u32,
}

/// Serves whoever connects. Cancelling `drain` ends it: the socket is closed at once, each connection once nothing is in
/// flight on it. Dropping the future cuts all connections.
pub(super) async fn serve<S>(listener: TcpListener, service: S, bounds: Bounds, drain: CancellationToken)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Unpin + Send,
{
    let connection = Connection::new(service, bounds, drain.clone());
    let mut connections = JoinSet::new();
    {
        let mut incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(bounds.keepalive));
        let mut accepting = Accepting::Fine;
        loop {
            let accepted = tokio::select! {
                () = drain.cancelled() => break,
                accepted = incoming.next() => accepted,
                Some(_) = connections.join_next() => continue,
                () = accepting.settles() => continue,
            };
            match accepted {
                Some(Ok(socket)) => {
                    accepting.succeeded();
                    connections.spawn(connection.clone().run(socket));
                }
                Some(Err(error)) => tokio::select! {
                    () = drain.cancelled() => break,
                    () = accepting.failed(&error) => {}
                },
                None => break,
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

#[derive(Clone)]
struct Connection<S> {
    http2: http2::Builder<TokioExecutor>,
    service: S,
    preface_timeout: Duration,
    drain: CancellationToken,
}

impl<S> Connection<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Unpin + Send,
{
    fn new(service: S, bounds: Bounds, drain: CancellationToken) -> Self {
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(bounds.calls)
            .max_header_list_size(bounds.header_bytes)
            .max_pending_accept_reset_streams(CANCELLED_UNSEEN)
            .max_local_error_reset_streams(RESETS_BY_ERRORS)
            .keep_alive_interval(bounds.keepalive)
            .keep_alive_timeout(bounds.keepalive);
        Self { http2, service, preface_timeout: bounds.preface_timeout, drain }
    }

    async fn run(self, socket: TcpStream) {
        let (read, calls) = (BytesRead::default(), Calls::default());
        let has_begun = || read.get() >= OPENING_BYTES;
        let service = TowerToHyperService::new(Counted::new(self.service, calls.clone()));
        let socket = TokioIo::new(Counting::new(socket, read.clone()));
        let mut connection = pin!(self.http2.serve_connection(socket, service));
        let silence = async {
            if !self.preface_timeout.is_zero() {
                pause(self.preface_timeout).await;
                if !has_begun() {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = &mut connection => return tell(ended),
            () = silence => return tracing::debug!("a client did not begin with HTTP/2 in time, its connection is closed"),
            () = self.drain.cancelled() => {}
        }
        if !has_begun() {
            return;
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = &mut connection => tell(ended),
            () = idle(&calls) => {}
        }
    }
}

/// Returns once no call is in flight, twice in a row: the client may not have heard of the end when it made one.
async fn idle(calls: &Calls) {
    let mut was_idle = false;
    loop {
        pause(LAST_LOOK).await;
        let is_idle = calls.are_none();
        if was_idle && is_idle {
            return;
        }
        was_idle = is_idle;
    }
}

fn tell(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}
