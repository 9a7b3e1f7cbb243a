//! What only the databases can get wrong.

use std::time::Duration;

use dispute_service::proto::v1;
use dispute_service::repository::Repository;
use tonic::{Code, Request, Status};

use crate::support::callers::{Party, facts};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    a_poisoned_command_does_not_fail_its_neighbours,
    the_database_itself_refuses_a_second_open_money_dispute,
    old_request_ids_are_forgotten_in_time,
    processes_that_start_at_once_migrate_once,
    reads_whose_callers_go_away_leave_nothing_behind,
);

async fn a_poisoned_command_does_not_fail_its_neighbours(service: Service) {
    let orders = (0..60).map(|number| order(&format!("o{number}"))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    // A row that makes no sense.
    service.execute("UPDATE orders SET status = -1 WHERE order_id = 'o30'").await;
    let tasks: Vec<_> = (0..60)
        .map(|number| {
            let mut ann = service.user("ann");
            tokio::spawn(async move { ann.disputes.request_order_update(update(&format!("o{number}"))).await })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        match task.await.unwrap() {
            Ok(_) => assert_ne!(number, 30),
            Err(status) => {
                assert_eq!(number, 30, "{status:?}");
                let facts = facts(&status);
                assert_eq!((facts.code, facts.reason.as_str()), (Code::Internal, "INTERNAL"));
                assert!(!status.message().contains("-1"));
            }
        }
    }
    assert_eq!(service.platform().events().await.len(), 59);
}

async fn the_database_itself_refuses_a_second_open_money_dispute(service: Service) {
    service.platform().upsert(order("o1")).await;
    service.user("bob").disputes.offer_partial_refund(offer("o1", 100)).await.unwrap();
    let database = service.database().await;
    let columns = "order_id, buyer_id, seller_id, opener, kind, exclusion_group, status, message, reason, \
        reason_detail, currency, exponent, amount_minor, respond_by, silence_rule, silence_rule_after_delivery, \
        create_time, update_time, revision, outcome_cancelled, outcome_counts, answer_message";
    let copy = format!("INSERT INTO disputes (dispute_id, {columns}) SELECT {{id}}, {columns} FROM disputes");
    let id = if service.url.starts_with("postgres") { "gen_random_uuid()" } else { "randomblob(16)" };
    let refused = sea_orm::ConnectionTrait::execute_unprepared(&database, &copy.replace("{id}", id)).await.unwrap_err();
    let is_unique = matches!(refused.sql_err(), Some(sea_orm::SqlErr::UniqueConstraintViolation(_)));
    assert!(is_unique, "{refused}");
}

async fn old_request_ids_are_forgotten_in_time(service: Service) {
    service.platform().upsert(order("o1")).await;
    let mut ann = service.user("ann");
    let request_id = uuid::Uuid::from_u128(1).to_string();
    let request = v1::RequestOrderUpdateRequest { request_id, ..update("o1") };
    let first = ann.disputes.request_order_update(request.clone()).await.unwrap().into_inner().dispute.unwrap();
    let kept = || async { service.number("SELECT count(*) FROM idempotency_keys").await };
    // Kept for 72 hours at least. The dispute expired meanwhile, and the answer says so.
    service.clock.advance(Duration::from_secs(72 * 3_600));
    let again = ann.disputes.request_order_update(request.clone()).await.unwrap().into_inner().dispute.unwrap();
    assert_eq!(again.status(), v1::DisputeStatus::Expired);
    assert_eq!(again.dispute_id, first.dispute_id);
    assert_eq!(kept().await, 1);
    service.clock.advance(Duration::from_secs(11 * 60));
    while kept().await > 0 {
        tokio::task::yield_now().await;
    }
    let afresh = ann.disputes.request_order_update(request).await.unwrap().into_inner().dispute.unwrap();
    assert_ne!(afresh.dispute_id, first.dispute_id, "what is forgotten is judged afresh");
}

async fn processes_that_start_at_once_migrate_once(service: Service) {
    let url = if service.url.starts_with("postgres") {
        crate::support::postgres::new_database().await.unwrap()
    } else {
        service.url.replace("disputes.db", "another.db")
    };
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { Repository::connect(&url).await.unwrap().migrate().await })
        })
        .collect();
    for start in starts {
        assert_eq!(start.await.unwrap(), Ok(()));
    }
    let repository = Repository::connect(&url).await.unwrap();
    assert_eq!(repository.log().await.unwrap().last_seq, 0);
}

/// Returns once other tasks had so many turns: for callers who go away at any moment of a read, of which a timer
/// would tell only whole milliseconds.
async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// A read of each sort that needs several statements. `patience` is what the client tells the server of its deadline.
async fn read(mut caller: Party, sort: usize, id: String, patience: Option<Duration>) -> Result<usize, Status> {
    fn request<T>(message: T, patience: Option<Duration>) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(patience) = patience {
            request.set_timeout(patience);
        }
        request
    }
    Ok(match sort {
        0 => {
            let options = v1::GetDisputeOptionsRequest { order_id: id, ..Default::default() };
            let options = caller.disputes.get_dispute_options(request(options, patience)).await?;
            options.into_inner().open_disputes.len()
        }
        1 => {
            let disputes = caller.disputes.list_disputes(request(v1::ListDisputesRequest::default(), patience)).await?;
            disputes.into_inner().disputes.len()
        }
        _ => {
            let orders = caller.orders.list_orders(request(v1::ListOrdersRequest::default(), patience)).await?;
            orders.into_inner().orders.len()
        }
    })
}

