//! `client::watch`: one stream, whatever becomes of connections and servers.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispute_service::client::{self, Batch, WatchError};
use dispute_service::proto::v1;
use dispute_service::proto::v1::{ErrorReason, EventType};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::support::binary::Binary;
use crate::support::callers::Party;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    it_goes_on_over_a_restart,
    it_goes_on_over_a_killed_process,
    a_token_moves_on_though_nothing_matches,
    an_interrupted_snapshot_is_not_repeated,
    silence_of_three_heartbeats_makes_it_connect_again,
    it_ends_with_the_oldest_token_when_the_history_is_gone,
    a_refusal_ends_it,
);

/// Long enough for anything that comes at all.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A watch, and the attempts to connect that it makes.
struct Followed {
    batches: BoxStream<'static, Result<Batch, WatchError>>,
    address: Arc<Mutex<SocketAddr>>,
    attempts: mpsc::UnboundedReceiver<SocketAddr>,
}

impl Followed {
    /// Watches as somebody does who looks up the address for each attempt.
    fn new(address: SocketAddr, user: &str, scope: Option<&str>, request: v1::WatchDisputesRequest) -> Self {
        let (attempted, attempts) = mpsc::unbounded_channel();
        let address = Arc::new(Mutex::new(address));
        let (user, scope, known) = (user.to_owned(), scope.map(str::to_owned), address.clone());
        let connect = move || {
            let address = *known.lock().unwrap();
            let _ = attempted.send(address);
            // Little is in flight: what is not read is not sent.
            let endpoint =
                Endpoint::from_shared(format!("http://{address}")).unwrap().initial_stream_window_size(65_535);
            Party::new(endpoint.connect_lazy(), &user, scope.as_deref()).disputes
        };
        Self { batches: client::watch(connect, request), address, attempts }
    }

    fn move_to(&self, address: SocketAddr) {
        *self.address.lock().unwrap() = address;
    }

    async fn next(&mut self) -> Option<Result<Batch, WatchError>> {
        tokio::time::timeout(TIMEOUT, self.batches.next()).await.expect("nothing came")
    }

    async fn batch(&mut self) -> Batch {
        self.next().await.unwrap().unwrap()
    }

    /// So many events.
    async fn take(&mut self, count: usize) -> Vec<v1::DisputeEvent> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(self.batch().await.events);
        }
        assert_eq!(events.len(), count);
        events
    }

    /// The error that ends it.
    async fn error(&mut self) -> WatchError {
        loop {
            if let Err(error) = self.next().await.unwrap() {
                assert!(self.next().await.is_none() && self.next().await.is_none(), "it is the last item");
                return error;
            }
        }
    }

    fn attempts(&mut self) -> usize {
        std::iter::from_fn(|| self.attempts.try_recv().ok()).count()
    }
}

fn every_second(request: v1::WatchDisputesRequest) -> v1::WatchDisputesRequest {
    let second = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    v1::WatchDisputesRequest { heartbeat_interval: second, ..request }
}

fn after(token: &str) -> v1::WatchDisputesRequest {
    let start = Some(v1::watch_disputes_request::Start::ResumeToken(token.to_owned()));
    v1::WatchDisputesRequest { start, ..Default::default() }
}

async fn it_goes_on_over_a_restart(mut service: Service) {
    let mut bob = Followed::new(service.address, "bob", None, v1::WatchDisputesRequest::default());
    assert_eq!(bob.batch().await.events, [], "first comes where it begins");
    let mut heard = Vec::new();
    for round in 0..3 {
        let (first, between, last) = (10 * round, 10 * round + 5, 10 * round + 10);
        service.orders_with_updates(first..between).await;
        // Some are read before the restart.
        heard.extend(bob.batch().await.events);
        service.restart().await;
        bob.move_to(service.address);
        service.orders_with_updates(between..last).await;
        heard.extend(bob.take(last - heard.len()).await);
    }
    assert_eq!(heard, service.platform().events().await, "each once and in order");
    assert!(bob.attempts() >= 4);
}

async fn it_goes_on_over_a_killed_process(mut service: Service) {
    service.stop().await;
    let start = || Binary::start(env!("CARGO_BIN_EXE_dispute-service"), &service.url, "warn");
    let callers = async |server: &Binary| {
        let channel = Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
        (Party::new(channel.clone(), "shop", Some("platform")), Party::new(channel, "ann", None))
    };
    let mut server = start();
    let mut watch = Followed::new(server.address.parse().unwrap(), "shop", Some("platform"), from_beginning());
    let mut heard = Vec::new();
    for round in 0..3 {
        let (mut platform, mut ann) = callers(&server).await;
        for number in 10 * round..10 * round + 10 {
            platform.upsert(order(&format!("o{number}"))).await;
            ann.ask(update(&format!("o{number}"))).await.unwrap();
        }
        while heard.len() < 10 * round + 5 {
            heard.extend(watch.batch().await.events);
        }
        server.kill();
        server = start();
        watch.move_to(server.address.parse().unwrap());
    }
    heard.extend(watch.take(30 - heard.len()).await);
    assert_eq!(heard, callers(&server).await.0.events().await, "each once and in order");
}

async fn a_token_moves_on_though_nothing_matches(service: Service) {
    let request = every_second(v1::WatchDisputesRequest::default());
    let mut nobody = Followed::new(service.address, "nobody", None, request);
    let first = nobody.batch().await;
    service.orders_with_updates(0..1).await;
    // What comes with the heartbeats loses nothing by not being waited for.
    let second = loop {
        service.clock.advance(Duration::from_secs(1));
        if let Ok(batch) = tokio::time::timeout(Duration::from_millis(20), nobody.batches.next()).await {
            break batch.unwrap().unwrap();
        }
    };
    assert_eq!((second.events, second.snapshot_complete), (Vec::new(), false));
    assert_ne!(second.resume_token, first.resume_token, "heartbeats that say nothing new are not yielded");
}

