//! How the service grows: with the disputes that there are, and with the commands that are in flight.

use std::time::Instant;

use super::load::{Load, connect};
use super::pages::list_p50;
use super::raw::RawConnection;
use super::reads::read_p50;
use super::replay::from_the_start;
use super::scale::scaled;
use super::seed::{self, Seed};
use super::server::Server;
use super::table::Table;

pub(crate) const ABOUT_DISPUTES: &str =
    "a command, a read, a page and a resumption on SQLite, one at a time, the more disputes there are";
pub(crate) const ABOUT_IN_FLIGHT: &str = "open a dispute on SQLite, the more commands are in flight";

/// What is read of the log by a subscriber that comes back.
const RESUMED: usize = 1_000;

/// Streams on a connection, fewer than the service allows.
const STREAMS: usize = 64;

pub(crate) async fn disputes(table: &mut Table) {
    let (sizes, calls): (&[usize], usize) =
        if super::scale::quick() { (&[1_000, 5_000], 30) } else { (&[10_000, 100_000, 1_000_000, 10_000_000], 500) };
    for &disputes in sizes {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("growth.db");
        let orders = disputes + 2 * calls;
        seed::make_at(Seed { orders, ..Seed::pending(disputes) }, &file).await;
        let server = Server::on_file(&file);
        let mut load = Load::on(&[server.address()], 1, 1).await.beyond(disputes, orders);
        // What is read first is read from the disk.
        load.round(calls).await;
        let command = load.round(calls).await.latencies.percentile(50.0);
        let channel = connect([server.address()].into_iter()).await.remove(0);
        let lines = [
            ("a command", command),
            ("a read", read_p50(&channel, calls, disputes).await),
            ("a page of 50", list_p50(&channel, "", calls).await),
            ("1,000 events of a resumption", resume_p50(server.address(), scaled(20, 3)).await),
        ];
        server.stop();
        for (line, p50) in lines {
            table.point("growth", line, disputes as f64, p50);
        }
    }
}

/// How many milliseconds a subscriber waits that resumes at the oldest event, until it has heard a thousand of them.
async fn resume_p50(address: &str, times: usize) -> f64 {
    let mut took = Vec::new();
    for _ in 0..times {
        let mut connection = RawConnection::open(address, 1 << 20, 1 << 20).await;
        let started = Instant::now();
        connection.watch(&from_the_start()).await.until(RESUMED).await;
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    super::table::median(&took)
}

pub(crate) async fn in_flight(table: &mut Table) {
    let most: usize = scaled(4_096, 64);
    let mut in_flight = 1;
    while in_flight <= most {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Server::on_sqlite(folder.path(), "flight.db");
        let mut load = Load::on(&[server.address()], in_flight.div_ceil(STREAMS), in_flight).await;
        let commands = scaled(2_000 + 20 * in_flight, 100);
        load.round(commands).await;
        let round = load.round(commands).await;
        load.log().await;
        server.stop();
        table.point("flight", "commands/s", in_flight as f64, round.per_second());
        for of_100 in [50.0, 99.0] {
            table.point("waiting", &format!("p{of_100} ms"), in_flight as f64, round.latencies.percentile(of_100));
        }
        in_flight *= 4;
    }
}
