//! Streams that never end, by the thousand.

use std::time::{Duration, Instant};

use dispute_service::proto::v1;
use prost::Message as _;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use crate::frames::{Connection, DATA, END_HEADERS, END_STREAM, HEADERS, frame, message};
use crate::judge::{Arena, Attack};
use crate::tally::Tally;
use crate::{hpack, path, who};

/// So many streams on so many connections, whose requests end if `ends`.
fn open(arena: &Arena, blocks: &[Vec<u8>], connections: usize, streams: usize, body: &[u8], ends: bool) -> Tally {
    let opened = (0..connections).filter_map(|_| Connection::open(&arena.address, &[]));
    let mut opened: Vec<_> = opened.zip(blocks.iter().cycle()).collect();
    for _ in 0..streams.div_ceil(100) {
        for (connection, block) in &mut opened {
            let mut frames = Vec::new();
            for _ in 0..100 {
                let stream = connection.stream();
                frames.extend(frame(HEADERS, END_HEADERS, stream, block));
                frames.extend(frame(DATA, if ends { END_STREAM } else { 0 }, stream, body));
            }
            connection.send(&frames, arena.until);
            connection.read();
        }
    }
    while Instant::now() < arena.until {
        for (connection, _) in &mut opened {
            connection.read();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut tally = Tally::default();
    for (connection, _) in opened {
        tally.add(&connection.tally);
    }
    tally
}

#[test]
fn streams_of_health_without_a_user_have_a_bound() {
    let block = [hpack::call(path::HEALTH_WATCH, &[])];
    Attack::new("24,000 streams of Health/Watch on 8 connections, without a user")
        .run(|arena| open(arena, &block, 8, 3_000, &[0; 5], true));
    let block = [hpack::call(path::HEALTH_WATCH, &[("x-filler", &"x".repeat(11_000))])];
    Attack::new("24,000 streams of Health/Watch with 11 KB of headers on 8 connections, without a user")
        .run(|arena| open(arena, &block, 8, 3_000, &[0; 5], true));
}

#[test]
fn streams_of_reflection_without_a_user_have_a_bound() {
    let block = [hpack::call(path::REFLECTION, &[])];
    let symbol = MessageRequest::FileContainingSymbol("disputes.v1.DisputeService".to_owned());
    let body = ServerReflectionRequest { host: String::new(), message_request: Some(symbol) };
    let body = message(&body.encode_to_vec());
    Attack::new("24,000 streams of reflection on 8 connections, without a user")
        .run(|arena| open(arena, &block, 8, 3_000, &body, false));
}

#[test]
fn streams_of_one_caller_have_a_bound() {
    let block = [hpack::call(path::WATCH, &[who::MALLORY])];
    let tally = Attack::new("6,000 streams of events on 2 connections, by a party")
        .run(|arena| open(arena, &block, 2, 3_000, &[0; 5], true));
    if let Some(tally) = tally {
        assert!(tally.answered("TOO_MANY_SUBSCRIPTIONS") >= 3_900, "{tally}");
    }
}

#[test]
fn ten_callers_cannot_hold_all_streams() {
    let blocks: Vec<_> =
        (0..10).map(|index| hpack::call(path::WATCH, &[("x-user-id", &format!("mallory-{index}"))])).collect();
    let tally =
        Attack::new("2,000 streams of events by each of ten parties").lasting(Duration::from_secs(4)).run(|arena| {
            std::thread::scope(|scope| {
                let attacker = scope.spawn(|| open(arena, &blocks, 10, 2_000, &[0; 5], true));
                // They have opened what they can by then, or they never will.
                std::thread::sleep(Duration::from_secs(3));
                let newcomer = is_watching(&arena.address, "newcomer").then(|| NEWCOMER.to_owned());
                let mut tally = attacker.join().unwrap();
                tally.note(newcomer);
                tally
            })
        });
    if let Some(tally) = tally {
        assert_eq!(tally.answered(NEWCOMER), 1, "{tally}");
    }
}

const NEWCOMER: &str = "a newcomer watches";

/// Whether somebody can watch: the first message is a checkpoint that says so.
fn is_watching(address: &str, user: &str) -> bool {
    let Some(mut connection) = Connection::open(address, &[]) else { return false };
    let until = Instant::now() + Duration::from_secs(2);
    connection.call(&hpack::call(path::WATCH, &[("x-user-id", user)]), &[0; 5], until);
    connection.wait(until, |tally| tally.bytes > 0)
}

#[test]
fn streams_from_the_beginning_hurt_nobody() {
    let start = Some(v1::watch_disputes_request::Start::FromBeginning(true));
    let body = message(&v1::WatchDisputesRequest { start, ..Default::default() }.encode_to_vec());
    let block = [hpack::call(path::WATCH, &[who::MALLORY])];
    Attack::new("2,000 streams of all events, by a party").run(|arena| open(arena, &block, 1, 2_000, &body, true));
}
