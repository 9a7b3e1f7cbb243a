//! B1, C1p and E2: the same on PostgreSQL, compared with what PostgreSQL does without the service.

use std::time::Instant;

use dispute_service::proto::v1;

use super::bare_postgres::BarePostgres;
use super::cpu;
use super::launcher::Cluster;
use super::load::{Load, connect};
use super::postgres::{self, count, execute, fill, migrate};
use super::reads::read;
use super::rows::{self, Rows};
use super::scale::{rounds, scaled};
use super::seed::{Deadlines, Seed};
use super::server::Server;
use super::table::{Table, Target};
use super::writes::{COUNTS, settled_batch_of};
use super::{pgbench, reads};

pub(crate) const ABOUT_WRITES: &str = "open a dispute on PostgreSQL (fsync on), 256 in flight on 8 connections : \
    the same rows in batches of the same size; and by pgbench, one command per transaction";
pub(crate) const ABOUT_READS: &str =
    "GetDispute by id out of a million on PostgreSQL, 256 in flight on 8 connections : the same SELECT by pgbench";
pub(crate) const ABOUT_SWEEP: &str = "a million disputes due at once on PostgreSQL, two replicas : the same rows changed by \
    bare SQL in batches of 256";

/// How many clients pgbench has, and how many commands each sends per round.
fn writers() -> [(usize, usize); 3] {
    [(1, scaled(1_500, 50)), (16, scaled(400, 5)), (64, scaled(100, 2))]
}

fn readers() -> [(usize, usize); 2] {
    [(1, scaled(5_000, 100)), (16, scaled(1_000, 20))]
}

/// How many disputes the service expires at a time.
const PAGE: usize = 256;

/// A sweep is measured in so many parts, as on SQLite.
const PARTS: usize = 5;

pub(crate) async fn writes(table: &mut Table) {
    let Some(cluster) = postgres::start("B1", table).await.filter(|_| pgbench::is_here("B1", table)) else { return };
    let (rows, commands) = (rows::rows().await, scaled(15_000, 500));
    let batch = settled_batch(&cluster, commands).await;
    let [one, two, three] = ["one", "two", "three"].map(|database| cluster.url(database));
    [&two, &three].into_iter().for_each(|url| migrate(url));
    let server = Server::start(&one);
    let mut load = Load::on(&[server.address()], 8, 256).await;
    let (mut bare, mut lone) = (BarePostgres::on(&two, rows).await, BarePostgres::on(&three, rows).await);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("open.sql");
    std::fs::write(&script, pgbench::opening(&three, rows).await).expect("there is room");
    let [mut ours, mut batches, mut singles] = [Vec::new(), Vec::new(), Vec::new()];
    let (mut usages, mut cpu, mut bare_cpu, mut first) = (Vec::new(), Vec::new(), Vec::new(), 0);
    load.round(commands).await;
    for round in 0..rounds() {
        load.prepare(commands).await;
        let (before, database) = (server.usage(), postgres::cpu(&cluster));
        let took = load.round(commands).await;
        usages.push(server.usage().per(took.calls, &before));
        cpu.push((postgres::cpu(&cluster) - database) * 1e6 / took.calls as f64);
        ours.push(took.per_second());
        let numbers = round * commands..(round + 1) * commands;
        bare.orders(numbers.clone()).await;
        let database = postgres::cpu(&cluster);
        batches.push(commands as f64 / bare.open(numbers, batch).await);
        bare_cpu.push((postgres::cpu(&cluster) - database) * 1e6 / commands as f64);
        let mut best = 0.0_f64;
        for (clients, each) in writers() {
            lone.orders(first..first + clients * each).await;
            let run = || pgbench::run(&cluster, "three", &script, clients, each, first);
            best = best.max(tokio::task::block_in_place(run));
            first += clients * each;
        }
        singles.push(best);
    }
    let acknowledged = load.log().await.len();
    server.stop();
    require_rows(&one, acknowledged).await;
    require_rows(&two, rounds() * commands).await;
    println!("{acknowledged} commands acknowledged, each once in the log and in the tables");
    table.compare("B1", "commands/s : (a) in batches", &ours, &batches, Target::AtLeast(0.80));
    table.compare("B1", "commands/s : (b) pgbench", &ours, &singles, Target::AtLeast(4.0));
    table.compare("B1", "PostgreSQL CPU us per command : (a)", &cpu, &bare_cpu, Target::None);
    cpu::report(table, "B1", "command", &usages, None);
    table.single("B1", "commands per commit", &[batch as f64], Target::None);
}

