//! Every bound on the wire holds over TLS as it does without.

use dispute_service::proto::v1;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::support::callers::{Party, facts, refusal};
use crate::support::frames::*;
use crate::support::h2_client::H2Client;
use crate::support::messages::*;
use crate::support::tls::{Secured, Tunnel};

const UPDATE: &str = "/disputes.v1.DisputeService/RequestOrderUpdate";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

async fn secured(flags: &[&str]) -> (Secured, Tunnel) {
    let service = Secured::start(flags);
    let tunnel = Tunnel::to(&service).await;
    (service, tunnel)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_headers_have_their_bounds_over_tls() {
    let (_service, tunnel) = secured(&[]).await;
    let client = H2Client::connect(&tunnel.address.to_string()).await;
    let ann = ("x-user-id", "ann");
    let large = [&[0, 0, 1, 0, 1][..], &[0; 65_537]].concat();
    let refused = client.call(UPDATE, &[ann], &large).send().await;
    assert_eq!(facts(&refused.status()), refusal(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[]));
    // A field that nobody knows, as long as a message can be.
    let length = 65_536 - 5;
    let varint =
        [length & 0x7f | 0x80, length >> 7 & 0x7f | 0x80, length >> 14].map(|part| u8::try_from(part).unwrap());
    let fits = [&[0, 0, 1, 0, 0, 0xfa, 0x01][..], &varint, &[b'x'; 65_531]].concat();
    let judged = client.call(UPDATE, &[ann], &fits).send().await;
    assert_eq!(facts(&judged.status()).reason, "INVALID_FIELD");
    let long = "x".repeat(12 * 1024);
    let refused = client.call(UPDATE, &[ann, ("x-filler", &long)], &[0; 5]).send().await;
    assert_eq!(facts(&refused.status()), refusal(Code::ResourceExhausted, "HEADERS_TOO_LARGE", &[]));
    let probe = client.call(HEALTH, &[], &[&[0, 0, 0, 0x10, 1][..], &[0; 4_097]].concat()).send().await;
    assert_eq!(facts(&probe.status()).reason, "MESSAGE_TOO_LARGE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_never_ends_and_one_too_many_are_refused_over_tls() {
    let flags = ["--request-timeout", "1s", "--max-failed-logins-per-second", "1", "--max-reads-per-second", "1"];
    let (_service, tunnel) = secured(&flags).await;
    let client = H2Client::connect(&tunnel.address.to_string()).await;
    let late = client.call(UPDATE, &[("x-user-id", "ann")], &[0, 0]).unfinished().await;
    assert_eq!(facts(&late), refusal(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]));
    // Each client has an address, also behind TLS: ten logins fail as such.
    let mut reasons = Vec::new();
    for _ in 0..13 {
        reasons.push(facts(&client.call(UPDATE, &[], &[0; 5]).send().await.status()).reason);
    }
    assert_eq!(reasons[..10], ["CREDENTIAL_MISSING"; 10]);
    assert_eq!(reasons[12], "RATE_LIMITED");
    let channel = Endpoint::from_shared(format!("http://{}", tunnel.address)).unwrap().connect().await.unwrap();
    let mut ann = Party::new(channel, "ann", None);
    let mut last = String::new();
    for _ in 0..15 {
        let read = ann.orders.get_order(v1::GetOrderRequest { order_id: "o1".to_owned() }).await;
        last = facts(&read.unwrap_err()).reason;
    }
    assert_eq!(last, "RATE_LIMITED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_misbehaves_hears_goodbye_over_tls_and_a_burst_is_innocent() {
    let (_service, tunnel) = secured(&[]).await;
    let mut client = Frames::connect(tunnel.address).await;
    let mut burst = Vec::new();
    for _ in 0..100 {
        let stream = client.stream();
        burst.extend(frame(HEADERS, END_HEADERS, stream, &block(LIST_REASONS, &[])));
        burst.extend(frame(RST_STREAM, 0, stream, &CANCEL));
    }
    client.accepted(&burst).await;
    // Frames that are part of no call, too many of them.
    let flood = frame(PING, 0, 0, &[7; 8]).repeat(60_000);
    assert_eq!(client.goodbye_during(&flood).await, Some(ENHANCE_YOUR_CALM));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_have_their_bound_over_tls_and_one_that_does_nothing_makes_room() {
    let service = Secured::start(&["--max-connections", "4"]);
    let held: Vec<_> = (0..4).map(|_| std::net::TcpStream::connect(service.address()).unwrap()).collect();
    let mut shop = Party::new(service.connect().await, "shop", Some("platform"));
    shop.upsert(order("o1")).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_stream_of_events_comes_whole_over_tls() {
    let service = Secured::start(&[]);
    let mut shop = Party::new(service.connect().await, "shop", Some("platform"));
    let orders = (0..500).map(|number| order(&format!("o{number}"))).collect();
    shop.orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let ann = Party::new(service.connect().await, "ann", None);
    let asked = (0..500).map(|number| {
        let mut ann = ann.clone();
        async move {
            let request =
                v1::RequestOrderUpdateRequest { message: "ä".repeat(2_000), ..update(&format!("o{number}")) };
            ann.ask(request).await.unwrap()
        }
    });
    futures_util::future::join_all(asked).await;
    let mut watch = shop.watch(from_beginning()).await;
    let events = watch.take(500).await;
    assert_eq!(events.last().unwrap().dispute.as_ref().unwrap().message.len(), 4_000);
    let page = shop.list(v1::ListDisputesRequest { page_size: 500, ..Default::default() }).await;
    assert_eq!(page.disputes.len(), 500);
}
