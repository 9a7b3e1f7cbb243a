//! C1: a read by id costs little more than gRPC itself, whatever there is.

use dispute_service::proto::v1;
use dispute_service::proto::v1::dispute_service_client::DisputeServiceClient;
use futures_util::future::{BoxFuture, FutureExt as _};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::cpu;
use super::drive::{Round, closed_loop};
use super::echo::Echo;
use super::load::{connect, platform};
use super::rows::dispute_id;
use super::scale::{rounds, scaled};
use super::seed::{self, Seed};
use super::server::Server;
use super::table::{Table, Target};

pub(crate) const ABOUT: &str =
    "GetDispute by id out of a million on SQLite, 256 in flight on 8 connections : echo of the same size";

const IN_FLIGHT: usize = 256;
pub(crate) const CONNECTIONS: usize = 8;

pub(crate) async fn run(table: &mut Table) {
    let disputes = scaled(1_000_000, 5_000);
    let reads = scaled(100_000, 1_000);
    let server = Server::on_file(&seed::file(Seed::pending(disputes)).await);
    let channels = connect([server.address()].into_iter().cycle().take(CONNECTIONS)).await;
    let mut client = DisputeServiceClient::new(channels[0].clone());
    let shown = client.get_dispute(get(0)).await.expect("it is there").into_inner();
    let echo = Echo::start(&shown);
    let echoes = connect([echo.address()].into_iter().cycle().take(CONNECTIONS)).await;
    let (mut ours, mut limit, mut health, mut usages) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds() {
        let before = server.usage();
        let took = read(&channels, round * reads, reads, disputes, true).await;
        usages.push(server.usage().per(took.calls, &before));
        ours.push(took.per_second());
        limit.push(read(&echoes, round * reads, reads, disputes, false).await.per_second());
        health.push(check(&channels, reads).await.per_second());
    }
    server.stop();
    println!("each read returned the dispute that it asked for");
    table.compare("C1", "reads/s", &ours, &limit, Target::AtLeast(0.70));
    table.compare("C1", "reads/s : health checks/s of the service", &ours, &health, Target::None);
    cpu::report(table, "C1", "read", &usages, None);
}

fn get(number: usize) -> tonic::Request<v1::GetDisputeRequest> {
    platform(v1::GetDisputeRequest { dispute_id: dispute_id(number).to_string() })
}

/// Reads disputes from all over the table.
pub(crate) async fn read(channels: &[Channel], first: usize, reads: usize, disputes: usize, judge: bool) -> Round {
    let worker = |worker: usize| reader(channels[worker % channels.len()].clone(), disputes, judge);
    closed_loop(IN_FLIGHT, first..first + reads, worker).await
}

/// What reads the dispute with a number.
fn reader(channel: Channel, disputes: usize, judge: bool) -> impl FnMut(usize) -> BoxFuture<'static, ()> {
    let client = DisputeServiceClient::new(channel);
    move |number| {
        let mut client = client.clone();
        // A stride without a common divisor, so that it comes by all of them.
        let number = number.wrapping_mul(7_368_787) % disputes;
        async move {
            let found = client.get_dispute(get(number)).await.expect("it is there").into_inner().dispute;
            let id = found.map(|dispute| dispute.dispute_id).unwrap_or_default();
            assert!(!judge || id == dispute_id(number).to_string(), "it is the one that was asked for");
        }
        .boxed()
    }
}

/// The median time of a read, one at a time, in milliseconds.
pub(crate) async fn read_p50(channel: &Channel, reads: usize, disputes: usize) -> f64 {
    let worker = |_| reader(channel.clone(), disputes, true);
    closed_loop(1, 0..reads, worker).await.latencies.percentile(50.0)
}

/// Checks of the service's health: gRPC through the same stack, and nothing behind.
async fn check(channels: &[Channel], checks: usize) -> Round {
    let worker = |worker: usize| {
        let client = HealthClient::new(channels[worker % channels.len()].clone());
        move |_| {
            let mut client = client.clone();
            async move {
                client.check(HealthCheckRequest { service: String::new() }).await.expect("it is healthy");
            }
        }
    };
    closed_loop(IN_FLIGHT, 0..checks, worker).await
}
