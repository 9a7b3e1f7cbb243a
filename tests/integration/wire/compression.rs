//! Compressed messages: what is read, what bounds it, and which answers are compressed.

use std::io::Write as _;

use dispute_service::proto::v1;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic_reflection::pb::v1 as reflection;
use v1::dispute_service_client::DisputeServiceClient;
use v1::order_service_client::OrderServiceClient;

use crate::support::callers::{facts, refusal};
use crate::support::h2_client::{H2Client, H2Response};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    every_kind_of_request_can_be_compressed,
    a_bomb_is_too_large_and_costs_nobody_anything,
    answers_are_compressed_as_the_request_was_or_if_they_are_long,
);

const UPDATE: &str = "/disputes.v1.DisputeService/RequestOrderUpdate";
const BATCH: &str = "/disputes.v1.OrderService/BatchUpsertOrders";
const LIST: &str = "/disputes.v1.DisputeService/ListDisputes";
const WATCH: &str = "/disputes.v1.DisputeService/WatchDisputes";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

const ANN: (&str, &str) = ("x-user-id", "ann");
const SHOP: [(&str, &str); 2] = [("x-user-id", "shop"), ("x-scope", "platform")];

const ENCODINGS: [&str; 2] = ["gzip", "zstd"];

fn compressed(encoding: &str, message: &[u8]) -> Vec<u8> {
    let bytes = match encoding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(message).unwrap();
            encoder.finish().unwrap()
        }
        _ => zstd::bulk::compress(message, 19).unwrap(),
    };
    framed(1, &bytes)
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

/// A message of this many bytes that says nothing: a field that nobody knows.
fn filler(bytes: usize) -> Vec<u8> {
    let length = bytes - 6;
    let varint = [length & 0x7f | 0x80, length >> 7 & 0x7f | 0x80, length >> 14 & 0x7f | 0x80, length >> 21];
    let varint = varint.map(|part| u8::try_from(part).unwrap());
    [&[0xfa, 0x01][..], &varint, &vec![b'x'; length]].concat()
}

async fn call(client: &H2Client, path: &str, headers: &[(&str, &str)], body: &[u8]) -> H2Response {
    client.call(path, headers, body).send().await
}

async fn every_kind_of_request_can_be_compressed(service: Service) {
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let orders = OrderServiceClient::new(service.channel());
        let mut orders = orders.send_compressed(encoding).accept_compressed(encoding);
        let mut request = tonic::Request::new(v1::BatchUpsertOrdersRequest { orders: vec![order("o1"), order("o2")] });
        request.metadata_mut().insert("x-user-id", "shop".parse().unwrap());
        request.metadata_mut().insert("x-scope", "platform".parse().unwrap());
        assert_eq!(orders.batch_upsert_orders(request).await.unwrap().into_inner().orders.len(), 2);

        let disputes = DisputeServiceClient::new(service.channel());
        let mut disputes = disputes.send_compressed(encoding).accept_compressed(encoding);
        let mut request = tonic::Request::new(from_beginning());
        request.metadata_mut().insert("x-user-id", "ann".parse().unwrap());
        let mut watch = disputes.watch_disputes(request).await.unwrap().into_inner();
        assert!(watch.message().await.unwrap().unwrap().checkpoint.unwrap().subscribed);

        // Any number of messages would be decompressed at once.
        let client = reflection::server_reflection_client::ServerReflectionClient::new(service.channel());
        let mut client = client.send_compressed(encoding).accept_compressed(encoding);
        let list = reflection::server_reflection_request::MessageRequest::ListServices("x".repeat(100));
        let list = reflection::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
        let refused = client.server_reflection_info(tonic::codegen::tokio_stream::once(list)).await.unwrap_err();
        let supported = ("supported", "gzip,zstd,identity");
        assert_eq!(facts(&refused), refusal(Code::Unimplemented, "ENCODING_NOT_SUPPORTED", &[supported]));
    }
}

