//! Answers that a client does not take: bounded in time and in bytes, and nobody else is held up.

use std::time::Duration;

use dispute_service::clock::real_now;
use futures_util::future::join_all;
use prost::Message as _;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::support::callers::facts;
use crate::support::frames::*;
use crate::support::h2_client::H2Client;
use crate::support::messages::*;
use crate::support::service::Service;

const LIST_DISPUTES: &str = "/disputes.v1.DisputeService/ListDisputes";
const REQUEST_ORDER_UPDATE: &str = "/disputes.v1.DisputeService/RequestOrderUpdate";
const ANN: (&str, &str) = ("x-user-id", "ann");

/// Far longer than anything here should take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);

fn call(client: &mut Frames, path: &str) -> (u32, Vec<u8>) {
    let stream = client.stream();
    let call = [frame(HEADERS, END_HEADERS, stream, &block(path, &[])), frame(DATA, END_STREAM, stream, &[0; 5])];
    (stream, call.concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_taken_in_time_ends_its_stream_and_no_other() {
    let mut service = Service::on_sqlite().await;
    service.restart_with(&["--answer-timeout", "1s"]).await;
    let mut client = Frames::connect(service.address).await;
    // No window for any stream.
    client.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    let (watch, open_watch) = call(&mut client, WATCH);
    client.send(&open_watch).await;
    let calls: Vec<_> = (0..3).map(|_| call(&mut client, LIST_REASONS)).collect();
    for (_, bytes) in &calls {
        client.send(bytes).await;
    }
    let (mut reset, last) = (Vec::new(), call(&mut client, LIST_REASONS));
    while reset.len() < 3 {
        let (kind, _, stream, payload) = client.receive().await.expect("the connection goes on");
        assert_ne!(kind, GOAWAY, "{payload:?}");
        if kind == RST_STREAM {
            assert_eq!(payload, CANCEL);
            reset.push(stream);
        }
    }
    reset.sort_unstable();
    assert_eq!(reset, calls.iter().map(|(stream, _)| *stream).collect::<Vec<_>>());
    // A stream waits for its reader for as long as it likes, and so do others' calls on the same connection.
    let window = |stream| frame(WINDOW_UPDATE, 0, stream, &100_000_u32.to_be_bytes());
    client.send(&window(watch)).await;
    client.wait_for(DATA, watch).await;
    client.send(&last.1).await;
    client.send(&window(last.0)).await;
    client.wait_for(DATA, last.0).await;
}

/// A service on which the lists of one connection have 6 KiB, and what is no list has 2.
async fn narrow() -> (Service, String) {
    let mut service = Service::on_sqlite().await;
    service.restart_with(&["--max-answer-bytes", "8192"]).await;
    let address = service.address.to_string();
    (service, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_exceeds_the_bytes_of_a_connection_waits_its_turn_and_is_overloaded() {
    let (service, address) = narrow().await;
    let client = H2Client::connect_without_window(&address).await;
    let list = || client.call(LIST_DISPUTES, &[ANN], &[0; 5]).head();
    let held = list().await;
    assert_eq!(held.headers().get("grpc-status"), None, "it is built, and its end is not there");
    let begun = real_now();
    let impatient = client.call(LIST_DISPUTES, &[ANN, ("grpc-timeout", "200m")], &[0; 5]).head();
    let others = H2Client::connect(&address).await;
    let elsewhere = others.call(LIST_DISPUTES, &[("x-user-id", "bob")], &[0; 5]).send();
    let (impatient, elsewhere, waited) = tokio::join!(impatient, elsewhere, list());
    assert!(real_now() - begun >= Duration::from_secs(5));
    let status = |head: &http::HeaderMap| facts(&Status::from_header_map(head).unwrap());
    assert_eq!(status(impatient.headers()).reason, "DEADLINE_EXCEEDED");
    assert_eq!(status(waited.headers()).code, Code::ResourceExhausted);
    assert_eq!(status(waited.headers()).reason, "OVERLOADED");
    assert_eq!(elsewhere.status().code(), Code::Ok);
    // What is no list has bytes of its own, and what ends gives its own back.
    let reasons = client.call(LIST_REASONS, &[ANN], &[0; 5]).head().await;
    assert_eq!(reasons.headers().get("grpc-status"), None);
    drop(held);
    let next = timeout(TIMEOUT, list()).await.unwrap();
    assert_eq!(next.headers().get("grpc-status"), None);
    drop(service);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_lists_in_flight_of_a_client_that_reads_are_all_answered() {
    let (service, address) = narrow().await;
    let client = H2Client::connect(&address).await;
    let lists = join_all((0..50).map(|_| client.call(LIST_DISPUTES, &[ANN], &[0; 5]).send())).await;
    assert!(lists.iter().all(|list| list.status().code() == Code::Ok));
    drop(service);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_waits_before_it_is_judged_and_never_after() {
    let (service, address) = narrow().await;
    service.platform().upsert(order("o1")).await;
    let client = H2Client::connect_without_window(&address).await;
    // It takes more than was expected: all that there is.
    let held = client.call(LIST_REASONS, &[ANN], &[0; 5]).head().await;
    let message = update("o1").encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0], &length[..], &message].concat();
    let refused = client.call(REQUEST_ORDER_UPDATE, &[ANN, ("grpc-timeout", "300m")], &body).head().await;
    assert_eq!(facts(&Status::from_header_map(refused.headers()).unwrap()).reason, "DEADLINE_EXCEEDED");
    assert_eq!(service.number("SELECT COUNT(*) FROM disputes").await, 0);
    drop(held);
    let done = client.call(REQUEST_ORDER_UPDATE, &[ANN], &body).head().await;
    assert_eq!(done.headers().get("grpc-status"), None);
    assert_eq!(service.number("SELECT COUNT(*) FROM disputes").await, 1);
}
