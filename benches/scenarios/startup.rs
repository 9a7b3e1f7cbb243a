//! H1 and H2: the service starts as fast as its program does, whatever is in the database, and is small.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use dispute_service::proto::v1;
use dispute_service::proto::v1::dispute_service_client::DisputeServiceClient;

use super::echo::Echo;
use super::load::{connect, platform};
use super::rows::dispute_id;
use super::scale::{rounds, scaled, settle};
use super::seed::{self, Seed};
use super::server::{Server, program};
use super::table::{Table, Target};

pub(crate) const ABOUT_START: &str =
    "start to first answer, with a million disputes on SQLite; compared with a tonic echo and with a thousand disputes";
pub(crate) const ABOUT_SIZE: &str = "resident at idle, with a million disputes on SQLite; the stripped program";

pub(crate) async fn start(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (many, few) = (seed::file(Seed::pending(scaled(1_000_000, 5_000))).await, folder.path().join("few.db"));
    seed::copy(Seed::pending(1_000), &few).await;
    let (mut with_many, mut with_few, mut echo, mut more) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds() {
        with_many.push(service(&many).await);
        let started = Instant::now();
        let echoing = Echo::start(&v1::GetDisputeResponse::default());
        first_answer(echoing.address(), started).await;
        echo.push(started.elapsed().as_secs_f64() * 1e3);
        with_few.push(service(&few).await);
        more.push(with_many[with_many.len() - 1] - echo[echo.len() - 1]);
    }
    table.single("H1", "ms more than the echo", &more, Target::AtMost(50.0));
    table.compare("H1", "ms, compared with the echo", &with_many, &echo, Target::None);
    // Nothing proportional to rows: what differs is noise.
    table.compare("H1", "ms, compared with a thousand disputes", &with_many, &with_few, Target::AtMost(1.5));
}

/// How many milliseconds it takes on this file.
async fn service(file: &Path) -> f64 {
    let started = Instant::now();
    let server = Server::on_file(file);
    first_answer(server.address(), started).await;
    let took = started.elapsed().as_secs_f64() * 1e3;
    server.stop();
    took
}

async fn first_answer(address: &str, started: Instant) {
    let channel = connect([address].into_iter()).await.remove(0);
    let request = platform(v1::GetDisputeRequest { dispute_id: dispute_id(0).to_string() });
    DisputeServiceClient::new(channel).get_dispute(request).await.expect("an answer");
    assert!(started.elapsed() < Duration::from_secs(60), "it starts");
}

pub(crate) async fn size(table: &mut Table) {
    let file = seed::file(Seed::pending(scaled(1_000_000, 5_000))).await;
    let mut resident = Vec::new();
    for _ in 0..rounds() {
        let server = Server::on_file(&file);
        settle(2).await;
        resident.push(server.resident() / f64::from(1 << 20));
        server.stop();
    }
    table.single("H2", "resident MiB at idle", &resident, Target::AtMost(25.0));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copy = folder.path().join("program");
    std::fs::copy(program(), &copy).expect("there is room");
    match Command::new("strip").arg(&copy).status() {
        Ok(status) => assert!(status.success(), "strip has failed"),
        Err(error) => println!("*** NOT STRIPPED: there is no strip ({error}) ***"),
    }
    let bytes = std::fs::metadata(&copy).expect("a file").len();
    table.single("H2", "MB of the stripped program", &[bytes as f64 / 1e6], Target::AtMost(25.0));
}
