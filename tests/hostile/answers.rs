//! Answers that nobody takes.

use std::time::{Duration, Instant};

use dispute_service::proto::v1;
use prost::Message as _;

use crate::frames::{Connection, INITIAL_WINDOW_SIZE, WINDOW_UPDATE, frame, message};
use crate::judge::{Arena, Attack};
use crate::tally::Tally;
use crate::{hpack, path, who};

/// A page of 2 MB.
fn list() -> Vec<u8> {
    message(&v1::ListDisputesRequest { page_size: 500, ..Default::default() }.encode_to_vec())
}

/// So many lists on so many connections, with windows of so many bytes; `reads` if the sockets are read.
fn unread(arena: &Arena, connections: usize, lists: usize, window: u32, reads: bool) -> Tally {
    let block = hpack::call(path::LIST_DISPUTES, &[who::MALLORY]);
    let mut opened: Vec<_> =
        (0..connections).filter_map(|_| Connection::open(&arena.address, &[(INITIAL_WINDOW_SIZE, window)])).collect();
    for connection in &mut opened {
        connection.opens_windows = false;
        connection.reads = reads;
        // The window of the connection is wide open.
        connection.send(&frame(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes()), arena.until);
        for _ in 0..lists {
            connection.call(&block, &list(), arena.until);
        }
    }
    while Instant::now() < arena.until {
        let mut has_read = false;
        for connection in &mut opened {
            has_read |= connection.read();
        }
        if !has_read {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let mut tally = Tally::default();
    for connection in opened {
        tally.add(&connection.tally);
    }
    tally
}

#[test]
fn lists_that_nobody_takes_hold_a_bounded_amount_of_memory() {
    Attack::new("500 lists of 2 MB with a window of nothing, by a party").run(|arena| unread(arena, 1, 500, 0, true));
}

#[test]
fn lists_on_a_socket_that_nobody_reads_hold_a_bounded_amount_of_memory() {
    Attack::new("500 lists of 2 MB on a socket that is not read, by a party")
        .run(|arena| unread(arena, 1, 500, 0x7fff_ffff, false));
}

#[test]
fn lists_that_nobody_takes_on_many_connections_hold_a_bounded_amount_of_memory() {
    Attack::new("50 lists of 2 MB on each of 20 connections with a window of nothing, by a party")
        .lasting(Duration::from_secs(4))
        .run(|arena| unread(arena, 20, 50, 0, true));
}

#[test]
fn an_answer_that_is_taken_byte_by_byte_is_not_waited_for() {
    Attack::new("200 lists of 2 MB, of which a byte is taken now and then, by a party").run(|arena| {
        let values = [(INITIAL_WINDOW_SIZE, 1)];
        let Some(mut connection) = Connection::open(&arena.address, &values) else { return Tally::default() };
        connection.opens_windows = false;
        let block = hpack::call(path::LIST_DISPUTES, &[who::MALLORY]);
        let streams: Vec<_> = (0..200).map(|_| connection.call(&block, &list(), arena.until)).collect();
        while Instant::now() < arena.until && !connection.is_over {
            let more: Vec<u8> =
                streams.iter().flat_map(|stream| frame(WINDOW_UPDATE, 0, *stream, &1_u32.to_be_bytes())).collect();
            connection.send(&more, arena.until);
            connection.read();
            std::thread::sleep(Duration::from_millis(50));
        }
        connection.tally
    });
}
