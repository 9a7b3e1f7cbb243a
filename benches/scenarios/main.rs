//! What the service is worth on this machine: scenarios, each a ratio measured in one run.
//!
//! `cargo bench` runs them all, `cargo bench -- B2` one. Each runs the real program, with every commit on disk, takes
//! turns with what it is compared to, and checks afterwards what it has measured.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "it measures real time, and ends when something is wrong"
)]

mod batching;
#[path = "../../tests/integration/support/binary.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use more of it")]
mod binary;
mod idle;
#[path = "../../tests/integration/support/launcher.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use more of it")]
mod launcher;
mod load;
mod parties;
mod postgres;
mod replicas;
mod server;
mod stalled;
mod subscribers;
mod table;
mod watching;

use std::time::Instant;

use futures_util::future::{FutureExt as _, LocalBoxFuture};
use table::Table;

/// How often each side of a comparison has its turn.
const ROUNDS: usize = 5;

struct Scenario {
    id: &'static str,
    about: &'static str,
    run: for<'a> fn(&'a mut Table) -> LocalBoxFuture<'a, ()>,
}

const SCENARIOS: [Scenario; 5] = [
    Scenario { id: "batching", about: batching::ABOUT, run: |table| batching::run(table).boxed_local() },
    Scenario { id: "B2", about: replicas::ABOUT, run: |table| replicas::run(table).boxed_local() },
    Scenario { id: "D3", about: parties::ABOUT, run: |table| parties::run(table).boxed_local() },
    Scenario { id: "D4n", about: stalled::ABOUT, run: |table| stalled::run(table).boxed_local() },
    Scenario { id: "G1", about: idle::ABOUT, run: |table| idle::run(table).boxed_local() },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let Some(("watch", subscribers)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return runtime.block_on(watching::run(subscribers));
    }
    // cargo adds --bench.
    let ids: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    for id in &ids {
        assert!(SCENARIOS.iter().any(|scenario| scenario.id == *id), "there is no scenario {id}");
    }
    let mut table = Table::new();
    for scenario in SCENARIOS.iter().filter(|scenario| ids.is_empty() || ids.contains(&scenario.id)) {
        println!("\n{}: {}", scenario.id, scenario.about);
        let started = Instant::now();
        runtime.block_on((scenario.run)(&mut table));
        println!("{} took {:.0} s", scenario.id, started.elapsed().as_secs_f64());
    }
    table.finish();
}
