//! Who reads when: whatever one caller asks for, everybody else's reads have their turn; and what has to wait for too long
//! is told so, and not that the database is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dispute_service::clock::pause;
use dispute_service::proto::v1;
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use tokio::task::{JoinHandle, JoinSet};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::callers::{Party, facts, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    fifty_requests_in_flight_of_one_caller_are_innocent,
    the_lists_of_one_caller_hold_up_nobody_else,
    the_snapshots_of_one_caller_hold_up_nobody_else,
    lists_that_are_cancelled_wait_no_longer,
);

/// How many orders `ann` has, beside `o1`: a list of them takes a while.
const ORDERS: usize = 200;

/// Of `ann` and `bob` an order with a dispute, and very many more; of `cid` and `dan` an order.
async fn orders(service: &Service) -> String {
    let mut platform = service.platform();
    platform.upsert(order("o1")).await;
    let other = v1::Order { buyer_id: "cid".to_owned(), seller_id: "dan".to_owned(), ..order("other") };
    platform.upsert(other).await;
    let dispute = service.user("ann").ask(update("o1")).await.unwrap();
    let columns = "title, currency, exponent, price_minor, paid_minor, refunded_elsewhere_minor, refunded_minor, status, \
        create_time, due_time, agreed_due_time, extension_requests, end_time, cancellation_counts, cancelled_by, \
        refund_accepted, source_version, revision";
    let copied = format!(
        "INSERT INTO orders (order_id, buyer_id, seller_id, {columns}) \
         WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {ORDERS}) \
         SELECT 'copy-' || n, buyer_id, seller_id, {columns} FROM orders, numbers WHERE order_id = 'o1'"
    );
    service.execute(&copied).await;
    dispute.dispute_id
}

/// All its orders: a page of many.
fn many() -> v1::ListOrdersRequest {
    v1::ListOrdersRequest { page_size: 500, ..v1::ListOrdersRequest::default() }
}

/// So many of them at once on a connection of their own, and how many are done.
async fn listing(service: &Service, user: &str, lists: usize) -> (JoinSet<Result<usize, Status>>, Arc<AtomicUsize>) {
    let (party, done) = (Party::new(service.connect().await, user, None), Arc::<AtomicUsize>::default());
    let mut listing = JoinSet::new();
    for _ in 0..lists {
        let (mut party, done) = (party.clone(), done.clone());
        listing.spawn(async move {
            let listed = party.orders.list_orders(many()).await;
            done.fetch_add(1, Ordering::SeqCst);
            Ok(listed?.into_inner().orders.len())
        });
    }
    (listing, done)
}

/// Until so many are done.
async fn at_least(done: &AtomicUsize, count: usize) {
    for _ in 0..20_000 {
        if done.load(Ordering::SeqCst) >= count {
            return;
        }
        pause(Duration::from_millis(1)).await;
    }
    panic!("nothing was done");
}

/// Patience for a turn to read, and no bound but that: many lists would first wait for room for their answers, and not so
/// long.
const READS_ALONE: [&str; 4] = ["--read-wait", "60s", "--max-answer-bytes", "0"];

fn require_overloaded(status: &Status) {
    assert_eq!(facts(status), refusal(Code::ResourceExhausted, "OVERLOADED", &[]), "{status:?}");
    assert!(status.get_error_details().retry_info().unwrap().retry_delay.is_some());
}

async fn fifty_requests_in_flight_of_one_caller_are_innocent(service: Service) {
    let dispute = orders(&service).await;
    let ann = service.user("ann");
    let each = |_| {
        let (mut ann, dispute) = (ann.clone(), dispute.clone());
        async move {
            let list = v1::ListOrdersRequest { page_size: 20, ..v1::ListOrdersRequest::default() };
            assert_eq!(ann.orders.list_orders(list).await.unwrap().into_inner().orders.len(), 20);
            assert_eq!(ann.list(v1::ListDisputesRequest::default()).await.disputes.len(), 1);
            let events = v1::ListDisputeEventsRequest::default();
            assert!(ann.disputes.list_dispute_events(events).await.is_ok());
            assert_eq!(ann.dispute(&dispute).await.order_id, "o1");
            assert_eq!(ann.order("o1").await.order_id, "o1");
            assert_eq!(ann.options("o1").await.open_disputes.len(), 1);
        }
    };
    join_all((0..50).map(each)).await;
}

