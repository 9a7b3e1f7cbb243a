//! HTTP/1.1, in which browsers call: heads that never end, requests without end, and answers that nobody reads.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::connections::{at_most, hold};
use crate::judge::Attack;
use crate::path;
use crate::tally::Tally;
use crate::target::MALLORY;
use crate::wire::Wire;

/// A call by gRPC-Web with an empty message.
fn call(path: &str) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-user-id: {MALLORY}\r\ncontent-type: application/grpc-web\r\n\
         content-length: 5\r\n\r\n"
    );
    [head.as_bytes(), &[0; 5]].concat()
}

/// The head of a request, which goes on.
fn long_head(bytes: usize) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nhost: localhost\r\nx-filler: {}", "x".repeat(bytes)).into_bytes()
}

#[test]
fn heads_that_never_end_share_a_budget() {
    let count = at_most(5_000);
    Attack::new("5,000 heads of 60 KB over HTTP/1.1 that do not end")
        .lasting(Duration::from_secs(4))
        .run(|arena| hold(arena, count, &long_head(60_000)));
}

#[test]
fn short_heads_that_never_end_fit_into_memory() {
    let count = at_most(3_000);
    Attack::new("3,000 heads of 3 KB over HTTP/1.1 that do not end")
        .lasting(Duration::from_secs(4))
        .run(|arena| hold(arena, count, &long_head(3_000)));
}

#[test]
fn long_heads_that_end_are_given_back() {
    let count = at_most(5_000);
    let head = [&long_head(60_000)[..], b"\r\n\r\n"].concat();
    Attack::new("5,000 complete heads of 60 KB over HTTP/1.1").run(|arena| hold(arena, count, &head));
}

#[test]
fn trailers_that_never_end_are_bounded() {
    let count = at_most(5_000);
    let head = "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/grpc-web\r\n\
        transfer-encoding: chunked\r\n\r\n5\r\n\0\0\0\0\0\r\n0\r\nx: ";
    let request = [head.as_bytes(), &[b'x'; 60_000]].concat();
    Attack::new("5,000 requests over HTTP/1.1 with 60 KB of trailers that do not end")
        .lasting(Duration::from_secs(4))
        .run(|arena| hold(arena, count, &request));
}

#[test]
fn bodies_over_http_1_that_never_end_fit_into_memory() {
    let count = at_most(500);
    let request = "POST /disputes.v1.DisputeService/ListReasons HTTP/1.1\r\nhost: localhost\r\nx-user-id: mallory\r\n\
        content-type: application/grpc-web\r\ncontent-length: 5\r\n\r\n\0\0";
    Attack::new("500 requests over HTTP/1.1 whose bodies do not end")
        .lasting(Duration::from_secs(4))
        .run(|arena| hold(arena, count, request.as_bytes()));
}

#[test]
fn heads_over_http_1_are_closed_in_time() {
    let attack = Attack::new("2,000 heads over HTTP/1.1 that stop").on(&["--preface-timeout", "1s"]).in_smoke();
    let tally = attack.lasting(Duration::from_secs(4)).run(|arena| hold(arena, at_most(2_000), &long_head(100)));
    if let Some(tally) = tally.filter(|tally| tally.connections > 1_000) {
        assert!(tally.ended >= 1_000, "{tally}");
    }
}

#[test]
fn streams_over_http_1_that_nobody_reads_are_bounded() {
    Attack::new("3,000 watches over HTTP/1.1 that nobody reads")
        .lasting(Duration::from_secs(4))
        .run(|arena| hold(arena, at_most(3_000), &call(path::WATCH)));
}

#[test]
fn lists_over_http_1_that_nobody_reads_are_bounded() {
    Attack::new("500 lists of 200 KB over HTTP/1.1 that nobody reads")
        .lasting(Duration::from_secs(4))
        .run(|arena| hold(arena, at_most(500), &call(path::LIST_DISPUTES)));
}

#[test]
fn requests_without_end_over_http_1_hurt_nobody() {
    for request in [b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(), call(path::LIST_REASONS)] {
        Attack::new("requests without a pause over HTTP/1.1, whose answers are read").in_smoke().run(|arena| {
            let (mut tally, mut answers) = (Tally::default(), [0; 64 * 1024]);
            let (requests, address) = (request.repeat(50), arena.address.parse().unwrap());
            while Instant::now() < arena.until {
                let socket = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok();
                let Some(mut wire) = socket.and_then(Wire::connect) else { continue };
                tally.connections += 1;
                let mut unsent = &requests[..];
                while Instant::now() < arena.until {
                    match wire.write(unsent) {
                        Ok(sent) => unsent = &unsent[sent..],
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                    if unsent.is_empty() {
                        unsent = &requests;
                    }
                    while wire.read(&mut answers).is_ok_and(|bytes| bytes > 0) {}
                }
            }
            tally
        });
    }
}
