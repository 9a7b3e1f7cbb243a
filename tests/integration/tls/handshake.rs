//! The handshake: in time, or the connection is closed; HTTP/2 alone; TLS 1.2 and 1.3.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use dispute_service::clock::real_now;
use dispute_service::proto::v1;
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tonic::transport::Endpoint;

use crate::support::authority::{Authority, DAY};
use crate::support::callers::Party;
use crate::support::h2_client::H2Client;
use crate::support::messages::*;
use crate::support::tls::{Secured, VERSIONS};

/// What every HTTP/2 client begins with: the preface, and empty SETTINGS.
pub const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// Far longer than anything here should take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_goes_over_tls() {
    let service = Secured::start(&[]);
    let mut shop = Party::new(service.connect().await, "shop", Some("platform"));
    shop.upsert(order("o1")).await;
    let mut ann = Party::new(service.connect().await, "ann", None);
    let mut watch = ann.watch(v1::WatchDisputesRequest::default()).await;
    let asked = ann.ask(update("o1")).await.unwrap();
    assert_eq!(watch.event().await.dispute.unwrap().dispute_id, asked.dispute_id);
    let (is_success, log) = service.binary.terminate();
    assert!(is_success && !log.contains("WARN"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_are_spoken_with_http_2_first_and_a_client_that_comes_back_is_known() {
    let service = Secured::start(&[]);
    for (version, number) in VERSIONS.iter().zip([ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3]) {
        let config = service.client_config(None, &[version], &[b"http/1.1", b"h2"]);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = service.handshake(config.clone()).await.unwrap();
            stream.write_all(OPENING).await.unwrap();
            // Its tickets come before its SETTINGS.
            stream.read_exact(&mut [0; 9]).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!((session.alpn_protocol(), session.protocol_version()), (Some(&b"h2"[..]), Some(number)));
            assert_eq!(session.handshake_kind(), Some(kind), "{number:?}");
        }
    }
    let other = service.client_config(None, &VERSIONS, &[b"http/1.0", b"h3"]);
    let refused = service.handshake(other).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    // A client that says nothing of what it speaks is believed to speak HTTP/2.
    let mut silent = service.handshake(service.client_config(None, &VERSIONS, &[])).await.unwrap();
    silent.write_all(OPENING).await.unwrap();
    silent.read_exact(&mut [0; 9]).await.unwrap();
}

/// How long the server leaves a connection open on which so much is sent.
fn open_for(service: &Secured, bytes: &[u8]) -> Duration {
    let mut socket = TcpStream::connect(service.address()).unwrap();
    let began = real_now();
    socket.write_all(bytes).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    match socket.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    began.elapsed()
}

/// What a client of TLS begins with.
fn client_hello(service: &Secured) -> Vec<u8> {
    let name = "localhost".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(service.client_config(None, &VERSIONS, &[b"h2"]), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_never_ends_is_closed_in_time_and_so_is_what_never_begins_behind_it() {
    let service = Secured::start(&["--preface-timeout", "1s"]);
    let hello = client_hello(&service);
    let in_time = Duration::from_millis(900)..Duration::from_secs(5);
    for bytes in [&b""[..], &hello[..1], &hello[..hello.len() - 1], &hello] {
        let open = open_for(&service, bytes);
        assert!(in_time.contains(&open), "after {} of {} bytes: {open:?}", bytes.len(), hello.len());
    }
    for bytes in [&b""[..], &OPENING[..20]] {
        let began = real_now();
        let config = service.client_config(None, &VERSIONS, &[b"h2"]);
        let mut stream = service.handshake(config).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let read = timeout(TIMEOUT, stream.read(&mut [0; 100])).await.expect("it is closed");
        assert!(!matches!(read, Ok(1..)), "nothing is said: {read:?}");
        assert!(in_time.contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_is_too_long_is_closed_at_once() {
    let service = Secured::start(&["--preface-timeout", "3s"]);
    // A hello that is said to have 64 KiB, in records.
    let hello = [&[1, 0, 0xff, 0xff][..], &[0; 20_000]].concat();
    let record = |part: &[u8]| [&[22, 3, 1][..], &u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat();
    let records: Vec<u8> = hello.chunks(10_000).flat_map(record).collect();
    let waited_for = open_for(&service, &records[..16 * 1024 - 1]);
    assert!(waited_for >= Duration::from_millis(2_900), "{waited_for:?}");
    for bytes in [16 * 1024, 16 * 1024 + 1, records.len()] {
        let open = open_for(&service, &records[..bytes]);
        assert!(open < Duration::from_millis(2_500), "{bytes}: {open:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_tls_is_closed_at_once() {
    let service = Secured::start(&[]);
    let noise: Vec<u8> = (0..10_000_u32).map(|index| u8::try_from(index * 7_919 % 251).unwrap()).collect();
    for bytes in [OPENING, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", &noise] {
        assert!(open_for(&service, bytes) < Duration::from_secs(5));
    }
    assert!(H2Client::try_connect(&service.binary.address).await.is_none_or(|client| {
        // The client learns of it with its first call.
        let _ = client.call("/grpc.health.v1.Health/Check", &[], &[0; 5]);
        true
    }));
    let plain = Endpoint::from_shared(format!("http://{}", service.address())).unwrap().connect().await;
    if let Ok(channel) = plain {
        let read = Party::new(channel, "ann", None).orders.get_order(v1::GetOrderRequest::default()).await;
        assert!(read.unwrap_err().details().is_empty(), "it is an error of the client's own");
    }
    let (is_success, log) = service.binary.terminate();
    assert!(is_success && !log.contains("WARN"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_is_closed_and_one_that_is_silent_is_pinged() {
    let service = Secured::start(&["--keepalive", "1s"]);
    let began = real_now();
    let mut stream = service.handshake(service.client_config(None, &VERSIONS, &[b"h2"])).await.unwrap();
    stream.write_all(OPENING).await.unwrap();
    // PINGs of which nobody reads the answers, until what lies between is full.
    let ping = [&b"\x00\x00\x08\x06\x00\x00\x00\x00\x00"[..], &[7; 8]].concat().repeat(200);
    let sent = timeout(TIMEOUT, async { while stream.write_all(&ping).await.is_ok() {} }).await;
    assert!(sent.is_ok(), "the connection was not closed in {:?}", began.elapsed());
    let began = real_now();
    let mut stream = service.handshake(service.client_config(None, &VERSIONS, &[b"h2"])).await.unwrap();
    stream.write_all(OPENING).await.unwrap();
    let mut said = Vec::new();
    let _ = timeout(TIMEOUT, stream.read_to_end(&mut said)).await.expect("it is closed");
    assert!(said.windows(5).any(|head| head == b"\x00\x00\x08\x06\x00"), "a PING comes: {said:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_cannot_be_used_is_said_in_one_sentence_at_the_start() {
    let said = |identity, flags: &[&str]| {
        let said = Secured::launch(Authority::new("Tests"), &identity, flags).err().expect("it does not start");
        let lines: Vec<_> =
            said.lines().filter(|line| line.starts_with("dispute-service: ")).map(str::to_owned).collect();
        assert_eq!(lines.len(), 1, "{said}");
        lines.into_iter().next().unwrap()
    };
    let authority = Authority::new("Tests");
    let (one, other) = (authority.server(&["localhost"]), authority.server(&["localhost"]));
    let mut mixed = one.clone();
    mixed.key.clone_from(&other.key);
    let said_of_mixed = said(mixed, &[]);
    assert!(said_of_mixed.contains("key.pem of --tls-key (DISPUTES_TLS_KEY) is not that of the certificate"));
    let mut swapped = one.clone();
    std::mem::swap(&mut swapped.cert, &mut swapped.key);
    assert!(said(swapped, &[]).contains("cert.pem of --tls-cert (DISPUTES_TLS_CERT) is not a certificate in PEM"));
    let mut keyless = one.clone();
    keyless.key = "nonsense".to_owned();
    assert!(said(keyless, &[]).contains("is not a private key in PEM"));
    let missing = said(one.clone(), &["--tls-client-ca", "/no/such/file"]);
    assert!(missing.contains("/no/such/file of --tls-client-ca (DISPUTES_TLS_CLIENT_CA) cannot be read: No such file"));
    assert!(said(one.clone(), &["--tls-client-ca", "/dev/zero"]).contains("contains more than 1048576 bytes"));
    assert!(said(one.clone(), &["--tls-client-ca", "/dev/null"]).contains("is not a list of certificates in PEM"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_expires_within_two_weeks_is_warned_of() {
    for (life, is_warned) in [(13 * DAY, true), (15 * DAY, false)] {
        let authority = Authority::new("Tests");
        let identity = authority.server_for(&["localhost"], life);
        let service = Secured::launch(authority, &identity, &[]).unwrap();
        service.connect().await;
        let (_, log) = service.binary.terminate();
        assert_eq!(log.contains("the certificate of this service expires soon"), is_warned, "{log}");
    }
}
