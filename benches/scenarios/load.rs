//! The load: disputes opened, each on an order of its own, so many in flight on so many connections.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dispute_service::proto::v1::dispute_service_client::DisputeServiceClient;
use dispute_service::proto::v1::order_service_client::OrderServiceClient;
use dispute_service::proto::{Money, v1};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use super::drive::{self, Round, Times};
use super::scale::scaled;

/// How many buyers there are, and how many sellers. Those with the same number deal with each other.
pub(crate) fn buyers() -> usize {
    scaled(5_000, 500)
}

/// What most sellers write.
const MESSAGE: &str = "The delivery is three days late, this is to make up for it.";

pub(crate) struct Load {
    channels: Vec<Channel>,
    in_flight: usize,
    message: String,
    /// How many orders there are …
    orders: usize,
    /// … and how many of them have a dispute, all acknowledged …
    opened: usize,
    /// … but for so many that had one before.
    first: usize,
    callers: Callers,
}

/// How callers show who they are.
#[derive(Clone)]
pub(crate) struct Callers(Option<Arc<HashMap<String, AsciiMetadataValue>>>);

impl Callers {
    /// By headers that the service believes.
    fn believed() -> Self {
        Self(None)
    }

    /// By tokens: each user's header.
    pub(crate) fn with_tokens(tokens: HashMap<String, AsciiMetadataValue>) -> Self {
        Self(Some(Arc::new(tokens)))
    }

    /// The request, with what shows whose it is.
    fn signed<T>(&self, mut request: Request<T>) -> Request<T> {
        if let Some(tokens) = &self.0 {
            let metadata = request.metadata_mut();
            let user = metadata.remove("x-user-id").expect("somebody calls");
            metadata.remove("x-scope");
            let token = tokens[user.to_str().expect("ascii")].clone();
            metadata.insert("authorization", token);
        }
        request
    }
}

impl Load {
    /// The connections are dealt out to the servers in turn.
    pub(crate) async fn on(addresses: &[&str], connections: usize, in_flight: usize) -> Self {
        let addresses = addresses.iter().cycle().take(connections).copied();
        Self::over(connect(addresses).await, in_flight)
    }

    /// Over these connections.
    pub(crate) fn over(channels: Vec<Channel>, in_flight: usize) -> Self {
        Self {
            channels,
            in_flight,
            message: MESSAGE.to_owned(),
            orders: 0,
            opened: 0,
            first: 0,
            callers: Callers::believed(),
        }
    }

    /// Callers show by this who they are.
    pub(crate) fn known_by(self, callers: Callers) -> Self {
        Self { callers, ..self }
    }

    /// Where the orders with smaller numbers have disputes already, and those up to `orders` are there.
    pub(crate) fn beyond(self, first: usize, orders: usize) -> Self {
        Self { first, opened: first, orders, ..self }
    }

    /// Sellers who write at length.
    pub(crate) fn at_length(mut self) -> Self {
        self.message = [MESSAGE; 6].join(" ");
        self
    }

    /// How many commands were acknowledged.
    pub(crate) fn opened(&self) -> usize {
        self.opened - self.first
    }

    /// Opens so many disputes, or as many as the time allows. Their orders are there already if it was prepared.
    pub(crate) async fn round(&mut self, commands: usize) -> Round {
        self.prepare(commands).await;
        let worker = |worker: usize| {
            let client = DisputeServiceClient::new(self.channels[worker % self.channels.len()].clone());
            let (message, callers) = (self.message.clone(), self.callers.clone());
            move |order| open(client.clone(), callers.signed(offer(order, &message)))
        };
        let round = drive::closed_loop(self.in_flight, self.opened..self.opened + commands, worker).await;
        self.opened = round.end;
        round
    }

    /// Opens so many disputes a second, whatever is in flight. Returns the latencies, and each order with the instant at which
    /// its command was acknowledged.
    pub(crate) async fn at_rate(&mut self, per_second: f64, commands: usize) -> (Times, Vec<(usize, Instant)>) {
        self.prepare(commands).await;
        let numbers: Range<usize> = self.opened..self.opened + commands;
        self.opened = numbers.end;
        let call = |order: usize| {
            let client = DisputeServiceClient::new(self.channels[order % self.channels.len()].clone());
            let offer = self.callers.signed(offer(order, &self.message));
            async move {
                open(client, offer).await;
                (order, Instant::now())
            }
        };
        drive::open_loop(per_second, numbers, call).await
    }

    /// Takes in the orders of the next so many commands.
    pub(crate) async fn prepare(&mut self, commands: usize) {
        let orders = self.opened + commands;
        let mut client = OrderServiceClient::new(self.channels[0].clone());
        while self.orders < orders {
            let last = orders.min(self.orders + 500);
            let request = v1::BatchUpsertOrdersRequest { orders: (self.orders..last).map(order).collect() };
            client.batch_upsert_orders(self.callers.signed(platform(request))).await.expect("the orders are taken in");
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
            let page =
                client.list_dispute_events(self.callers.signed(platform(request))).await.expect("a page").into_inner();
            events.extend(page.events);
            if !page.more {
                break;
            }
            start = v1::list_dispute_events_request::Start::ResumeToken(page.resume_token);
        }
        assert_eq!(events.len(), self.opened(), "every acknowledged command is in the log, once");
        events
    }
}

/// Connects to each of these addresses.
pub(crate) async fn connect<'a>(addresses: impl Iterator<Item = &'a str>) -> Vec<Channel> {
    let mut channels = Vec::new();
    for address in addresses {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        channels.push(endpoint.connect().await.expect("a connection"));
    }
    channels
}

/// How long a client waits that was told that the service has too much to do.
const OVERLOADED_FOR: Duration = Duration::from_millis(50);

/// Opens a dispute; again and again while the service has too much to do, which counts as waiting.
async fn open(mut client: DisputeServiceClient<Channel>, offer: Request<v1::OfferPartialRefundRequest>) {
    let (metadata, _, message) = offer.into_parts();
    loop {
        let mut offer = Request::new(message.clone());
        offer.metadata_mut().clone_from(&metadata);
        match client.offer_partial_refund(offer).await {
            Err(status) if status.code() == Code::ResourceExhausted => tokio::time::sleep(OVERLOADED_FOR).await,
            opened => {
                opened.expect("the offer is opened");
                return;
            }
        }
    }
}

/// The party with this number: even ones buy, odd ones sell.
pub(crate) fn party(number: usize) -> String {
    if number.is_multiple_of(2) { format!("buyer-{}", number / 2) } else { format!("seller-{}", number / 2) }
}

pub(crate) fn order(number: usize) -> v1::Order {
    let pair = number % buyers() * 2;
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

pub(crate) fn offer(order: usize, message: &str) -> Request<v1::OfferPartialRefundRequest> {
    let offer = v1::OfferPartialRefundRequest {
        order_id: format!("order-{order}"),
        amount: Some(usd(25)),
        message: message.to_owned(),
        reason: v1::Reason::DelayCompensation.into(),
        reason_detail: String::new(),
        request_id: uuid::Uuid::from_u128(order as u128 + 1).to_string(),
        validate_only: false,
    };
    by(&party(order % buyers() * 2 + 1), offer)
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