async fn a_bomb_is_too_large_and_costs_nobody_anything(service: Service) {
    service.platform().upsert(order("o1")).await;
    let too_large = |bound: &'static str| {
        let mut expected = refusal(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[]);
        expected.metadata.extend((!bound.is_empty()).then(|| ("limit".to_owned(), bound.to_owned())));
        expected
    };
    let client = H2Client::connect(&service.address.to_string()).await;
    for encoding in ENCODINGS {
        let by = ("grpc-encoding", encoding);
        // At the bound, and one beyond it.
        let fits = call(&client, UPDATE, &[ANN, by], &compressed(encoding, &filler(65_536))).await;
        assert_eq!(facts(&fits.status()).reason, "INVALID_FIELD", "{encoding}");
        let refused = call(&client, UPDATE, &[ANN, by], &compressed(encoding, &filler(65_537))).await;
        assert_eq!(facts(&refused.status()), too_large(""), "{encoding}");
        // Bombs: what is small on the wire and large behind it.
        let bomb = compressed(encoding, &filler(64 * 1024 * 1024));
        let (one, many) = (facts(&call(&client, UPDATE, &[ANN, by], &bomb).await.status()), SHOP);
        assert_eq!(one, too_large(""), "{encoding}: {} bytes", bomb.len());
        let batch = compressed(encoding, &filler(1_048_577));
        let refused = call(&client, BATCH, &[many[0], many[1], by], &batch).await;
        assert_eq!(facts(&refused.status()), too_large(""), "{encoding}");
        for path in [HEALTH, WATCH] {
            let refused = call(&client, path, &[ANN, by], &compressed(encoding, &filler(65_537))).await;
            assert_eq!(facts(&refused.status()).reason, "MESSAGE_TOO_LARGE", "{encoding} {path}");
        }
        // What is not compressed keeps its bound, whatever the headers say.
        let refused = call(&client, UPDATE, &[ANN, by], &framed(0, &filler(65_537))).await;
        assert_eq!(facts(&refused.status()).reason, "MESSAGE_TOO_LARGE", "{encoding}");
        let malformed = refusal(Code::InvalidArgument, "MESSAGE_MALFORMED", &[]);
        for broken in [&b"nonsense"[..], b"", &compressed(encoding, &filler(600))[5..25]] {
            let refused = call(&client, UPDATE, &[ANN, by], &framed(1, broken)).await;
            if encoding == "gzip" || !broken.is_empty() {
                assert_eq!(facts(&refused.status()), malformed, "{encoding} {broken:?}");
            }
        }
        // A message that is said to be compressed, and not how.
        let unsaid = call(&client, UPDATE, &[ANN], &compressed(encoding, &filler(600))).await;
        assert_eq!(facts(&unsaid.status()), malformed, "{encoding}");
    }
}

/// The encoding of an answer, the flag of its message, and how long it is.
fn shape(response: &H2Response) -> (Option<&str>, u8, usize) {
    assert_eq!(response.status().code(), Code::Ok, "{:?}", response.status());
    let encoding = response.head.headers().get("grpc-encoding").map(|value| value.to_str().unwrap());
    (encoding, response.body[0], response.body.len())
}

