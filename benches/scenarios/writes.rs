//! A1 and A2: how near the service comes to what SQLite can do, with many commands in flight and with one.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use dispute_service::proto::v1;
use dispute_service::proto::v1::dispute_service_client::DisputeServiceClient;

use super::bare_sqlite::BareSqlite;
use super::cpu;
use super::drive::{Times, closed_loop};
use super::echo::Echo;
use super::load::{Load, connect, offer, platform};
use super::rows;
use super::scale::{rounds, scaled};
use super::server::{Server, commands_per_commit};
use super::table::{Table, Target};

pub(crate) const ABOUT_MANY: &str =
    "open a dispute on SQLite, 256 in flight on 8 connections : the same rows by bare SQL in batches of the same size";
pub(crate) const ABOUT_ONE: &str = "open a dispute on SQLite, 1 in flight : echo, and one fdatasync";

/// Rounds before the first that counts: in them the batches find their size.
const WARM_UP: usize = 1;

/// How many turns of two services are as long as a round.
const TURNS: usize = 8;

pub(crate) async fn many(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let commands = scaled(20_000, 1_000);
    let batch = settled_batch(folder.path(), commands).await;
    let file = folder.path().join("A1.db");
    let server = Server::on_file(&file);
    let mut load = Load::on(&[server.address()], 8, 256).await;
    let mut bare = BareSqlite::new(&folder.path().join("bare.db"), rows::rows().await);
    let (mut ours, mut limit, mut usages, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut latencies = Times::new();
    for _ in 0..WARM_UP {
        load.round(commands).await;
    }
    for round in 0..rounds() {
        load.prepare(commands).await;
        let before = server.usage();
        let took = load.round(commands).await;
        usages.push(server.usage().per(took.calls, &before));
        ours.push(took.per_second());
        latencies.add(&took.latencies);
        let numbers = round * commands..(round + 1) * commands;
        let took = tokio::task::block_in_place(|| {
            bare.orders(numbers.clone());
            bare.open(numbers, batch)
        });
        limit.push(commands as f64 / took.seconds);
        cpu.push(took.cpu * 1e6 / commands as f64);
    }
    let acknowledged = load.log().await.len();
    let per_commit = commands_per_commit(&server.stop(), acknowledged);
    require_rows(&file, acknowledged);
    println!("{acknowledged} commands acknowledged, each once in the log and in the tables");
    table.compare("A1", "commands/s", &ours, &limit, Target::AtLeast(0.85));
    cpu::report(table, "A1", "command", &usages, Some(&cpu));
    table.compare("A1", "commands per commit", &[per_commit], &[batch as f64], Target::None);
    for of_100 in [50.0, 99.0] {
        table.single("A1", &format!("p{of_100} ms"), &[latencies.percentile(of_100)], Target::None);
    }
}

/// Two services of which each has its file, in turns: how near the first comes to the second. The turns are short, and who
/// begins alternates: the machine becomes faster and slower meanwhile.
pub(crate) async fn in_turns(
    table: &mut Table,
    id: &'static str,
    mut sides: [(Server, Load); 2],
    files: &[PathBuf; 2],
    target: Target,
) {
    let commands = scaled(20_000, 1_000) / TURNS;
    let (mut per_second, mut usages) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..(WARM_UP + rounds()) * TURNS {
        for index in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let (server, load) = &mut sides[index];
            load.prepare(commands).await;
            let before = server.usage();
            let took = load.round(commands).await;
            if round >= WARM_UP * TURNS {
                per_second[index].push(took.per_second());
                usages[index].push(server.usage().per(took.calls, &before));
            }
        }
    }
    for ((server, load), file) in sides.into_iter().zip(files) {
        let acknowledged = load.log().await.len();
        server.stop();
        require_rows(file, acknowledged);
        println!("{acknowledged} commands acknowledged, each once in the log and in the tables");
    }
    let [ours, plain] = usages;
    table.compare(id, "commands/s", &per_second[0], &per_second[1], target);
    cpu::report(table, id, "command", &ours, Some(&cpu::totals(&plain)));
}

