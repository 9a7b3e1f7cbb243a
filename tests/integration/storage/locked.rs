//! Somebody else has locked something: an operator who forgot to commit, or another replica. It costs what is locked,
//! and nothing else.

use std::time::Duration;

use dispute_service::clock::{pause, real_now};
use dispute_service::proto::v1;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, TransactionTrait as _};
use tokio::task::JoinHandle;
use tonic::Code;

use crate::support::callers::{Facts, Party, facts, refusal};
use crate::support::messages::*;
use crate::support::service::Service;

/// Far above what an order takes that nobody has locked, and far below what is waited for a lock.
const SOON: Duration = Duration::from_secs(5);

/// Holds locks until it is rolled back or dropped.
async fn lock(service: &Service, sql: &str) -> DatabaseTransaction {
    let session = service.database().await.begin().await.unwrap();
    session.execute_unprepared(sql).await.unwrap();
    session
}

async fn orders(service: &Service, prefix: &str, count: usize) {
    let orders = (0..count).map(|number| order(&format!("{prefix}{number}"))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
}

fn ask(service: &Service, id: &str) -> JoinHandle<Result<v1::Dispute, Facts>> {
    let (mut ann, request) = (service.user("ann"), update(id));
    tokio::spawn(async move { ann.ask(request).await })
}

/// Callers of other orders, several at a time, who are answered as if nothing were locked.
async fn others_go_on(service: &Service, prefix: &str) {
    let started = real_now();
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let mut ann = service.user("ann");
            let prefix = prefix.to_owned();
            tokio::spawn(async move {
                for number in (caller..200).step_by(8) {
                    ann.ask(update(&format!("{prefix}{number}"))).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        tokio::time::timeout(SOON, caller).await.expect("others wait for what is locked").unwrap();
    }
    println!("200 commands of others took {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_orders_cost_the_others_nothing_and_are_done_once_they_are_free() {
    let Some(service) = Service::on_postgres().await else { return };
    orders(&service, "busy", 20).await;
    orders(&service, "free", 200).await;
    let first = lock(&service, "SELECT 1 FROM orders WHERE order_id = 'busy0' FOR UPDATE").await;
    let rest = lock(&service, "SELECT 1 FROM orders WHERE order_id LIKE 'busy1%' FOR SHARE").await;
    let waiting: Vec<_> = (0..20).map(|number| ask(&service, &format!("busy{number}"))).collect();
    let again = ask(&service, "busy0");
    others_go_on(&service, "free").await;
    assert!(!waiting[0].is_finished() && !waiting[10].is_finished() && !again.is_finished());
    first.rollback().await.unwrap();
    let answers = [again.await.unwrap(), ask(&service, "busy0").await.unwrap()];
    assert!(!waiting[10].is_finished(), "one is no longer locked, the others are");
    drop(rest);
    for (number, answer) in waiting.into_iter().enumerate() {
        let answer = answer.await.unwrap();
        assert!(answer.is_ok() || (number == 0 && answers[0].is_ok()), "{number}: {answer:?}");
    }
    assert_eq!(service.number("SELECT count(*) FROM disputes").await, 220);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_dispute_costs_the_others_nothing() {
    let Some(service) = Service::on_postgres().await else { return };
    orders(&service, "busy", 2).await;
    orders(&service, "free", 200).await;
    let asked = service.user("ann").ask(update("busy0")).await.unwrap().dispute_id;
    let ended = service.user("ann").ask(update("busy1")).await.unwrap().dispute_id;
    service.user("bob").reply(answer(&ended)).await.unwrap();
    let session = lock(&service, "SELECT 1 FROM disputes FOR UPDATE").await;
    let mut bob = service.user("bob");
    let answered = tokio::spawn(async move { bob.reply(answer(&asked)).await });
    let mut ann = service.user("ann");
    let escalated = tokio::spawn(async move { ann.escalate(escalate(&ended)).await });
    others_go_on(&service, "free").await;
    assert!(!answered.is_finished() && !escalated.is_finished());
    session.rollback().await.unwrap();
    assert_eq!(answered.await.unwrap().unwrap().status(), v1::DisputeStatus::Answered);
    assert_eq!(escalated.await.unwrap().unwrap().status(), v1::DisputeStatus::Escalated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_locked_order_s_command_fails_when_its_lock_is_held_for_too_long() {
    let Some(service) = Service::on_postgres().await else { return };
    orders(&service, "busy", 1).await;
    for hundred in 0..13 {
        orders(&service, &format!("free{hundred}-"), 100).await;
    }
    let _session = lock(&service, "SELECT 1 FROM orders WHERE order_id = 'busy0' FOR UPDATE").await;
    let started = real_now();
    let waiting = ask(&service, "busy0");
    let mut others = 0;
    while !waiting.is_finished() {
        let id = format!("free{}-{}", others / 100, others % 100);
        service.user("ann").ask(update(&id)).await.unwrap();
        others += 1;
        pause(Duration::from_millis(10)).await;
    }
    let waited = started.elapsed();
    assert_eq!(waiting.await.unwrap().unwrap_err(), refusal(Code::Unavailable, "STORAGE_UNAVAILABLE", &[]));
    assert!((8..13).contains(&waited.as_secs()), "it waited {waited:?}");
    assert!(others > 100, "{others} commands of others in {waited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_waits_as_a_whole_for_its_locked_order_and_holds_up_nobody() {
    let Some(service) = Service::on_postgres().await else { return };
    orders(&service, "busy", 1).await;
    orders(&service, "free", 200).await;
    let session = lock(&service, "SELECT 1 FROM orders WHERE order_id = 'busy0' FOR UPDATE").await;
    let newer = |id| v1::Order { source_version: 2, title: "A banner".to_owned(), ..order(id) };
    let import = |orders| {
        let mut platform = service.platform();
        tokio::spawn(async move {
            platform.orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.map(drop)
        })
    };
    let waiting = import(vec![newer("new"), newer("busy0"), newer("free0")]);
    for round in 0..5 {
        let other = import((0..100).map(|number| order(&format!("other{round}-{number}"))).collect());
        tokio::time::timeout(SOON, other).await.expect("it waits for nothing").unwrap().unwrap();
    }
    others_go_on(&service, "free").await;
    assert!(!waiting.is_finished());
    let new = v1::GetOrderRequest { order_id: "new".to_owned() };
    let missing = facts(&service.platform().orders.get_order(new).await.unwrap_err());
    assert_eq!(missing.reason, "ORDER_NOT_FOUND", "nothing of it is done before all is");
    session.rollback().await.unwrap();
    waiting.await.unwrap().unwrap();
    for id in ["new", "busy0", "free0"] {
        assert_eq!(service.platform().order(id).await.title, "A banner");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_somebody_else_inserts_costs_the_others_nothing() {
    let Some(service) = Service::on_postgres().await else { return };
    orders(&service, "free", 200).await;
    let insert = "INSERT INTO orders SELECT (jsonb_populate_record(o, '{\"order_id\": \"new0\"}')).* \
        FROM orders o WHERE order_id = 'free0'";
    let session = lock(&service, insert).await;
    let waiting: Vec<_> = ["new0", "new1"]
        .map(|id| {
            let mut platform = service.platform();
            tokio::spawn(async move { platform.upsert(order(id)).await })
        })
        .into_iter()
        .collect();
    others_go_on(&service, "free").await;
    tokio::time::timeout(SOON, orders(&service, "other", 100)).await.expect("other imports go on");
    assert!(!waiting[0].is_finished());
    session.rollback().await.unwrap();
    for import in waiting {
        import.await.unwrap();
    }
    assert_eq!(service.number("SELECT count(*) FROM orders").await, 302);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_pass_on_every_order_that_is_not_locked() {
    let Some(mut service) = Service::on_postgres().await else { return };
    service.restart_with_policy("reminders = []").await;
    orders(&service, "o", 20).await;
    for number in 0..20 {
        service.user("ann").ask(update(&format!("o{number}"))).await.unwrap();
    }
    let locked = "SELECT 1 FROM orders JOIN disputes USING (order_id) WHERE order_id = 'o3' FOR UPDATE OF orders; \
        SELECT 1 FROM disputes WHERE order_id = 'o4' FOR UPDATE";
    let session = lock(&service, locked).await;
    service.clock.advance(Duration::from_secs(48 * 3_600));
    expired_within(&service, 18, SOON).await;
    assert_eq!(service.number("SELECT count(*) FROM disputes WHERE resolve_time IS NOT NULL").await, 18);
    session.rollback().await.unwrap();
    expired_within(&service, 20, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_orders_with_more_deadlines_than_one_look_takes_do_not_hold_up_the_others() {
    let Some(mut service) = Service::on_postgres().await else { return };
    service.restart_with_policy("reminders = []").await;
    orders(&service, "busy", 300).await;
    orders(&service, "free", 1).await;
    let asked: Vec<_> = (0..300).map(|number| ask(&service, &format!("busy{number}"))).collect();
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
    service.clock.advance(Duration::from_secs(1));
    ask(&service, "free0").await.unwrap().unwrap();
    let session = lock(&service, "SELECT 1 FROM orders WHERE order_id LIKE 'busy%' FOR UPDATE").await;
    service.clock.advance(Duration::from_secs(48 * 3_600));
    expired_within(&service, 1, SOON).await;
    session.rollback().await.unwrap();
    expired_within(&service, 301, SOON).await;
}

/// Waits until so many disputes have ended.
async fn expired_within(service: &Service, count: i64, span: Duration) {
    let wait = async {
        while service.number("SELECT count(*) FROM disputes WHERE resolve_time IS NOT NULL").await < count {
            pause(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(span, wait).await.expect("what is not locked expires");
}

/// Replicas that take turns on one order: neither is starved, nor are both slowed down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_an_order_that_everybody_wants() {
    let Some(service) = Service::on_postgres().await else { return };
    let other = service.replica().await;
    service.platform().upsert(order("hot")).await;
    let asking = |replica: &Service| {
        let mut ann: Party = replica.user("ann");
        let mut bob: Party = replica.user("bob");
        tokio::spawn(async move {
            let started = real_now();
            let mut slowest = Duration::ZERO;
            for _ in 0..100 {
                let sent = real_now();
                match ann.ask(update("hot")).await {
                    Ok(asked) => drop(bob.reply(answer(&asked.dispute_id)).await.unwrap()),
                    Err(refused) => assert_eq!(refused.reason, "OPEN_DISPUTE_EXISTS"),
                }
                slowest = slowest.max(sent.elapsed());
            }
            (started.elapsed(), slowest)
        })
    };
    let rounds: Vec<_> = [&service, &other, &service, &other].into_iter().map(asking).collect();
    for round in rounds {
        let (took, slowest) = round.await.unwrap();
        println!("100 rounds on one order took {took:?}, the slowest {slowest:?}");
        assert!(slowest < SOON, "{slowest:?}");
    }
}