async fn answers_are_compressed_as_the_request_was_or_if_they_are_long(service: Service) {
    let orders = (0..40).map(|number| order(&format!("o{number}"))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let mut ann = service.user("ann");
    for number in 0..40 {
        let message = "Where is it? ".repeat(100);
        ann.ask(v1::RequestOrderUpdateRequest { message, ..update(&format!("o{number}")) }).await.unwrap();
    }
    let client = H2Client::connect(&service.address.to_string()).await;
    let list = |page_size| v1::ListDisputesRequest { page_size, ..Default::default() }.encode_to_vec();
    let (short, long) = (framed(0, &list(2)), framed(0, &list(40)));
    let plain = call(&client, LIST, &[ANN], &long).await;
    let (encoding, flag, whole) = shape(&plain);
    assert!((encoding, flag) == (None, 0) && whole > 40_000, "{whole}");
    let decoded = v1::ListDisputesResponse::decode(&plain.body[5..]).unwrap();
    for (accepted, by) in [("gzip", "gzip"), ("identity,deflate,gzip", "gzip"), ("gzip, zstd", "zstd")] {
        let accepts = ("grpc-accept-encoding", accepted);
        let compressed = call(&client, LIST, &[ANN, accepts], &long).await;
        let (encoding, flag, length) = shape(&compressed);
        assert_eq!((encoding, flag), (Some(by), 1), "{accepted}");
        assert!(length < whole / 5, "{length} of {whole}");
        let message = match by {
            "gzip" => {
                let mut message = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&compressed.body[5..]), &mut message)
                    .unwrap();
                message
            }
            _ => zstd::stream::decode_all(&compressed.body[5..]).unwrap(),
        };
        let mut read = v1::ListDisputesResponse::decode(&message[..]).unwrap();
        read.server_time = decoded.server_time;
        read.resume_token.clone_from(&decoded.resume_token);
        assert_eq!(read, decoded);
        let answer = call(&client, LIST, &[ANN, accepts], &short).await;
        let (encoding, flag, _) = shape(&answer);
        assert_eq!((encoding, flag), (None, 0), "a short one is not worth it");
    }
    // As the request was, however short; nobody gets what it cannot read.
    for encoding in ENCODINGS {
        let body = compressed(encoding, &list(2));
        let answer = call(&client, LIST, &[ANN, ("grpc-encoding", encoding)], &body).await;
        assert_eq!((shape(&answer).0, shape(&answer).1), (Some(encoding), 1));
        let headers = [ANN, ("grpc-encoding", encoding), ("grpc-accept-encoding", "identity")];
        assert_eq!(shape(&call(&client, LIST, &headers, &body).await).0, None);
        // An error has no message.
        let refused =
            call(&client, UPDATE, &[ANN, ("grpc-encoding", encoding)], &compressed(encoding, &[0x0a, 0])).await;
        assert_eq!(facts(&refused.status()).reason, "INVALID_FIELD");
    }
    // Streams never.
    let mut watch = from_beginning();
    watch.heartbeat_interval = None;
    let headers = [ANN, ("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip,zstd")];
    let head = client.call(WATCH, &headers, &compressed("gzip", &watch.encode_to_vec())).head().await;
    assert_eq!(head.headers().get("grpc-encoding"), None);
    let mut body = head.into_body();
    let first = body.data().await.unwrap().unwrap();
    assert_eq!(first[0], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unary_call_takes_so_long_at_the_most_whatever_its_client_says() {
    let mut service = Service::on_sqlite().await;
    service.restart_with(&["--call-timeout", "1s", "--request-timeout", "0s"]).await;
    let client = H2Client::connect(&service.address.to_string()).await;
    let exceeded = refusal(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]);
    let began = dispute_service::clock::real_now();
    let mut calls = Vec::new();
    for timeout in ["", "1H", "99999999H", "nonsense"] {
        let headers = [ANN, ("grpc-timeout", timeout)];
        let headers = if timeout.is_empty() { &headers[..1] } else { &headers };
        calls.push(client.call(UPDATE, headers, &[0, 0]).unfinished());
    }
    // A stream goes on.
    let stream = client.call(WATCH, &[ANN], &[0; 5]).begin_stream().await.stream();
    let (_sender, watch) = stream.await;
    for status in futures_util::future::join_all(calls).await {
        assert_eq!(facts(&status), exceeded);
    }
    let took = began.elapsed();
    assert!((900..10_000).contains(&took.as_millis()), "{took:?}");
    let mut body = watch.into_body();
    body.data().await.unwrap().unwrap();
    let next = tokio::time::timeout(std::time::Duration::from_millis(300), body.data()).await;
    assert!(next.is_err(), "it has not ended: {next:?}");
    // What a client asks for beyond that holds, as before.
    let asked = client.call(UPDATE, &[ANN, ("grpc-timeout", "100m")], &[0, 0]).unfinished().await;
    assert_eq!(facts(&asked), exceeded);
}
