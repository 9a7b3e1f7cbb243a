//! Health follows the ability to write, also while nobody asks for anything.

use std::time::Duration;

use dispute_service::clock::pause;
use dispute_service::proto::v1;
use tonic::Code;

use crate::support::callers::{facts, refusal};
use crate::support::database;
use crate::support::disk::Tmpfs;
use crate::support::forwarder::Network;
use crate::support::health::Health;
use crate::support::launcher::{Cluster, Options};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::postgres::skip;
use crate::support::service::Service;

on_both_databases!(a_lock_that_somebody_holds_is_not_a_database_that_cannot_be_written);

async fn a_lock_that_somebody_holds_is_not_a_database_that_cannot_be_written(service: Service) {
    service.platform().upsert(order("o1")).await;
    let health = Health::of(service.channel()).await;
    let locked = match service.url.starts_with("postgres") {
        true => "BEGIN; LOCK TABLE orders, disputes, events, event_log IN ACCESS EXCLUSIVE MODE",
        false => "BEGIN IMMEDIATE",
    };
    let other = service.database().await;
    sea_orm::ConnectionTrait::execute_unprepared(&other, locked).await.unwrap();
    let waits = tokio::spawn({
        let mut ann = service.user("ann");
        async move { ann.ask(update("o1")).await }
    });
    for _ in 0..40 {
        assert!(health.is_serving(), "a busy database is not one that cannot be written");
        pause(Duration::from_millis(100)).await;
    }
    sea_orm::ConnectionTrait::execute_unprepared(&other, "COMMIT").await.unwrap();
    waits.await.unwrap().unwrap();
    assert!(health.is_serving());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_of_a_service_that_is_not_here_says_so_and_goes_on() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let mut service = Service::on_sqlite().await;
    let mut health = HealthClient::new(service.channel());
    let request = HealthCheckRequest { service: "disputes.v1.Nonsense".to_owned() };
    let unknown = health.check(request.clone()).await.unwrap_err();
    assert_eq!(facts(&unknown), refusal(Code::NotFound, "SERVICE_UNKNOWN", &[]));
    let mut said = health.watch(request).await.unwrap().into_inner();
    assert_eq!(said.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    let next = tokio::time::timeout(Duration::from_millis(50), said.message()).await;
    assert!(next.is_err(), "it goes on, and has nothing more to say");
    let ended = service.drain();
    assert_eq!(facts(&said.message().await.unwrap_err()), refusal(Code::Unavailable, "SERVER_DRAINING", &[]));
    drop(said);
    ended.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_turns_read_only_is_noticed_and_so_is_its_return() {
    let Some(mut service) = Service::on_postgres().await else { return };
    service.platform().upsert(order("o1")).await;
    let mut health = Health::of(service.channel()).await;
    for round in 0..2 {
        assert!(health.is_serving());
        database::set_read_only(&service.url, true).await;
        health.turns_not_serving().await;
        if round == 1 {
            let refused = service.user("ann").ask(update("o1")).await.unwrap_err();
            assert_eq!(refused, refusal(Code::Unavailable, "STORAGE_UNAVAILABLE", &[]));
        }
        reads_go_on(&service).await;
        // It does not flap.
        for _ in 0..20 {
            pause(Duration::from_millis(100)).await;
            assert!(!health.is_serving());
        }
        database::set_read_only(&service.url, false).await;
        health.turns_serving().await;
    }
    service.user("ann").ask(update("o1")).await.unwrap();

    // One that is so from the start is served, and says so from the start.
    database::set_read_only(&service.url, true).await;
    service.restart().await;
    let mut health = Health::of(service.channel()).await;
    assert!(!health.is_serving(), "before anybody asks");
    reads_go_on(&service).await;
    database::set_read_only(&service.url, false).await;
    health.turns_serving().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_is_cut_off_or_silent_is_noticed_in_time_and_so_is_its_return() {
    let Some((service, between, _)) = Service::on_postgres_behind_a_network().await else { return };
    service.platform().upsert(order("o1")).await;
    let mut health = Health::of(service.channel()).await;
    for network in [Network::Cuts, Network::Swallows, Network::Cuts] {
        assert!(health.is_serving());
        between.set(network);
        health.turns_not_serving().await;
        pause(Duration::from_secs(1)).await;
        assert!(!health.is_serving());
        between.set(Network::Works);
        health.turns_serving().await;
    }
    service.user("ann").ask(update("o1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_whose_disk_is_full_is_noticed_and_so_is_its_return() {
    let Some(disk) = Tmpfs::new(80 * 1_024) else { return };
    let options = Options {
        folder: Some(disk.path()),
        initdb: "--no-sync --wal-segsize=1",
        settings: &["fsync=off", "max_wal_size=8MB", "min_wal_size=2MB", "shared_buffers=16MB"],
        ..Options::default()
    };
    let Some(cluster) = Cluster::start(&options) else { return skip("a PostgreSQL whose disk is full") };
    let service = Service::on_database(cluster.url("postgres")).await;
    let mut health = Health::of(service.channel()).await;
    service.platform().upsert(order("o1")).await;
    for _ in 0..2 {
        assert!(health.is_serving());
        let filler = disk.fill();
        // Nobody asks for anything.
        health.turns_not_serving().await;
        assert_eq!(service.user("ann").order("o1").await.order_id, "o1", "reads go on");
        std::fs::remove_file(filler).unwrap();
        health.turns_serving().await;
    }
    service.user("ann").ask(update("o1")).await.unwrap();
    drop(service);
    drop(cluster);
}

/// Reads are answered, once connections that were ended are noticed.
async fn reads_go_on(service: &Service) {
    let request = v1::GetOrderRequest { order_id: "o1".to_owned() };
    for _ in 0..20 {
        if service.user("ann").orders.get_order(request.clone()).await.is_ok() {
            return;
        }
        pause(Duration::from_millis(50)).await;
    }
    panic!("nothing can be read");
}
