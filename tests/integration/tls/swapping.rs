//! Certificates that are swapped while the service runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dispute_service::clock::{pause, real_now};
use dispute_service::proto::v1;
use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use v1::dispute_service_client::DisputeServiceClient;
use v1::order_service_client::OrderServiceClient;

use super::handshake::OPENING;
use crate::support::authority::{Authority, DAY};
use crate::support::callers::{Party, facts, refusal};
use crate::support::messages::*;
use crate::support::tls::{Secured, VERSIONS};

/// Well above the time after which the files are looked at twice.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The certificate with which the next handshake is made.
async fn shown(service: &Secured) -> CertificateDer<'static> {
    let config = service.client_config(None, &VERSIONS, &[b"h2"]);
    let stream = service.handshake(config).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

async fn is_swapped(service: &Secured, before: &CertificateDer<'static>) -> CertificateDer<'static> {
    let began = real_now();
    loop {
        let now = shown(service).await;
        if now != *before {
            return now;
        }
        assert!(began.elapsed() < TIMEOUT, "{}", service.binary.log());
        pause(Duration::from_millis(50)).await;
    }
}

async fn is_logged(service: &Secured, what: &str) {
    let began = real_now();
    while !service.binary.log().contains(what) {
        assert!(began.elapsed() < TIMEOUT, "{}", service.binary.log());
        pause(Duration::from_millis(20)).await;
    }
}

async fn read(channel: Channel) {
    let request = v1::GetOrderRequest { order_id: "o1".to_owned() };
    Party::new(channel, "ann", None).orders.get_order(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_swapped_under_load_without_one_failed_call() {
    let service = Arc::new(Secured::start(&[]));
    Party::new(service.connect().await, "shop", Some("platform")).upsert(order("o1")).await;
    let (stop, calls, connections) =
        (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let load: Vec<_> = (0..4)
        .map(|caller| {
            let (service, stop) = (service.clone(), stop.clone());
            let (calls, connections) = (calls.clone(), connections.clone());
            tokio::spawn(async move {
                let mut channel = service.connect().await;
                while !stop.load(Ordering::Relaxed) {
                    // Two stay on their connection, the others come back on a new one.
                    if caller % 2 == 0 {
                        channel = service.connect().await;
                        connections.fetch_add(1, Ordering::Relaxed);
                    }
                    read(channel.clone()).await;
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut certificate = shown(&service).await;
    for _ in 0..2 {
        service.authority.server(&["localhost"]).write(service.folder());
        certificate = is_swapped(&service, &certificate).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in load {
        caller.await.unwrap();
    }
    let (calls, connections) = (calls.load(Ordering::Relaxed), connections.load(Ordering::Relaxed));
    println!("{calls} calls on {connections} new connections while the certificate was swapped twice, none failed");
    assert!(calls > 100 && connections > 20, "{calls}, {connections}");
    assert!(!service.binary.log().contains("WARN"), "{}", service.binary.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_files_keep_the_certificate_of_before_and_are_told_once() {
    let service = Secured::start(&[]);
    let before = shown(&service).await;
    let said = "the new certificates cannot be used, the old ones stay in use";
    // A certificate without its key.
    let next = service.authority.server(&["localhost"]);
    std::fs::write(service.folder().join("cert.pem"), &next.cert).unwrap();
    is_logged(&service, said).await;
    assert_eq!(shown(&service).await, before);
    assert!(service.binary.log().contains("is not that of the certificate of --tls-cert"));
    pause(Duration::from_secs(5)).await;
    assert_eq!(service.binary.log().matches(said).count(), 1, "{}", service.binary.log());
    // Half of a file, and none at all.
    std::fs::write(service.folder().join("cert.pem"), &next.cert[..next.cert.len() / 2]).unwrap();
    is_logged(&service, "is not a certificate in PEM").await;
    std::fs::remove_file(service.folder().join("key.pem")).unwrap();
    is_logged(&service, "cannot be read: No such file or directory").await;
    assert_eq!(shown(&service).await, before);
    // As Kubernetes swaps: by a link.
    let folder = service.folder().join("next");
    std::fs::create_dir(&folder).unwrap();
    next.write(&folder);
    for file in ["cert.pem", "key.pem"] {
        std::os::unix::fs::symlink(folder.join(file), folder.join(format!("{file}.link"))).unwrap();
        std::fs::rename(folder.join(format!("{file}.link")), service.folder().join(file)).unwrap();
    }
    is_swapped(&service, &before).await;
    is_logged(&service, "new certificates are in use").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_of_clients_are_swapped_with_it() {
    let service = Secured::start(&["--tls-client-ca", "CA"]);
    let other = Authority::new("Another");
    let client = other.client("spiffe://market/shop", DAY);
    let can = async || match service.try_connect(Some(&client)).await {
        Err(_) => false,
        // With TLS 1.3 a client learns afterwards that it was refused.
        Ok(channel) => {
            let read = v1::GetOrderRequest { order_id: "o1".to_owned() };
            let read = Party::new(channel, "ann", None).orders.get_order(read).await;
            read.unwrap_err().code() == Code::NotFound
        }
    };
    assert!(!can().await);
    let both = format!("{}{}", service.authority.pem(), other.pem());
    std::fs::write(service.folder().join("ca.pem"), both).unwrap();
    let began = real_now();
    while !can().await {
        assert!(began.elapsed() < TIMEOUT, "{}", service.binary.log());
        pause(Duration::from_millis(50)).await;
    }
}

/// A stream on this connection, by its certificate.
async fn watch(channel: &Channel) -> Streaming<v1::WatchDisputesResponse> {
    DisputeServiceClient::new(channel.clone()).watch_disputes(from_beginning()).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removing_an_authority_ends_what_it_vouched_for_and_adding_one_ends_nothing() {
    let service = Secured::start(&["--tls-client-ca", "CA", "--mtls-scope", "shop@spiffe://market/shop=platform"]);
    let other = Authority::new("Another");
    let client = |authority: &Authority| authority.client("spiffe://market/shop", DAY);
    let (staying, leaving) = (client(&service.authority), client(&other));
    let write = async |authorities: &str, times: usize| {
        std::fs::write(service.folder().join("ca.pem"), authorities).unwrap();
        let began = real_now();
        while service.binary.log().matches("the authorities of clients were replaced").count() < times {
            assert!(began.elapsed() < TIMEOUT, "{}", service.binary.log());
            pause(Duration::from_millis(20)).await;
        }
    };
    let upsert = async |channel: &Channel, id: &str| {
        let request = v1::UpsertOrderRequest { order: Some(order(id)) };
        OrderServiceClient::new(channel.clone()).upsert_order(request).await.map(|_| ())
    };
    let kept = service.try_connect(Some(&staying)).await.unwrap();
    let mut watch_kept = watch(&kept).await;
    upsert(&kept, "o1").await.unwrap();
    write(&format!("{}{}", service.authority.pem(), other.pem()), 1).await;
    upsert(&kept, "o2").await.unwrap();

    let ended = service.try_connect(Some(&leaving)).await.unwrap();
    let mut watch_ended = watch(&ended).await;
    upsert(&ended, "o3").await.unwrap();
    let sessions = VERSIONS.map(|version| service.client_config(Some(&leaving), &[version], &[b"h2"]));
    let resume = async |index: usize| {
        let config: &Arc<rustls::ClientConfig> = &sessions[index];
        let mut stream = service.handshake(config.clone()).await.ok()?;
        stream.write_all(OPENING).await.ok()?;
        // With TLS 1.3 a client hears only now that its certificate was refused; and its tickets come before this.
        stream.read_exact(&mut [0; 9]).await.ok()?;
        stream.get_ref().1.handshake_kind()
    };
    for index in 0..2 {
        assert_eq!(resume(index).await, Some(HandshakeKind::Full));
        assert_eq!(resume(index).await, Some(HandshakeKind::Resumed));
    }

    write(&service.authority.pem(), 2).await;
    let invalid = refusal(Code::Unauthenticated, "CREDENTIAL_INVALID", &[]);
    assert_eq!(facts(&upsert(&ended, "o4").await.unwrap_err()), invalid);
    let end = tokio::time::timeout(TIMEOUT, async {
        loop {
            if let Err(status) = watch_ended.message().await {
                return status;
            }
        }
    });
    assert_eq!(facts(&end.await.expect("the stream ends")), invalid);
    for index in 0..2 {
        assert_eq!(resume(index).await, None, "its ticket is worth nothing");
    }
    // Who brings another credential is no worse off than without a certificate.
    read(ended).await;
    // The other one goes on.
    Party::new(service.connect().await, "ann", None).ask(update("o1")).await.unwrap();
    let event = tokio::time::timeout(TIMEOUT, async {
        loop {
            if let Some(event) = watch_kept.message().await.unwrap().unwrap().events.into_iter().next() {
                return event.dispute.unwrap();
            }
        }
    });
    assert_eq!(event.await.unwrap().order_id, "o1");
}
