//! The connections: each is accepted, starts HTTP/2 or HTTP/1.1 soon, and ends when the service drains and nothing is in
//! flight on it.

use std::convert::Infallible;
use std::io::Result;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use super::accept::Accepting;
use super::arriving::Budget;
use super::calls::{CallExecutor, Calls, Counted};
use super::conduct::Conduct;
use super::frames::{HEAD_BYTES, PREFACE};
use super::http1;
use super::registry::{ConnectionPermit, Registry};
use super::socket::Socket;
use super::tls::Tls;
use super::turns::{Begun, InTurns, Turn};
use super::wire::Wire;
use crate::clock::pause;
use crate::grpc::{AnswerBudget, PeerAddress, PeerIdentity};

/// What every client of HTTP/2 starts with: the preface, and the head of a SETTINGS frame.
const OPENING_BYTES: usize = PREFACE.len() + HEAD_BYTES;

/// How many calls a client may cancel before the server has processed them. More look like an attack: the connection
/// ends with ENHANCE_YOUR_CALM.
const CANCELLED_UNSEEN: usize = 1_000;

/// How many connections may be starting: that is a long turn, and others have theirs in between.
const NEW_AT_ONCE: usize = 16;

/// How many connections may be ending: closing a socket and dropping the transport's state is a long turn too, and
/// thousands may be dropped at once. One, so that others have their turns in between: with four, ten thousand stopped
/// everybody for 400 ms. Their calls end at once.
const ENDING_AT_ONCE: usize = 1;

/// A connection that has not started for this long is no longer counted as starting.
const ABOUT_TO_BEGIN: Duration = Duration::from_millis(1);

/// While draining, a connection with nothing in flight has twice this long to confirm its end.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The limits of each connection, and of their number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How long a client may take to start HTTP, including its TLS handshake, and with HTTP/1.1 the head of its request; zero
    /// for no limit.
    pub(super) preface_timeout: Duration,
    /// How long a connection may be idle before it is pinged, and how long the reply may take.
    pub(super) keepalive: Duration,
    /// The maximum number of calls in flight.
    pub(super) calls: u32,
    /// The longest header list that is read, as HTTP/2 counts it; the transport itself refuses longer ones.
    pub(super) header_bytes: u32,
    /// How many streams the server may have to reset because of the client's errors; 0 for no limit.
    pub(super) error_resets: u32,
    /// The maximum number of bytes of unread responses per connection; 0 for no limit.
    pub(super) answer_bytes: u32,
    /// How long a client may take to read a response; zero for no limit.
    pub(super) answer_timeout: Duration,
}

