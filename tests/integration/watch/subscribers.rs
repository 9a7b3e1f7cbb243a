//! Many subscribers, some of whom vanish, ask for too much, or ask for very little of a busy log.

use std::collections::BTreeSet;
use std::time::Duration;

use dispute_service::clock::pause;
use dispute_service::proto::v1;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::support::callers::{Facts, Party, facts, refusal};
use crate::support::forwarder::{Forwarder, Network};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    a_caller_has_so_many_streams_and_others_have_theirs,
    a_process_has_so_many_streams,
    a_refused_watch_takes_no_place,
    a_connection_that_vanishes_gives_its_streams_back,
    a_stream_that_has_lasted_long_enough_ends_and_loses_nothing,
    a_narrow_subscriber_of_a_busy_log_keeps_up,
);

fn disputes(events: Vec<v1::DisputeEvent>) -> Vec<String> {
    events.into_iter().map(|event| event.dispute.unwrap().dispute_id).collect()
}

type Stream = Streaming<v1::WatchDisputesResponse>;

async fn open(mut caller: Party) -> Result<Stream, Status> {
    let stream = caller.disputes.watch_disputes(v1::WatchDisputesRequest::default()).await;
    stream.map(tonic::Response::into_inner)
}

fn too_many() -> Facts {
    refusal(Code::ResourceExhausted, "TOO_MANY_SUBSCRIPTIONS", &[])
}

fn assert_too_many(refused: Result<Stream, Status>) {
    let status = refused.expect_err("a stream more than there can be");
    assert_eq!(facts(&status), too_many());
    assert!(status.get_error_details().retry_info().unwrap().retry_delay.is_some());
}

/// Opens a stream as soon as there is room.
async fn open_in_time(caller: Party) -> Stream {
    for _ in 0..1_000 {
        match open(caller.clone()).await {
            Ok(stream) => return stream,
            Err(status) => assert_eq!(facts(&status), too_many()),
        }
        pause(Duration::from_millis(10)).await;
    }
    panic!("there is no room again");
}

async fn a_caller_has_so_many_streams_and_others_have_theirs(mut service: Service) {
    service.restart_with(&["--max-streams-per-caller", "2"]).await;
    let first = open(service.user("ann")).await.unwrap();
    let mut second = open(service.user("ann")).await.unwrap();
    assert_too_many(open(service.user("ann")).await);
    // Over whichever connection, and whatever she asks for.
    assert_too_many(open(Party::new(service.connect().await, "ann", None)).await);
    let resumed = service.user("ann").disputes.watch_disputes(from_beginning()).await;
    assert_too_many(resumed.map(tonic::Response::into_inner));
    let others = [open(service.user("bob")).await.unwrap(), open(service.platform()).await.unwrap()];
    drop(first);
    let mut third = open_in_time(service.user("ann")).await;
    assert_too_many(open(service.user("ann")).await);
    // Those who were there hear on.
    let opened = service.order_with_update("o0", "ann").await.dispute_id;
    for stream in [&mut second, &mut third] {
        assert!(stream.message().await.unwrap().unwrap().checkpoint.unwrap().subscribed);
        assert_eq!(disputes(stream.message().await.unwrap().unwrap().events), std::slice::from_ref(&opened));
    }
    drop(others);
}

async fn a_process_has_so_many_streams(mut service: Service) {
    service.restart_with(&["--max-streams", "3"]).await;
    let first = open(service.user("ann")).await.unwrap();
    let others = [open(service.user("bob")).await.unwrap(), open(service.platform()).await.unwrap()];
    assert_too_many(open(service.user("eve")).await);
    assert_too_many(open(service.support()).await);
    drop(first);
    let fourth = open_in_time(service.user("eve")).await;
    assert_too_many(open(service.user("ann")).await);
    drop((others, fourth));
    // Commands and reads are not streams.
    service.order_with_update("o0", "ann").await;
}

async fn a_refused_watch_takes_no_place(mut service: Service) {
    service.orders_with_updates(0..3).await;
    let token = service.platform().events_of(None, 500).await.1;
    service.lose_events_after(2).await;
    service.restart_with(&["--max-streams-per-caller", "1", "--max-streams", "1"]).await;
    for _ in 0..5 {
        let start = Some(v1::watch_disputes_request::Start::ResumeToken(token.clone()));
        let request = v1::WatchDisputesRequest { start, ..Default::default() };
        let refused = service.user("ann").disputes.watch_disputes(request).await.unwrap_err();
        assert_eq!(facts(&refused), refusal(Code::OutOfRange, "RESUME_TOKEN_UNKNOWN", &[]));
    }
    let stream = open(service.user("ann")).await.unwrap();
    drop(stream);
    open_in_time(service.user("bob")).await;
}

