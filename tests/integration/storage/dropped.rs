//! Work with the database that is given up halfway, as when it takes too long: nothing of it stays behind on the
//! connection that it used.

use std::time::Duration;

use dispute_service::clock::pause;
use dispute_service::repository::{Changes, Repository};
use tokio::task::yield_now;

use crate::support::forwarder::Network;
use crate::support::messages::*;
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_begin_that_is_given_up_leaves_no_connection_inside_of_a_transaction() {
    let Some((service, between, direct)) = Service::on_postgres_behind_a_network().await else { return };
    let repository = Repository::connect(&service.url).await.unwrap();
    repository.begin().await.unwrap().commit(Changes::default()).await.unwrap();
    between.set(Network::Swallows);
    for _ in 0..2 {
        let begun = tokio::time::timeout(Duration::from_millis(50), repository.begin()).await;
        assert!(begun.is_err(), "it hangs within BEGIN, or waits for a connection");
    }
    between.set(Network::Works);
    let inside = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND state LIKE 'idle in transaction%'";
    let begun = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'BEGIN%'";
    for _ in 0..20 {
        pause(Duration::from_millis(50)).await;
        let inside = crate::support::database::number(&direct, inside).await;
        let begun = crate::support::database::number(&direct, begun).await;
        println!("inside of a transaction: {inside}, begun: {begun}");
    }
    assert_eq!(crate::support::database::number(&direct, inside).await, 0, "PostgreSQL would end it after 5 s");
    for _ in 0..10 {
        let transaction = repository.begin().await.unwrap();
        transaction.times_and_records(&[]).await.unwrap();
        transaction.commit(Changes::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_begin_that_is_given_up_leaves_nothing_behind_on_sqlite() {
    let mut service = Service::on_sqlite().await;
    service.platform().upsert(order("o1")).await;
    service.stop().await;
    let repository = Repository::connect(&service.url).await.unwrap();
    for turns in 0..60 {
        tokio::select! {
            biased;
            () = async {
                let transaction = repository.begin().await.unwrap();
                transaction.times_and_records(&[]).await.unwrap();
                if turns % 2 == 0 {
                    transaction.commit(Changes::default()).await.unwrap();
                }
            } => {}
            () = async { for _ in 0..turns { yield_now().await } } => {}
        }
    }
    // Somebody else can write: no transaction was left open.
    service.execute("UPDATE orders SET title = 'Two logos'").await;
    let transaction = repository.begin().await.unwrap();
    transaction.times_and_records(&[]).await.unwrap();
    transaction.commit(Changes::default()).await.unwrap();
    service.execute("UPDATE orders SET title = 'Three logos'").await;
}
