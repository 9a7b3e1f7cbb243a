//! Connections: silent ones, half of them, and more than there is room for.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::frames::{Connection, PREFACE, settings};
use crate::judge::{Arena, Attack};
use crate::tally::Tally;
use crate::{hpack, path, wire};

/// How much longer it may take to make all connections.
const CONNECTING: Duration = Duration::from_secs(10);

/// Makes connections up to so many at once, sends so much on each, and holds them until the end, at least for a second.
pub fn hold(arena: &Arena, count: usize, bytes: &[u8]) -> Tally {
    let mut tally = Tally::default();
    let mut held = Vec::new();
    // A busy machine takes its time.
    let last = arena.until + CONNECTING;
    while held.len() < count && Instant::now() < last && tally.ended < 10 {
        match Connection::connect(&arena.address) {
            Some(mut connection) => {
                connection.send(bytes, last);
                held.push(connection);
            }
            None => tally.ended += 1,
        }
        if held.len() % 10 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    std::thread::sleep(arena.until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1_500)));
    for mut connection in held {
        connection.read();
        tally.add(&connection.tally);
    }
    tally
}

/// Begins TLS handshakes and leaves them, up to so many; counts those that the server has closed after a while.
fn leave(arena: &Arena, count: usize, hello: &[u8]) -> Tally {
    let (mut tally, mut left) = (Tally::default(), Vec::new());
    let address = arena.address.parse().unwrap();
    let last = arena.until + CONNECTING;
    while left.len() < count && Instant::now() < last {
        let Ok(mut socket) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { continue };
        if socket.write_all(hello).is_ok() {
            tally.connections += 1;
            left.push(socket);
        }
    }
    std::thread::sleep(arena.until.saturating_duration_since(Instant::now()).max(Duration::from_millis(2_500)));
    for mut socket in left {
        socket.set_nonblocking(true).unwrap();
        let read = socket.read_to_end(&mut Vec::new());
        tally.ended += usize::from(!matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock));
    }
    tally
}

/// How many connections this process may hold, at most so many.
pub fn at_most(count: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = files.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(1_024);
    let count = count.min(soft.saturating_sub(200));
    println!("up to {count} connections: this process may have {soft} descriptors");
    count
}

#[test]
fn silent_sockets_are_closed() {
    let tally = Attack::new("2,000 sockets that say nothing")
        .on(&["--preface-timeout", "1s"])
        .in_smoke()
        .lasting(Duration::from_secs(3))
        .run(|arena| hold(arena, 2_000, b""));
    if let Some(tally) = tally.filter(|tally| tally.connections > 1_000) {
        assert!(tally.ended >= 1_000, "{tally}");
    }
}

#[test]
fn handshakes_that_are_left_are_closed() {
    let Some(hello) = wire::client_hello() else {
        println!("only with TLS (HOSTILE_TLS)");
        return;
    };
    let attack = Attack::new("2,000 TLS handshakes that are begun and left").on(&["--preface-timeout", "1s"]);
    let tally = attack.in_smoke().lasting(Duration::from_secs(3)).run(|arena| leave(arena, at_most(2_000), &hello));
    if let Some(tally) = tally {
        assert!(tally.connections > 500 && tally.ended == tally.connections, "{tally}");
    }
}

#[test]
fn half_a_preface_is_not_a_beginning() {
    let tally = Attack::new("2,000 sockets that stop within the preface, or the SETTINGS")
        .on(&["--preface-timeout", "1s"])
        .lasting(Duration::from_secs(3))
        .run(|arena| hold(arena, 2_000, &[PREFACE, &settings(&[])[..5]].concat()));
    if let Some(tally) = tally {
        assert!(tally.ended >= 1_000, "{tally}");
    }
}

#[test]
fn ten_thousand_connections_fit_into_memory() {
    let count = at_most(10_000);
    Attack::new("10,000 connections that have begun")
        .lasting(Duration::from_secs(4))
        .run(|arena| hold(arena, count, &[PREFACE, &settings(&[])].concat()));
}

#[test]
fn used_up_descriptors_hurt_nobody_who_is_connected() {
    Attack::new("1,000 connections to a service with 256 descriptors")
        .with_descriptors(256)
        .run(|arena| hold(arena, 1_000, &[PREFACE, &settings(&[])].concat()));
}

#[test]
fn connections_that_come_and_go_are_cheap() {
    Attack::new("connections that are made, used once and dropped").in_smoke().run(|arena| {
        let mut tally = Tally::default();
        let block = hpack::call(path::HEALTH, &[]);
        while Instant::now() < arena.until {
            let Some(mut connection) = Connection::open(&arena.address, &[]) else { continue };
            connection.call(&block, &[0; 5], arena.until);
            tally.add(&connection.tally);
        }
        tally
    });
}

#[test]
fn what_is_no_http_2_is_dropped() {
    let tally = Attack::new("HTTP/1.1, TLS and noise").in_smoke().run(|arena| {
        let mut tally = Tally::default();
        let noise: Vec<u8> = (0..10_000_u32).map(|index| u8::try_from(index * 7_919 % 251).unwrap()).collect();
        let openings =
            [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), b"\x16\x03\x01\x02\x00\x01".to_vec(), noise];
        for bytes in openings.iter().cycle() {
            if Instant::now() >= arena.until {
                break;
            }
            let Some(mut connection) = Connection::connect(&arena.address) else { continue };
            connection.send(bytes, arena.until);
            tally.add(&connection.tally);
        }
        tally
    });
    if let Some(tally) = tally {
        assert!(tally.connections > 10, "{tally}");
    }
}
