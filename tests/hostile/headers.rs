//! Headers: too many, too long, too slow, and smaller than they are.

use std::time::{Duration, Instant};

use crate::frames::{CONTINUATION, Connection, END_HEADERS, END_STREAM, HEADERS, frame};
use crate::judge::{Arena, Attack};
use crate::tally::Tally;
use crate::{hpack, path, who};

#[test]
fn continuations_without_end_cost_the_attacker_its_connection() {
    for (name, bytes) in [("CONTINUATION without end", 1_000), ("empty CONTINUATION without end", 0)] {
        let tally = Attack::new(name).in_smoke().run(|arena| {
            let block = hpack::call(path::LIST_REASONS, &[who::MALLORY]);
            let mut tally = Tally::default();
            while Instant::now() < arena.until {
                let Some(mut connection) = Connection::open(&arena.address, &[]) else { continue };
                let stream = connection.stream();
                connection.send(&frame(HEADERS, 0, stream, &block), arena.until);
                let more = hpack::literal("x-more", &"x".repeat(bytes));
                let payload = if bytes == 0 { &[][..] } else { &more[..] };
                let flood = frame(CONTINUATION, 0, stream, payload).repeat(100);
                while Instant::now() < arena.until && connection.send(&flood, arena.until) {
                    connection.read();
                }
                tally.add(&connection.tally);
            }
            tally
        });
        if let Some(tally) = tally {
            assert!(tally.ended > 0, "{name}: {tally}");
        }
    }
}

#[test]
fn a_table_that_is_pointed_at_again_and_again_is_bounded() {
    Attack::new("HPACK: 4 KB that are kept, and 16,000 references to them").in_smoke().run(|arena| {
        let mut tally = Tally::default();
        while Instant::now() < arena.until {
            let Some(mut connection) = Connection::open(&arena.address, &[]) else { continue };
            let first =
                [hpack::call(path::LIST_REASONS, &[who::MALLORY]), hpack::kept("x", &"x".repeat(4_000))].concat();
            connection.call(&first, &[0; 5], arena.until);
            // The newest entry of the dynamic table.
            let bomb = [hpack::call(path::LIST_REASONS, &[who::MALLORY]), vec![0xbe; 16_000]].concat();
            for _ in 0..100 {
                if connection.is_over || Instant::now() >= arena.until {
                    break;
                }
                let stream = connection.stream();
                connection.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &bomb), arena.until);
                connection.read();
            }
            connection.rest(Instant::now() + Duration::from_millis(5));
            tally.add(&connection.tally);
        }
        tally
    });
}

#[test]
fn headers_that_take_their_time_hold_nothing_of_others() {
    Attack::new("500 connections whose headers come byte by byte").run(|arena| {
        let block = hpack::call(path::LIST_REASONS, &[who::MALLORY]);
        let opened = (0..500).filter_map(|_| Connection::open(&arena.address, &[]));
        let mut connections: Vec<_> = opened.map(|connection| (connection, 0)).collect();
        while Instant::now() < arena.until {
            for (connection, at) in &mut connections {
                let payload = &block[*at..block.len().min(*at + 1)];
                let kind = if *at == 0 { HEADERS } else { CONTINUATION };
                connection.send(&frame(kind, 0, 1, payload), arena.until);
                *at += payload.len();
                connection.read();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut tally = Tally::default();
        for (connection, _) in connections {
            tally.add(&connection.tally);
        }
        tally
    });
}

/// Calls one after the other, so many unanswered at once.
fn calls(arena: &Arena, block: &[u8]) -> Tally {
    let Some(mut connection) = Connection::open(&arena.address, &[]) else { return Tally::default() };
    while Instant::now() < arena.until && !connection.is_over {
        for _ in 0..20 {
            connection.call(block, &[0; 5], arena.until);
        }
        let calls = connection.tally.calls;
        connection.wait(arena.until, |tally| tally.answers.values().sum::<usize>() + 100 > calls);
    }
    connection.tally
}

#[test]
fn long_headers_are_refused_whoever_sends_them() {
    let long = "x".repeat(14_000);
    for (name, path) in
        [("headers of 14 KB, without a user", path::HEALTH), ("headers of 14 KB, by a party", path::LIST_REASONS)]
    {
        let block = hpack::call(path, &[who::MALLORY, ("x-filler", &long)]);
        if let Some(tally) = Attack::new(name).run(|arena| calls(arena, &block)) {
            assert!(tally.answered("HEADERS_TOO_LARGE") > 0 && tally.answered("OK") == 0, "{tally}");
        }
    }
}

#[test]
fn long_paths_are_refused_and_not_logged() {
    let path = format!("/{}", "x".repeat(15_000));
    let block = hpack::call(&path, &[who::MALLORY]);
    if let Some(tally) = Attack::new("paths of 15 KB").in_smoke().run(|arena| calls(arena, &block)) {
        assert!(tally.answered("HEADERS_TOO_LARGE") > 0, "{tally}");
    }
}

#[test]
fn many_streams_with_long_headers_and_no_body_fit_into_memory() {
    // Below the bound of a header list: these are taken, and wait for their bodies.
    let long = "x".repeat(11_000);
    let block = hpack::call(path::LIST_REASONS, &[who::MALLORY, ("x-filler", &long)]);
    Attack::new("3,000 streams with headers of 11 KB that wait for a body, on each of 8 connections").run(|arena| {
        let mut connections: Vec<_> = (0..8).filter_map(|_| Connection::open(&arena.address, &[])).collect();
        for connection in &mut connections {
            for _ in 0..3_000 {
                connection.begin(&block, arena.until);
                connection.read();
            }
        }
        let mut tally = Tally::default();
        for mut connection in connections {
            connection.rest(arena.until);
            tally.add(&connection.tally);
        }
        tally
    });
}
