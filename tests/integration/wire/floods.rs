//! Frames that cost a client nothing: so many are innocent, and more of them end the connection. Others are served.

use dispute_service::proto::v1;

use crate::support::frames::*;
use crate::support::service::Service;

/// An open watch: a stream that stays.
fn watch(client: &mut Frames) -> (u32, Vec<u8>) {
    let stream = client.stream();
    let open = [frame(HEADERS, END_HEADERS, stream, &block(WATCH, &[])), frame(DATA, END_STREAM, stream, &[0; 5])];
    (stream, open.concat())
}

async fn others_are_served(service: &Service) {
    service.user("ann").disputes.list_reasons(v1::ListReasonsRequest::default()).await.unwrap();
}

/// Calls each of which this follows, as the error that a client makes on purpose.
async fn errors_end_the_connection(error: impl Fn(u32) -> Vec<u8>) {
    let service = Service::on_sqlite().await;
    service.user("ann").disputes.list_reasons(v1::ListReasonsRequest::default()).await.unwrap();
    let mut client = Frames::connect(service.address).await;
    let mut calls = |count| {
        let call = |stream| [frame(HEADERS, END_HEADERS, stream, &block(LIST_REASONS, &[])), error(stream)].concat();
        (0..count).map(|_| call(client.stream())).collect::<Vec<_>>().concat()
    };
    let (few, many) = (calls(1_000), calls(2_000));
    client.accepted(&few).await;
    assert_eq!(client.goodbye_during(&many).await, Some(ENHANCE_YOUR_CALM));
    others_are_served(&service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_overflow_end_the_connection() {
    errors_end_the_connection(|stream| frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_depend_on_themselves_end_the_connection() {
    errors_end_the_connection(|stream| frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[7]].concat())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_after_the_end_of_a_stream_ends_the_connection() {
    let service = Service::on_sqlite().await;
    let mut client = Frames::connect(service.address).await;
    let mut call = || {
        let stream = client.stream();
        let end = [frame(DATA, END_STREAM, stream, &[0; 5]), frame(DATA, 0, stream, &[0; 5])];
        [frame(HEADERS, END_HEADERS, stream, &block(LIST_REASONS, &[])), end.concat()].concat()
    };
    // A stream that is still known is reset; one that is not is an error of the connection.
    let calls: Vec<_> = (0..3_000).map(|_| call()).collect();
    assert!(client.goodbye_during(&calls.concat()).await.is_some());
    others_are_served(&service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_that_end_nothing_end_the_connection() {
    errors_end_the_connection(|stream| frame(HEADERS, END_HEADERS, stream, &[0, 1, b'a', 1, b'b'])).await;
}

/// A watch stays open while so many calls are each accepted and then cancelled: those of a client that hedges. A flood
/// ends the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_cancelled_once_they_were_accepted_are_counted() {
    let service = Service::on_sqlite().await;
    let mut client = Frames::connect(service.address).await;
    let (watch, open) = watch(&mut client);
    client.send(&open).await;
    client.wait_for(DATA, watch).await;
    let mut calls = |count| {
        let streams: Vec<_> = (0..count).map(|_| client.stream()).collect();
        let calls = streams.iter().map(|stream| frame(HEADERS, END_HEADERS, *stream, &block(LIST_REASONS, &[])));
        let cancels = streams.iter().map(|stream| frame(RST_STREAM, 0, *stream, &CANCEL));
        (calls.collect::<Vec<_>>().concat(), cancels.collect::<Vec<_>>().concat())
    };
    let rounds: Vec<_> = (0..20).map(|_| calls(500)).collect();
    let (innocent, flood) = rounds.split_at(8);
    for (calls, cancels) in innocent {
        client.accepted(calls).await;
        client.accepted(cancels).await;
    }
    let flood: Vec<_> = flood.iter().flat_map(|(calls, cancels)| [calls.clone(), cancels.clone()]).collect();
    assert_eq!(client.goodbye_during(&flood.concat()).await, Some(ENHANCE_YOUR_CALM));
    others_are_served(&service).await;
}

/// So many of a frame are innocent, ten times as many are not.
async fn a_flood_ends_the_connection(flood: impl Fn(u32) -> Vec<u8>) {
    let service = Service::on_sqlite().await;
    let mut client = Frames::connect(service.address).await;
    let (stream, open) = watch(&mut client);
    client.send(&open).await;
    client.wait_for(DATA, stream).await;
    client.accepted(&flood(stream).repeat(5_000)).await;
    assert_eq!(client.goodbye_during(&flood(stream).repeat(50_000)).await, Some(ENHANCE_YOUR_CALM));
    others_are_served(&service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_ends_the_connection() {
    a_flood_ends_the_connection(|_| frame(PING, 0, 0, &[1; 8])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_settings_ends_the_connection() {
    a_flood_ends_the_connection(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_priorities_ends_the_connection() {
    a_flood_ends_the_connection(|stream| frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 7])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_frames_of_an_unknown_kind_ends_the_connection() {
    a_flood_ends_the_connection(|_| frame(0xfa, 0, 0, &[])).await;
}
