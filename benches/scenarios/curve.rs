//! Latency as the load grows: commands at fixed shares of what a closed loop of 256 achieves, in an open loop.

use super::load::Load;
use super::scale::{quick, scaled};
use super::server::Server;
use super::table::{Table, Target};

pub(crate) const ABOUT: &str = "open a dispute on SQLite, at a share of the most per second (open loop)";

/// Of 100.
const SHARES: [u32; 5] = [10, 25, 50, 75, 90];

pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("curve.db");
    let server = Server::on_file(&file);
    let mut load = Load::on(&[server.address()], 8, 256).await;
    let commands = scaled(20_000, 1_000);
    load.round(commands).await;
    let most = load.round(commands).await.per_second();
    table.single("curve", "the most commands/s", &[most], Target::None);
    let seconds = if quick() { 0.2 } else { 4.0 };
    for share in SHARES {
        let rate = most * f64::from(share) / 100.0;
        // As a number above zero.
        let (times, _) = load.at_rate(rate, (rate * seconds) as usize + 1).await;
        for of_100 in [50.0, 99.0, 99.9] {
            let figure = format!("p{of_100} ms at {share} % of it");
            table.single("curve", &figure, &[times.percentile(of_100)], Target::None);
            table.point("curve", &format!("p{of_100}"), rate, times.percentile(of_100));
        }
    }
    let acknowledged = load.log().await.len();
    server.stop();
    super::writes::require_rows(&file, acknowledged);
    println!("{acknowledged} commands acknowledged, each once in the log and in the tables");
}
