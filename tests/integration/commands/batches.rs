//! What one batch of the committer does: here its submissions are all waiting before it takes the first.

use std::sync::Arc;
use std::time::Duration;

use dispute_service::chance::mint_id;
use dispute_service::clock::{Clock, real_now};
use dispute_service::domain::{
    Caller, Command, DisputeId, DisputeRef, DisputeStatus, DisputeView, EventType, Money, Opening, OrderId,
    OrderReport, OrderStatus, Parties, Policy, Reason, ReasonCode, Refusal, ResolvedBy, Scope, Terms, Timestamp,
    UserId,
};
use dispute_service::engine::{Committer, Deadlines, Error, Feed, RequestKey};
use dispute_service::grpc::encode_event;
use dispute_service::proto::v1;
use dispute_service::repository::Repository;
use dispute_service::traces::Tracer;
use futures_util::future::{join, join_all};
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::support::callers::facts;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::{BEGINNING, Service};

on_both_databases!(
    commands_of_one_batch_on_one_order_see_each_other,
    one_request_twice_in_one_batch_has_one_effect,
    a_poisoned_command_fails_alone_in_its_batch,
    whoever_floods_the_queue_is_overloaded_and_nobody_else,
    imports_fill_a_part_of_the_queue_and_commands_come_before_them,
    a_party_is_answered_while_the_order_system_imports_all_that_it_has,
);

type Sent = (Caller, Command, Option<RequestKey>);

/// Has these run in one batch. Answers their verdicts, and how many commands were committed in how many
/// transactions.
async fn in_one_batch(service: &Service, sent: Vec<Sent>) -> (Vec<Result<DisputeView, Error>>, (u64, u64)) {
    let repository = Arc::new(Repository::connect(&service.url).await.unwrap());
    let (clock, _hand) = Clock::manual(Timestamp::from_micros(BEGINNING * 1_000_000).unwrap());
    let feed = Arc::new(Feed::new(repository.clone()).await.unwrap());
    let (committer, totals, task) = Committer::new(
        repository,
        clock,
        Arc::new(Policy::default()),
        encode_event,
        feed,
        Arc::<Deadlines>::default(),
        Tracer::default(),
    );
    let all = async {
        let answers =
            sent.into_iter().map(|(caller, command, request)| committer.dispute(caller, command, request, None));
        let answers = join_all(answers).await;
        drop(committer);
        answers
    };
    // Polled in this order: everything is in the queue before the committer looks at it.
    let (answers, ()) = join(all, task).await;
    (answers, totals.submissions_and_batches())
}

fn user(id: &str) -> Caller {
    Caller { user: UserId::parse(id).unwrap(), scope: None }
}

fn open(user_id: &str, order: &str, terms: Terms) -> (DisputeId, Sent) {
    let dispute = DisputeId(mint_id());
    let reason = (terms != Terms::OrderUpdate)
        .then(|| Reason { code: ReasonCode::Other.into(), detail: "A reason of its own.".to_owned() });
    let order = OrderId::parse(order).unwrap();
    let opening = Opening { order, dispute, by: None, terms, message: "Please.".to_owned(), reason };
    (dispute, (user(user_id), Command::Open(Box::new(opening)), None))
}

fn answer_to(dispute: DisputeId) -> DisputeRef {
    DisputeRef { dispute, message: String::new(), etag: None }
}