async fn the_lists_of_one_caller_hold_up_nobody_else(mut service: Service) {
    service.restart_with(&READS_ALONE).await;
    let dispute = orders(&service).await;
    let (lists, done) = listing(&service, "ann", 100).await;
    at_least(&done, 1).await;
    // By another caller, by the same one otherwise, and with a scope.
    let (mut cid, mut bob, mut support) = (service.user("cid"), service.user("bob"), service.support());
    assert_eq!(cid.order_ids(v1::ListOrdersRequest::default()).await, "other");
    assert_eq!(cid.list(v1::ListDisputesRequest::default()).await.disputes, []);
    assert_eq!(bob.dispute(&dispute).await.order_id, "o1");
    assert_eq!(bob.order("o1").await.order_id, "o1");
    assert_eq!(bob.options("o1").await.open_disputes.len(), 1);
    let standing = v1::GetSellerStandingRequest { seller_id: "bob".to_owned() };
    assert!(bob.orders.get_seller_standing(standing).await.is_ok());
    assert_eq!(support.list(v1::ListDisputesRequest::default()).await.disputes.len(), 1);
    let through = done.load(Ordering::SeqCst);
    assert!(through < 50, "{through} of 100 lists were through first");
    for listed in lists.join_all().await {
        assert_eq!(listed.unwrap(), ORDERS + 1);
    }
}

/// Reads a snapshot to its end. Answers how many disputes it shows.
async fn snapshot(mut party: Party) -> usize {
    let request = v1::WatchDisputesRequest { include_snapshot: true, ..v1::WatchDisputesRequest::default() };
    let mut stream = party.disputes.watch_disputes(request).await.unwrap().into_inner();
    let mut shown = 0;
    loop {
        let message = stream.message().await.unwrap().unwrap();
        shown += message.events.len();
        if message.checkpoint.is_some_and(|checkpoint| checkpoint.snapshot_complete) {
            return shown;
        }
    }
}

async fn the_snapshots_of_one_caller_hold_up_nobody_else(service: Service) {
    let open = 150;
    let id = |number| format!("s{number}");
    let batch = (0..open).map(|number| order(&id(number))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders: batch }).await.unwrap();
    let ann = service.user("ann");
    let ask = |number| {
        let mut ann = ann.clone();
        async move { ann.ask(update(&id(number))).await.unwrap() }
    };
    join_all((0..open).map(ask)).await;
    let (ann, done) = (Party::new(service.connect().await, "ann", None), Arc::<AtomicUsize>::default());
    let watch = |_| -> JoinHandle<usize> {
        let (ann, done) = (ann.clone(), done.clone());
        tokio::spawn(async move {
            let shown = snapshot(ann).await;
            done.fetch_add(1, Ordering::SeqCst);
            shown
        })
    };
    let watching: Vec<_> = (0..60).map(watch).collect();
    at_least(&done, 1).await;
    let before = done.load(Ordering::SeqCst);
    assert_eq!(snapshot(service.user("bob")).await, open);
    let through = done.load(Ordering::SeqCst) - before;
    assert!(through < 30, "{through} of 60 snapshots were through first");
    for shown in join_all(watching).await {
        assert_eq!(shown.unwrap(), open, "none is dropped for waiting");
    }
}

