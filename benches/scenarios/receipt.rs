//! D2 and D4: how soon a thousand subscribers hear of an event, and that one of them that stops reading delays nobody.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dispute_service::proto::v1::WatchDisputesRequest;

use super::drive::Times;
use super::load::Load;
use super::raw::{RawConnection, RawStream};
use super::scale::{crowd, rounds, scaled};
use super::server::Server;
use super::subscribers::Trail;
use super::table::{Table, Target};

pub(crate) const ABOUT_SOON: &str = "from a command's acknowledgement to receipt; 1,000 subscribers of everything on SQLite, 100 events a second (open loop)";
pub(crate) const ABOUT_STALLED: &str = "the same while one of 1,000 subscribers has stopped reading : while all read";

const CONNECTIONS: usize = 10;
const STREAM_WINDOW: u32 = 65_535;
/// Commands per second.
const RATE: f64 = 100.0;

/// When a subscriber heard of each event, and what it heard.
type Heard = Arc<Mutex<(Vec<Instant>, Trail)>>;

/// A service with its subscribers.
struct Side {
    server: Server,
    load: Load,
    heard: Vec<Heard>,
    acknowledged: HashMap<String, Instant>,
    /// The log had so many events at the beginning of each round.
    rounds: Vec<usize>,
    /// One that nobody reads.
    _stalled: Option<RawStream>,
}

impl Side {
    async fn new(folder: &Path, name: &str, one_is_stalled: bool) -> Self {
        let server = Server::on_sqlite(folder, name);
        let load = Load::on(&[server.address()], 8, 1).await;
        let window = STREAM_WINDOW * u32::try_from(crowd() / CONNECTIONS + 1).expect("it is small");
        let (mut heard, mut stalled) = (Vec::new(), None);
        for _ in 0..CONNECTIONS {
            let mut connection = RawConnection::open(server.address(), STREAM_WINDOW, window).await;
            for _ in 0..crowd() / CONNECTIONS {
                let stream = connection.watch(&WatchDisputesRequest::default()).await;
                if one_is_stalled && stalled.is_none() {
                    stalled = Some(stream);
                } else {
                    heard.push(listen(stream));
                }
            }
        }
        Self { server, load, heard, acknowledged: HashMap::new(), rounds: Vec::new(), _stalled: stalled }
    }

    async fn round(&mut self, commands: usize) {
        self.rounds.push(self.load.opened());
        let (_, acknowledged) = self.load.at_rate(RATE, commands).await;
        self.acknowledged.extend(acknowledged.into_iter().map(|(order, at)| (format!("order-{order}"), at)));
    }

    /// The times of each round, once everybody has heard everything.
    async fn times(&self) -> Vec<Times> {
        let log = self.load.log().await;
        let (all, expected) = (log.len(), Trail::of(&log));
        let orders = log.iter().map(|event| event.dispute.as_ref().map(|dispute| dispute.order_id.as_str()));
        let acknowledged: Vec<Instant> =
            orders.map(|order| self.acknowledged[order.expect("an event has its dispute")]).collect();
        let mut times: Vec<Times> = self.rounds.iter().map(|_| Times::new()).collect();
        for heard in &self.heard {
            for _ in 0..500 {
                if heard.lock().expect("nobody panics").0.len() >= all {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let heard = heard.lock().expect("nobody panics");
            assert_eq!(heard.1, expected, "each saw each event, once and in order");
            for (index, (received, acknowledged)) in heard.0.iter().zip(&acknowledged).enumerate() {
                let round = self.rounds.partition_point(|first| *first <= index) - 1;
                times[round].record(received.saturating_duration_since(*acknowledged));
            }
        }
        println!("each of {} subscribers saw each of {all} events, once and in order", self.heard.len());
        times
    }
}

/// Notes when each event is received.
fn listen(mut stream: RawStream) -> Heard {
    let heard: Heard = Arc::new(Mutex::new((Vec::new(), Trail::default())));
    let ours = heard.clone();
    tokio::spawn(async move {
        while stream.advance().await {
            let mut heard = ours.lock().expect("nobody panics");
            heard.0.resize(stream.trail.events, Instant::now());
            heard.1 = stream.trail;
        }
    });
    heard
}

fn percentiles(times: &[Times], of_100: f64) -> Vec<f64> {
    times.iter().map(|times| times.percentile(of_100)).collect()
}

pub(crate) async fn soon(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut side = Side::new(folder.path(), "D2.db", false).await;
    for _ in 0..rounds() {
        side.round(scaled(1_000, 40)).await;
    }
    let times = side.times().await;
    side.server.stop();
    table.single("D2", "p50 ms", &percentiles(&times, 50.0), Target::AtMost(2.0));
    table.single("D2", "p99 ms", &percentiles(&times, 99.0), Target::AtMost(10.0));
}

pub(crate) async fn stalled(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut sides =
        [Side::new(folder.path(), "stalled.db", true).await, Side::new(folder.path(), "reading.db", false).await];
    let before = sides.each_ref().map(|side| side.server.resident());
    for _ in 0..rounds() {
        for side in &mut sides {
            side.round(scaled(600, 30)).await;
        }
    }
    let times = [sides[0].times().await, sides[1].times().await];
    let after = sides.each_ref().map(|side| side.server.resident());
    sides.into_iter().for_each(|side| drop(side.server.stop()));
    let [stalled, reading] = times.each_ref().map(|times| percentiles(times, 99.0));
    table.compare("D4", "p99 ms of the others", &stalled, &reading, Target::AtMost(1.1));
    let grown = |side: usize| (after[side] - before[side]) / f64::from(1 << 20);
    table.compare("D4", "MiB grown meanwhile", &[grown(0)], &[grown(1)], Target::None);
}
