//! The messages of requests: how large, how long, how many of them at once, and what they cost before they are judged.

use std::time::Duration;

use dispute_service::clock::pause;
use dispute_service::proto::v1;
use futures_util::future::join_all;
use prost::Message as _;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::binary::Binary;
use crate::support::callers::{Facts, facts, invalid, refusal};
use crate::support::h2_client::{H2Client, H2Upload};
use crate::support::messages::order;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(elements_are_counted_before_they_are_decoded, a_message_is_as_large_as_its_rpc_takes_and_no_larger,);

const BATCH: &str = "/disputes.v1.OrderService/BatchUpsertOrders";
const UPSERT: &str = "/disputes.v1.OrderService/UpsertOrder";
const UPDATE: &str = "/disputes.v1.DisputeService/RequestOrderUpdate";
const REASONS: &str = "/disputes.v1.DisputeService/ListReasons";
const EVENTS: &str = "/disputes.v1.DisputeService/ListDisputeEvents";
const WATCH: &str = "/disputes.v1.DisputeService/WatchDisputes";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const REFLECTION_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

const SHOP: [(&str, &str); 2] = [("x-user-id", "shop"), ("x-scope", "platform")];

/// An empty message.
const EMPTY: &[u8] = &[0; 5];

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

/// A message of this many bytes that says nothing: a field that nobody knows.
fn filler(bytes: usize) -> Vec<u8> {
    let text = "x".repeat(bytes - 5);
    let length = text.len();
    let varint =
        [length & 0x7f | 0x80, length >> 7 & 0x7f | 0x80, length >> 14].map(|part| u8::try_from(part).unwrap());
    [&[0xfa, 0x01][..], &varint, text.as_bytes()].concat()
}

fn too_large() -> Facts {
    refusal(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[])
}

fn overloaded() -> Facts {
    refusal(Code::ResourceExhausted, "OVERLOADED", &[])
}

fn late() -> Facts {
    refusal(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[])
}

async fn connect(service: &Service) -> H2Client {
    H2Client::connect(&service.address.to_string()).await
}

async fn begin(client: &H2Client, path: &str, user: &str, body: &[u8]) -> H2Upload {
    client.call(path, &[("x-user-id", user)], body).begin().await
}

async fn a_message_is_as_large_as_its_rpc_takes_and_no_larger(mut service: Service) {
    let client = connect(&service).await;
    let paths = [
        (HEALTH, 4 * 1024),
        (HEALTH_WATCH, 4 * 1024),
        (REFLECTION, 4 * 1024),
        (REFLECTION_ALPHA, 4 * 1024),
        (REASONS, 64 * 1024),
        (WATCH, 64 * 1024),
        (UPDATE, 64 * 1024),
        (UPSERT, 64 * 1024),
        (BATCH, 1024 * 1024),
    ];
    for (path, bound) in paths {
        // It is announced, and nothing of it sent.
        for size in [bound + 1, 4 * 1024 * 1024, 0x7fff_ffff, 0xffff_ffff] {
            let prefix = [&[0][..], &u32::try_from(size).unwrap().to_be_bytes()].concat();
            let status = client.call(path, &SHOP, &prefix).unfinished().await;
            assert_eq!(facts(&status), too_large(), "{path} {size}");
        }
    }
    for (path, bound) in
        paths.into_iter().filter(|(path, _)| ![WATCH, HEALTH_WATCH, REFLECTION, REFLECTION_ALPHA].contains(path))
    {
        let announced = (bound + 5 + 1).to_string();
        let headers = [&SHOP[..], &[("content-length", announced.as_str())]].concat();
        assert_eq!(facts(&client.call(path, &headers, b"").unfinished().await), too_large(), "{path}");
        let status = client.call(path, &SHOP, &framed(&filler(bound))).send().await.status();
        assert!([Code::Ok, Code::InvalidArgument].contains(&status.code()), "{path}: {status:?}");
        assert!(status.code() == Code::Ok || facts(&status).reason == "INVALID_FIELD", "{path}: {status:?}");
    }
    service.restart_with(&["--max-message-bytes", "0", "--max-batch-bytes", "100"]).await;
    let client = connect(&service).await;
    let large = framed(&filler(2 * 1024 * 1024));
    assert_eq!(client.call(REASONS, &SHOP, &large).send().await.status().code(), Code::Ok);
    assert_eq!(facts(&client.call(BATCH, &SHOP, &framed(&filler(101))).send().await.status()), too_large());
}

