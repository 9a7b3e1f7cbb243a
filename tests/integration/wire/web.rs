//! What browsers need: gRPC-Web over HTTP/1.1 and HTTP/2, and who of them may call from where.

use std::time::Duration;

use dispute_service::clock::{pause, real_now};
use dispute_service::proto::v1;
use futures_util::future::join_all;
use prost::Message as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tonic::Code;

use crate::support::callers::{Facts, facts, refusal};
use crate::support::h2_client::H2Client;
use crate::support::messages::{order, update};
use crate::support::on_both_databases;
use crate::support::service::Service;
use crate::support::tls::{Secured, VERSIONS};
use crate::support::web::{WebClient, WebResponse, ask_over_http2, framed, frames, in_text};

on_both_databases!(
    a_browser_calls_in_both_forms_and_over_both_versions_of_http,
    a_watch_by_a_browser_has_each_event_and_ends_with_a_reason,
);

const UPSERT: &str = "/disputes.v1.OrderService/UpsertOrder";
const GET_ORDER: &str = "/disputes.v1.OrderService/GetOrder";
const REASONS: &str = "/disputes.v1.DisputeService/ListReasons";
const WATCH: &str = "/disputes.v1.DisputeService/WatchDisputes";
const LIST: &str = "/disputes.v1.DisputeService/ListDisputes";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

const ANN: (&str, &str) = ("x-user-id", "ann");
const SHOP: [(&str, &str); 2] = [("x-user-id", "shop"), ("x-scope", "platform")];
const BINARY: (&str, &str) = ("content-type", "application/grpc-web+proto");
const TEXT: (&str, &str) = ("content-type", "application/grpc-web-text");

/// An empty message.
const EMPTY: &[u8] = &[0; 5];

/// Far longer than anything here should take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A page that may call.
const PAGE: &str = "http://localhost:5173";

/// What a browser asks before a page of this origin calls.
fn preflight(origin: &str) -> [(&str, &str); 3] {
    let headers = "content-type,grpc-timeout,x-grpc-web,x-user-id";
    [("origin", origin), ("access-control-request-method", "POST"), ("access-control-request-headers", headers)]
}

fn order_request(id: &str) -> Vec<u8> {
    framed(&v1::GetOrderRequest { order_id: id.to_owned() })
}

fn unknown(id: &str) -> Facts {
    refusal(Code::NotFound, "ORDER_NOT_FOUND", &[("orderId", id)])
}