async fn commands_of_one_batch_on_one_order_see_each_other(service: Service) {
    service.platform().upsert(order("o1")).await;
    let currency = dispute_service::domain::Currency::from_code("USD").unwrap();
    let refund = Terms::PartialRefund { amount: Money::new(2_500, currency) };
    let (update, asks) = open("ann", "o1", Terms::OrderUpdate);
    let (offer, offers) = open("bob", "o1", refund);
    let (_, offers_again) = open("bob", "o1", refund);
    let (cancellation, cancels) = open("ann", "o1", Terms::Cancellation { no_fault: false });
    let (_, crosses) = open("bob", "o1", Terms::Cancellation { no_fault: false });
    let (_, comes_late) = open("ann", "o1", Terms::OrderUpdate);
    let accepts = (user("ann"), Command::Accept(answer_to(offer)), None);
    let sent = vec![asks, offers, offers_again, cancels, accepts, crosses, comes_late];
    let (answers, totals) = in_one_batch(&service, sent).await;
    assert_eq!(totals, (7, 1), "seven commands in one transaction");

    let refused = |answer: &Result<DisputeView, Error>| match answer {
        Err(Error::Refused(refusal)) => refusal.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(answers[0].as_ref().unwrap().dispute.id, update);
    assert_eq!(answers[1].as_ref().unwrap().dispute.id, offer);
    assert_eq!(refused(&answers[2]), Refusal::OpenDisputeExists { dispute: offer });
    assert_eq!(answers[3].as_ref().unwrap().dispute.id, cancellation);
    assert_eq!(refused(&answers[4]), Refusal::StatusNotAllowed { status: DisputeStatus::Declined });
    let crossed = &answers[5].as_ref().unwrap().dispute;
    let resolution = crossed.resolution.as_ref().unwrap();
    assert_eq!((crossed.id, resolution.by.known()), (cancellation, Some(ResolvedBy::Crossed)));
    assert_eq!(refused(&answers[6]), Refusal::OrderStatusNotAllowed { status: OrderStatus::Cancelled });

    let repository = Repository::connect(&service.url).await.unwrap();
    let (_, events) = repository.tail(1, 100).await.unwrap();
    let happened: Vec<_> =
        events.iter().map(|event| (event.seq, event.event_type.known().unwrap(), event.dispute)).collect();
    let expected = [
        (1, EventType::Opened, update),
        (2, EventType::Opened, offer),
        (3, EventType::Declined, offer),
        (4, EventType::Opened, cancellation),
        (5, EventType::Accepted, cancellation),
        (6, EventType::Superseded, update),
    ];
    assert_eq!(happened, expected);
    let support = Caller { user: UserId::parse("agent").unwrap(), scope: Some(Scope::Support) };
    let found = repository.dispute(&support, cancellation).await.unwrap().unwrap();
    let aggregate = found.aggregate().unwrap();
    assert_eq!(aggregate.dispute(cancellation), Some(crossed), "as it was answered");
    let stored = &aggregate.order;
    assert_eq!((stored.status, stored.refunded.minor, stored.revision), (OrderStatus::Cancelled.into(), 10_000, 2));
}

async fn one_request_twice_in_one_batch_has_one_effect(service: Service) {
    service.platform().upsert(order("o1")).await;
    let request = |number| RequestKey { key: Uuid::from_u128(1), fingerprint: Uuid::from_u128(number) };
    let once = |number| {
        let (_, (caller, command, _)) = open("ann", "o1", Terms::OrderUpdate);
        (caller, command, Some(request(number)))
    };
    let (answers, totals) = in_one_batch(&service, vec![once(1), once(1), once(2)]).await;
    assert_eq!(totals, (3, 1));
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].is_ok(), "{answers:?}");
    assert_eq!(answers[2], Err(Error::RequestIdReused), "the same id for something else");
    assert_eq!(service.number("SELECT count(*) FROM disputes").await, 1);
    let (again, _) = in_one_batch(&service, vec![once(1)]).await;
    assert_eq!(again[0], answers[0], "nor in a later batch");
}

async fn a_poisoned_command_fails_alone_in_its_batch(service: Service) {
    for number in 0..5 {
        service.platform().upsert(order(&format!("o{number}"))).await;
    }
    // A row that makes no sense.
    service.execute("UPDATE orders SET status = -1 WHERE order_id = 'o2'").await;
    let sent = (0..5).map(|number| open("ann", &format!("o{number}"), Terms::OrderUpdate).1).collect();
    let (answers, totals) = in_one_batch(&service, sent).await;
    assert_eq!(totals, (5, 1), "it costs nobody else anything");
    for (number, answer) in answers.iter().enumerate() {
        match answer {
            Err(Error::Internal(what)) => assert!(number == 2 && what.contains("o2"), "{number}: {what}"),
            Err(other) => panic!("{number}: {other:?}"),
            Ok(opened) => assert_eq!(opened.dispute.order.as_str(), format!("o{number}")),
        }
    }
    assert!(answers[2].is_err());
}

async fn whoever_floods_the_queue_is_overloaded_and_nobody_else(service: Service) {
    service.platform().upsert(order("o1")).await;
    let flood = (0..4_200).map(|_| open("eve", "o1", Terms::OrderUpdate).1);
    let sent = flood.chain([open("ann", "o1", Terms::OrderUpdate).1]).collect();
    let (mut answers, (commands, _)) = in_one_batch(&service, sent).await;
    let of_ann = answers.pop().unwrap();
    assert!(of_ann.is_ok(), "she comes when it is full: {of_ann:?}");
    assert_eq!(commands, 4_096);
    assert_eq!(answers.iter().filter(|answer| **answer == Err(Error::Overloaded)).count(), 105);
}