async fn lists_that_are_cancelled_wait_no_longer(service: Service) {
    orders(&service).await;
    for _ in 0..5 {
        let (mut lists, _) = listing(&service, "ann", 200).await;
        pause(Duration::from_millis(3)).await;
        lists.shutdown().await;
    }
    // All 1,000 would take longer than anybody waits.
    let (lists, _) = listing(&service, "ann", 2).await;
    for listed in lists.join_all().await {
        assert_eq!(listed.unwrap(), ORDERS + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_stand_still_hold_up_nobody_else_and_only_so_many_wait_behind_them() {
    let Some(mut service) = Service::on_postgres().await else { return };
    service.restart_with(&READS_ALONE).await;
    orders(&service).await;
    let database = service.database().await;
    let locked = database.begin().await.unwrap();
    locked.execute_unprepared("LOCK TABLE disputes IN ACCESS EXCLUSIVE MODE").await.unwrap();
    // Three of four are lent to one caller, and so many wait.
    let (mut lists, done) = listing(&service, "ann", 3 + 256).await;
    // Until all of them have come, also to a busy machine.
    pause(Duration::from_secs(1)).await;
    assert_eq!(done.load(Ordering::SeqCst), 0);
    let (more, _) = listing(&service, "ann", 3).await;
    for refused in more.join_all().await {
        require_overloaded(&refused.unwrap_err());
    }
    // What needs no dispute is read, by the same caller too; and another one's list has its turn, and stands still as well.
    let (others, others_done) = listing(&service, "cid", 1).await;
    let standing = v1::GetSellerStandingRequest { seller_id: "bob".to_owned() };
    for _ in 0..10 {
        assert!(service.user("bob").orders.get_seller_standing(standing.clone()).await.is_ok());
    }
    // Beside them the deadlines are read once a second: these keys alone.
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
        AND query LIKE '%message%'";
    assert_eq!(service.number(waits).await, 3 + 1, "lists of each caller");
    assert_eq!(others_done.load(Ordering::SeqCst), 0);
    locked.rollback().await.unwrap();
    assert_eq!(others.join_all().await.pop().unwrap().unwrap(), 1);
    assert_eq!(lists.join_next().await.unwrap().unwrap().unwrap(), ORDERS + 1);
    // The others go away.
    lists.shutdown().await;
    let (lists, _) = listing(&service, "ann", 1).await;
    assert!(lists.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_too_long_for_its_turn_is_overloaded_and_has_it_later() {
    let Some(mut service) = Service::on_postgres().await else { return };
    orders(&service).await;
    service.restart_with(&["--read-wait", "1s"]).await;
    let database = service.database().await;
    let locked = database.begin().await.unwrap();
    locked.execute_unprepared("LOCK TABLE disputes IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let (mut lists, _) = listing(&service, "ann", 3 + 2).await;
    for _ in 0..2 {
        require_overloaded(&lists.join_next().await.unwrap().unwrap().unwrap_err());
    }
    locked.rollback().await.unwrap();
    for listed in lists.join_all().await {
        assert_eq!(listed.unwrap(), ORDERS + 1);
    }
    let (lists, _) = listing(&service, "ann", 3).await;
    assert!(lists.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_lists_than_can_wait_are_overloaded_on_sqlite() {
    let mut service = Service::on_sqlite().await;
    service.restart_with(&READS_ALONE).await;
    orders(&service).await;
    let (lists, _) = listing(&service, "ann", 700).await;
    let (listed, refused): (Vec<_>, Vec<_>) = lists.join_all().await.into_iter().partition(Result::is_ok);
    assert!(listed.len() > 256 && !refused.is_empty(), "{} and {}", listed.len(), refused.len());
    refused.iter().for_each(|refused| require_overloaded(refused.as_ref().unwrap_err()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disputes_that_are_asked_for_at_once_are_read_together() {
    let Some(service) = Service::on_postgres().await else { return };
    let dispute = orders(&service).await;
    let database = service.database().await;
    let locked = database.begin().await.unwrap();
    locked.execute_unprepared("LOCK TABLE disputes IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let read = |number: u128| {
        let (mut ann, dispute) = (service.user("ann"), dispute.clone());
        let dispute_id = if number.is_multiple_of(2) { dispute } else { uuid::Uuid::from_u128(number).to_string() };
        tokio::spawn(async move { ann.disputes.get_dispute(v1::GetDisputeRequest { dispute_id }).await })
    };
    let reads: Vec<_> = (0..40).map(read).collect();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
        AND query LIKE 'SELECT disputes.dispute_id, disputes.dispute_id%'";
    for _ in 0..1_000 {
        if service.number(waits).await == 2 {
            break;
        }
        pause(Duration::from_millis(1)).await;
    }
    pause(Duration::from_millis(20)).await;
    assert_eq!(service.number(waits).await, 2, "statements for forty reads");
    locked.rollback().await.unwrap();
    for (number, read) in join_all(reads).await.into_iter().enumerate() {
        match read.unwrap() {
            Ok(found) => {
                assert!(number.is_multiple_of(2));
                assert_eq!(found.into_inner().dispute.unwrap().dispute_id, dispute);
            }
            Err(status) => {
                assert!(!number.is_multiple_of(2), "{status:?}");
                assert_eq!(status.code(), Code::NotFound);
            }
        }
    }
}
