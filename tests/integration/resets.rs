//! Calls that are cancelled: a burst is innocent, a flood is not. Frames as bytes, as no library sends them.

use std::fmt::Write as _;
use std::process::{Command, Output};
use std::time::Duration;

use dispute_service::proto::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::binary::Binary;
use crate::support::messages::*;
use crate::support::postgres::skip;
use crate::support::service::Service;

const PATIENCE: Duration = Duration::from_secs(20);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];
const CANCEL: [u8; 4] = [0, 0, 0, 8];

const LIST_REASONS: &str = "/disputes.v1.DisputeService/ListReasons";
const WATCH: &str = "/disputes.v1.DisputeService/WatchDisputes";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block without compression: each header as a literal.
fn block(path: &str, extra: &[(&str, &str)]) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("x-user-id", "ann"),
    ];
    let mut block = Vec::new();
    for (name, value) in headers.iter().chain(extra) {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A connection of HTTP/2 that has begun.
struct Frames {
    socket: TcpStream,
    next_stream: u32,
}

impl Frames {
    async fn connect(service: &Service) -> Self {
        let mut socket = TcpStream::connect(service.address).await.unwrap();
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        Self { socket, next_stream: 1 }
    }

    fn stream(&mut self) -> u32 {
        self.next_stream += 2;
        self.next_stream - 2
    }

    async fn send(&mut self, frames: &[u8]) {
        // A server that has ended the connection takes no more.
        let _ = self.socket.write_all(frames).await;
    }

    /// The next frame: its kind, its flags, its stream, and what is in it. `None` at the end of the connection.
    async fn receive(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        timeout(PATIENCE, self.socket.read_exact(&mut head)).await.expect("a frame comes").ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        timeout(PATIENCE, self.socket.read_exact(&mut payload)).await.expect("its rest comes").ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    /// Reads until this kind of frame comes on this stream; fails if the server says goodbye before that.
    async fn wait_for(&mut self, kind: u8, stream: u32) {
        loop {
            let (found, _, on, payload) = self.receive().await.expect("the connection goes on");
            assert_ne!(found, GOAWAY, "{payload:?}");
            if (found, on) == (kind, stream) {
                return;
            }
        }
    }

    /// The code of the GOAWAY with which the server ends the connection.
    async fn goodbye(&mut self) -> [u8; 4] {
        while let Some((kind, _, _, payload)) = self.receive().await {
            if kind == GOAWAY {
                return payload[4..8].try_into().unwrap();
            }
        }
        panic!("no GOAWAY");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_calls_that_are_cancelled_together_are_innocent() {
    let service = Service::on_sqlite().await;
    service.platform().upsert(order("o1")).await;
    let mut client = Frames::connect(&service).await;
    let watch = client.stream();
    let open = [frame(HEADERS, END_HEADERS, watch, &block(WATCH, &[])), frame(DATA, END_STREAM, watch, &[0; 5])];
    client.send(&open.concat()).await;
    client.wait_for(DATA, watch).await;
    for _ in 0..10 {
        let streams: Vec<_> = (0..150).map(|_| client.stream()).collect();
        let calls = streams.iter().map(|stream| frame(HEADERS, END_HEADERS, *stream, &block(LIST_REASONS, &[])));
        let cancels = streams.iter().map(|stream| frame(RST_STREAM, 0, *stream, &CANCEL));
        client.send(&calls.chain(cancels).collect::<Vec<_>>().concat()).await;
        client.send(&frame(PING, 0, 0, &[7; 8])).await;
        loop {
            let (kind, flags, _, payload) = client.receive().await.expect("the connection goes on");
            assert_ne!(kind, GOAWAY, "{payload:?}");
            if (kind, flags) == (PING, ACK) {
                break;
            }
        }
    }
    service.user("ann").ask(update("o1")).await.unwrap();
    client.wait_for(DATA, watch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_cancelled_calls_ends_the_connection() {
    let service = Service::on_sqlite().await;
    let mut client = Frames::connect(&service).await;
    let mut flood = Vec::new();
    for _ in 0..20_000 {
        let stream = client.stream();
        flood.extend(frame(HEADERS, END_HEADERS, stream, &block(LIST_REASONS, &[])));
        flood.extend(frame(RST_STREAM, 0, stream, &CANCEL));
    }
    client.send(&flood).await;
    assert_eq!(client.goodbye().await, ENHANCE_YOUR_CALM);
    // Others are served.
    service.user("ann").disputes.list_reasons(v1::ListReasonsRequest::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_makes_one_error_after_another_is_let_go() {
    let service = Service::on_sqlite().await;
    let mut client = Frames::connect(&service).await;
    // Headers of a connection have no place in HTTP/2: each of these is a malformed request.
    let malformed = block(LIST_REASONS, &[("connection", "close")]);
    for errors in [1_000, 100] {
        let streams: Vec<_> = (0..errors).map(|_| client.stream()).collect();
        let calls = streams.iter().map(|stream| frame(HEADERS, END_HEADERS, *stream, &malformed));
        client.send(&calls.collect::<Vec<_>>().concat()).await;
        if errors == 1_000 {
            // So many are tolerated, each with a reset.
            let last = *streams.last().unwrap();
            client.wait_for(RST_STREAM, last).await;
        }
    }
    assert_eq!(client.goodbye().await, ENHANCE_YOUR_CALM);
}

/// The output of a command of Go's, if that is there and the modules can be had.
fn go(arguments: &[&str]) -> Option<Output> {
    let output = Command::new("go")
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/go"))
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .output()
        .ok()?;
    output.status.success().then_some(output)
}

#[test]
fn a_go_client_may_cancel_its_calls_beside_a_watch() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("cancels").display().to_string();
    if go(&["build", "-o", &program, "."]).is_none() {
        skip("the cancellations of a Go client: Go, or one of the modules in tests/go, is not to be had.");
        return;
    }
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let server = Binary::start(env!("CARGO_BIN_EXE_dispute-service"), &url, "info");
    let mut told = String::new();
    for (calls, rounds) in [("30", "20"), ("100", "5"), ("300", "2")] {
        let output = Command::new(&program).args([&server.address, calls, rounds]).output().unwrap();
        let _ = write!(told, "{calls}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{told}");
    }
    assert!(server.terminate().0);
}