async fn imports_fill_a_part_of_the_queue_and_commands_come_before_them(service: Service) {
    service.platform().upsert(order("o1")).await;
    let repository = Arc::new(Repository::connect(&service.url).await.unwrap());
    let (clock, _hand) = Clock::manual(Timestamp::from_micros(BEGINNING * 1_000_000).unwrap());
    let feed = Arc::new(Feed::new(repository.clone()).await.unwrap());
    let policy = Arc::new(Policy::default());
    let (committer, totals, task) =
        Committer::new(repository, clock, policy, encode_event, feed, Arc::<Deadlines>::default(), Tracer::default());
    let shop = Caller { user: UserId::parse("shop").unwrap(), scope: Some(Scope::Platform) };
    let report = |import: usize, number: usize| {
        let price = Money::new(10_000, dispute_service::domain::Currency::from_code("USD").unwrap());
        OrderReport {
            id: OrderId::parse(&format!("i{import}-{number}")).unwrap(),
            parties: Parties { buyer: user("ann").user, seller: user("bob").user },
            title: "A logo".to_owned(),
            price,
            paid: price,
            refunded_elsewhere: Money::new(0, price.currency),
            status: OrderStatus::InProgress,
            create_time: None,
            due_time: None,
            end_time: None,
            cancellation_counts: true,
            source_version: 1,
        }
    };
    let imports = (0..60).map(|import| {
        let reports = (0..500).map(|number| report(import, number)).collect();
        committer.orders(shop.clone(), reports, None)
    });
    let imports = async { join_all(imports).await };
    let (_, (caller, command, request)) = open("ann", "o1", Terms::OrderUpdate);
    let command = async {
        // After all the imports.
        tokio::task::yield_now().await;
        let opened = committer.dispute(caller, command, request, None).await;
        (opened, totals.submissions_and_batches())
    };
    // Polled in this order: everything is in the queue before the committer looks at it.
    let both = async {
        let both = join(imports, command).await;
        committer.close();
        both
    };
    let (both, ()) = join(both, async {
        tokio::task::yield_now().await;
        task.await;
    })
    .await;
    let (imports, (opened, (_, batches))) = both;
    assert!(opened.is_ok(), "there is room for a party's command: {opened:?}");
    assert!(batches <= 3, "it waited for {batches} batches");
    let (done, refused): (Vec<_>, Vec<_>) = imports.into_iter().partition(Result::is_ok);
    assert!((1..=51).contains(&done.len()), "{} imports were let in at once", done.len());
    assert!(refused.iter().all(|refused| *refused == Err(Error::Overloaded)));
    let imported = service.number("SELECT count(*) FROM orders").await - 1;
    assert_eq!(imported, i64::try_from(done.len()).unwrap() * 500, "all of each or nothing");
}

async fn a_party_is_answered_while_the_order_system_imports_all_that_it_has(service: Service) {
    let orders = |prefix: &str, count: usize| v1::BatchUpsertOrdersRequest {
        orders: (0..count).map(|number| order(&format!("{prefix}-{number}"))).collect(),
    };
    service.platform().orders.batch_upsert_orders(orders("own", 60)).await.unwrap();
    let imports: Vec<_> = (0..60)
        .map(|import| {
            let (mut platform, request) = (service.platform(), orders(&format!("i{import}"), 500));
            tokio::spawn(async move { platform.orders.batch_upsert_orders(request).await.map(drop) })
        })
        .collect();
    let mut took = Vec::new();
    for number in 0..60 {
        let sent = real_now();
        service.user("ann").ask(update(&format!("own-{number}"))).await.unwrap();
        took.push(sent.elapsed());
    }
    let going_on = imports.iter().filter(|import| !import.is_finished()).count();
    took.sort_unstable();
    println!("beside imports, of which {going_on} went on at the end: median {:?}, slowest {:?}", took[30], took[59]);
    let mut done = 0;
    for import in imports {
        match import.await.unwrap() {
            Ok(()) => done += 1,
            Err(status) => {
                let facts = facts(&status);
                assert_eq!((facts.code, facts.reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
                assert!(status.get_error_details().retry_info().is_some());
            }
        }
    }
    assert!(done > 0, "imports are not starved either");
    assert!(took[59] < Duration::from_secs(3), "{took:?}");
}
