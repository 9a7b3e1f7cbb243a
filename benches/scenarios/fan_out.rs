//! D1: events reach a thousand subscribers nearly as fast as HTTP/2 alone takes their bytes there.

use std::time::Instant;

use dispute_service::proto::v1::{DisputeEvent, WatchDisputesRequest, WatchDisputesResponse};
use prost::Message as _;

use super::broadcast::Broadcast;
use super::cpu::{self, Usage};
use super::load::Load;
use super::raw::RawConnection;
use super::scale::{crowd, rounds, scaled};
use super::server::Server;
use super::subscribers::{Subscribers, Trail, Who};
use super::table::{Table, Target};

pub(crate) const ABOUT: &str = "1,000 subscribers of everything on SQLite, as many events as 256 commands in flight make : \
    a bare HTTP/2 server that sends the same bytes";

const CONNECTIONS: usize = 10;

/// The window of the one subscriber in this process.
const WINDOW: u32 = 1 << 20;

pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let events = scaled(4_000, 100);
    let server = Server::on_sqlite(folder.path(), "D1.db");
    let mut load = Load::on(&[server.address()], 8, 256).await;
    let mut subscribers = Subscribers::start(server.address(), Who::Raw, 0, crowd(), CONNECTIONS);
    let mut one =
        RawConnection::open(server.address(), WINDOW, WINDOW).await.watch(&WatchDisputesRequest::default()).await;
    // The limit has to know how large messages are: this round does not count.
    load.round(events).await;
    let mut seen = subscribers.trails(load.opened() * crowd());
    one.until(load.opened()).await;
    let per_message = (load.opened() / (one.messages - 1).max(1)).max(1);
    let mut bare = Bare::start(&load.log().await[..per_message], events);
    let (mut ours, mut usages, mut limit, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds() {
        load.prepare(events).await;
        let (before, started) = (server.usage(), Instant::now());
        let deliveries = load.round(events).await.calls * crowd();
        seen = subscribers.trails(load.opened() * crowd());
        ours.push(deliveries as f64 / started.elapsed().as_secs_f64());
        usages.push(server.usage().per(deliveries, &before));
        let (per_second, each) = bare.round();
        limit.push(per_second);
        cpu.push(each);
    }
    one.until(load.opened()).await;
    let log = load.log().await;
    server.stop();
    assert!(seen == vec![Trail::of(&log); crowd()] && one.trail == Trail::of(&log), "each saw each, once, in order");
    println!("each of {} subscribers saw each of {} events, once and in order", crowd(), log.len());
    table.compare("D1", "deliveries/s", &ours, &limit, Target::AtLeast(0.80));
    table.single("D1", "deliveries/s", &ours, Target::AtLeast(1e6));
    table.single("D1", "events per message", &[per_message as f64], Target::None);
    cpu::report(table, "D1", "delivery", &usages, Some(&cpu));
}

/// The same without the service.
struct Bare {
    server: Broadcast,
    subscribers: Subscribers,
    /// How often each subscriber is sent the message in a round, and how many deliveries that makes.
    messages: usize,
    deliveries: usize,
    /// How many deliveries there were.
    sent: usize,
}

impl Bare {
    /// Each message has these events, and a round so many.
    fn start(events: &[DisputeEvent], of_round: usize) -> Self {
        // A token as long as the service's.
        let resume_token = "x".repeat(80);
        let message = WatchDisputesResponse { events: events.to_vec(), checkpoint: None, resume_token };
        let mut framed = vec![0; 5];
        message.encode(&mut framed).expect("there is room");
        let length = u32::try_from(framed.len() - 5).expect("it is short");
        framed[1..5].copy_from_slice(&length.to_be_bytes());
        let server = Broadcast::start(&framed);
        let subscribers = Subscribers::start(&server.address, Who::Raw, 0, crowd(), CONNECTIONS);
        let messages = of_round.div_ceil(events.len());
        Self { server, subscribers, messages, deliveries: messages * events.len() * crowd(), sent: 0 }
    }

    /// Deliveries per second, and what each cost the server, in microseconds.
    fn round(&mut self) -> (f64, f64) {
        let (before, started) = (Usage::of(self.server.id()), Instant::now());
        self.server.send(self.messages);
        self.sent += self.deliveries;
        let seen = self.subscribers.trails(self.sent);
        let seconds = started.elapsed().as_secs_f64();
        assert!(seen.iter().all(|trail| trail.events * crowd() == self.sent), "each was sent everything");
        let used = Usage::of(self.server.id()).per(self.deliveries, &before).total;
        (self.deliveries as f64 / seconds, used)
    }
}
