//! A real PgBouncer between the service and PostgreSQL: session pooling is as good as the server itself, anything less is
//! refused at the start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dispute_service::clock::pause;
use dispute_service::proto::v1;
use dispute_service::repository::{ConnectError, Repository};
use sea_orm::ConnectionTrait as _;

use crate::support::binary::Binary;
use crate::support::messages::*;
use crate::support::pgbouncer::PgBouncer;
use crate::support::service::Service;
use crate::support::{database, postgres};

/// Opens a dispute on each of `orders` new orders at once, and answers it.
async fn works(service: &Service, name: &str, orders: usize) {
    let id = |number: usize| format!("{name}-{number}");
    let all = (0..orders).map(|number| order(&id(number))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders: all }).await.unwrap();
    let callers: Vec<_> = (0..orders)
        .map(|number| {
            let (mut ann, mut bob, id) = (service.user("ann"), service.user("bob"), id(number));
            tokio::spawn(async move {
                let opened = ann.ask(update(&id)).await.unwrap();
                bob.reply(answer(&opened.dispute_id)).await.unwrap();
                assert_eq!(ann.dispute(&opened.dispute_id).await.status(), v1::DisputeStatus::Answered);
                assert!(ann.options(&id).await.open_disputes.is_empty());
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_pooling_with_the_defaults_works() {
    let Some(direct) = postgres::new_database().await else { return };
    let Some(pooler) = PgBouncer::start(&direct, &[]) else { return };
    let mut service = Service::on_database_with(&pooler.url(&direct), &["--database-connections", "10"]).await;
    let replica = service.replica().await;
    let mut watch = replica.platform().watch(from_beginning()).await;
    works(&service, "first", 20).await;
    works(&replica, "second", 20).await;
    assert_eq!(watch.take(80).await.len(), 80);
    // What was sent by one is heard by the other before anybody looks by himself, which nothing else would show.
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    assert_eq!(database::number(&direct, listening).await, if replicas_notify() { 2 } else { 0 });
    // Every server connection is lost at once, and with it the pooler ends those of the service.
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database::number(&direct, cut).await;
    // What was idle for a second is looked at before it is used.
    pause(Duration::from_millis(1_100)).await;
    works(&service, "third", 10).await;
    service.restart().await;
    works(&service, "fourth", 10).await;
}

/// Whether replicas notify each other in this run of the tests.
fn replicas_notify() -> bool {
    std::env::var("DISPUTES_NOTIFY").as_deref() != Ok("false")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_client_left_in_a_session_is_cleared() {
    let Some(direct) = postgres::new_database().await else { return };
    let Some(pooler) = PgBouncer::start(&direct, &["server_reset_query =", "server_round_robin = 0"]) else { return };
    // The names that our statements have, and a setting that would break them.
    let other = database::open(&pooler.url(&direct)).await;
    for number in 1..20 {
        other.execute_unprepared(&format!("PREPARE sqlx_s_{number} AS SELECT 1")).await.unwrap();
    }
    other.execute_unprepared("SET search_path = nowhere").await.unwrap();
    other.close().await.unwrap();
    let mut service = Service::on_database_with(&pooler.url(&direct), &["--database-connections", "8"]).await;
    works(&service, "first", 10).await;
    service.restart().await;
    works(&service, "second", 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_and_statement_pooling_are_refused() {
    let Some(direct) = postgres::new_database().await else { return };
    for mode in ["transaction", "statement"] {
        for picked in ["server_round_robin = 0", "server_round_robin = 1"] {
            let Some(pooler) = PgBouncer::start(&direct, &[&format!("pool_mode = {mode}"), picked]) else { return };
            let url = pooler.url(&direct);
            assert_eq!(Repository::connect(&url).await.unwrap_err(), ConnectError::NoSessions, "{mode}, {picked}");
            // Others who use the pooler hide nothing.
            let is_over = Arc::new(AtomicBool::new(false));
            let others: Vec<_> = (0..3)
                .map(|_| {
                    let (url, is_over) = (url.clone(), is_over.clone());
                    tokio::spawn(async move {
                        let other = database::open(&url).await;
                        while !is_over.load(Ordering::Relaxed) {
                            other.execute_unprepared("SELECT 1").await.unwrap();
                        }
                    })
                })
                .collect();
            for _ in 0..5 {
                assert_eq!(Repository::connect(&url).await.unwrap_err(), ConnectError::NoSessions, "{mode}, {picked}");
            }
            is_over.store(true, Ordering::Relaxed);
            for other in others {
                other.await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_says_that_transaction_pooling_is_not_supported() {
    let Some(direct) = postgres::new_database().await else { return };
    let Some(pooler) = PgBouncer::start(&direct, &["pool_mode = transaction"]) else { return };
    let arguments = ["--listen", "127.0.0.1:0", "--database-url", &pooler.url(&direct)].map(str::to_owned);
    let log = Binary::launch(env!("CARGO_BIN_EXE_dispute-service"), &arguments, "info").err().unwrap();
    assert!(log.contains("transaction pooling") && log.contains("pool_mode=session"), "{log}");
}
