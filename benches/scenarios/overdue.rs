//! E1 and E3: a million disputes due at once are expired nearly as fast as the database can change their rows, and callers do not
//! notice.

use std::path::Path;
use std::time::{Duration, Instant};

use dispute_service_test_features::rusqlite::Connection;

use super::bare_sqlite::BareSqlite;
use super::cpu;
use super::load::Load;
use super::rows;
use super::scale::{rounds, scaled};
use super::seed::{self, Deadlines, Seed};
use super::server::Server;
use super::table::{Table, Target};

pub(crate) const ABOUT_SWEEP: &str =
    "a million disputes due at once on SQLite : the same rows changed by bare SQL in batches of 256";
pub(crate) const ABOUT_CALLERS: &str =
    "200 commands a second (open loop) while a million disputes are due at once : while none is";

/// How many disputes the service expires at a time.
const PAGE: usize = 256;

/// A sweep is measured in so many parts, as are the rows changed without the service: one takes too long for more turns.
const PARTS: usize = 5;

fn overdue() -> Seed {
    let disputes = scaled(1_000_000, 5_000);
    // With orders of which nobody has complained.
    Seed { orders: disputes * 6 / 5, disputes, deadlines: Deadlines::Past, pending_of: 1 }
}

pub(crate) async fn sweep(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [file, bare_file] = ["E1.db", "bare.db"].map(|name| folder.path().join(name));
    let seed = overdue();
    seed::copy(seed, &file).await;
    seed::copy(seed, &bare_file).await;
    let part = seed.disputes / PARTS;
    let started = Instant::now();
    let server = Server::on_file(&file);
    let (connection, before) = (rows::open(&file), server.usage());
    let (mut ours, mut last) = (Vec::new(), started);
    for number in 1..=PARTS {
        let end = seed.disputes + number * part;
        until(|| events(&connection) >= end).await;
        ours.push(part as f64 / last.elapsed().as_secs_f64());
        last = Instant::now();
    }
    let seconds = started.elapsed().as_secs_f64();
    let usage = server.usage().per(seed.disputes, &before);
    server.stop();
    require_expired(&file, seed.disputes);
    let mut bare = BareSqlite::on(&bare_file, rows::rows().await);
    let (mut limit, mut cpu) = (Vec::new(), Vec::new());
    for number in 0..PARTS {
        let numbers = number * part..(number + 1) * part;
        let took = tokio::task::block_in_place(|| bare.expire(numbers, PAGE, seed.disputes));
        limit.push(part as f64 / took.seconds);
        cpu.push(took.cpu * 1e6 / part as f64);
    }
    println!("each of {} disputes expired once", seed.disputes);
    table.compare("E1", "disputes/s", &ours, &limit, Target::AtLeast(0.50));
    table.single("E1", "seconds from the start to the last", &[seconds], Target::AtMost(20.0));
    cpu::report(table, "E1", "dispute", &[usage], Some(&[super::table::median(&cpu)]));
}

/// Each dispute has expired, with one event.
pub(crate) fn require_expired(file: &Path, disputes: usize) {
    let connection = rows::open(file);
    let expired = rows::count(&connection, "SELECT count(*) FROM disputes WHERE resolve_time IS NOT NULL");
    let once = "SELECT count(DISTINCT dispute_id) FROM events JOIN disputes USING (dispute_id)
        WHERE event_time = resolve_time AND events.seq > (SELECT count(*) FROM disputes)";
    assert_eq!((expired, rows::count(&connection, once)), (disputes, disputes), "each expired once");
    assert_eq!(events(&connection), 2 * disputes, "and nothing else happened");
}

fn events(connection: &Connection) -> usize {
    rows::count(connection, "SELECT head FROM event_log")
}

/// Looks again until it is so.
async fn until(is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(300), "it takes too long");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn callers(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (busy, quiet) = (overdue(), Seed { deadlines: Deadlines::Far, ..overdue() });
    let (rate, commands) = (200.0, scaled(600, 40));
    let mut sides = Vec::new();
    for (name, seed) in [("busy.db", busy), ("quiet.db", quiet)] {
        let file = folder.path().join(name);
        seed::copy(seed, &file).await;
        let server = Server::on_file(&file);
        let load = Load::on(&[server.address()], 8, 1).await.beyond(seed.disputes, seed.orders);
        // Between their turns they stand still: the one would disturb the other.
        server.signal("STOP");
        sides.push((server, load, rows::open(&file)));
    }
    let (mut p50, mut p99) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..rounds() {
        for (index, (server, load, connection)) in sides.iter_mut().enumerate() {
            server.signal("CONT");
            // What piled up while it stood still is no part of it.
            load.at_rate(rate, scaled(50, 10)).await;
            let (latencies, _) = load.at_rate(rate, commands).await;
            p50[index].push(latencies.percentile(50.0));
            p99[index].push(latencies.percentile(99.0));
            if index == 0 && events(connection) >= 2 * busy.disputes + load.opened() {
                println!("*** the sweep was over before its turn {} was ***", p99[0].len());
            }
            server.signal("STOP");
        }
    }
    for (server, load, connection) in sides {
        server.signal("CONT");
        server.stop();
        let sql = format!("SELECT count(*) FROM disputes WHERE dispute_id > x'{}'", last_copied(busy.disputes));
        assert_eq!(rows::count(&connection, &sql), load.opened(), "each acknowledged command has its row");
        println!("{} commands acknowledged, each with its row", load.opened());
    }
    table.compare("E3", "p99 ms", &p99[0], &p99[1], Target::AtMost(3.0));
    table.compare("E3", "p50 ms", &p50[0], &p50[1], Target::None);
}

/// The id of the last copied dispute, in hexadecimal: those that the service mints are greater.
fn last_copied(disputes: usize) -> String {
    rows::dispute_id(disputes).simple().to_string()
}