async fn an_interrupted_snapshot_is_not_repeated(mut service: Service) {
    const OPEN: usize = 400;
    // Such that a message holds about a third of them.
    let message = "\u{1F600}".repeat(2_000);
    let orders = (0..OPEN).map(|number| order(&format!("o{number}"))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let mut ann = service.user("ann");
    for number in 0..OPEN {
        let request = v1::RequestOrderUpdateRequest { message: message.clone(), ..update(&format!("o{number}")) };
        ann.ask(request).await.unwrap();
    }
    let request = v1::WatchDisputesRequest { include_snapshot: true, ..Default::default() };
    let mut watch = Followed::new(service.address, "agent", Some("support"), request);
    let mut heard = Vec::new();
    while heard.is_empty() {
        heard.extend(watch.batch().await.events);
    }
    assert!(heard.len() < OPEN / 2, "in the middle: {}", heard.len());
    // Before it begins again, one that was shown is answered, and another is opened.
    let shown = heard[0].dispute.clone().unwrap().dispute_id;
    service.user("bob").reply(answer(&shown)).await.unwrap();
    service.orders_with_updates(OPEN..OPEN + 1).await;
    let (ended, address) = (service.drain(), watch.address.clone());
    let rest = tokio::spawn(async move {
        let mut is_complete = false;
        while !is_complete {
            let batch = watch.batch().await;
            is_complete = batch.snapshot_complete;
            heard.extend(batch.events);
        }
        assert!(watch.attempts() >= 2, "the snapshot was interrupted");
        assert_eq!(heard.len(), OPEN + 1, "everything that was open at one time, once");
        assert!(heard.iter().all(|event| (event.r#type(), event.revision) == (EventType::Snapshot, 1)));
        heard.extend(watch.take(1).await);
        (heard, watch)
    });
    ended.await.unwrap();
    service.start().await;
    *address.lock().unwrap() = service.address;
    let (heard, mut watch) = rest.await.unwrap();
    let answered = heard.last().unwrap();
    assert_eq!((answered.r#type(), answered.revision), (EventType::Answered, 2));
    assert_eq!(answered.dispute.as_ref().unwrap().dispute_id, shown);
    let disputes: HashSet<_> = heard.into_iter().map(|event| event.dispute.unwrap().dispute_id).collect();
    assert_eq!(disputes.len(), OPEN + 1);
    service.orders_with_updates(OPEN + 1..OPEN + 2).await;
    assert_eq!(watch.take(1).await[0].dispute.as_ref().unwrap().order_id, format!("o{}", OPEN + 1), "and goes on");
}

async fn silence_of_three_heartbeats_makes_it_connect_again(service: Service) {
    // Accepts, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let request = every_second(v1::WatchDisputesRequest::default());
    let mut bob = Followed::new(silent.local_addr().unwrap(), "bob", None, request);
    let accepted = tokio::select! {
        accepted = silent.accept() => accepted.unwrap(),
        _ = bob.next() => panic!("there is nobody who could have said anything"),
    };
    bob.move_to(service.address);
    assert_eq!(bob.batch().await.events, []);
    assert!(bob.attempts() >= 2);
    drop(accepted);
    // The clock of the service stands still, so it has no heartbeats.
    tokio::select! {
        attempt = bob.attempts.recv() => assert_eq!(attempt, Some(service.address)),
        batch = bob.batches.next() => panic!("nothing happened, but it yields {batch:?}"),
    }
    service.orders_with_updates(0..1).await;
    assert_eq!(bob.take(1).await, service.platform().events().await);
}

async fn it_ends_with_the_oldest_token_when_the_history_is_gone(service: Service) {
    service.orders_with_updates(0..5).await;
    let request = v1::ListDisputeEventsRequest {
        page_size: 1,
        start: Some(v1::list_dispute_events_request::Start::FromBeginning(true)),
        ..Default::default()
    };
    let early = service.platform().disputes.list_dispute_events(request).await.unwrap().into_inner().resume_token;
    let kept = service.platform().events().await.split_off(2);
    // As the service itself forgets: with the event by which the token of that place is recognised.
    let floor = "UPDATE event_log SET floor = 2, floor_event = (SELECT event_id FROM events WHERE seq = 2)";
    service.execute(&format!("BEGIN; {floor}; DELETE FROM events WHERE seq <= 2; COMMIT")).await;
    let error = Followed::new(service.address, "bob", None, after(&early)).error().await;
    assert_eq!((error.code(), error.reason()), (Code::OutOfRange, ErrorReason::ResumeTokenExpired));
    let oldest = error.oldest_token().unwrap();
    assert_eq!(Followed::new(service.address, "bob", None, after(oldest)).take(3).await, kept);
}

async fn a_refusal_ends_it(service: Service) {
    let now = v1::WatchDisputesRequest::default;
    let too_often = Some(prost_types::Duration { seconds: 0, nanos: 1 });
    for (scope, request, code, reason) in [
        (Some("nobody's"), now(), Code::Unauthenticated, ErrorReason::CredentialInvalid),
        (None, after("nonsense"), Code::InvalidArgument, ErrorReason::ResumeTokenMalformed),
        (
            None,
            v1::WatchDisputesRequest { heartbeat_interval: too_often, ..now() },
            Code::InvalidArgument,
            ErrorReason::InvalidField,
        ),
    ] {
        let mut watch = Followed::new(service.address, "bob", scope, request);
        let error = watch.error().await;
        assert_eq!((error.code(), error.reason(), error.oldest_token()), (code, reason, None));
        assert_eq!(watch.attempts(), 1);
    }
}
