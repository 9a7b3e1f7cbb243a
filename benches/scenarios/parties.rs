//! D3: subscribers cost what they see. Ten thousand parties, two of whom see an event, cost as much as two who see all.

use super::load::{Load, buyers, party};
use super::scale::{rounds, scaled};
use super::server::Server;
use super::subscribers::{Subscribers, Trail, Who};
use super::table::{Table, Target};

pub(crate) const ABOUT: &str =
    "open a dispute on SQLite, 256 in flight on 8 connections; 10,000 subscribers of one party each : 2 of everything";

fn parties() -> usize {
    2 * buyers()
}

pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut sides = Vec::new();
    for (who, subscribers, connections) in [(Who::Parties, parties(), 100), (Who::Everything, 2, 2)] {
        let server = Server::on_sqlite(folder.path(), &format!("{subscribers}.db"));
        let load = Load::on(&[server.address()], 8, 256).await;
        let subscribers = Subscribers::start(server.address(), who, 0, subscribers, connections);
        sides.push((server, load, subscribers));
    }
    let (mut per_second, mut cpu) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let commands = scaled(10_000, 500);
    for _ in 0..rounds() {
        for (index, (server, load, _)) in sides.iter_mut().enumerate() {
            load.prepare(commands).await;
            let before = server.usage();
            let round = load.round(commands).await;
            per_second[index].push(round.per_second());
            cpu[index].push(server.usage().per(round.calls, &before).total);
        }
    }
    for (index, (_, load, subscribers)) in sides.iter_mut().enumerate() {
        let log = load.log().await;
        let expected = if index == 0 { by_party(&log) } else { vec![Trail::of(&log); 2] };
        assert!(subscribers.trails(2 * log.len()) == expected, "each saw each of its events, once and in order");
        println!("{} subscribers saw each of their events of {}, once and in order", expected.len(), log.len());
    }
    table.compare("D3", "commands/s", &per_second[0], &per_second[1], Target::AtLeast(0.80));
    table.compare("D3", "server CPU us per command", &cpu[0], &cpu[1], Target::None);
}

/// What each party must have seen.
pub(crate) fn by_party(log: &[dispute_service::proto::v1::DisputeEvent]) -> Vec<Trail> {
    let mut trails = vec![Trail::default(); parties()];
    let numbers: std::collections::HashMap<String, usize> =
        (0..parties()).map(|number| (party(number), number)).collect();
    for event in log {
        let dispute = event.dispute.as_ref().expect("an event has its dispute");
        trails[numbers[&dispute.buyer_id]].add(event);
        trails[numbers[&dispute.seller_id]].add(event);
    }
    trails
}