/// How many connections of the service are inside of a transaction while nobody reads.
async fn left_in_a_transaction(service: &Service) -> i64 {
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND application_name = 'dispute-service' AND state LIKE 'idle in transaction%'";
    let mut left = i64::MAX;
    // What was begun for those who went away is read to its end.
    for _ in 0..500 {
        left = if service.url.starts_with("postgres") { service.number(idle).await } else { 0 };
        if left == 0 {
            break;
        }
    }
    left
}

async fn reads_whose_callers_go_away_leave_nothing_behind(service: Service) {
    const ORDERS: usize = 30;
    let id = |number: usize| format!("o{}", number % ORDERS);
    let orders = (0..ORDERS).map(|number| order(&id(number))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let mut asked = Vec::new();
    for number in 0..ORDERS {
        asked.push(service.user("ann").ask(update(&id(number))).await.unwrap().dispute_id);
    }
    let (mut done, mut gone) = (0, 0);
    for round in 0..20 {
        // A server takes many who go away from one connection for an attack, and closes it.
        let mut connections = Vec::new();
        for _ in 0..6 {
            connections.push(service.connect().await);
        }
        let reads: Vec<_> = (0..60)
            .map(|number| {
                let (ann, id) = (Party::new(connections[number % 6].clone(), "ann", None), id(number));
                let read = async move {
                    match number % 4 {
                        // A deadline that the server knows of, from the hopeless to the barely possible.
                        0 => {
                            let micros = [1, 50, 500, 2_000, 2_100, 2_500, 3_000, 4_000, 5_000, 6_000];
                            let patience = Duration::from_micros(micros[(number / 4 + round) % micros.len()]);
                            let answer = read(ann, number % 3, id, Some(patience)).await;
                            let gave_up =
                                |status: &Status| [Code::Cancelled, Code::DeadlineExceeded].contains(&status.code());
                            assert!(answer.as_ref().err().is_none_or(gave_up), "{answer:?}");
                            answer.ok()
                        }
                        // A caller who just goes away.
                        _ => tokio::select! {
                            biased;
                            answer = read(ann, number % 3, id, None) => Some(answer.unwrap()),
                            () = turns(1 + round * 7 + number) => None,
                        },
                    }
                };
                tokio::spawn(read)
            })
            .collect();
        for read in reads {
            match read.await.unwrap() {
                Some(_) => done += 1,
                None => gone += 1,
            }
        }
        // Each time: the next read that gets such a connection fails, and frees it.
        assert_eq!(left_in_a_transaction(&service).await, 0, "of reads whose callers went away");
    }
    println!("{done} reads were answered, {gone} callers went away");
    assert!(gone > 100, "only {gone} callers went away");
    // Reads on all connections see what was written since.
    service.user("bob").reply(answer(&asked[0])).await.unwrap();
    service.platform().upsert(order("another")).await;
    let reads: Vec<_> =
        (0..60).map(|number| (number % 3, tokio::spawn(read(service.user("ann"), number % 3, id(0), None)))).collect();
    for (sort, read) in reads {
        let expected = [0, ORDERS, ORDERS + 1][sort];
        assert_eq!(read.await.unwrap().unwrap(), expected);
    }
    assert_eq!(left_in_a_transaction(&service).await, 0, "of reads that were answered");
}

/// A statement that is prepared while its table is empty must not keep its sequential scan: counted in
/// tuples that such scans read, not in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_starts_empty_stays_fast() {
    let Some(mut service) = Service::on_postgres().await else { return };
    const ROUNDS: usize = 8;
    const COMMANDS: usize = 500;
    for round in 0..ROUNDS {
        let id = |number: usize| format!("r{round}-{number}");
        let orders = (0..COMMANDS).map(|number| order(&id(number))).collect();
        service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
        let tasks: Vec<_> = (0..COMMANDS)
            .map(|number| {
                let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
                let request_id = uuid::Uuid::from_u128((round * COMMANDS + number + 1) as u128).to_string();
                let request = v1::RequestOrderUpdateRequest { request_id, ..update(&id(number)) };
                tokio::spawn(async move {
                    let opened =
                        ann.disputes.request_order_update(request).await.unwrap().into_inner().dispute.unwrap();
                    bob.disputes.answer_order_update(answer(&opened.dispute_id)).await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    // Statistics are flushed when connections close.
    service.stop().await;
    let rows = i64::try_from(ROUNDS * COMMANDS).unwrap();
    let scanned = "SELECT coalesce(sum(seq_tup_read), 0)::bigint FROM pg_stat_user_tables WHERE relname IN ('orders', 'disputes', 'events', 'idempotency_keys')";
    let by_index = "SELECT coalesce(sum(idx_tup_fetch), 0)::bigint FROM pg_stat_user_tables WHERE relname IN ('orders', 'disputes', 'events', 'idempotency_keys')";
    // Connections of the pools close a moment after the service.
    while service.number(by_index).await < rows {
        tokio::task::yield_now().await;
    }
    let scanned = service.number(scanned).await;
    assert!(scanned < rows, "{scanned} tuples read by sequential scans for {rows} rows");
}
