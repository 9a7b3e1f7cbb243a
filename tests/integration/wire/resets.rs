//! Calls that are cancelled: a burst is innocent, a flood is not. Frames as bytes, as no library sends them.

use std::fmt::Write as _;
use std::process::{Command, Output};

use dispute_service::proto::v1;

use crate::support::binary::Binary;
use crate::support::frames::*;
use crate::support::messages::*;
use crate::support::postgres::skip;
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_calls_that_are_cancelled_together_are_innocent() {
    let service = Service::on_sqlite().await;
    service.platform().upsert(order("o1")).await;
    let mut client = Frames::connect(service.address).await;
    let watch = client.stream();
    let open = [frame(HEADERS, END_HEADERS, watch, &block(WATCH, &[])), frame(DATA, END_STREAM, watch, &[0; 5])];
    client.send(&open.concat()).await;
    client.wait_for(DATA, watch).await;
    for _ in 0..10 {
        let streams: Vec<_> = (0..150).map(|_| client.stream()).collect();
        let calls = streams.iter().map(|stream| frame(HEADERS, END_HEADERS, *stream, &block(LIST_REASONS, &[])));
        let cancels = streams.iter().map(|stream| frame(RST_STREAM, 0, *stream, &CANCEL));
        client.send(&calls.chain(cancels).collect::<Vec<_>>().concat()).await;
        client.send(&frame(PING, 0, 0, &[7; 8])).await;
        loop {
            let (kind, flags, _, payload) = client.receive().await.expect("the connection goes on");
            assert_ne!(kind, GOAWAY, "{payload:?}");
            if (kind, flags) == (PING, ACK) {
                break;
            }
        }
    }
    service.user("ann").ask(update("o1")).await.unwrap();
    client.wait_for(DATA, watch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_cancelled_calls_ends_the_connection() {
    let service = Service::on_sqlite().await;
    let mut client = Frames::connect(service.address).await;
    let mut flood = Vec::new();
    for _ in 0..20_000 {
        let stream = client.stream();
        flood.extend(frame(HEADERS, END_HEADERS, stream, &block(LIST_REASONS, &[])));
        flood.extend(frame(RST_STREAM, 0, stream, &CANCEL));
    }
    client.send(&flood).await;
    assert_eq!(client.goodbye().await, ENHANCE_YOUR_CALM);
    // Others are served.
    service.user("ann").disputes.list_reasons(v1::ListReasonsRequest::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_makes_one_error_after_another_is_let_go() {
    let service = Service::on_sqlite().await;
    let mut client = Frames::connect(service.address).await;
    // Headers of a connection have no place in HTTP/2: each of these is a malformed request.
    let malformed = block(LIST_REASONS, &[("connection", "close")]);
    for errors in [1_000, 100] {
        let streams: Vec<_> = (0..errors).map(|_| client.stream()).collect();
        let calls = streams.iter().map(|stream| frame(HEADERS, END_HEADERS, *stream, &malformed));
        client.send(&calls.collect::<Vec<_>>().concat()).await;
        if errors == 1_000 {
            // So many are tolerated, each with a reset.
            let last = *streams.last().unwrap();
            client.wait_for(RST_STREAM, last).await;
        }
    }
    assert_eq!(client.goodbye().await, ENHANCE_YOUR_CALM);
}

/// The output of a command of Go's, if that is there and the modules can be had.
fn go(arguments: &[&str]) -> Option<Output> {
    let output = Command::new("go")
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/go"))
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .output()
        .ok()?;
    output.status.success().then_some(output)
}

#[test]
fn a_go_client_may_cancel_its_calls_beside_a_watch() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("cancels").display().to_string();
    if go(&["build", "-o", &program, "."]).is_none() {
        skip("the cancellations of a Go client: Go, or one of the modules in tests/go, is not to be had.");
        return;
    }
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let server = Binary::start(env!("CARGO_BIN_EXE_dispute-service"), &url, "info");
    let mut told = String::new();
    for (calls, rounds) in [("30", "20"), ("100", "5"), ("300", "2")] {
        let output = Command::new(&program).args([&server.address, calls, rounds]).output().unwrap();
        let _ = write!(told, "{calls}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{told}");
    }
    assert!(server.terminate().0);
}
