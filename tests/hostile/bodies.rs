//! Bodies that are announced, that never end, that take their time, or that are more than they seem.

use std::time::{Duration, Instant};

use crate::frames::{Connection, DATA, END_HEADERS, HEADERS, announced, frame, message};
use crate::judge::{Arena, Attack};
use crate::tally::Tally;
use crate::{hpack, path, who};

/// Streams, each with the head of a message of so many bytes that never comes.
fn announce(arena: &Arena, path: &str, identity: &[(&str, &str)], streams: usize, bytes: u32) -> Tally {
    let Some(mut connection) = Connection::open(&arena.address, &[]) else { return Tally::default() };
    let block = hpack::call(path, identity);
    for _ in 0..streams {
        let stream = connection.begin(&block, arena.until);
        connection.send(&frame(DATA, 0, stream, &announced(bytes)), arena.until);
    }
    connection.rest(arena.until);
    connection.tally
}

#[test]
fn five_hundred_bodies_that_are_announced_cost_under_20_mib() {
    Attack::new("500 bodies of 4 MiB announced to Health/Check, without a user")
        .growing_at_most(20.0)
        .in_smoke()
        .run(|arena| announce(arena, path::HEALTH, &[], 500, 4 * 1024 * 1024 - 1));
}

#[test]
fn a_thousand_bodies_that_are_announced_cost_under_20_mib() {
    Attack::new("1,000 bodies of 4 MiB announced to Health/Check, without a user")
        .growing_at_most(20.0)
        .run(|arena| announce(arena, path::HEALTH, &[], 1_000, 4 * 1024 * 1024 - 1));
}

#[test]
fn bodies_within_the_bound_that_are_announced_cost_under_20_mib() {
    Attack::new("1,000 bodies of 64 KiB announced by a party")
        .growing_at_most(20.0)
        .run(|arena| announce(arena, path::ASK, &[who::MALLORY], 1_000, 64 * 1024 - 5));
    Attack::new("1,000 bodies of 1 MiB announced by a platform")
        .growing_at_most(20.0)
        .run(|arena| announce(arena, path::BATCH, &[who::SHOP, who::PLATFORM], 1_000, 1024 * 1024 - 5));
}