/// The same request over both versions of HTTP.
async fn ask(service: &Service, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> [WebResponse; 2] {
    let client = H2Client::connect(&service.address.to_string()).await;
    let over_http2 = ask_over_http2(&client, method, path, headers, body).await;
    [WebClient::connect(service.address).await.ask(method, path, headers, body).await, over_http2]
}

async fn a_browser_calls_in_both_forms_and_over_both_versions_of_http(service: Service) {
    let upsert = framed(&v1::UpsertOrderRequest { order: Some(order("o1")) });
    for (form, sent) in [
        (BINARY, (|body| body) as fn(Vec<u8>) -> Vec<u8>),
        (TEXT, |body| in_text(&body)),
        (("content-type", "Application/gRPC-Web; charset=utf-8"), |body| body),
    ] {
        for accept in ["*/*", form.1] {
            let common = [form, ("accept", accept)];
            let as_shop = [&common[..], &SHOP].concat();
            for response in ask(&service, "POST", UPSERT, &as_shop, &sent(upsert.clone())).await {
                assert_eq!(response.status, 200);
                let (messages, status) = response.answer();
                assert_eq!(status.code(), Code::Ok, "{form:?}: {status:?}");
                let answer = v1::UpsertOrderResponse::decode(&messages[0][..]).unwrap();
                assert_eq!((messages.len(), answer.order.unwrap().order_id.as_str()), (1, "o1"));
                let is_text = response.header("content-type") == Some("application/grpc-web-text+proto");
                assert_eq!(is_text, form == TEXT, "it reads what it writes");
            }
            let as_ann = [&common[..], &[ANN]].concat();
            for response in ask(&service, "POST", GET_ORDER, &as_ann, &sent(order_request("o2"))).await {
                assert_eq!((response.status, facts(&response.grpc_status())), (200, unknown("o2")), "{form:?}");
            }
            let nobody = refusal(Code::Unauthenticated, "CREDENTIAL_MISSING", &[]);
            for response in ask(&service, "POST", GET_ORDER, &common, &sent(order_request("o1"))).await {
                assert_eq!(facts(&response.grpc_status()), nobody, "{form:?}");
            }
        }
    }
}

async fn a_watch_by_a_browser_has_each_event_and_ends_with_a_reason(mut service: Service) {
    service.platform().upsert(order("o1")).await;
    let mut clients = [WebClient::connect(service.address).await, WebClient::connect(service.address).await];
    let headers = [BINARY, ANN];
    for client in &mut clients {
        client.send(&WebClient::<TcpStream>::request("POST", WATCH, &headers, EMPTY)).await;
        assert_eq!(client.head().await.status, 200);
        let (messages, _) = frames(&client.chunk().await.unwrap());
        let first = v1::WatchDisputesResponse::decode(&messages[0][..]).unwrap();
        assert!(first.checkpoint.unwrap().subscribed && !first.resume_token.is_empty());
    }
    let asked = service.user("ann").ask(update("o1")).await.unwrap();
    for client in &mut clients {
        let (messages, _) = frames(&client.chunk().await.unwrap());
        let events = v1::WatchDisputesResponse::decode(&messages[0][..]).unwrap().events;
        assert_eq!(events[0].dispute.as_ref().unwrap().dispute_id, asked.dispute_id);
    }
    // One goes without a word, and one stays to the end.
    let [gone, mut stays] = clients;
    drop(gone);
    let stopped = service.drain();
    let mut body = Vec::new();
    while let Some(chunk) = timeout(TIMEOUT, stays.chunk()).await.unwrap() {
        body.extend(chunk);
    }
    let (messages, trailers) = frames(&body);
    assert!(v1::WatchDisputesResponse::decode(&messages.last().unwrap()[..]).unwrap().checkpoint.is_some());
    let status = tonic::Status::from_header_map(&trailers.unwrap()).unwrap();
    assert_eq!(facts(&status), refusal(Code::Unavailable, "SERVER_DRAINING", &[]));
    timeout(TIMEOUT, stopped).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_an_origin_that_is_named_calls_and_reads_and_no_other_does() {
    let mut service = Service::on_sqlite().await;
    service.restart_with(&["--web-origin", "https://shop.example", "--web-origin", PAGE]).await;
    let not_allowed = refusal(Code::PermissionDenied, "ORIGIN_NOT_ALLOWED", &[]);
    for response in ask(&service, "OPTIONS", GET_ORDER, &preflight(PAGE), b"").await {
        assert_eq!((response.status, response.body.len()), (200, 0));
        assert_eq!(response.header("access-control-allow-origin"), Some(PAGE));
        assert_eq!(response.header("access-control-allow-methods"), Some("POST"));
        assert_eq!(response.header("access-control-allow-credentials"), None);
        assert!(response.header("vary").unwrap().contains("origin"), "a cache must not mix up origins");
        let allowed: Vec<_> = response.header("access-control-allow-headers").unwrap().split(',').collect();
        for header in [
            "content-type",
            "x-grpc-web",
            "x-user-agent",
            "x-user-id",
            "x-scope",
            "authorization",
            "grpc-timeout",
            "traceparent",
        ] {
            assert!(allowed.contains(&header), "{header}: {allowed:?}");
        }
    }
    for response in ask(&service, "POST", GET_ORDER, &[BINARY, ANN, ("origin", PAGE)], &order_request("o2")).await {
        assert_eq!(facts(&response.grpc_status()), unknown("o2"));
        assert_eq!(response.header("access-control-allow-origin"), Some(PAGE));
        let exposed = response.header("access-control-expose-headers").unwrap();
        assert_eq!(exposed, "grpc-status,grpc-message,grpc-status-details-bin");
    }
    for origin in ["https://evil.example", "http://localhost:5174", "http://shop.example", "null"] {
        for response in ask(&service, "OPTIONS", GET_ORDER, &preflight(origin), b"").await {
            assert_eq!(response.status, 404);
            assert_eq!(response.header("access-control-allow-origin"), None);
        }
        for content_type in [BINARY, TEXT] {
            let headers = [content_type, ANN, ("origin", origin)];
            for response in ask(&service, "POST", GET_ORDER, &headers, &order_request("o2")).await {
                assert_eq!(facts(&response.grpc_status()), not_allowed, "{origin}");
                assert_eq!(response.header("access-control-allow-origin"), None);
            }
        }
        // What a page may send without asking first.
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
            let headers = [("content-type", content_type), ANN, ("origin", origin)];
            for response in ask(&service, "POST", UPSERT, &headers, EMPTY).await {
                assert_eq!(response.status, 415);
                assert_eq!(response.header("access-control-allow-origin"), None);
            }
        }
    }
    let elsewhere =
        b"POST /disputes.v1.DisputeService/ListReasons HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 5\r\n\
        x-user-id: ann\r\ncontent-type: application/grpc-web\r\n\r\n\0\0\0\0\0";
    let mut client = WebClient::connect(service.address).await;
    client.send(elsewhere).await;
    assert_eq!(facts(&client.response("POST").await.grpc_status()), not_allowed, "a name of an attacker leads here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_grpc_web_over_http_1_is_answered_in_plain_http() {
    let service = Service::on_sqlite().await;
    let client = || WebClient::connect(service.address);
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for (path, headers) in [("/", &[][..]), (REASONS, &[BINARY][..]), ("/healthz", &[])] {
            let response = client().await.ask(method, path, headers, b"").await;
            let text = String::from_utf8(response.body.clone()).unwrap();
            assert_eq!(response.status, 404, "{method} {path}");
            assert!(text.contains("gRPC") && text.contains("proto/disputes/v1"), "{text}");
        }
    }
    assert_eq!(client().await.ask("HEAD", "/", &[], b"").await.status, 404);
    for content_type in ["application/json", "text/plain", "application/grpc-web+json", "application/grpc"] {
        let response = client().await.ask("POST", REASONS, &[("content-type", content_type), ANN], EMPTY).await;
        let text = String::from_utf8(response.body.clone()).unwrap();
        assert_eq!(response.status, 415, "{content_type}");
        assert!(text.contains("application/grpc-web"), "{text}");
    }
    let missing = refusal(Code::Unimplemented, "METHOD_UNKNOWN", &[]);
    let nowhere = client().await.call("/nowhere.Service/Method", &[ANN], EMPTY).await;
    assert_eq!(facts(&nowhere.grpc_status()), missing);
    assert_eq!(client().await.call(HEALTH, &[], EMPTY).await.grpc_status().code(), Code::Ok);
    // What follows a request is not answered, and does not disturb it.
    let request = WebClient::<TcpStream>::request("POST", REASONS, &[BINARY, ANN], EMPTY);
    let mut several = client().await;
    several.send(&request.repeat(3)).await;
    assert_eq!(several.response("POST").await.grpc_status().code(), Code::Ok);
    assert!(several.closed().await.is_empty());
    // In chunks, with trailers, and waiting to be told that it may go on.
    let mut chunked = client().await;
    let head = "POST /disputes.v1.DisputeService/ListReasons HTTP/1.1\r\nhost: localhost\r\nx-user-id: ann\r\n\
        content-type: application/grpc-web\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n";
    chunked.send(head.as_bytes()).await;
    assert_eq!(chunked.head().await.status, 100);
    chunked.send(b"2\r\n\0\0\r\n3;x=y\r\n\0\0\0\r\n0\r\nx-trailer: 1\r\n\r\n").await;
    assert_eq!(chunked.response("POST").await.grpc_status().code(), Code::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_reaches_a_client_that_still_sends() {
    let service = Service::on_sqlite().await;
    // One message, as it says.
    let body = [&b"\0\0\x30\0\0"[..], &vec![0; 3 * 1024 * 1024]].concat();
    let plain = WebClient::connect(service.address).await;
    assert_eq!(plain.ask("POST", "/", &[("content-type", "application/json")], &body).await.status, 415);
    for (headers, reason) in [(&[ANN][..], "MESSAGE_TOO_LARGE"), (&[], "CREDENTIAL_MISSING")] {
        let response = WebClient::connect(service.address).await.call(REASONS, headers, &body).await;
        assert_eq!(facts(&response.grpc_status()).reason, reason);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_leaves_nothing_behind_however_its_connection_ends() {
    let mut service = Service::on_sqlite().await;
    service.restart_with(&["--max-connections", "12"]).await;
    // Answered as soon as they are read, after what their answers may take was reserved.
    let list = WebClient::<TcpStream>::request("POST", LIST, &[BINARY, ANN], b"");
    let old = b"GET / HTTP/1.0\r\n\r\n".to_vec();
    for request in [list, old] {
        for _ in 0..100 {
            let mut client = WebClient::connect(service.address).await;
            client.send(&request).await;
            assert!(!timeout(TIMEOUT, client.closed()).await.unwrap().is_empty());
        }
    }
    let list =
        || async { WebClient::connect(service.address).await.call(LIST, &[ANN], EMPTY).await.grpc_status().code() };
    assert_eq!(join_all((0..4).map(|_| list())).await, [Code::Ok; 4]);
    // Streams that never say anything, of clients that are gone after they have sent something more.
    let watch = WebClient::<TcpStream>::request("POST", HEALTH_WATCH, &[BINARY], EMPTY);
    for _ in 0..20 {
        let connected = async {
            loop {
                let mut client = WebClient::connect(service.address).await;
                client.send(&[&watch[..], b"G"].concat()).await;
                // Without a place there is no answer.
                if client.try_head().await.is_some() {
                    break;
                }
            }
        };
        timeout(TIMEOUT, connected).await.unwrap();
    }
}

/// A message of so many bytes that says nothing.
fn filler(bytes: usize) -> Vec<u8> {
    let text = vec![b'x'; bytes - 5];
    let length = u32::try_from(text.len()).unwrap();
    let varint =
        [length & 0x7f | 0x80, length >> 7 & 0x7f | 0x80, length >> 14].map(|part| u8::try_from(part).unwrap());
    let frame = [&[0][..], &u32::try_from(bytes).unwrap().to_be_bytes(), &[0xfa, 0x01], &varint, &text];
    frame.concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_by_grpc_web_has_the_bounds_of_any_other() {
    let service = Service::on_sqlite().await;
    for (form, sent) in [(BINARY, (|body| body) as fn(Vec<u8>) -> Vec<u8>), (TEXT, |body| in_text(&body))] {
        let too_large = refusal(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[]);
        for response in ask(&service, "POST", REASONS, &[form, ANN], &sent(filler(64 * 1024 + 1))).await {
            assert_eq!(facts(&response.grpc_status()), too_large);
        }
        for response in ask(&service, "POST", REASONS, &[form, ANN], &sent(filler(64 * 1024))).await {
            assert_eq!(response.grpc_status().code(), Code::Ok);
        }
        let malformed = refusal(Code::InvalidArgument, "MESSAGE_MALFORMED", &[]);
        for body in
            [&b""[..], b"\x00\x00", b"\x00\x00\x00\x00\x09\x08", b"\x80\x00\x00\x00\x00", b"\x02\x00\x00\x00\x00"]
        {
            for response in ask(&service, "POST", REASONS, &[form, ANN], &sent(body.to_vec())).await {
                assert_eq!(facts(&response.grpc_status()), malformed, "{form:?} {body:?}");
            }
        }
        for body in [&b"!!!!"[..], b"AAAAA", b"AAAAAAA=AAAA", &[0xff; 40]] {
            for response in ask(&service, "POST", REASONS, &[TEXT, ANN], body).await {
                assert_eq!(facts(&response.grpc_status()), malformed, "not base64: {body:?}");
            }
        }
    }
    let headers_too_large = refusal(Code::ResourceExhausted, "HEADERS_TOO_LARGE", &[]);
    let long = "x".repeat(13_000);
    for response in ask(&service, "POST", REASONS, &[BINARY, ANN, ("x-filler", &long)], EMPTY).await {
        assert_eq!(facts(&response.grpc_status()), headers_too_large);
    }
    let longer = "x".repeat(70_000);
    for response in ask(&service, "POST", REASONS, &[BINARY, ANN, ("x-filler", &longer)], EMPTY).await {
        assert_eq!(response.status, 431);
    }
    let many: Vec<_> = (0..300).map(|_| ("x", "")).chain([BINARY, ANN]).collect();
    for response in ask(&service, "POST", REASONS, &many, EMPTY).await {
        assert_eq!(response.grpc_status().code(), Code::Ok, "they are short");
    }
    let late = refusal(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]);
    for response in ask(&service, "POST", REASONS, &[BINARY, ANN, ("grpc-timeout", "0m")], EMPTY).await {
        assert_eq!(facts(&response.grpc_status()), late);
    }
    let twice = refusal(Code::Unauthenticated, "CREDENTIAL_INVALID", &[]);
    for response in ask(&service, "POST", REASONS, &[BINARY, ANN, ("x-user-id", "bob")], EMPTY).await {
        assert_eq!(facts(&response.grpc_status()), twice);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_finish_its_head_is_closed_and_one_that_does_not_finish_its_body_is_told() {
    let mut service = Service::on_sqlite().await;
    service.restart_with(&["--preface-timeout", "1s", "--request-timeout", "1s"]).await;
    let head = b"POST /disputes.v1.DisputeService/ListReasons HTTP/1.1\r\nhost: localhost\r\nx-user-id: ann\r\n\
        content-type: application/grpc-web\r\ncontent-length: 9\r\n\r\n";
    let began = real_now();
    for part in [&head[..1], &head[..40], &head[..head.len() - 1]] {
        let mut client = WebClient::connect(service.address).await;
        client.send(part).await;
        timeout(TIMEOUT, client.closed()).await.unwrap();
    }
    assert!(began.elapsed() >= Duration::from_millis(2_900), "each has a second");
    let mut client = WebClient::connect(service.address).await;
    client.send(&[head, &b"\x00\x00"[..]].concat()).await;
    let response = timeout(TIMEOUT, client.response("POST")).await.unwrap();
    assert_eq!(facts(&response.grpc_status()), refusal(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]));
    // What is no method starts nothing.
    for bytes in [&b"\x16\x03\x01\x02\x00\x01"[..], b"\r\n\r\n", b"get / http"] {
        let mut client = WebClient::connect(service.address).await;
        client.send(bytes).await;
        assert!(timeout(TIMEOUT, client.closed()).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_a_browser_that_is_gone_takes_no_place() {
    let mut service = Service::on_sqlite().await;
    service.restart_with(&["--max-streams-per-caller", "1"]).await;
    let watch = WebClient::<TcpStream>::request("POST", WATCH, &[BINARY, ANN], EMPTY);
    let mut first = WebClient::connect(service.address).await;
    first.send(&watch).await;
    assert!(first.head().await.headers.get("grpc-status").is_none());
    let refused = WebClient::connect(service.address).await.call(WATCH, &[ANN], EMPTY).await;
    assert_eq!(facts(&refused.grpc_status()), refusal(Code::ResourceExhausted, "TOO_MANY_SUBSCRIPTIONS", &[]));
    drop(first);
    let opened = async {
        loop {
            let mut second = WebClient::connect(service.address).await;
            second.send(&watch).await;
            if second.head().await.headers.get("grpc-status").is_none() {
                break;
            }
            pause(Duration::from_millis(10)).await;
        }
    };
    timeout(TIMEOUT, opened).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_taken_in_time_ends_its_connection_over_http_1() {
    let mut service = Service::on_sqlite().await;
    let orders: Vec<_> = (0..500).map(|index| order(&format!("o{index}"))).collect();
    let batch = v1::BatchUpsertOrdersRequest { orders: orders.clone() };
    service.platform().orders.batch_upsert_orders(batch).await.unwrap();
    let asked = orders.iter().map(|order| {
        let mut ann = service.user("ann");
        let request = v1::RequestOrderUpdateRequest { message: "ä".repeat(2_000), ..update(&order.order_id) };
        async move { ann.ask(request).await.unwrap() }
    });
    join_all(asked).await;
    service.restart_with(&["--answer-timeout", "1s"]).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut socket = socket.connect(service.address).await.unwrap();
    let list = framed(&v1::ListDisputesRequest { page_size: 500, ..Default::default() });
    socket.write_all(&WebClient::<TcpStream>::request("POST", LIST, &[BINARY, ANN], &list)).await.unwrap();
    // Two megabytes, of which nothing is read. That a client reads nothing at all would be noticed after 40 s.
    let closed = async {
        while socket.write_all(b"G").await.is_ok() {
            pause(Duration::from_millis(10)).await;
        }
    };
    timeout(TIMEOUT, closed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_a_browser_speaks_http_2_or_http_1() {
    let service = Secured::start(&["--web-origin", PAGE]);
    let config = service.client_config(None, &VERSIONS, &[b"http/1.1"]);
    let stream = service.handshake(config).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let response = WebClient::over(stream).call(REASONS, &[ANN, ("origin", PAGE)], EMPTY).await;
    let (messages, status) = response.answer();
    assert_eq!((messages.len(), status.code()), (1, Code::Ok));
    assert_eq!(response.header("access-control-allow-origin"), Some(PAGE));
    let (is_success, log) = service.binary.terminate();
    assert!(is_success && !log.contains("WARN"), "{log}");
}
