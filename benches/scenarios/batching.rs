//! What batching is worth: disputes opened per second with 256 commands in flight, against one at a time.

use super::cpu;
use super::load::Load;
use super::scale::{rounds, scaled};
use super::server::{Server, commands_per_commit};
use super::table::{Table, Target};

pub(crate) const ABOUT: &str = "open a dispute on SQLite, 256 in flight on 8 connections : 1 in flight";

/// In flight, connections, commands per round, and how many these are with `--quick`.
const WAYS: [(usize, usize, usize, usize); 2] = [(256, 8, 20_000, 1_000), (1, 1, 1_500, 100)];

pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut sides = Vec::new();
    for (in_flight, connections, commands, few) in WAYS {
        let server = Server::on_sqlite(folder.path(), &format!("{in_flight}.db"));
        let load = Load::on(&[server.address()], connections, in_flight).await;
        sides.push((server, load, scaled(commands, few)));
    }
    let (mut per_second, mut usages) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..rounds() {
        for (index, (server, load, commands)) in sides.iter_mut().enumerate() {
            load.prepare(*commands).await;
            let before = server.usage();
            let round = load.round(*commands).await;
            per_second[index].push(round.per_second());
            usages[index].push(server.usage().per(round.calls, &before));
        }
    }
    let mut per_commit = Vec::new();
    for (server, load, _) in sides {
        let commands = load.log().await.len();
        per_commit.push(vec![commands_per_commit(&server.stop(), commands)]);
    }
    let [ours, one_by_one] = usages;
    table.compare("batching", "commands/s", &per_second[0], &per_second[1], Target::AtLeast(8.0));
    cpu::report(table, "batching", "command", &ours, Some(&cpu::totals(&one_by_one)));
    table.compare("batching", "commands per commit", &per_commit[0], &per_commit[1], Target::None);
}