/// Serves all clients that connect, over TLS if that is given. Cancelling `drain` ends it: the listening socket closes at
/// once, each connection as soon as nothing is in flight on it. Dropping the future cuts all connections.
pub(super) async fn serve<S>(
    listener: TcpListener,
    tls: Option<Tls>,
    service: S,
    bounds: Bounds,
    registry: Registry,
    drain: CancellationToken,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Unpin + Send,
{
    let answers = AnswerBudget::new(bounds.answer_bytes);
    let ending = Arc::new(Semaphore::new(ENDING_AT_ONCE));
    let heads = Budget::new();
    let turns = Arc::new(Semaphore::new(http1::TURNS_AT_ONCE));
    let server = Arc::new(Server { service, tls, bounds, answers, ending, heads, turns, drain: drain.clone() });
    let mut connections = JoinSet::new();
    let mut accepting = Accepting::Fine;
    let new = Arc::new(Semaphore::new(NEW_AT_ONCE));
    loop {
        let accepted = tokio::select! {
            () = drain.cancelled() => break,
            accepted = accept(&listener, &new) => accepted,
            Some(_) = connections.join_next() => continue,
            () = accepting.settles() => continue,
        };
        match accepted {
            Ok((socket, address, permit)) => {
                accepting.succeeded();
                // A refused connection is closed by dropping it.
                if let Ok(place) = registry.enter(address.ip()) {
                    connections.spawn(server.clone().run(socket, address, place, permit));
                }
            }
            Err(error) => {
                registry.make_room();
                tokio::select! {
                    () = drain.cancelled() => break,
                    () = accepting.failed(&error) => {}
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    let (refused, replaced) = registry.refused_and_replaced();
    if refused + replaced > 0 {
        tracing::info!(refused, replaced, "connections refused or replaced at the limit");
    }
}

/// Returns the next connection, once few enough of the previous ones are starting. Cancel safe.
async fn accept(
    listener: &TcpListener,
    new: &Arc<Semaphore>,
) -> Result<(TcpStream, SocketAddr, Option<OwnedSemaphorePermit>)> {
    let permit = new.clone().acquire_owned().await.ok();
    let (socket, address) = listener.accept().await?;
    Ok((socket, address, permit))
}

/// A client that has started.
struct Opened {
    wire: Wire,
    begun: Protocol,
    address: SocketAddr,
    /// The identity of the client certificate, if any.
    identity: Option<PeerIdentity>,
}

/// What a client has started with.
enum Protocol {
    /// HTTP/2, with these bytes.
    Http2(Vec<u8>),
    /// HTTP/1.1, with this head.
    Http1(http1::Head),
}

/// State shared by all connections.
struct Server<S> {
    service: S,
    tls: Option<Tls>,
    bounds: Bounds,
    answers: Arc<AnswerBudget>,
    ending: Arc<Semaphore>,
    /// What long heads of HTTP/1 may take …
    heads: Budget,
    /// … and the turns of its connections.
    turns: Arc<Semaphore>,
    drain: CancellationToken,
}

impl<S> Server<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Unpin + Send,
{
    async fn run(
        self: Arc<Self>,
        socket: TcpStream,
        address: SocketAddr,
        place: ConnectionPermit,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        // No HTTP or TLS state exists before the client has started: 10,000 silent connections take next to nothing.
        let opened = tokio::select! {
            opened = self.begin(socket, address, permit) => opened,
            () = place.has_to_go() => return,
            () = self.drain.cancelled() => return,
        };
        if let Some(opened) = opened {
            place.begun();
            let service = self.counted(&opened, place.calls());
            let _ending = match opened.begun {
                Protocol::Http2(bytes) => Box::pin(self.speak_http2(opened.wire, bytes, service, &place)).await,
                Protocol::Http1(head) => Box::pin(self.speak_http1(opened.wire, head, service, &place)).await,
            };
        }
    }

    /// Returns a client that has started; `None` if it did not, or not in time. The permit is released then, or when the
    /// connection no longer counts as starting.
    async fn begin(
        &self,
        socket: TcpStream,
        address: SocketAddr,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Option<Opened> {
        let mut opened = pin!(self.open(socket, address));
        tokio::select! {
            opened = &mut opened => return opened.ok(),
            () = pause(ABOUT_TO_BEGIN) => drop(permit),
        }
        let timeout = self.bounds.preface_timeout;
        if timeout.is_zero() {
            return opened.await.ok();
        }
        tokio::select! {
            opened = opened => opened.ok(),
            () = pause(timeout) => {
                tracing::debug!("a client did not start HTTP in time: closing its connection");
                None
            }
        }
    }

    /// Waits for the client to start: TLS, if that is given, then HTTP.
    async fn open(&self, socket: TcpStream, address: SocketAddr) -> Result<Opened> {
        // Writes go out at once.
        socket.set_nodelay(true)?;
        socket.readable().await?;
        let (mut wire, identity) = match &self.tls {
            None => (Wire::Plain(socket), None),
            Some(tls) => {
                let (stream, identity) = Box::pin(tls.accept(socket)).await?;
                (Wire::Tls(Box::new(stream)), identity)
            }
        };
        match self.first_of(&mut wire).await {
            Ok(begun) => Ok(Opened { wire, begun, address, identity }),
            Err(error) => {
                // Thousands may go at once.
                let _ending = self.ending.clone().acquire_owned().await;
                drop(wire);
                Err(error)
            }
        }
    }

    /// Waits for what the client starts with.
    async fn first_of(&self, wire: &mut Wire) -> Result<Protocol> {
        let bytes = first_bytes(wire).await?;
        Ok(if bytes.starts_with(PREFACE) {
            Protocol::Http2(bytes)
        } else {
            Protocol::Http1(http1::Head::read(wire, bytes, &self.heads).await?)
        })
    }

    /// Serves a connection of HTTP/2 until it ends. All its state has been dropped when the permit is returned.
    async fn speak_http2(
        &self,
        wire: Wire,
        bytes: Vec<u8>,
        service: Counted<S>,
        place: &ConnectionPermit,
    ) -> Option<OwnedSemaphorePermit> {
        let Bounds { keepalive, error_resets, .. } = self.bounds;
        // A client that reads nothing gets as long as one that does not reply to a ping.
        let (turn, begun_calls) = (Turn::default(), Begun::default());
        let stall_timeout = keepalive.saturating_mul(2);
        let socket = Socket::new(wire, bytes, Conduct::new(error_resets), turn.clone(), stall_timeout);
        let http2 = self.http2(place.calls().clone(), begun_calls.clone());
        let connection = http2.serve_connection(TokioIo::new(socket), service);
        let mut connection = pin!(InTurns::new(connection, begun_calls, turn.clone()));
        let permit = self
            .until_end(connection.as_mut(), place, &turn, |connection| connection.connection().graceful_shutdown())
            .await;
        if permit.is_some() {
            return permit;
        }
        connection.as_mut().drop_calls();
        self.ending.clone().acquire_owned().await.ok()
    }

    /// Serves a connection of HTTP/1.1 until it ends. All its state has been dropped when the permit is returned.
    async fn speak_http1(
        &self,
        wire: Wire,
        head: http1::Head,
        service: Counted<S>,
        place: &ConnectionPermit,
    ) -> Option<OwnedSemaphorePermit> {
        let Bounds { keepalive, answer_timeout, .. } = self.bounds;
        // HTTP/1.1 has no pings.
        if let Err(error) = wire.ask_when_silent(keepalive) {
            tracing::debug!(%error, "keepalive could not be set");
        }
        let timeout = keepalive.saturating_mul(2);
        let transport = head.transport();
        let connection = transport.serve_connection(TokioIo::new(http1::Socket::new(wire, head, timeout)), service);
        let mut connection =
            pin!(http1::OneCall::new(connection, place.calls().clone(), answer_timeout, self.turns.clone()));
        let permit = self
            .until_end(connection.as_mut(), place, &Turn::default(), |connection| {
                connection.connection().graceful_shutdown();
            })
            .await;
        match permit {
            None => self.ending.clone().acquire_owned().await.ok(),
            permit => permit,
        }
    }

    /// What serves the calls of a connection.
    fn counted(&self, opened: &Opened, calls: &Calls) -> Counted<S> {
        let peer = PeerAddress(opened.address.ip());
        let (service, answers) = (self.service.clone(), self.answers.connection());
        Counted::new(service, calls.clone(), answers, peer, opened.identity.clone())
    }

    /// Serves a connection until it ends, or has to: then it is shut down, and served while something is in flight on it.
    /// Returns a permit to drop it, unless it has ended before there was one.
    async fn until_end<C: Future<Output = Option<hyper::Result<()>>>>(
        &self,
        mut connection: Pin<&mut C>,
        place: &ConnectionPermit,
        turn: &Turn,
        shut_down: impl FnOnce(Pin<&mut C>),
    ) -> Option<OwnedSemaphorePermit> {
        let mut ended = tokio::select! {
            ended = &mut connection => Some(ended),
            () = place.has_to_go() => None,
            () = self.drain.cancelled() => None,
        };
        if ended.is_none() {
            shut_down(connection.as_mut());
            ended = tokio::select! {
                ended = &mut connection => Some(ended),
                () = idle(place.calls(), turn) => None,
            };
        }
        if let Some(Some(Err(error))) = &ended {
            tracing::debug!(%error, "a connection failed");
        }
        if ended.is_some() {
            return None;
        }
        // The client may still be there: it is served until the turn to end has come.
        tokio::select! {
            permit = self.ending.clone().acquire_owned() => permit.ok(),
            _ = &mut connection => None,
        }
    }

    fn http2(&self, of: Calls, begun: Begun) -> http2::Builder<CallExecutor> {
        let Bounds { keepalive, calls, header_bytes, answer_timeout, .. } = self.bounds;
        let mut http2 = http2::Builder::new(CallExecutor::new(of, begun, answer_timeout));
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(calls)
            .max_header_list_size(header_bytes)
            .max_pending_accept_reset_streams(CANCELLED_UNSEEN)
            // Our own counters distinguish errors from frames in transit when a call was answered early.
            .max_local_error_reset_streams(None)
            .keep_alive_interval(keepalive)
            .keep_alive_timeout(keepalive);
        http2
    }
}

/// Reads until the client has started HTTP/2, or has sent something else, which may be HTTP/1.
async fn first_bytes(wire: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < OPENING_BYTES && PREFACE.starts_with(bytes.get(..PREFACE.len()).unwrap_or(&bytes)) {
        let left = OPENING_BYTES.saturating_sub(bytes.len());
        let before = bytes.len();
        (&mut *wire).take(left.try_into().unwrap_or(u64::MAX)).read_buf(&mut bytes).await?;
        if bytes.len() == before {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    if bytes.starts_with(PREFACE) || http1::may_start_with(&bytes) {
        Ok(bytes)
    } else {
        Err(std::io::ErrorKind::InvalidData.into())
    }
}

/// Returns once no call was in flight twice in a row: the client may not yet have known of the end when it made one.
async fn idle(calls: &Calls, turn: &Turn) {
    let mut was_idle = false;
    loop {
        pause(IDLE_CHECK_INTERVAL).await;
        let is_idle = calls.are_none() && !turn.has_unsent();
        if was_idle && is_idle {
            return;
        }
        was_idle = is_idle;
    }
}
