//! Several replicas on one PostgreSQL.

use std::collections::BTreeSet;
use std::time::Duration;

use dispute_service::chance::mint_id;
use dispute_service::clock::pause;
use dispute_service::proto::v1;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::support::binary::Binary;
use crate::support::callers::{Facts, Party, Watch, facts, refusal};
use crate::support::database;
use crate::support::messages::*;
use crate::support::postgres;
use crate::support::service::Service;

/// Two replicas.
async fn two(flags: &[&str]) -> Option<(Service, Service)> {
    let mut service = Service::on_postgres().await?;
    service.restart_with(flags).await;
    let other = service.replica().await;
    Some((service, other))
}

fn away() -> Facts {
    refusal(Code::Unavailable, "STORAGE_UNAVAILABLE", &[])
}

/// What cannot be done because a connection was lost is sent again.
async fn ask_until_done(mut caller: Party, id: &str) {
    let request_id = mint_id().to_string();
    let request = v1::RequestOrderUpdateRequest { request_id, ..update(id) };
    while let Err(refused) = caller.ask(request.clone()).await {
        assert_eq!(refused, away());
    }
}

async fn orders(service: &Service, prefix: &str, count: usize) {
    let orders = (0..count).map(|number| order(&format!("{prefix}{number}"))).collect();
    let request = v1::BatchUpsertOrdersRequest { orders };
    while let Err(status) = service.platform().orders.batch_upsert_orders(request.clone()).await {
        assert_eq!(facts(&status), away());
    }
}

