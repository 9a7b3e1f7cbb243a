//! What batching is worth: disputes opened per second with 256 commands in flight, against one at a time.

use super::ROUNDS;
use super::load::Load;
use super::server::Server;
use super::table::{Table, Target};

pub(crate) const ABOUT: &str = "open a dispute on SQLite, 256 in flight on 8 connections : 1 in flight";

/// In flight, connections, commands per round.
const WAYS: [(usize, usize, usize); 2] = [(256, 8, 20_000), (1, 1, 1_500)];

pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut sides = Vec::new();
    for (in_flight, connections, commands) in WAYS {
        let server = Server::on_sqlite(folder.path(), &format!("{in_flight}.db"));
        let load = Load::on(&[server.address()], connections, in_flight).await;
        sides.push((server, load, commands));
    }
    let (mut per_second, mut cpu) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        for (index, (server, load, commands)) in sides.iter_mut().enumerate() {
            load.prepare(*commands).await;
            let before = server.cpu();
            let round = load.round(*commands).await;
            per_second[index].push(round.per_second());
            cpu[index].push((server.cpu() - before) * 1e6 / round.commands as f64);
        }
    }
    let mut per_commit = Vec::new();
    for (server, load, _) in sides {
        let commands = load.log().await.len();
        let log = server.stop();
        let batches = counted(&log, "batches=") - counted(&log, "commands=") + commands as f64;
        per_commit.push(vec![commands as f64 / batches]);
    }
    table.compare("batching", "commands/s", &per_second[0], &per_second[1], Target::AtLeast(8.0));
    table.compare("batching", "server CPU us per command", &cpu[0], &cpu[1], Target::None);
    table.compare("batching", "commands per commit", &per_commit[0], &per_commit[1], Target::None);
}

/// The number after `key` in the last line of the log that has it.
fn counted(log: &str, key: &str) -> f64 {
    let number = log.lines().rev().find_map(|line| line.split(key).nth(1)).expect("the program counts");
    number
        .split(|character: char| !character.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .expect("a number")
}
