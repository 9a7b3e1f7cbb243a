//! B2: two replicas of the service on one PostgreSQL are not slower than one.

use super::cpu;
use super::load::Load;
use super::postgres;
use super::scale::{rounds, scaled};
use super::server::Server;
use super::table::{Table, Target};

pub(crate) const ABOUT: &str =
    "open a dispute on PostgreSQL (fsync on), 256 in flight on 8 connections, two replicas : one";

pub(crate) async fn run(table: &mut Table) {
    let Some(cluster) = postgres::start("B2", table).await else { return };
    let logged = cluster.log().len();
    let commands = scaled(15_000, 500);
    let mut sides = Vec::new();
    for (database, replicas) in [("two", 2), ("one", 1)] {
        let servers: Vec<Server> = (0..replicas).map(|_| Server::start(&cluster.url(database))).collect();
        let addresses: Vec<&str> = servers.iter().map(Server::address).collect();
        let load = Load::on(&addresses, 8, 256).await;
        sides.push((servers, load));
    }
    let (mut per_second, mut cpu) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..rounds() {
        for (index, (servers, load)) in sides.iter_mut().enumerate() {
            load.prepare(commands).await;
            let before: Vec<_> = servers.iter().map(Server::usage).collect();
            let round = load.round(commands).await;
            per_second[index].push(round.per_second());
            let used = |(server, before): (&Server, &cpu::Usage)| server.usage().per(round.calls, before).total;
            cpu[index].push(servers.iter().zip(&before).map(used).sum::<f64>());
        }
    }
    for (servers, load) in sides {
        println!("{} replicas: {} commands acknowledged, each once in the log", servers.len(), load.log().await.len());
        servers.into_iter().for_each(|server| drop(server.stop()));
    }
    let log = cluster.log().split_off(logged);
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    println!(
        "the database's log: {} times \"deadlock detected\", {} times \"still waiting for\", {} errors",
        lines("deadlock detected"),
        lines("still waiting for"),
        lines("ERROR:")
    );
    assert_eq!(lines("deadlock detected"), 0, "{log}");
    table.compare("B2", "commands/s", &per_second[0], &per_second[1], Target::AtLeast(0.95));
    table.compare("B2", "server CPU us per command", &cpu[0], &cpu[1], Target::None);
}
