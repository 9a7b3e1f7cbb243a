//! The process that holds subscribers, so that they do not disturb the load. It is told a number of events on its
//! standard input and answers what was seen; it ends when its input does.

use std::io::BufRead as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispute_service::proto::v1::dispute_service_client::DisputeServiceClient;
use dispute_service::proto::v1::watch_disputes_request::Start;
use dispute_service::proto::v1::{WatchDisputesRequest, WatchDisputesResponse};
use futures_util::stream::{self, StreamExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use super::load::{by, party, platform};
use super::raw::RawConnection;
use super::replay::from_the_start;
use super::subscribers::{Trail, Who};

/// What HTTP/2 lets the server send ahead on each stream. A connection lets it send as much on all of its streams, so
/// that those that nobody reads do not hold up their neighbours.
const STREAM_WINDOW: u32 = 65_535;

/// How many subscribe at once.
const AT_ONCE: usize = 64;

/// When to give up on events.
const TIMEOUT: Duration = Duration::from_secs(240);

pub(crate) async fn run(arguments: &[String]) {
    let [address, who, first, streams, connections] = arguments else { panic!("five arguments, not {arguments:?}") };
    let [first, streams, connections] = [first, streams, connections].map(|text| text.parse().expect("a number"));
    let (who, _) = Who::ALL.into_iter().find(|(_, word)| word == who).expect("a kind of subscribers");
    if who == Who::Deaf {
        let mut sockets = Vec::new();
        for _ in 0..streams {
            sockets.push(deaf(address).await);
        }
        told(|_| panic!("the deaf have seen nothing"));
        return drop(sockets);
    }
    if matches!(who, Who::Raw | Who::RawBehind) {
        return raw(address, who, streams, connections).await;
    }
    let mut open = subscribe(address, who, first, streams, connections).await;
    if matches!(who, Who::Unread | Who::Behind) {
        return told(|events| {
            let first = open.swap_remove(0);
            vec![tokio::runtime::Handle::current().block_on(until(first, events))]
        });
    }
    let seen = Arc::new(AtomicUsize::new(0));
    let trails: Vec<Arc<Mutex<Trail>>> = open
        .into_iter()
        .map(|mut stream| {
            let (seen, trail) = (seen.clone(), Arc::<Mutex<Trail>>::default());
            let ours = trail.clone();
            tokio::spawn(async move {
                // What is lost with a stream shows in the trail.
                while let Ok(Some(WatchDisputesResponse { events, .. })) = stream.message().await {
                    let mut trail = ours.lock().expect("nobody panics");
                    events.iter().for_each(|event| trail.add(event));
                    seen.fetch_add(events.len(), Ordering::Relaxed);
                }
            });
            trail
        })
        .collect();
    told(|events| when_seen(events, &seen, &trails));
}

/// The trails, once so many events were seen together.
fn when_seen(events: usize, seen: &AtomicUsize, trails: &[Arc<Mutex<Trail>>]) -> Vec<Trail> {
    for _ in 0..TIMEOUT.as_millis() / 10 {
        if seen.load(Ordering::Relaxed) >= events {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    trails.iter().map(|trail| *trail.lock().expect("nobody panics")).collect()
}

/// Those of whose events only the ids are read.
async fn raw(address: &str, who: Who, streams: usize, connections: usize) {
    let request = if who == Who::Raw { WatchDisputesRequest::default() } else { from_the_start() };
    let seen = Arc::new(AtomicUsize::new(0));
    let mut trails = Vec::new();
    let window = STREAM_WINDOW * u32::try_from(streams.div_ceil(connections) + 1).expect("not so many");
    for connection in 0..connections {
        let mut opened = RawConnection::open(address, STREAM_WINDOW, window).await;
        for _ in (connection..streams).step_by(connections) {
            let (mut stream, seen, trail) =
                (opened.watch(&request).await, seen.clone(), Arc::<Mutex<Trail>>::default());
            trails.push(trail.clone());
            tokio::spawn(async move {
                let mut known = 0;
                while stream.advance().await {
                    seen.fetch_add(stream.trail.events - known, Ordering::Relaxed);
                    known = stream.trail.events;
                    *trail.lock().expect("nobody panics") = stream.trail;
                }
            });
        }
    }
    told(|events| when_seen(events, &seen, &trails));
}

/// Says that all are subscribed, then answers until the input ends.
fn told(mut trails: impl FnMut(usize) -> Vec<Trail>) {
    println!("subscribed");
    tokio::task::block_in_place(|| {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let trails = trails(line.parse().expect("a number"));
            println!("{}", trails.len());
            trails.iter().for_each(|trail| println!("{} {}", trail.events, trail.digest));
        }
    });
}

async fn subscribe(
    address: &str,
    who: Who,
    first: usize,
    streams: usize,
    connections: usize,
) -> Vec<Streaming<WatchDisputesResponse>> {
    let window = STREAM_WINDOW * u32::try_from(streams.div_ceil(connections) + 1).expect("not so many");
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .expect("an address")
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(window);
    let connect = |_| async { endpoint.connect().await.expect("a connection") };
    let channels: Vec<Channel> = stream::iter(0..connections).map(connect).buffered(AT_ONCE).collect().await;
    let subscribe = |number: usize| {
        let mut client = DisputeServiceClient::new(channels[number % connections].clone());
        let start = (who == Who::Behind).then_some(Start::FromBeginning(true));
        let request = WatchDisputesRequest { start, ..WatchDisputesRequest::default() };
        let request = if who == Who::Parties { by(&party(first + number), request) } else { platform(request) };
        async move { client.watch_disputes(request).await }
    };
    let again = AtomicUsize::new(0);
    let insist = |number: usize| {
        let (subscribe, again) = (&subscribe, &again);
        async move {
            loop {
                match subscribe(number).await {
                    Ok(response) => return response.into_inner(),
                    Err(status) if status.code() == tonic::Code::Unavailable => again.fetch_add(1, Ordering::Relaxed),
                    Err(status) => panic!("no subscription: {status}"),
                };
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    let open = stream::iter(0..streams).map(insist).buffered(AT_ONCE).collect().await;
    if again.load(Ordering::Relaxed) > 0 {
        eprintln!("UNAVAILABLE was answered to {} subscriptions, they were sent again", again.load(Ordering::Relaxed));
    }
    open
}

/// Reads on until so many events were seen.
async fn until(mut stream: Streaming<WatchDisputesResponse>, events: usize) -> Trail {
    let mut trail = Trail::default();
    let read = async {
        while let Ok(Some(message)) = stream.message().await {
            message.events.iter().for_each(|event| trail.add(event));
            if trail.events >= events {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(TIMEOUT, read).await;
    trail
}

/// A connection with one subscriber of everything, who lets the server send as much as it wants and takes nothing
/// from the socket.
async fn deaf(address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("the smallest buffer");
    let stream = socket.connect(address.parse().expect("an address")).await.expect("a connection");
    let header = |name: &str, value: &str| {
        // Literal, not indexed, not compressed.
        let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
        [vec![0], text(name), text(value)].concat()
    };
    let headers = [
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", "/disputes.v1.DisputeService/WatchDisputes"),
        header(":authority", address),
        header("te", "trailers"),
        header("content-type", "application/grpc"),
        header("x-user-id", "shop"),
        header("x-scope", "platform"),
    ];
    let most = i32::MAX.to_be_bytes();
    let said = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        // SETTINGS with SETTINGS_INITIAL_WINDOW_SIZE, and WINDOW_UPDATE of the connection.
        frame(4, 0, 0, &[&[0, 4], &most[..]].concat()),
        frame(8, 0, 0, &(i32::MAX - 65_535).to_be_bytes()),
        // HEADERS with END_HEADERS, and DATA with END_STREAM: an empty message.
        frame(1, 4, 1, &headers.concat()),
        frame(0, 1, 1, &[0; 5]),
    ];
    let said = said.concat();
    stream.writable().await.expect("it is connected");
    assert_eq!(stream.try_write(&said).expect("it is connected"), said.len());
    // The first message is there when a frame of DATA is.
    let mut peeked = [0; 1_024];
    for _ in 0..TIMEOUT.as_millis() {
        let length = stream.peek(&mut peeked).await.expect("the server answers");
        let mut rest = &peeked[..length];
        while let [high, middle, low, kind, _, _, _, _, _, ..] = rest {
            if *kind == 0 {
                return stream;
            }
            let payload = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
            rest = rest.get(9 + payload..).unwrap_or_default();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("no first message");
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
