//! Streams that are reset: by the attacker, and by the server that is made to.

use std::time::{Duration, Instant};

use crate::frames::{
    CANCEL, Connection, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PRIORITY, RST_STREAM, WINDOW_UPDATE,
    frame,
};
use crate::judge::{Arena, Attack};
use crate::tally::Tally;
use crate::{hpack, path, who};

/// So many streams of one connection may end by an error before the connection does.
const RESETS_BY_ERRORS: usize = 1_024;

/// So many cancelled calls end a connection, however fast or slowly they are read.
const CALLS_OF_ONE: usize = 10_000;

/// How long a server may take to read them.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Calls that are cancelled as soon as they were made, or so much later, on one connection after the other.
fn rapid(arena: &Arena, block: &[u8], body: &[u8], later: Duration) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < arena.until {
        let Some(mut connection) = Connection::open(&arena.address, &[]) else { continue };
        while Instant::now() < arena.until
            && !connection.is_over
            && connection.tally.goaways.is_empty()
            && connection.tally.calls < CALLS_OF_ONE
        {
            let streams: Vec<_> = (0..100).map(|_| connection.stream()).collect();
            let begins = streams.iter().flat_map(|stream| {
                [frame(HEADERS, END_HEADERS, *stream, block), frame(DATA, END_STREAM, *stream, body)].concat()
            });
            let ends = streams.iter().flat_map(|stream| frame(RST_STREAM, 0, *stream, &CANCEL.to_be_bytes()));
            if later.is_zero() {
                connection.send(&begins.chain(ends).collect::<Vec<_>>(), arena.until);
            } else {
                connection.send(&begins.collect::<Vec<_>>(), arena.until);
                std::thread::sleep(later);
                connection.send(&ends.collect::<Vec<_>>(), arena.until);
            }
            connection.read();
        }
        if connection.tally.calls >= CALLS_OF_ONE {
            // A slow server has not read them all yet.
            connection.wait(Instant::now() + TIMEOUT, |tally| !tally.goaways.is_empty());
        }
        tally.add(&connection.tally);
    }
    tally
}

#[test]
fn rapid_reset_costs_the_attacker_its_connection() {
    let block = hpack::call(path::LIST_REASONS, &[who::MALLORY]);
    let attack = Attack::new("calls that are reset at once, by a party").in_smoke();
    if let Some(tally) = attack.run(|arena| rapid(arena, &block, &[0; 5], Duration::ZERO)) {
        let told = tally.goaways.contains_key(&ENHANCE_YOUR_CALM);
        assert!(told || tally.ended > 0 || tally.calls < CALLS_OF_ONE, "{tally}");
    }
}

#[test]
fn rapid_reset_delayed_by_3_ms_hurts_nobody() {
    let block = hpack::call(path::LIST_REASONS, &[who::MALLORY]);
    Attack::new("calls that are reset after 3 ms, by a party")
        .run(|arena| rapid(arena, &block, &[0; 5], Duration::from_millis(3)));
}

#[test]
fn lists_and_commands_that_are_reset_hurt_nobody() {
    let list = hpack::call(path::LIST_DISPUTES, &[who::MALLORY]);
    Attack::new("lists that are reset after 3 ms, by a party")
        .run(|arena| rapid(arena, &list, &[0; 5], Duration::from_millis(3)));
    let decline = hpack::call(path::DECLINE, &[who::MALLORY]);
    let body = crate::commands::decline();
    Attack::new("commands that are reset after 3 ms, by a party")
        .run(|arena| rapid(arena, &decline, &body, Duration::from_millis(3)));
}

/// How long the server may take to read what an attacker has sent, when the machine is busy.
const READING: Duration = Duration::from_secs(5);

/// Streams that the server has to reset, by these frames after the headers; connection after connection.
fn made_you_reset(name: &'static str, error: impl Fn(u32) -> Vec<u8> + Sync) {
    provoked(name, &hpack::call(path::LIST_REASONS, &[who::MALLORY]), error);
}

fn provoked(name: &'static str, block: &[u8], error: impl Fn(u32) -> Vec<u8> + Sync) {
    let tally = Attack::new(name).in_smoke().run(|arena| {
        let mut tally = Tally::default();
        while Instant::now() < arena.until {
            let Some(mut connection) = Connection::open(&arena.address, &[]) else { continue };
            while Instant::now() < arena.until && !connection.is_over && connection.tally.goaways.is_empty() {
                let mut frames = Vec::new();
                for _ in 0..50 {
                    let stream = connection.stream();
                    frames.extend(frame(HEADERS, END_HEADERS, stream, block));
                    frames.extend(error(stream));
                }
                connection.send(&frames, arena.until);
                connection.read();
            }
            if tally.goaways.is_empty() {
                // What was sent is enough, and a busy machine takes its time to read it.
                connection.wait(Instant::now() + READING, |tally| !tally.goaways.is_empty());
            }
            connection.rest(Instant::now() + Duration::from_millis(20));
            tally.add(&connection.tally);
        }
        tally
    });
    if let Some(tally) = tally {
        let (goaways, others) = (tally.goaways.get(&ENHANCE_YOUR_CALM), tally.goaways.len());
        assert!(goaways.is_some_and(|count| *count > 0) || others > 0, "no connection was ended: {tally}");
        assert!(tally.most_errors <= RESETS_BY_ERRORS + 1, "{} errors on one connection", tally.most_errors);
    }
}

#[test]
fn windows_that_overflow_cost_the_attacker_its_connection() {
    let most = 0x7fff_ffff_u32.to_be_bytes();
    made_you_reset("WINDOW_UPDATE that overflows", |stream| frame(WINDOW_UPDATE, 0, stream, &most));
}

#[test]
fn windows_that_grow_by_nothing_cost_the_attacker_its_connection() {
    made_you_reset("WINDOW_UPDATE of nothing", |stream| frame(WINDOW_UPDATE, 0, stream, &[0; 4]));
}

#[test]
fn priorities_on_themselves_cost_the_attacker_its_connection() {
    made_you_reset("PRIORITY of a stream on itself", |stream| {
        frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[16]].concat())
    });
}

#[test]
fn data_on_closed_streams_costs_the_attacker_its_connection() {
    made_you_reset("DATA on a stream that was closed", |stream| {
        [frame(DATA, END_STREAM, stream, &[0; 5]), frame(DATA, 0, stream, &[0; 5])].concat()
    });
}

#[test]
fn headers_that_come_twice_cost_the_attacker_its_connection() {
    let block = hpack::call(path::LIST_REASONS, &[who::MALLORY]);
    made_you_reset("HEADERS again, within a stream", |stream| frame(HEADERS, END_HEADERS, stream, &block));
}

#[test]
fn bodies_of_another_length_than_they_say_cost_the_attacker_its_connection() {
    let block = hpack::call(path::LIST_REASONS, &[who::MALLORY, ("content-length", "3")]);
    provoked("a content-length that lies", &block, |stream| frame(DATA, END_STREAM, stream, &[0; 5]));
}

#[test]
fn malformed_headers_cost_the_attacker_its_connection() {
    let block = hpack::call(path::LIST_REASONS, &[who::MALLORY, ("connection", "close")]);
    provoked("headers of HTTP/1", &block, |_| Vec::new());
}
