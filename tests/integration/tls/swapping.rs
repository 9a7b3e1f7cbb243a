//! Certificates that are swapped while the service runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dispute_service::clock::{pause, real_now};
use dispute_service::proto::v1;
use rustls::pki_types::CertificateDer;
use tonic::transport::Channel;

use crate::support::authority::Authority;
use crate::support::callers::Party;
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
    let client = other.client("spiffe://market/shop", crate::support::authority::DAY);
    let can = async || match service.try_connect(Some(&client)).await {
        Err(_) => false,
        // With TLS 1.3 a client learns afterwards that it was refused.
        Ok(channel) => {
            let read = v1::GetOrderRequest { order_id: "o1".to_owned() };
            let read = Party::new(channel, "ann", None).orders.get_order(read).await;
            read.unwrap_err().code() == tonic::Code::NotFound
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