/// How many commands the service puts into a transaction under this load.
async fn settled_batch(folder: &Path, commands: usize) -> usize {
    let server = Server::on_sqlite(folder, "batch.db");
    settled_batch_of(server, commands).await
}

/// The same on this server, which it stops.
pub(crate) async fn settled_batch_of(server: Server, commands: usize) -> usize {
    let mut load = Load::on(&[server.address()], 8, 256).await;
    load.round(commands).await;
    let opened = load.opened();
    let per_commit = commands_per_commit(&server.stop(), opened);
    println!("{per_commit:.0} commands per commit");
    // As a number above zero.
    (per_commit.round() as usize).max(1)
}

/// What counts the rows of a command: each of these equals the number of commands.
pub(crate) const COUNTS: [&str; 4] = [
    "SELECT count(*) FROM disputes",
    "SELECT count(*) FROM idempotency_keys",
    "SELECT count(*) FROM events",
    "SELECT head FROM event_log",
];

/// Each acknowledged command has its rows.
pub(crate) fn require_rows(file: &Path, acknowledged: usize) {
    let connection = rows::open(file);
    for sql in COUNTS {
        assert_eq!(rows::count(&connection, sql), acknowledged, "{sql}");
    }
}

pub(crate) async fn one(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (commands, echoes) = (scaled(1_500, 100), scaled(10_000, 500));
    let file = folder.path().join("A2.db");
    let server = Server::on_file(&file);
    let mut load = Load::on(&[server.address()], 1, 1).await;
    load.round(1).await;
    let echo = Echo::start(&first_dispute(server.address()).await);
    let (mut ours, mut limit, mut calls, mut syncs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds() {
        load.prepare(commands).await;
        ours.push(load.round(commands).await.latencies.percentile(50.0));
        let channel = connect([echo.address()].into_iter()).await.remove(0);
        let worker = |_| {
            let client = DisputeServiceClient::new(channel.clone());
            move |number| {
                let mut client = client.clone();
                async move {
                    client.offer_partial_refund(offer(number, "A message.")).await.expect("an echo");
                }
            }
        };
        calls.push(closed_loop(1, 0..echoes, worker).await.latencies.percentile(50.0));
        syncs.push(tokio::task::block_in_place(|| fdatasync(folder.path(), commands)).percentile(50.0));
        limit.push(calls[calls.len() - 1] + syncs[syncs.len() - 1]);
    }
    let acknowledged = load.log().await.len();
    server.stop();
    require_rows(&file, acknowledged);
    println!("{acknowledged} commands acknowledged, each once in the log and in the tables");
    table.compare("A2", "p50 ms", &ours, &limit, Target::AtMost(1.5));
    table.single("A2", "  of the limit: echo p50 ms", &calls, Target::None);
    table.single("A2", "  of the limit: fdatasync p50 ms", &syncs, Target::None);
}

/// A dispute as the service shows it.
async fn first_dispute(address: &str) -> v1::GetDisputeResponse {
    let channel = connect([address].into_iter()).await.remove(0);
    let mut client = DisputeServiceClient::new(channel);
    let request = v1::ListDisputesRequest { page_size: 1, ..v1::ListDisputesRequest::default() };
    let dispute = client.list_disputes(platform(request)).await.expect("a list").into_inner().disputes.remove(0);
    v1::GetDisputeResponse { dispute: Some(dispute), server_time: None }
}

/// How long one page takes to be on disk in a file that does not grow.
fn fdatasync(folder: &Path, times: usize) -> Times {
    let file = File::create(folder.join("synced")).expect("a file");
    file.write_all_at(&vec![1; 4 << 20], 0).and_then(|()| file.sync_all()).expect("there is room");
    let mut taken = Times::new();
    for page in 0..times as u64 {
        let started = Instant::now();
        file.write_all_at(&[2; 4096], page % 1_024 * 4_096).and_then(|()| file.sync_data()).expect("it is written");
        taken.record(started.elapsed());
    }
    taken
}
