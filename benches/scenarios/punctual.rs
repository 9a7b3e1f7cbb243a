//! E4: a thousand deadlines a second, none early and none late.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dispute_service::proto::v1::dispute_service_client::DisputeServiceClient;
use dispute_service::proto::v1::{EventType, WatchDisputesRequest};

use super::drive::Times;
use super::load::{connect, platform};
use super::rows::dispute_id;
use super::scale::{quick, scaled};
use super::seed::{self, Deadlines, Seed};
use super::server::Server;
use super::table::{Table, Target};

pub(crate) const ABOUT: &str = "1,000 deadlines a second on SQLite: from each deadline until a subscriber hears of it";

pub(crate) async fn run(table: &mut Table) {
    let disputes = scaled(10_000, 500);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("E4.db");
    super::rows::rows().await;
    // Until then its database is made, and it starts.
    let first = now() + if quick() { 3_000_000 } else { 5_000_000 };
    let seed = Seed { orders: disputes, disputes, deadlines: Deadlines::From(first), pending_of: 1 };
    seed::copy(seed, &file).await;
    let server = Server::on_file(&file);
    let channel = connect([server.address()].into_iter()).await.remove(0);
    let request = platform(WatchDisputesRequest::default());
    let mut stream = DisputeServiceClient::new(channel).watch_disputes(request).await.expect("a stream").into_inner();
    assert!(now() < first, "nothing was due before the subscriber was there");
    let (mut judged, mut heard) = (Times::new(), Times::new());
    let mut expired = std::collections::HashSet::new();
    while expired.len() < disputes {
        let message = tokio::time::timeout(Duration::from_secs(30), stream.message()).await.expect("deadlines pass");
        let received = now();
        for event in message.expect("the stream goes on").expect("the stream goes on").events {
            assert_eq!(event.r#type(), EventType::DeadlineExpired, "{event:?}");
            let dispute = event.dispute.expect("an event has its dispute");
            let micros = |time: prost_types::Timestamp| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000;
            let deadline = micros(dispute.respond_by.expect("it had a deadline"));
            let time = micros(event.event_time.expect("it happened at some time"));
            assert!(time >= deadline, "an early expiry: {time}, {deadline}");
            assert!(expired.insert(dispute.dispute_id), "each expires once");
            let late = |time: i64| Duration::from_micros(u64::try_from(time - deadline).expect("not early"));
            judged.record(late(time));
            heard.record(late(received));
        }
    }
    server.stop();
    super::overdue::require_expired(&file, disputes);
    assert!((0..disputes).all(|number| expired.contains(&dispute_id(number).to_string())), "all have expired");
    println!("each of {disputes} disputes expired once, and none before its deadline");
    table.single("E4", "p99 ms late, as a subscriber hears it", &[heard.percentile(99.0)], Target::AtMost(50.0));
    table.single("E4", "p50 ms late, as a subscriber hears it", &[heard.percentile(50.0)], Target::None);
    table.single("E4", "p99 ms late, by the event's time", &[judged.percentile(99.0)], Target::None);
}

/// Now, in microseconds, by the clock that the service has too.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_micros()).expect("not that late")
}
