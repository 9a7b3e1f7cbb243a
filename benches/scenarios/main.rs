//! What the service is worth on this machine: scenarios, each a ratio measured in one run.
//!
//! `cargo bench` runs them all, `cargo bench -- B2` one, and `cargo bench -- --quick` all of them at a size that shows only that
//! they run and that their checks hold: a check that fails ends it, a target that is missed does not. Each runs the real program, with every commit on disk, takes turns with what it is compared to, and checks
//! afterwards what it has measured.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "it measures real time, and ends when something is wrong"
)]

#[path = "../../tests/integration/support/authority.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use more of it")]
mod authority;
mod bare_postgres;
mod bare_sqlite;
mod batching;
#[path = "../../tests/integration/support/binary.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use more of it")]
mod binary;
mod broadcast;
#[path = "../../tests/integration/support/collector.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use more of it")]
mod collector;
mod cpu;
mod curve;
mod drive;
mod echo;
mod fan_out;
mod figures;
mod growth;
mod herd;
mod idle;
#[path = "../../tests/integration/support/issuer.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use more of it")]
mod issuer;
#[path = "../../tests/integration/support/launcher.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use more of it")]
mod launcher;
mod load;
mod on_postgres;
mod overdue;
mod pages;
mod parties;
mod pgbench;
mod postgres;
mod punctual;
mod raw;
mod reads;
mod receipt;
mod replay;
mod replicas;
mod rows;
mod scale;
mod secure;
mod seed;
mod seen;
mod server;
mod stalled;
mod startup;
mod subscribers;
mod table;
mod watching;
mod writes;

use std::path::Path;
use std::time::Instant;

use futures_util::future::{FutureExt as _, LocalBoxFuture};
use table::Table;

/// The service has the same: what is measured is not the allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Scenario {
    id: &'static str,
    about: &'static str,
    run: for<'a> fn(&'a mut Table) -> LocalBoxFuture<'a, ()>,
}

const SCENARIOS: [Scenario; 28] = [
    Scenario { id: "A1", about: writes::ABOUT_MANY, run: |table| writes::many(table).boxed_local() },
    Scenario { id: "A1-jwt-tls", about: secure::ABOUT, run: |table| secure::run(table).boxed_local() },
    Scenario { id: "A1-seen", about: seen::ABOUT, run: |table| seen::run(table).boxed_local() },
    Scenario { id: "A2", about: writes::ABOUT_ONE, run: |table| writes::one(table).boxed_local() },
    Scenario { id: "batching", about: batching::ABOUT, run: |table| batching::run(table).boxed_local() },
    Scenario { id: "curve", about: curve::ABOUT, run: |table| curve::run(table).boxed_local() },
    Scenario { id: "B1", about: on_postgres::ABOUT_WRITES, run: |table| on_postgres::writes(table).boxed_local() },
    Scenario { id: "B2", about: replicas::ABOUT, run: |table| replicas::run(table).boxed_local() },
    Scenario { id: "C1", about: reads::ABOUT, run: |table| reads::run(table).boxed_local() },
    Scenario { id: "C1p", about: on_postgres::ABOUT_READS, run: |table| on_postgres::reads(table).boxed_local() },
    Scenario { id: "C2", about: pages::ABOUT_DEEP, run: |table| pages::deep(table).boxed_local() },
    Scenario { id: "C3", about: pages::ABOUT_OPEN, run: |table| pages::open(table).boxed_local() },
    Scenario { id: "D1", about: fan_out::ABOUT, run: |table| fan_out::run(table).boxed_local() },
    Scenario { id: "D2", about: receipt::ABOUT_SOON, run: |table| receipt::soon(table).boxed_local() },
    Scenario { id: "D3", about: parties::ABOUT, run: |table| parties::run(table).boxed_local() },
    Scenario { id: "D4", about: receipt::ABOUT_STALLED, run: |table| receipt::stalled(table).boxed_local() },
    Scenario { id: "D4n", about: stalled::ABOUT, run: |table| stalled::run(table).boxed_local() },
    Scenario { id: "E1", about: overdue::ABOUT_SWEEP, run: |table| overdue::sweep(table).boxed_local() },
    Scenario { id: "E2", about: on_postgres::ABOUT_SWEEP, run: |table| on_postgres::sweep(table).boxed_local() },
    Scenario { id: "E3", about: overdue::ABOUT_CALLERS, run: |table| overdue::callers(table).boxed_local() },
    Scenario { id: "E4", about: punctual::ABOUT, run: |table| punctual::run(table).boxed_local() },
    Scenario { id: "F1", about: replay::ABOUT, run: |table| replay::run(table).boxed_local() },
    Scenario { id: "F2", about: herd::ABOUT, run: |table| herd::run(table).boxed_local() },
    Scenario { id: "G1", about: idle::ABOUT, run: |table| idle::run(table).boxed_local() },
    Scenario { id: "H1", about: startup::ABOUT_START, run: |table| startup::start(table).boxed_local() },
    Scenario { id: "growth", about: growth::ABOUT_DISPUTES, run: |table| growth::disputes(table).boxed_local() },
    Scenario { id: "flight", about: growth::ABOUT_IN_FLIGHT, run: |table| growth::in_flight(table).boxed_local() },
    Scenario { id: "H2", about: startup::ABOUT_SIZE, run: |table| startup::size(table).boxed_local() },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("watch", subscribers)) => return runtime.block_on(watching::run(subscribers)),
        Some(("broadcast", message)) => return runtime.block_on(broadcast::run(message)),
        Some(("echo", response)) => return runtime.block_on(echo::run(response)),
        Some(("figures", _)) => return figures::draw(Path::new("docs/figures")),
        _ => {}
    }
    scale::set(arguments.iter().any(|word| word == "--quick"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    runtime.block_on(seed::keep_in(folder.path()));
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
        table.save();
    }
    runtime.block_on(postgres::stop());
    table.finish();
}
