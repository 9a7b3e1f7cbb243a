//! SIGTERM: the process ends in time, whatever its clients do.

use std::io::Read as _;
use std::time::Duration;

use dispute_service::proto::v1;
use tonic::transport::Endpoint;

use crate::support::binary::Binary;
use crate::support::callers::Party;
use crate::support::messages::*;

/// The promise is 10 s.
const PROMISED: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_ends_in_time_although_clients_refuse_to_leave() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let server = Binary::start(env!("CARGO_BIN_EXE_dispute-service"), &url, "info");
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut platform = Party::new(channel.clone(), "shop", Some("platform"));
    let orders = (0..200).map(|number| order(&format!("o{number}"))).collect();
    platform.orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let mut ann = Party::new(channel.clone(), "ann", None);
            let message = "\u{1F600}".repeat(2_000);
            let request = v1::RequestOrderUpdateRequest { message, ..update(&format!("o{number}")) };
            tokio::spawn(async move { ann.ask(request).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // One that never reads, with far more waiting than its window; one that reads; one that never says a word; and one
    // that stops amid the first.
    let narrow = endpoint.initial_stream_window_size(65_535).connect().await.unwrap();
    let parked = Party::new(narrow, "shop", Some("platform")).watch(from_beginning()).await;
    let mut read = platform.watch(v1::WatchDisputesRequest::default()).await;
    let mut mute = std::net::TcpStream::connect(&server.address).unwrap();
    let mut half = std::net::TcpStream::connect(&server.address).unwrap();
    std::io::Write::write_all(&mut half, b"PRI * HT").unwrap();

    let ended = tokio::task::spawn_blocking(move || server.terminate());
    let (_, status) = read.rest().await;
    assert_eq!(crate::support::callers::facts(&status).reason, "SERVER_DRAINING");
    let (is_success, log) = tokio::time::timeout(PROMISED, ended).await.expect("it ends in time").unwrap();
    assert!(is_success, "{log}");
    assert!(log.contains("stopped"), "{log}");
    // Everybody is let go.
    for stream in [&mut mute, &mut half] {
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    drop(parked);
}
