//! F1: a subscriber that resumes from the start of the log gets it nearly as fast as the database reads it.

use std::path::Path;
use std::time::Instant;

use dispute_service::proto::v1::WatchDisputesRequest;
use dispute_service::proto::v1::watch_disputes_request::Start;
use dispute_service_test_features::rusqlite::types::ValueRef;

use super::cpu;
use super::raw::RawConnection;
use super::rows::{self, event_id};
use super::scale::{rounds, scaled};
use super::seed::{self, Seed};
use super::server::Server;
use super::subscribers::Trail;
use super::table::{Table, Target};

pub(crate) const ABOUT: &str =
    "one subscriber resumes from the start of a million events on SQLite : SELECT payload of the same rows";

/// What a client lets the server send ahead.
const WINDOW: u32 = 4 << 20;

pub(crate) async fn run(table: &mut Table) {
    let events = scaled(1_000_000, 5_000);
    let file = seed::file(Seed::pending(events)).await;
    let server = Server::on_file(&file);
    let expected = trail_of(events);
    let (mut ours, mut limit, mut usages, mut per_message) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds() {
        let before = server.usage();
        let started = Instant::now();
        let mut connection = RawConnection::open(server.address(), WINDOW, WINDOW).await;
        let mut stream = connection.watch(&from_the_start()).await;
        stream.until(events).await;
        ours.push(events as f64 / started.elapsed().as_secs_f64());
        usages.push(server.usage().per(events, &before));
        per_message.push(events as f64 / stream.messages as f64);
        assert!(stream.trail == expected, "it saw each event, once and in order");
        limit.push(events as f64 / tokio::task::block_in_place(|| select(&file, events)));
    }
    server.stop();
    println!("it saw each of {events} events each time, once and in order");
    table.compare("F1", "events/s", &ours, &limit, Target::AtLeast(0.50));
    table.single("F1", "events per message", &per_message, Target::None);
    cpu::report(table, "F1", "event", &usages, None);
}

/// Everything, from the oldest event on.
pub(crate) fn from_the_start() -> WatchDisputesRequest {
    WatchDisputesRequest { start: Some(Start::FromBeginning(true)), ..WatchDisputesRequest::default() }
}

/// What a subscriber must have seen of so many copied events.
fn trail_of(events: usize) -> Trail {
    let mut trail = Trail::default();
    (0..events).for_each(|number| trail.add_id(event_id(number).to_string().as_bytes()));
    trail
}

/// How many seconds the database takes to read the payloads.
fn select(file: &Path, events: usize) -> f64 {
    let connection = rows::open(file);
    let mut statement =
        connection.prepare("SELECT payload FROM events WHERE seq > 0 ORDER BY seq").expect("a statement");
    let started = Instant::now();
    let (mut found, mut bytes, mut rows) = (0, 0, statement.query([]).expect("rows"));
    while let Some(row) = rows.next().expect("a row") {
        let ValueRef::Blob(payload) = row.get_ref(0).expect("a payload") else { panic!("a payload is a blob") };
        bytes += payload.len();
        found += 1;
    }
    assert!(found == events && bytes > events, "all were read");
    started.elapsed().as_secs_f64()
}