/// How many commands the service puts into a transaction under this load; in the database that it is measured on.
async fn settled_batch(cluster: &Cluster, commands: usize) -> usize {
    execute(&mut postgres::connect(&cluster.url("postgres")).await, "CREATE DATABASE batch").await;
    let server = Server::start(&cluster.url("batch"));
    settled_batch_of(server, commands).await
}

/// Each command has its rows.
async fn require_rows(url: &str, commands: usize) {
    let connection = &mut postgres::connect(url).await;
    for sql in COUNTS {
        assert_eq!(count(connection, sql).await, commands, "{sql}");
    }
}

pub(crate) async fn reads(table: &mut Table) {
    let Some(cluster) = postgres::start("C1p", table).await.filter(|_| pgbench::is_here("C1p", table)) else { return };
    let (disputes, calls) = (scaled(1_000_000, 5_000), scaled(40_000, 1_000));
    fill(&cluster.url("one"), rows::rows().await, Seed::pending(disputes)).await;
    let server = Server::start(&cluster.url("one"));
    let channels = connect([server.address()].into_iter().cycle().take(reads::CONNECTIONS)).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("read.sql");
    std::fs::write(&script, pgbench::reading(disputes)).expect("there is room");
    let (mut ours, mut limit, mut usages, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds() {
        let (before, database) = (server.usage(), postgres::cpu(&cluster));
        let took = read(&channels, round * calls, calls, disputes, true).await;
        usages.push(server.usage().per(took.calls, &before));
        cpu.push((postgres::cpu(&cluster) - database) * 1e6 / took.calls as f64);
        ours.push(took.per_second());
        let run = |(clients, each)| pgbench::run(&cluster, "one", &script, clients, each, 0);
        limit.push(tokio::task::block_in_place(|| readers().into_iter().map(run).fold(0.0, f64::max)));
    }
    server.stop();
    println!("each read returned the dispute that it asked for");
    table.compare("C1p", "reads/s", &ours, &limit, Target::AtLeast(0.80));
    cpu::report(table, "C1p", "read", &usages, None);
    table.single("C1p", "PostgreSQL CPU us per read", &cpu, Target::None);
}

pub(crate) async fn sweep(table: &mut Table) {
    let Some(cluster) = postgres::start("E2", table).await else { return };
    let disputes = scaled(1_000_000, 5_000);
    let rows: &'static Rows = rows::rows().await;
    let seed = Seed { deadlines: Deadlines::Past, ..Seed::pending(disputes) };
    fill(&cluster.url("one"), rows, seed).await;
    let administrator = &mut postgres::connect(&cluster.url("postgres")).await;
    execute(administrator, "DROP DATABASE two").await;
    execute(administrator, "CREATE DATABASE two TEMPLATE one").await;
    let (started, part) = (Instant::now(), disputes / PARTS);
    let replicas = [Server::start(&cluster.url("one")), Server::start(&cluster.url("one"))];
    let before: Vec<_> = replicas.iter().map(Server::usage).collect();
    let database = &mut postgres::connect(&cluster.url("one")).await;
    let (mut ours, mut last) = (Vec::new(), started);
    for number in 1..=PARTS {
        while count(database, "SELECT head FROM event_log").await < disputes + number * part {
            assert!(started.elapsed().as_secs() < 600, "it takes too long");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        ours.push(part as f64 / last.elapsed().as_secs_f64());
        last = Instant::now();
    }
    let seconds = started.elapsed().as_secs_f64();
    let usages: Vec<_> =
        replicas.iter().zip(&before).map(|(server, before)| server.usage().per(disputes, before)).collect();
    replicas.into_iter().for_each(|server| drop(server.stop()));
    let expired = count(database, "SELECT count(*) FROM disputes WHERE resolve_time IS NOT NULL").await;
    let type_of_expiry = v1::EventType::DeadlineExpired as i32;
    let once = format!("SELECT count(DISTINCT dispute_id) FROM events WHERE event_type = {type_of_expiry}");
    let events = count(database, &format!("SELECT count(*) FROM events WHERE event_type = {type_of_expiry}")).await;
    assert_eq!([expired, events, count(database, &once).await], [disputes; 3], "each expired exactly once");
    println!("each of {disputes} disputes expired exactly once");
    let mut bare = BarePostgres::on(&cluster.url("two"), rows).await;
    let mut limit = Vec::new();
    for number in 0..PARTS {
        limit.push(part as f64 / bare.expire(number * part..(number + 1) * part, PAGE, disputes).await);
    }
    table.compare("E2", "disputes/s", &ours, &limit, Target::AtLeast(0.50));
    table.single("E2", "seconds from the start to the last", &[seconds], Target::AtMost(30.0));
    cpu::report(table, "E2", "dispute, of each replica", &usages, None);
}