/// So many events, on both replicas at once.
async fn ask_on_both(service: &Service, other: &Service, prefix: &str, count: usize) {
    orders(service, prefix, count).await;
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let ann = if number % 2 == 0 { service.user("ann") } else { other.user("ann") };
            let id = format!("{prefix}{number}");
            tokio::spawn(async move { ask_until_done(ann, &id).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Both streams hear what the log says, in its order.
async fn hear(service: &Service, streams: &mut [Watch], first: usize, count: usize) {
    let (first, last) = (i64::try_from(first).unwrap(), i64::try_from(first + count).unwrap());
    let ids = service.event_ids(first + 1, last).await;
    for stream in streams {
        let heard: Vec<_> = stream.take(count).await.into_iter().map(|event| event.event_id).collect();
        assert_eq!(heard, ids);
    }
}

/// Cuts every connection of the replicas, those that listen among them.
async fn terminate_connections(service: &Service) {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND application_name = 'dispute-service'";
    service.execute(sql).await;
}

async fn hear_each_other(notify: &str) {
    let Some((service, other)) = two(&["--notify", notify]).await else { return };
    let everything = v1::WatchDisputesRequest::default;
    let mut streams = vec![
        service.platform().watch(everything()).await,
        other.platform().watch(everything()).await,
        service.user("ann").watch(everything()).await,
        other.user("bob").watch(everything()).await,
    ];
    ask_on_both(&service, &other, "a", 300).await;
    hear(&service, &mut streams, 0, 300).await;
    assert_eq!(service.platform().events().await, other.platform().events().await);
    for round in 0..3 {
        terminate_connections(&service).await;
        ask_on_both(&service, &other, &format!("b{round}-"), 100).await;
        hear(&service, &mut streams, 300 + round * 100, 100).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_ring_hear_each_other_in_one_order() {
    hear_each_other("true").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_do_not_ring_hear_each_other_in_one_order() {
    hear_each_other("false").await;
}

/// Events on one replica that are heard on the other, one after the other, before a look once a second would tell of
/// half of them.
async fn is_notified(service: &Service, other: &Service, prefix: &str) -> bool {
    orders(other, prefix, 10).await;
    let mut opened = service.platform().disputes.watch_disputes(v1::WatchDisputesRequest::default()).await;
    while let Err(status) = opened {
        assert_eq!(facts(&status), away());
        opened = service.platform().disputes.watch_disputes(v1::WatchDisputesRequest::default()).await;
    }
    let mut stream = opened.unwrap().into_inner();
    assert!(stream.message().await.unwrap().unwrap().checkpoint.unwrap().subscribed);
    let one_by_one = async {
        for number in 0..10 {
            ask_until_done(other.user("ann"), &format!("{prefix}{number}")).await;
            assert_eq!(stream.message().await.unwrap().unwrap().events.len(), 1);
        }
    };
    tokio::time::timeout(Duration::from_secs(4), one_by_one).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_arrive_at_once_and_again_after_their_connection_was_lost() {
    let Some((service, other)) = two(&["--notify", "true"]).await else { return };
    assert!(is_notified(&service, &other, "a").await, "events take up to a second");
    for round in 0..2 {
        terminate_connections(&service).await;
        ask_on_both(&service, &other, &format!("b{round}-"), 20).await;
        let mut works = false;
        for attempt in 0..4 {
            works = works || is_notified(&service, &other, &format!("c{round}-{attempt}-")).await;
        }
        assert!(works, "no notification arrives any more");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_expire_each_dispute_once() {
    let Some(mut service) = Service::on_postgres().await else { return };
    service.restart_with_policy("reminders = []").await;
    let other = service.replica().await;
    let everything = v1::WatchDisputesRequest::default;
    let mut streams = vec![service.platform().watch(everything()).await, other.platform().watch(everything()).await];
    for round in 0..3 {
        ask_on_both(&service, &other, &format!("r{round}-"), 100).await;
        hear(&service, &mut streams, round * 200, 100).await;
        service.clock.advance(Duration::from_secs(48 * 3_600));
        while service.ends().await.head < i64::try_from(round * 200 + 200).unwrap() {
            pause(Duration::from_millis(5)).await;
        }
        hear(&service, &mut streams, round * 200 + 100, 100).await;
    }
    let events = other.platform().events().await;
    let expired = events.iter().filter(|event| event.r#type() == v1::EventType::DeadlineExpired);
    let expired: Vec<_> = expired.map(|event| &event.dispute.as_ref().unwrap().dispute_id).collect();
    assert_eq!((events.len(), expired.len()), (600, 300));
    assert_eq!(expired.into_iter().collect::<BTreeSet<_>>().len(), 300, "each once");
}

/// A database whose clock is an hour ahead of this machine's, which is as if this machine's were an hour behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_clock_is_off_says_so_and_follows_the_database() {
    let Some(url) = postgres::new_database().await else { return };
    database::execute(
        &url,
        "CREATE SCHEMA shifted;
        CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
        AS 'SELECT pg_catalog.clock_timestamp() + interval ''1 hour'''",
    )
    .await;
    let shifted = format!("{url}?options=-c%20search_path%3Dshifted%2Cpg_catalog%2Cpublic");
    let server = Binary::start(env!("CARGO_BIN_EXE_dispute-service"), &shifted, "warn");
    let mut log = String::new();
    for _ in 0..1_000 {
        log = server.log();
        if log.contains("ahead_micros") {
            break;
        }
        pause(Duration::from_millis(10)).await;
    }
    let lines: Vec<_> = log.lines().filter(|line| line.contains("ahead_micros")).collect();
    let [line] = lines.as_slice() else { panic!("it does not say once that its clock is off:\n{log}") };
    let (_, ahead) = line.split_once("ahead_micros=").unwrap();
    let ahead: i64 = ahead.split(' ').next().unwrap().parse().unwrap();
    let hour = 3_600_000_000;
    assert!((ahead - hour).abs() < 5_000_000, "{ahead}");

    let channel = Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
    Party::new(channel.clone(), "shop", Some("platform")).upsert(order("o1")).await;
    let opened = Party::new(channel, "ann", None).ask(update("o1")).await.unwrap();
    let now = database::number(&url, "SELECT extract(epoch FROM pg_catalog.clock_timestamp())::bigint").await;
    let created = opened.create_time.unwrap().seconds;
    assert!((created - now - 3_600).abs() < 10, "created {created}, and now it is {now}");
    let (is_success, log) = server.terminate();
    assert!(is_success, "{log}");
    assert_eq!(log.matches("ahead_micros").count(), 1, "once:\n{log}");
}