/// Streams, each with a message that is complete but for its last byte; so many bytes of each at a time, every so often.
fn almost(arena: &Arena, path: &str, identity: &[(&str, &str)], streams: usize, bytes: usize, pace: Duration) -> Tally {
    let Some(mut connection) = Connection::open(&arena.address, &[]) else { return Tally::default() };
    let block = hpack::call(path, identity);
    let body = [announced(u32::try_from(bytes).unwrap()), vec![0x0a; bytes - 1]].concat();
    let mut streams: Vec<_> = (0..streams).map(|_| (connection.begin(&block, arena.until), 0)).collect();
    while Instant::now() < arena.until && !connection.is_over {
        let mut has_sent = false;
        for (stream, sent) in &mut streams {
            let count = connection.send_body(*stream, &body[*sent..], arena.until);
            *sent += count;
            has_sent |= count > 0;
        }
        if !connection.read() && !has_sent {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(pace);
    }
    connection.tally
}

#[test]
fn bodies_just_under_the_old_bound_are_not_kept() {
    Attack::new("200 bodies of 4 MiB minus a byte to Health/Check, without a user")
        .growing_at_most(20.0)
        .run(|arena| almost(arena, path::HEALTH, &[], 200, 4 * 1024 * 1024 - 5, Duration::ZERO));
}

#[test]
fn bodies_just_under_the_bound_are_within_the_budget() {
    // 64 MiB is what all bodies together may hold.
    Attack::new("1,000 bodies of 64 KiB minus a byte by a party")
        .growing_at_most(140.0)
        .run(|arena| almost(arena, path::ASK, &[who::MALLORY], 1_000, 64 * 1024 - 5, Duration::ZERO));
    Attack::new("200 bodies of 1 MiB minus a byte by a platform, slowly").growing_at_most(140.0).run(|arena| {
        let identity = [who::SHOP, who::PLATFORM];
        almost(arena, path::BATCH, &identity, 200, 1024 * 1024 - 5, Duration::from_millis(5))
    });
}

#[test]
fn bodies_that_come_byte_by_byte_end_in_time() {
    let attack =
        Attack::new("1,000 bodies of which a byte comes now and then, by a party").on(&["--request-timeout", "1s"]);
    let tally = attack.in_smoke().run(|arena| {
        let Some(mut connection) = Connection::open(&arena.address, &[]) else { return Tally::default() };
        let until = arena.until + Duration::from_secs(2);
        let block = hpack::call(path::ASK, &[who::MALLORY]);
        let streams: Vec<_> = (0..1_000).map(|_| connection.begin(&block, until)).collect();
        for byte in [0, 0, 0] {
            let bytes: Vec<u8> = streams.iter().flat_map(|stream| frame(DATA, 0, *stream, &[byte])).collect();
            connection.send(&bytes, until);
            connection.rest(Instant::now() + Duration::from_millis(200));
        }
        connection.wait(until, |tally| tally.answered("DEADLINE_EXCEEDED") == 1_000);
        connection.tally
    });
    if let Some(tally) = tally {
        assert_eq!(tally.answered("DEADLINE_EXCEEDED"), 1_000, "{tally}");
    }
}

#[test]
fn one_byte_frames_are_a_body_like_any_other() {
    Attack::new("bodies of 4 KB in frames of one byte, by a party").in_smoke().run(|arena| {
        let mut tally = Tally::default();
        let block = hpack::call(path::LIST_REASONS, &[who::MALLORY]);
        let body = message(&[0x0a, 0].repeat(1_000));
        while Instant::now() < arena.until {
            let Some(mut connection) = Connection::open(&arena.address, &[]) else { continue };
            while Instant::now() < arena.until && !connection.is_over {
                let stream = connection.stream();
                let mut frames = frame(HEADERS, END_HEADERS, stream, &block);
                for byte in &body {
                    frames.extend(frame(DATA, 0, stream, &[*byte]));
                }
                frames.extend(frame(DATA, 1, stream, &[]));
                connection.send(&frames, arena.until);
                connection.read();
            }
            tally.add(&connection.tally);
        }
        tally
    });
}

/// Bodies whole, one after the other on so many connections at once, however long the windows make it last.
fn batches(arena: &Arena, identity: &[(&str, &str)], connections: usize, body: &[u8]) -> Tally {
    let block = hpack::call(path::BATCH, identity);
    let opened = (0..connections).filter_map(|_| Connection::open(&arena.address, &[]));
    let mut calls: Vec<_> = opened
        .map(|mut connection| {
            let stream = connection.begin(&block, arena.until);
            (connection, stream, 0)
        })
        .collect();
    while Instant::now() < arena.until {
        let mut is_idle = true;
        for (connection, stream, sent) in &mut calls {
            if *sent < body.len() && connection.tally.answers.is_empty() {
                let count = connection.send_body(*stream, &body[*sent..], arena.until);
                *sent += count;
                is_idle &= count == 0;
                if *sent == body.len() {
                    connection.send(&frame(DATA, 1, *stream, &[]), arena.until);
                }
            }
            is_idle &= !connection.read();
        }
        if is_idle {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let mut tally = Tally::default();
    for (connection, _, _) in calls {
        tally.add(&connection.tally);
    }
    tally
}

/// Empty orders that fill a message of so many bytes.
fn empty_orders(bytes: usize) -> Vec<u8> {
    message(&[0x0a, 0].repeat(bytes / 2))
}

#[test]
fn two_million_empty_orders_by_a_party_are_not_even_read() {
    let orders = empty_orders(4 * 1024 * 1024 - 6);
    for (name, connections) in
        [("two million empty orders by a party", 1), ("two million empty orders by a party, four at once", 4)]
    {
        let attack = Attack::new(name).growing_at_most(20.0);
        let attack = if connections == 1 { attack.in_smoke() } else { attack };
        if let Some(tally) = attack.run(|arena| batches(arena, &[who::MALLORY], connections, &orders)) {
            assert_eq!(tally.answered("SCOPE_MISSING"), connections, "{tally}");
        }
    }
}

#[test]
fn two_million_empty_orders_by_a_platform_are_too_large() {
    let orders = empty_orders(4 * 1024 * 1024 - 6);
    let attack = Attack::new("two million empty orders by a platform, four at once").growing_at_most(20.0);
    if let Some(tally) = attack.run(|arena| batches(arena, &[who::SHOP, who::PLATFORM], 4, &orders)) {
        assert_eq!(tally.answered("MESSAGE_TOO_LARGE"), 4, "{tally}");
    }
}

#[test]
fn half_a_million_empty_orders_are_counted_before_they_are_decoded() {
    let orders = empty_orders(1024 * 1024 - 8);
    let attack = Attack::new("half a million empty orders by a platform, within the bound, four at once");
    if let Some(tally) =
        attack.growing_at_most(20.0).run(|arena| batches(arena, &[who::SHOP, who::PLATFORM], 4, &orders))
    {
        assert_eq!(tally.answered("INVALID_FIELD"), 4, "{tally}");
    }
}

/// Bodies that are wrong, each in another way.
fn malformed() -> Vec<Vec<u8>> {
    // Groups within groups, the innermost without an end.
    let nested = vec![0x0b; 1_000];
    vec![
        announced(u32::MAX),
        announced(0x7fff_ffff),
        [announced(9), vec![8]].concat(),
        vec![2, 0, 0, 0, 0],
        vec![0; 3],
        message(&[0xff; 1_000]),
        message(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        message(&nested),
    ]
}

#[test]
fn malformed_messages_are_refused_and_no_more() {
    let attack = Attack::new("lengths that lie, broken protobuf, deep nesting, by a party").in_smoke();
    let tally = attack.run(|arena| {
        let Some(mut connection) = Connection::open(&arena.address, &[]) else { return Tally::default() };
        let block = hpack::call(path::LIST_REASONS, &[who::MALLORY]);
        while Instant::now() < arena.until && !connection.is_over {
            for body in malformed() {
                connection.call(&block, &body, arena.until);
            }
            let calls = connection.tally.calls;
            connection.wait(arena.until, |tally| tally.answers.values().sum::<usize>() + 200 > calls);
        }
        connection.tally
    });
    if let Some(tally) = tally {
        let known = ["MESSAGE_MALFORMED", "MESSAGE_TOO_LARGE", "RATE_LIMITED"];
        assert!(tally.answers.keys().all(|reason| known.contains(&reason.as_str())), "{tally}");
        assert!(tally.answered("MESSAGE_MALFORMED") > 0, "{tally}");
    }
}