async fn elements_are_counted_before_they_are_decoded(service: Service) {
    let client = connect(&service).await;
    let call =
        async |path: &str, message: Vec<u8>| facts(&client.call(path, &SHOP, &framed(&message)).send().await.status());
    for orders in [501, 500_000] {
        assert_eq!(call(BATCH, [0x0a, 0].repeat(orders)).await, invalid(&["orders"]), "{orders}");
    }
    // As many as there may be are looked at.
    assert_eq!(call(BATCH, [0x0a, 0].repeat(500)).await.fields[0], "orders[0].order_id");
    let with_ids = |ids| v1::Order { open_dispute_ids: vec![String::new(); ids], ..order("o1") };
    let batch = |ids| v1::BatchUpsertOrdersRequest { orders: vec![order("o2"), with_ids(ids)] }.encode_to_vec();
    assert_eq!(call(BATCH, batch(101)).await, invalid(&["orders[1].open_dispute_ids"]));
    let upsert = |ids| v1::UpsertOrderRequest { order: Some(with_ids(ids)) }.encode_to_vec();
    assert_eq!(call(UPSERT, upsert(101)).await, invalid(&["order.open_dispute_ids"]));
    for (path, message) in [(BATCH, batch(100)), (UPSERT, upsert(100))] {
        let status = client.call(path, &SHOP, &framed(&message)).send().await.status();
        assert_eq!(status.code(), Code::Ok, "what is ignored is ignored: {status:?}");
    }
    let filter = |values: usize| v1::DisputeEventFilter {
        order_ids: vec!["o1".to_owned(); values],
        dispute_ids: vec!["0193a1b2-0000-7000-8000-000000000000".to_owned(); values / 2],
        kinds: vec![1; values],
        event_types: vec![1; values],
        ..Default::default()
    };
    let events =
        |values| v1::ListDisputeEventsRequest { filter: Some(filter(values)), ..Default::default() }.encode_to_vec();
    // What is only a little too long is told together with everything else that is wrong.
    assert_eq!(call(EVENTS, events(101)).await, invalid(&["filter.order_ids", "filter.kinds", "filter.event_types"]));
    assert_eq!(call(EVENTS, events(1_001)).await, invalid(&["filter.order_ids"]));
    let status = client.call(EVENTS, &SHOP, &framed(&events(100))).send().await.status();
    assert_eq!(status.code(), Code::Ok, "{status:?}");
    // Numbers that are not packed.
    assert_eq!(
        call("/disputes.v1.DisputeService/ListDisputes", [0x28, 1].repeat(30_000)).await,
        invalid(&["statuses"])
    );
    assert_eq!(call("/disputes.v1.OrderService/ListOrders", [0x18, 1].repeat(30_000)).await, invalid(&["statuses"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_has_one_message_and_nothing_behind_it() {
    let service = Service::on_sqlite().await;
    let client = connect(&service).await;
    let malformed = refusal(Code::InvalidArgument, "MESSAGE_MALFORMED", &[]);
    for path in [REASONS, WATCH, HEALTH, HEALTH_WATCH, EVENTS] {
        for behind in [&b"\0"[..], b"x", EMPTY] {
            let status = client.call(path, &SHOP, &[EMPTY, behind].concat()).unfinished().await;
            assert_eq!(facts(&status), malformed, "{path} {behind:?}");
        }
    }
    // In pieces it is the same message.
    let mut upload = begin(&client, REASONS, "ann", b"").await;
    let whole = framed(&v1::ListReasonsRequest { language_code: "fr".to_owned() }.encode_to_vec());
    for byte in &whole {
        pause(Duration::from_millis(2)).await;
        upload.push(&[*byte], false);
    }
    upload.push(b"", true);
    let in_pieces = upload.response().await;
    let at_once = client.call(REASONS, &SHOP, &whole).send().await;
    assert_eq!(in_pieces.status().code(), Code::Ok);
    assert_eq!(in_pieces.body, at_once.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_complete_in_time_however_slowly_it_comes() {
    let mut service = Service::on_sqlite().await;
    service.restart_with(&["--request-timeout", "1s", "--reflection-idle", "1s"]).await;
    let client = connect(&service).await;
    let calls = [
        (REASONS, &b""[..]),
        (REASONS, b"\0\0\0\x10"),
        (UPDATE, b"\0\0\0\0\x09\x08"),
        // All is there but the end.
        (REASONS, EMPTY),
        (WATCH, EMPTY),
        (HEALTH, b"\0"),
        (HEALTH_WATCH, b"\0\0\0\x01\0"),
        (REFLECTION, b"\0\0\0\0\x09\x08"),
        (REFLECTION_ALPHA, b"\0"),
    ];
    let ended = join_all(calls.map(|(path, body)| client.call(path, &[("x-user-id", "ann")], body).unfinished()));
    let dripping = async {
        let mut upload = begin(&client, UPDATE, "ann", b"\0\0\0\x10\0").await;
        for _ in 0..8 {
            pause(Duration::from_millis(200)).await;
            upload.push(b"x", false);
        }
        upload.response().await.status()
    };
    let (ended, dripping) = tokio::join!(ended, dripping);
    for status in ended.into_iter().chain([dripping]) {
        assert_eq!(facts(&status), late());
        assert!(status.message().contains("completely in time"), "{status:?}");
    }
    // The client's own deadline is the shorter one.
    let status = client.call(REASONS, &[("x-user-id", "ann"), ("grpc-timeout", "50m")], b"").unfinished().await;
    assert_eq!(facts(&status), late());
    assert!(status.message().contains("client's deadline"), "{status:?}");
    // A stream of reflection that asks nothing more has ended well.
    let status = client.call(REFLECTION, &[], EMPTY).unfinished().await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bytes_in_flight_are_bounded_and_nobody_takes_them_all() {
    let mut service = Service::on_sqlite().await;
    service.restart_with(&["--max-bytes-in-flight", "262144"]).await;
    let client = connect(&service).await;
    let most = [&b"\0\0\0\xff\xff"[..], &[7; 60_000]].concat();
    let first = begin(&client, UPDATE, "ann", &most).await;
    // It has arrived once nothing more of hers fits beside it.
    let mut others = Vec::new();
    let refused = loop {
        let mut call = Box::pin(begin(&client, UPDATE, "ann", &most[..10_000]).await.response());
        match tokio::time::timeout(Duration::from_millis(20), &mut call).await {
            Ok(response) => break response.status(),
            Err(_) => others.push(call),
        }
    };
    assert_eq!(facts(&refused), overloaded());
    assert!(refused.get_error_details().retry_info().is_some());
    // What is there at once is never in flight, and others have theirs.
    let reasons = client.call(REASONS, &[("x-user-id", "ann")], EMPTY).send().await;
    assert_eq!(reasons.status().code(), Code::Ok);
    let mut of_bob = begin(&client, REASONS, "bob", &framed(&filler(60_000))[..50_000]).await;
    pause(Duration::from_millis(50)).await;
    of_bob.push(&framed(&filler(60_000))[50_000..], true);
    assert_eq!(of_bob.response().await.status().code(), Code::Ok);
    // What is given up is free again.
    drop((first, others));
    for attempt in 0.. {
        let mut again = begin(&client, REASONS, "ann", &framed(&filler(60_000))[..50_000]).await;
        pause(Duration::from_millis(20)).await;
        again.push(&framed(&filler(60_000))[50_000..], true);
        let status = again.response().await.status();
        if status.code() == Code::Ok {
            break;
        }
        assert!(attempt < 100, "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_without_an_identity_are_bounded_and_a_probe_gets_through() {
    let mut service = Service::on_sqlite().await;
    service.restart_with(&["--max-open-streams", "8"]).await;
    let refused = refusal(Code::ResourceExhausted, "TOO_MANY_SUBSCRIPTIONS", &[]);
    let (greedy, late, last) = (connect(&service).await, connect(&service).await, connect(&service).await);
    let watch = async |client: &H2Client| {
        let (upload, response) = client.call(HEALTH_WATCH, &[], EMPTY).begin_stream().await.stream().await;
        let is_open = !response.headers().contains_key("grpc-status");
        is_open.then_some((upload, response))
    };
    let mut held = Vec::new();
    for (client, places) in [(&greedy, 4), (&late, 2), (&last, 1)] {
        for _ in 0..places {
            held.push(watch(client).await.expect("there is a place"));
        }
        assert!(watch(client).await.is_none(), "{places} are all");
    }
    let (beyond, more) = (connect(&service).await, connect(&service).await);
    for client in [&beyond, &more] {
        held.push(watch(client).await.expect("every connection has one"));
        assert_eq!(facts(&client.call(HEALTH_WATCH, &[], EMPTY).send().await.status()), refused);
    }
    for client in [&greedy, &beyond] {
        for _ in 0..20 {
            assert_eq!(client.call(HEALTH, &[], EMPTY).send().await.status().code(), Code::Ok);
        }
    }
    let reflection = greedy.call(REFLECTION, &[], b"").begin().await.stream().await;
    assert!(!reflection.1.headers().contains_key("grpc-status"));
    assert_eq!(facts(&late.call(REFLECTION_ALPHA, &[], b"").unfinished().await), refused);
    // What ends is free again.
    drop((held, reflection));
    for attempt in 0.. {
        let freed = late.call(REFLECTION, &[], b"").send().await.status();
        if freed.code() == Code::Ok && watch(&greedy).await.is_some() {
            break;
        }
        assert!(attempt < 100, "{freed:?}");
        pause(Duration::from_millis(10)).await;
    }
}

/// The memory of a process that is resident, in bytes.
fn resident(server: &Binary) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_announced_or_empty_costs_next_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let server = Binary::start(env!("CARGO_BIN_EXE_dispute-service"), &url, "warn");
    let client = H2Client::connect(&server.address).await;
    assert_eq!(client.call(REASONS, &SHOP, EMPTY).send().await.status().code(), Code::Ok);
    let before = resident(&server);
    let grown = |what: &str| {
        let grown = (resident(&server) - before) / 1024;
        println!("{what}: {grown} KiB more at the highest");
        assert!(grown < 20 * 1024, "{what}: {grown} KiB");
    };
    let batch = framed(&[0x0a, 0].repeat(524_288));
    for _ in 0..4 {
        let calls = (0..4).map(|_| client.call(BATCH, &SHOP, &batch).send());
        for response in join_all(calls).await {
            assert_eq!(facts(&response.status()), invalid(&["orders"]));
        }
    }
    grown("four batches of 524,288 empty orders at once");
    let mut held = Vec::new();
    for _ in 0..500 {
        held.push(client.call(HEALTH, &[], b"\0\0\0\x10\0").begin().await);
    }
    for _ in 0..500 {
        held.push(client.call(UPDATE, &[("x-user-id", "ann")], b"\0\0\0\xff\xff").begin().await);
    }
    assert_eq!(client.call(REASONS, &SHOP, EMPTY).send().await.status().code(), Code::Ok);
    grown("beside them 1,000 announced messages");
    drop(held);
}
