//! D4n: a thousand subscribers of everything that read nothing cost a bounded amount of memory, and delay nobody.

use std::path::Path;

use super::load::Load;
use super::scale::{crowd, rounds, scaled, settle};
use super::server::Server;
use super::subscribers::{Subscribers, Trail, Who};
use super::table::{Table, Target};

pub(crate) const ABOUT: &str =
    "1,000 subscribers of everything that read nothing : none; 32 in flight on 8 connections";

/// So many commands per round: in the end far more events than the transport holds back, or the feed's ring.
fn commands() -> usize {
    scaled(5_000, 200)
}

/// So many rounds come before the subscribers.
fn warm_up() -> usize {
    scaled(3, 1)
}

/// What the subscribers are, on how many connections if not each on its own.
const FORMS: [(&str, Who, Option<usize>); 4] = [
    ("10 connections", Who::Unread, Some(10)),
    ("1,000 connections", Who::Unread, None),
    ("10 connections, from the oldest event", Who::Behind, Some(10)),
    ("1,000 sockets that nobody reads", Who::Deaf, None),
];

struct Side {
    server: Server,
    load: Load,
    resident_before: f64,
    subscribers: Option<Subscribers>,
    open_files: usize,
    p99: Vec<f64>,
}

impl Side {
    /// The load has filled what fills: caches, the ring, the allocator's pools.
    async fn new(folder: &Path, name: &str) -> Self {
        let server = Server::on_sqlite(folder, name);
        let mut load = Load::on(&[server.address()], 8, 32).await.at_length();
        load.prepare((warm_up() + rounds()) * commands()).await;
        for _ in 0..warm_up() {
            load.round(commands()).await;
        }
        settle(1).await;
        Self { resident_before: server.resident(), server, load, subscribers: None, open_files: 0, p99: Vec::new() }
    }

    fn subscribe(&mut self, who: Who, connections: Option<usize>) {
        let connections = connections.unwrap_or_else(crowd);
        self.subscribers = Some(Subscribers::start(self.server.address(), who, 0, crowd(), connections));
        self.open_files = self.server.open_files();
    }

    fn grown(&self) -> f64 {
        assert!(self.server.open_files() >= self.open_files, "everyone is still connected");
        (self.server.resident() - self.resident_before) / (1024.0 * 1024.0)
    }
}

pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut without = Side::new(folder.path(), "without.db").await;
    let mut sides = Vec::new();
    for (name, _, _) in FORMS {
        sides.push(Side::new(folder.path(), &format!("{name}.db")).await);
    }
    let before: Vec<usize> = sides.iter().map(|side| side.load.opened()).collect();
    for (side, (_, who, connections)) in sides.iter_mut().zip(FORMS) {
        side.subscribe(who, connections);
    }
    for _ in 0..rounds() {
        for side in std::iter::once(&mut without).chain(&mut sides) {
            side.p99.push(side.load.round(commands()).await.latencies.percentile(99.0));
        }
    }
    settle(1).await;
    let grown: Vec<f64> = sides.iter().map(Side::grown).collect();
    let drift = without.grown();
    println!("grown by {drift:.1} MiB without subscribers, with them by {grown:.1?}");
    for (index, (name, who, _)) in FORMS.into_iter().enumerate() {
        let side = &mut sides[index];
        let log = side.load.log().await;
        let theirs = if who == Who::Behind { &log[..] } else { &log[before[index]..] };
        if let Some(subscribers) = side.subscribers.as_mut().filter(|_| who != Who::Deaf) {
            assert_eq!(subscribers.trails(theirs.len()), [Trail::of(theirs)], "one that reads on sees all, in order");
            println!("{name}: one that read on saw all {} events, once and in order", theirs.len());
        }
        table.single("D4n", &format!("MiB for them, {name}"), &[grown[index] - drift], Target::AtMost(64.0));
        table.compare("D4n", &format!("p99 ms, {name}"), &side.p99, &without.p99, Target::AtMost(1.5));
    }
}
