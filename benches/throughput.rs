//! What batching is worth: disputes opened per second with 256 commands in flight, against one at a time.
//!
//! `cargo bench` runs the real program, once for each way, on SQLite files in a temporary folder with every
//! commit on disk. The two ways take turns, so that both meet the same machine. Prints medians and spread,
//! the ratio, and how many commands shared a commit; afterwards checks that each is in the log.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "it measures real time, and ends when something is wrong"
)]

#[path = "../tests/integration/support/binary.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use more of it")]
mod binary;

use std::time::Instant;

use binary::Binary;
use dispute_service::proto::v1::dispute_service_client::DisputeServiceClient;
use dispute_service::proto::v1::order_service_client::OrderServiceClient;
use dispute_service::proto::{Money, v1};
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

const ROUNDS: usize = 5;
const TARGET: f64 = 8.0;

/// One way of sending commands.
struct Way {
    name: &'static str,
    in_flight: usize,
    connections: usize,
    commands_per_round: usize,
}

const WAYS: [Way; 2] = [
    Way { name: "256 in flight on 8 connections", in_flight: 256, connections: 8, commands_per_round: 20_000 },
    Way { name: "1 in flight", in_flight: 1, connections: 1, commands_per_round: 1_500 },
];

struct Run {
    way: Way,
    server: Binary,
    channels: Vec<Channel>,
    next_order: usize,
    per_second: Vec<f64>,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut runs = Vec::new();
    for (index, way) in WAYS.into_iter().enumerate() {
        let url = format!("sqlite://{}?mode=rwc", folder.path().join(format!("{index}.db")).display());
        let server = Binary::start(env!("CARGO_BIN_EXE_dispute-service"), &url, "info");
        let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).expect("an address");
        let mut channels = Vec::new();
        for _ in 0..way.connections {
            channels.push(endpoint.connect().await.expect("a connection"));
        }
        feed_orders(&channels[0], way.commands_per_round * ROUNDS).await;
        runs.push(Run { way, server, channels, next_order: 0, per_second: Vec::new() });
    }
    for _ in 0..ROUNDS {
        for run in &mut runs {
            run.round().await;
        }
    }
    let mut medians = Vec::new();
    println!("{:<34} {:>12} {:>24} {:>12}", "way", "commands/s", "spread", "per commit");
    for run in &mut runs {
        run.per_second.sort_by(f64::total_cmp);
        assert_eq!(run.events().await, run.next_order, "every acknowledged command is in the log");
    }
    for run in runs {
        let (name, commands) = (run.way.name, run.next_order);
        let (median, least, most) = (run.per_second[ROUNDS / 2], run.per_second[0], run.per_second[ROUNDS - 1]);
        let (ended, log) = run.server.terminate();
        assert!(ended, "{log}");
        let batches = counted(&log, "batches=") - counted(&log, "commands=") + commands as f64;
        println!(
            "{name:<34} {median:>12.0} {:>24} {:>12.1}",
            format!("{least:.0} to {most:.0}"),
            commands as f64 / batches
        );
        medians.push(median);
    }
    println!("ratio {:.1}, target at least {TARGET}", medians[0] / medians[1]);
}

impl Run {
    async fn round(&mut self) {
        let (first, commands) = (self.next_order, self.way.commands_per_round);
        self.next_order += commands;
        let started = Instant::now();
        let workers = (0..self.way.in_flight).map(|worker| {
            let mut client = DisputeServiceClient::new(self.channels[worker % self.channels.len()].clone());
            let step = self.way.in_flight;
            tokio::spawn(async move {
                for order in (first + worker..first + commands).step_by(step) {
                    client.offer_partial_refund(offer(order)).await.expect("the offer is opened");
                }
            })
        });
        for worker in workers.collect::<Vec<_>>() {
            worker.await.expect("a worker");
        }
        self.per_second.push(commands as f64 / started.elapsed().as_secs_f64());
    }

    /// How many events the log has.
    async fn events(&self) -> usize {
        let mut client = DisputeServiceClient::new(self.channels[0].clone());
        let mut start = v1::list_dispute_events_request::Start::FromBeginning(true);
        let mut events = 0;
        loop {
            let request = v1::ListDisputeEventsRequest { filter: None, page_size: 500, start: Some(start) };
            let page = client.list_dispute_events(platform(request)).await.expect("a page").into_inner();
            events += page.events.len();
            if !page.more {
                return events;
            }
            start = v1::list_dispute_events_request::Start::ResumeToken(page.resume_token);
        }
    }
}

async fn feed_orders(channel: &Channel, orders: usize) {
    let mut client = OrderServiceClient::new(channel.clone());
    for first in (0..orders).step_by(500) {
        let orders = (first..orders.min(first + 500)).map(order).collect();
        let request = platform(v1::BatchUpsertOrdersRequest { orders });
        client.batch_upsert_orders(request).await.expect("the orders are taken in");
    }
}

fn order(number: usize) -> v1::Order {
    v1::Order {
        order_id: format!("order-{number}"),
        buyer_id: format!("buyer-{}", number % 1_000),
        seller_id: format!("seller-{}", number % 997),
        title: "A logo".to_owned(),
        price: Some(usd(100)),
        status: v1::OrderStatus::InProgress.into(),
        source_version: 1,
        ..v1::Order::default()
    }
}

fn offer(order: usize) -> Request<v1::OfferPartialRefundRequest> {
    let mut request = Request::new(v1::OfferPartialRefundRequest {
        order_id: format!("order-{order}"),
        amount: Some(usd(25)),
        message: "The delivery is three days late, this is to make up for it.".to_owned(),
        reason: v1::Reason::DelayCompensation.into(),
        reason_detail: String::new(),
        request_id: uuid::Uuid::from_u128(order as u128 + 1).to_string(),
    });
    request.metadata_mut().insert("x-user-id", format!("seller-{}", order % 997).parse().expect("ascii"));
    request
}

fn platform<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-user-id", "shop".parse().expect("ascii"));
    request.metadata_mut().insert("x-scope", "platform".parse().expect("ascii"));
    request
}

fn usd(units: i64) -> Money {
    Money { currency_code: "USD".to_owned(), units, nanos: 0 }
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
