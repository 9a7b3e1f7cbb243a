//! Frames by the thousand that ask for nothing.

use std::time::{Duration, Instant};

use crate::frames::{
    Connection, DATA, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
    settings,
};
use crate::judge::{Arena, Attack};
use crate::tally::Tally;
use crate::{hpack, path, who};

/// The same bytes over and over, on one connection after the other; `prepare` begins each. Nothing is read unless `reads`.
fn flood(arena: &Arena, bytes: &[u8], reads: bool, prepare: impl Fn(&mut Connection)) -> Tally {
    let bytes = bytes.repeat((64 * 1024 / bytes.len()).max(1));
    let mut tally = Tally::default();
    while Instant::now() < arena.until {
        let Some(mut connection) = Connection::open(&arena.address, &[]) else { continue };
        prepare(&mut connection);
        connection.reads = reads;
        while Instant::now() < arena.until && !connection.is_over && connection.tally.goaways.is_empty() {
            connection.send(&bytes, arena.until);
            connection.read();
        }
        connection.reads = true;
        connection.read();
        tally.add(&connection.tally);
    }
    tally
}

/// The stream that [`open`] opens.
const STREAM: u32 = 1;

fn open(connection: &mut Connection) {
    connection.begin(&hpack::call(path::LIST_REASONS, &[who::MALLORY]), Instant::now() + Duration::from_secs(1));
}

fn nothing(_: &mut Connection) {}

#[test]
fn pings_that_are_not_read_are_bounded() {
    Attack::new("PING without end, the replies unread")
        .in_smoke()
        .run(|arena| flood(arena, &frame(PING, 0, 0, &[7; 8]), false, nothing));
    Attack::new("PING without end, the replies read")
        .run(|arena| flood(arena, &frame(PING, 0, 0, &[7; 8]), true, nothing));
}

#[test]
fn settings_without_end_are_bounded() {
    Attack::new("SETTINGS without end, the replies unread")
        .run(|arena| flood(arena, &frame(SETTINGS, 0, 0, &[]), false, nothing));
}

#[test]
fn settings_that_move_the_windows_of_many_streams_hurt_nobody() {
    let moves = [settings(&[(INITIAL_WINDOW_SIZE, 1)]), settings(&[(INITIAL_WINDOW_SIZE, 100_000)])].concat();
    Attack::new("SETTINGS that move the windows of 1,000 streams without end").run(|arena| {
        flood(arena, &moves, true, |connection| {
            let block = hpack::call(path::ASK, &[who::MALLORY]);
            for _ in 0..1_000 {
                connection.begin(&block, arena.until);
            }
        })
    });
}

#[test]
fn frames_without_a_purpose_hurt_nobody() {
    let one = 1_u32.to_be_bytes();
    let on_stream_3 = [&[0, 0, 0, 1][..], &[16]].concat();
    for (name, bytes) in [
        ("empty DATA without end", frame(DATA, 0, STREAM, &[])),
        ("WINDOW_UPDATE of 1 without end", frame(WINDOW_UPDATE, 0, STREAM, &one)),
        ("PRIORITY without end", frame(PRIORITY, 0, 3, &on_stream_3)),
        ("frames of an unknown kind without end", frame(0x42, 0, 0, &[7; 8])),
        ("RST_STREAM of a stream that is closed without end", frame(RST_STREAM, 0, STREAM, &[0; 4])),
    ] {
        Attack::new(name).lasting(Duration::from_millis(1_500)).run(|arena| flood(arena, &bytes, true, open));
    }
}

#[test]
fn trailers_and_goodbyes_without_end_hurt_nobody() {
    let goaway = frame(GOAWAY, 0, 0, &[0; 8]);
    Attack::new("GOAWAY without end")
        .lasting(Duration::from_millis(1_500))
        .run(|arena| flood(arena, &goaway, true, open));
    let empty = frame(HEADERS, 5, STREAM, &[]);
    Attack::new("empty HEADERS without end")
        .lasting(Duration::from_millis(1_500))
        .run(|arena| flood(arena, &empty, true, open));
}

/// Frames whose length is not what their kind has.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        ("SETTINGS with an ACK and values", frame(SETTINGS, 1, 0, &[0; 6])),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[])),
        ("PING of 7 bytes", frame(PING, 0, 0, &[0; 7])),
        ("WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, &[0; 3])),
        ("RST_STREAM of 3 bytes", frame(RST_STREAM, 0, 1, &[0; 3])),
        ("RST_STREAM of an idle stream", frame(RST_STREAM, 0, 99, &[0; 4])),
        ("DATA on no stream", frame(DATA, 0, 0, &[0; 4])),
        ("HEADERS on an even stream", frame(HEADERS, 5, 2, &[0x82])),
        ("a frame of 16 MiB", [0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1].to_vec()),
        ("padding longer than the frame", frame(DATA, 8, 1, &[200, 0, 0])),
        ("a window of 2^31", settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)])),
        ("a connection's window that overflows", frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())),
    ]
}

#[test]
fn malformed_frames_end_the_connection() {
    for (name, bytes) in malformed() {
        assert!(bytes.len() >= 9, "{name}");
    }
    let tally = Attack::new("frames whose length or place is wrong").in_smoke().run(|arena| {
        let mut tally = Tally::default();
        for (_, bytes) in malformed().iter().cycle() {
            if Instant::now() >= arena.until {
                break;
            }
            let Some(mut connection) = Connection::open(&arena.address, &[]) else { continue };
            open(&mut connection);
            connection.send(bytes, arena.until);
            // A frame that is not whole is waited for.
            connection.rest(Instant::now() + Duration::from_millis(3));
            tally.add(&connection.tally);
        }
        tally
    });
    if let Some(tally) = tally {
        assert!(tally.ended * 4 > tally.connections * 3, "{tally}");
    }
}
