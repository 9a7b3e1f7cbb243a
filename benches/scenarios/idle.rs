//! G1: what a subscriber costs who has nothing to hear.

use super::load::{Load, buyers};
use super::parties::by_party;
use super::scale::{rounds, settle};
use super::server::Server;
use super::subscribers::{Subscribers, Who};
use super::table::{Table, Target};

pub(crate) const ABOUT: &str = "10,000 idle subscribers on 100 connections";

pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::on_sqlite(folder.path(), "idle.db");
    let mut load = Load::on(&[server.address()], 8, 256).await;
    load.round(2 * buyers()).await;
    let before = load.log().await.len();
    let (mut steps, mut subscribers) = (Vec::new(), Vec::new());
    let mut resident = server.resident();
    // They come in so many at a time.
    let count = 2 * buyers() / rounds();
    for step in 0..rounds() {
        subscribers.push(Subscribers::start(server.address(), Who::Parties, step * count, count, 100 / rounds()));
        settle(1).await;
        steps.push((server.resident() - resident) / (1024.0 * count as f64));
        resident = server.resident();
    }
    table.single("G1", "resident KiB per subscriber", &steps, Target::AtMost(12.0));
    // An event for each of them.
    load.round(buyers()).await;
    let log = load.log().await;
    let seen: Vec<_> = subscribers.iter_mut().flat_map(|subscribers| subscribers.trails(count)).collect();
    assert!(log.len() == before + buyers() && seen == by_party(&log[before..]), "each saw its event, once");
    println!("then each saw its event, once");
    let after = (server.resident() - resident) / (1024.0 * 2.0 * buyers() as f64);
    table.single("G1", "more KiB each after an event for each", &[after], Target::None);
}