async fn a_connection_that_vanishes_gives_its_streams_back(mut service: Service) {
    service.restart_with(&["--max-streams-per-caller", "1", "--keepalive", "1s"]).await;
    let network = Forwarder::to(&service.address.to_string()).await;
    let behind: Channel =
        Endpoint::from_shared(format!("http://{}", network.address)).unwrap().connect().await.unwrap();
    let mut stream = open(Party::new(behind, "ann", None)).await.unwrap();
    assert!(stream.message().await.unwrap().unwrap().checkpoint.unwrap().subscribed);
    // A connection that is merely silent is not closed.
    pause(Duration::from_secs(4)).await;
    assert_too_many(open(service.user("ann")).await);
    network.set(Network::Swallows);
    let mut again = open_in_time(service.user("ann")).await;
    let opened = service.order_with_update("o0", "ann").await.dispute_id;
    assert!(again.message().await.unwrap().unwrap().checkpoint.unwrap().subscribed);
    assert_eq!(disputes(again.message().await.unwrap().unwrap().events), [opened]);
    network.set(Network::Works);
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.message()).await.unwrap();
    assert!(ended.is_err(), "{ended:?}");
}

async fn a_stream_that_has_lasted_long_enough_ends_and_loses_nothing(mut service: Service) {
    service.restart_with(&["--max-stream-age", "10s"]).await;
    let mut ends = BTreeSet::new();
    for round in 0..6 {
        let mut watch = service.user("ann").watch(v1::WatchDisputesRequest::default()).await;
        // Having heard something, it has begun to count.
        let mut expected = vec![service.order_with_update(&format!("a{round}"), "ann").await.dispute_id];
        let mut heard = disputes(watch.take(1).await);
        // A half less at the least: it is there just before.
        service.clock.advance(Duration::from_millis(4_999));
        expected.push(service.order_with_update(&format!("b{round}"), "ann").await.dispute_id);
        heard.extend(disputes(watch.take(1).await));
        // A half more at the most.
        let mut age = 5;
        let status = loop {
            service.clock.advance(Duration::from_secs(1));
            age += 1;
            assert!(age <= 16, "it lasts longer than it should");
            expected.push(service.order_with_update(&format!("c{round}-{age}"), "ann").await.dispute_id);
            let message = watch.message().await.unwrap();
            if message.checkpoint.is_some() {
                assert_eq!(message.events, []);
                break watch.message().await.unwrap_err();
            }
            heard.extend(disputes(message.events));
        };
        assert_eq!(facts(&status), refusal(Code::Unavailable, "SERVER_DRAINING", &[]));
        assert!(status.get_error_details().retry_info().unwrap().retry_delay.is_some());
        ends.insert(age);
        let mut resumed = service.user("ann").watch_from(&watch.token).await;
        heard.extend(disputes(resumed.take(expected.len() - heard.len()).await));
        assert_eq!(heard, expected);
    }
    assert!(ends.len() > 1, "they all end after the same time, {ends:?}");
}

async fn a_narrow_subscriber_of_a_busy_log_keeps_up(mut service: Service) {
    let filters = [
        v1::DisputeEventFilter { party_id: "eve".to_owned(), ..Default::default() },
        v1::DisputeEventFilter { order_ids: (0..5).map(|round| format!("eve{round}")).collect(), ..Default::default() },
    ];
    let of_filter = |filter: &v1::DisputeEventFilter| v1::WatchDisputesRequest {
        filter: Some(filter.clone()),
        ..Default::default()
    };
    let mut watches = vec![service.user("eve").watch(v1::WatchDisputesRequest::default()).await];
    for filter in &filters {
        watches.push(service.platform().watch(of_filter(filter)).await);
    }
    let mut expected = Vec::new();
    let mut parked: Vec<Vec<(String, usize)>> = vec![Vec::new(); watches.len()];
    for round in 0..4 {
        let own = service.order_with_update(&format!("eve{round}"), "eve").await.dispute_id;
        expected.push(own.clone());
        for watch in &mut watches {
            assert_eq!(disputes(watch.take(1).await), std::slice::from_ref(&own));
        }
        service.many_orders_with_updates(&format!("ann{round}-"), 0..700, "ann").await;
        for (watch, parked) in watches.iter_mut().zip(&mut parked) {
            let before = watch.token.clone();
            let mut beats = 0;
            // With the first heartbeat after the others' events were read.
            while watch.token == before {
                let message = watch.beat(&service.clock, Duration::from_secs(15)).await;
                assert!(message.events.is_empty() && message.checkpoint.is_some());
                beats += 1;
                assert!(beats < 1_000, "the token stays where it was");
            }
            parked.push((watch.token.clone(), expected.len()));
        }
    }
    drop(watches);
    service.restart().await;
    expected.push(service.order_with_update("eve4", "eve").await.dispute_id);
    for (number, parked) in parked.into_iter().enumerate() {
        for (token, heard) in parked {
            let start = Some(v1::watch_disputes_request::Start::ResumeToken(token));
            let mut resumed = match number {
                0 => service.user("eve").watch(v1::WatchDisputesRequest { start, ..Default::default() }).await,
                _ => {
                    let request = v1::WatchDisputesRequest { start, ..of_filter(&filters[number - 1]) };
                    service.platform().watch(request).await
                }
            };
            assert_eq!(disputes(resumed.take(expected.len() - heard).await), expected[heard..]);
        }
    }
}
