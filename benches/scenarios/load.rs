//! The load: disputes opened, each on an order of its own, so many in flight on so many connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dispute_service::proto::v1::dispute_service_client::DisputeServiceClient;
use dispute_service::proto::v1::order_service_client::OrderServiceClient;
use dispute_service::proto::{Money, v1};
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// A round ends after this, even if not everything that it should open is open.
const LONGEST_ROUND: Duration = Duration::from_secs(6);

/// How many buyers there are, and how many sellers. Those with the same number deal with each other.
pub(crate) const BUYERS: usize = 5_000;

/// What most sellers write.
const MESSAGE: &str = "The delivery is three days late, this is to make up for it.";

pub(crate) struct Load {
    channels: Vec<Channel>,
    in_flight: usize,
    message: String,
    /// How many orders there are …
    orders: usize,
    /// … and how many of them have a dispute, all acknowledged.
    opened: usize,
}

/// What came of one round.
pub(crate) struct Round {
    pub(crate) commands: usize,
    seconds: f64,
    /// In milliseconds, sorted.
    latencies: Vec<f64>,
}

impl Load {
    /// The connections are dealt out to the servers in turn.
    pub(crate) async fn on(addresses: &[&str], connections: usize, in_flight: usize) -> Self {
        let mut channels = Vec::new();
        for address in addresses.iter().cycle().take(connections) {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
            channels.push(endpoint.connect().await.expect("a connection"));
        }
        Self { channels, in_flight, message: MESSAGE.to_owned(), orders: 0, opened: 0 }
    }

    /// Sellers who write at length.
    pub(crate) fn at_length(mut self) -> Self {
        self.message = [MESSAGE; 6].join(" ");
        self
    }

    /// How many commands were acknowledged.
    pub(crate) fn opened(&self) -> usize {
        self.opened
    }

    /// Opens so many disputes, or as many as the time allows. Their orders are there already if it was prepared.
    pub(crate) async fn round(&mut self, commands: usize) -> Round {
        self.prepare(commands).await;
        let end = self.opened + commands;
        let next = Arc::new(AtomicUsize::new(self.opened));
        let started = Instant::now();
        let workers = (0..self.in_flight).map(|worker| {
            let mut client = DisputeServiceClient::new(self.channels[worker % self.channels.len()].clone());
            let (next, message) = (next.clone(), self.message.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while started.elapsed() < LONGEST_ROUND {
                    let order = next.fetch_add(1, Ordering::Relaxed);
                    if order >= end {
                        break;
                    }
                    let sent = Instant::now();
                    client.offer_partial_refund(offer(order, &message)).await.expect("the offer is opened");
                    latencies.push(sent.elapsed().as_secs_f64() * 1e3);
                }
                latencies
            })
        });
        let mut latencies = Vec::new();
        for worker in workers.collect::<Vec<_>>() {
            latencies.extend(worker.await.expect("a worker"));
        }
        let seconds = started.elapsed().as_secs_f64();
        latencies.sort_by(f64::total_cmp);
        self.opened = end.min(next.load(Ordering::Relaxed));
        Round { commands: latencies.len(), seconds, latencies }
    }

    /// Takes in the orders of the next so many commands.
    pub(crate) async fn prepare(&mut self, commands: usize) {
        let orders = self.opened + commands;
        let mut client = OrderServiceClient::new(self.channels[0].clone());
        while self.orders < orders {
            let last = orders.min(self.orders + 500);
            let request = v1::BatchUpsertOrdersRequest { orders: (self.orders..last).map(order).collect() };
            client.batch_upsert_orders(platform(request)).await.expect("the orders are taken in");
            self.orders = last;
        }
    }

    /// The whole log, which must have one event for each command that was acknowledged.
    pub(crate) async fn log(&self) -> Vec<v1::DisputeEvent> {
        let mut client = DisputeServiceClient::new(self.channels[0].clone());
        let mut start = v1::list_dispute_events_request::Start::FromBeginning(true);
        let mut events = Vec::new();
        loop {
            let request = v1::ListDisputeEventsRequest { filter: None, page_size: 500, start: Some(start) };
            let page = client.list_dispute_events(platform(request)).await.expect("a page").into_inner();
            events.extend(page.events);
            if !page.more {
                break;
            }
            start = v1::list_dispute_events_request::Start::ResumeToken(page.resume_token);
        }
        assert_eq!(events.len(), self.opened, "every acknowledged command is in the log, once");
        events
    }
}

impl Round {
    pub(crate) fn per_second(&self) -> f64 {
        self.commands as f64 / self.seconds
    }

    /// The latency, in milliseconds, that 99 of 100 commands did not exceed.
    pub(crate) fn p99(&self) -> f64 {
        self.latencies[self.latencies.len() * 99 / 100]
    }
}

/// The party with this number: even ones buy, odd ones sell.
pub(crate) fn party(number: usize) -> String {
    if number.is_multiple_of(2) { format!("buyer-{}", number / 2) } else { format!("seller-{}", number / 2) }
}

fn order(number: usize) -> v1::Order {
    let pair = number % BUYERS * 2;
    v1::Order {
        order_id: format!("order-{number}"),
        buyer_id: party(pair),
        seller_id: party(pair + 1),
        title: "A logo".to_owned(),
        price: Some(usd(100)),
        status: v1::OrderStatus::InProgress.into(),
        source_version: 1,
        ..v1::Order::default()
    }
}

fn offer(order: usize, message: &str) -> Request<v1::OfferPartialRefundRequest> {
    let offer = v1::OfferPartialRefundRequest {
        order_id: format!("order-{order}"),
        amount: Some(usd(25)),
        message: message.to_owned(),
        reason: v1::Reason::DelayCompensation.into(),
        reason_detail: String::new(),
        request_id: uuid::Uuid::from_u128(order as u128 + 1).to_string(),
    };
    by(&party(order % BUYERS * 2 + 1), offer)
}

/// A request of this user.
pub(crate) fn by<T>(user: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-user-id", user.parse().expect("ascii"));
    request
}

/// A request of another service, which sees everything.
pub(crate) fn platform<T>(message: T) -> Request<T> {
    let mut request = by("shop", message);
    request.metadata_mut().insert("x-scope", "platform".parse().expect("ascii"));
    request
}

fn usd(units: i64) -> Money {
    Money { currency_code: "USD".to_owned(), units, nanos: 0 }
}
