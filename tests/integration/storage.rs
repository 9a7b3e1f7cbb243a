//! What only the databases can get wrong.

use dispute_service::proto::v1;
use dispute_service::repository::Repository;
use tonic::Code;

use crate::support::callers::facts;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    a_poisoned_command_does_not_fail_its_neighbours,
    the_database_itself_refuses_a_second_open_money_dispute,
    old_request_ids_are_forgotten_in_time,
    processes_that_start_at_once_migrate_once,
);

async fn a_poisoned_command_does_not_fail_its_neighbours(service: Service) {
    let orders = (0..60).map(|number| order(&format!("o{number}"))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    // A row that makes no sense.
    service.execute("UPDATE orders SET status = 77 WHERE order_id = 'o30'").await;
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
                assert!(!status.message().contains("77"));
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
    service.hand.advance(std::time::Duration::from_secs(72 * 3_600));
    let again = ann.disputes.request_order_update(request.clone()).await.unwrap().into_inner().dispute.unwrap();
    assert_eq!(again.status(), v1::DisputeStatus::Expired);
    assert_eq!(again.dispute_id, first.dispute_id);
    assert_eq!(kept().await, 1);
    service.hand.advance(std::time::Duration::from_secs(11 * 60));
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
    assert_eq!(repository.log().await.unwrap().head, 0);
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
