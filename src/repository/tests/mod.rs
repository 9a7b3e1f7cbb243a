//! Properties that only a database can show, on SQLite; the integration tests run the whole service on both.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait as _, EntityTrait as _};
use sea_orm_migration::MigratorTrait as _;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::domain::{
    Actor, ActorRole, AuditAction, Bargain, Caller, Consequences, CounterOffer, Currency, DisputeStatus, Escalation,
    EventType, Money, OrderStatus, Outcome, PartyRole, Reason, ReasonCode, Resolution, ResolvedBy, Results, Ruled,
    Scope, Settlement, SettlementReport, SettlementStatus, Silence, SilenceRule, StoredDispute, Terms, UserId,
};

mod ahead;
mod file;
mod plans;
mod schema;

async fn repository() -> (TempDir, Repository) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let repository = Repository::connect(&url).await.unwrap();
    repository.migrate().await.unwrap();
    (folder, repository)
}

/// Reads for one of the parties.
async fn reader(repository: &Repository) -> Reader {
    repository.reader(ReadClass::List, &caller()).await.unwrap()
}

fn caller() -> Caller {
    Caller { user: parties().buyer, scope: None }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000).unwrap()
}

fn yen(minor: i64) -> Money {
    Money::new(minor, Currency::from_code("JPY").unwrap())
}

fn parties() -> Parties {
    Parties { buyer: UserId::parse("ann").unwrap(), seller: UserId::parse("bob").unwrap() }
}

fn order(id: &str) -> Order {
    Order {
        id: OrderId::parse(id).unwrap(),
        parties: parties(),
        title: "Ein Logo – “schön”".to_owned(),
        price: yen(i64::MAX),
        paid: yen(i64::MAX),
        refunded_elsewhere: yen(1),
        refunded: yen(2),
        status: OrderStatus::InProgress.into(),
        create_time: at(0),
        due_time: None,
        agreed_due_time: None,
        extension_requests: 0,
        end_time: None,
        cancellation_counts: true,
        cancelled_no_fault: false,
        cancelled_by: None,
        refund_accepted: None,
        source_version: i64::MAX,
        revision: 1,
    }
}

fn dispute(number: u128, order: &str) -> Dispute {
    Dispute {
        id: DisputeId(Uuid::from_u128(number)),
        order: OrderId::parse(order).unwrap(),
        order_create_time: Some(at(0)),
        parties: parties(),
        opener: PartyRole::Buyer,
        terms: Terms::OrderUpdate,
        bargain: Bargain::default(),
        message: "How is it going?\n\t…".to_owned(),
        reason: None,
        respond_by: at(100),
        remind_at: None,
        reminders_sent: 0,
        postpone_message: String::new(),
        silence: Silence { rule: SilenceRule::NoEffect, after_delivery: SilenceRule::NoEffect },
        create_time: at(0),
        update_time: at(0),
        revision: 1,
        answer_message: String::new(),
        escalation: None,
        resolution: None,
    }
}

/// A dispute with each combination of its columns.
fn disputes() -> Vec<Dispute> {
    let resolved = |outcome| Some(Resolution::new(DisputeStatus::Accepted, at(7), ResolvedBy::Crossed, outcome));
    let reported = |report, attempt, attempts: &[u8]| {
        let refund = Resolution::new(DisputeStatus::Decided, at(7), ResolvedBy::Support, Outcome::Refund(yen(5)));
        let attempts = attempts.iter().map(|bits| Results::from_bits(*bits).unwrap()).collect();
        let settlement = Settlement::stored(Some(report), attempt, attempts);
        assert!(settlement.is_some());
        Some(Resolution { settlement, ..refund })
    };
    let detail = || "The card expired.".to_owned();
    let message = "She said so.".to_owned();
    let escalation = |ruling| Some(Escalation { by: ActorRole::Seller.into(), message: message.clone(), ruling });
    let ruled = || Some(Ruled { agent: UserId::parse("agent").unwrap(), message: "We looked into it.".to_owned() });
    let extension = Terms::DeliveryExtension { new_due_time: at(1_000) };
    let offer = Terms::PartialRefund { amount: yen(5) };
    let counter =
        |amount, message: &str| CounterOffer { amount: yen(amount), message: message.to_owned(), time: at(3) };
    let bargain = Bargain {
        max_counter_offers: 20,
        opened_with: Some(yen(1)),
        counter_offers: vec![counter(i64::MAX, "Non – \"zu wenig\"\n"), counter(5, "")],
    };
    let reason = Some(Reason { code: ReasonCode::Other.into(), detail: "A secret.".to_owned() });
    let silence = Silence { rule: SilenceRule::Accept, after_delivery: SilenceRule::NoEffect };
    let cancellation = |refund| Outcome::Cancellation { refund, counts: true };
    let one = |number| dispute(number, "o1");
    vec![
        one(1),
        Dispute { resolution: resolved(Outcome::Nothing), answer_message: "Me too.".to_owned(), ..one(2) },
        Dispute { terms: offer, bargain: bargain.clone(), opener: PartyRole::Seller, reason: reason.clone(), ..one(3) },
        Dispute { terms: offer, reason: reason.clone(), resolution: resolved(Outcome::Refund(yen(5))), ..one(4) },
        Dispute {
            terms: Terms::Cancellation { no_fault: false },
            reason,
            silence,
            resolution: resolved(cancellation(Some(yen(9)))),
            ..one(5)
        },
        Dispute { terms: Terms::Cancellation { no_fault: true }, resolution: resolved(cancellation(None)), ..one(6) },
        Dispute { terms: extension, remind_at: Some(at(50)), reminders_sent: 1, revision: 3, ..one(7) },
        Dispute { terms: extension, resolution: resolved(Outcome::NewDueTime(at(1_000))), ..one(8) },
        Dispute { order: OrderId::parse("o2").unwrap(), escalation: escalation(None), ..one(9) },
        Dispute {
            escalation: escalation(ruled()),
            postpone_message: "Take your time.".to_owned(),
            resolution: reported(SettlementReport::Settled { reference: "pay-1".to_owned() }, 1, &[3, 0]),
            ..one(10)
        },
        Dispute {
            escalation: escalation(ruled()),
            resolution: reported(SettlementReport::Failed { detail: detail() }, 3, &[2, 2, 0]),
            ..one(11)
        },
        Dispute {
            escalation: escalation(ruled()),
            resolution: reported(SettlementReport::Returned { detail: detail() }, 2, &[7, 0]),
            ..one(12)
        },
        Dispute {
            escalation: escalation(ruled()),
            resolution: reported(SettlementReport::Voided { detail: detail() }, 1, &[8]),
            ..one(13)
        },
    ]
}

fn opened(dispute: &Dispute) -> NewEvent {
    let recorded = RecordedEvent {
        event_type: EventType::Opened,
        actor: Actor::System,
        time: at(0),
        previous_status: None,
        dispute: dispute.clone(),
        consequences: Consequences::default(),
    };
    NewEvent::new(EventId(dispute.id.0), &recorded, vec![1, 2, 3])
}

async fn write(repository: &Repository, changes: &Changes) -> Result<Option<i64>, StorageError> {
    Ok(repository.begin().await?.commit(changes.clone()).await?.last_seq)
}

#[tokio::test]
async fn each_row_is_read_as_it_was_written() {
    let (_folder, repository) = repository().await;
    let ended = Order {
        status: OrderStatus::Cancelled.into(),
        due_time: Some(at(1)),
        agreed_due_time: Some(at(3)),
        extension_requests: 2,
        end_time: Some(at(2)),
        cancellation_counts: false,
        cancelled_by: Some(DisputeId(Uuid::from_u128(5))),
        refund_accepted: Some(DisputeId(Uuid::from_u128(4))),
        ..order("o2")
    };
    let changes =
        Changes { new_orders: vec![order("o1"), ended.clone()], new_disputes: disputes(), ..Changes::default() };
    write(&repository, &changes).await.unwrap();
    for order in [order("o1"), ended] {
        assert_eq!(read_order(&repository, order.id.as_str()).await, Some(order));
    }
    for dispute in disputes() {
        let found = repository.dispute(&caller(), dispute.id).await.unwrap().unwrap();
        assert_eq!(found.dispute(), &StoredDispute::Judged(Box::new(dispute)));
    }
    for id in [1, 2] {
        let found = repository.dispute(&caller(), DisputeId(Uuid::from_u128(id))).await.unwrap().unwrap();
        let held: BTreeSet<_> =
            found.aggregate().unwrap().disputes.iter().map(|dispute| dispute.id.0.as_u128()).collect();
        assert_eq!(held, BTreeSet::from([id, 1, 3, 7]), "with whatever is open on its order");
        let query =
            DisputeQuery { disputes: vec![DisputeId(Uuid::from_u128(id))], limit: 1, ..DisputeQuery::default() };
        let listed = reader(&repository).await.disputes(&query, 0).await.unwrap().0.pop().unwrap();
        assert_eq!(listed.key.1, DisputeId(Uuid::from_u128(id)));
        assert_eq!(listed.found.unwrap().aggregate().unwrap().disputes.len(), held.len(), "in a list too");
    }
    assert_eq!(repository.dispute(&caller(), DisputeId(Uuid::from_u128(99))).await.unwrap(), None);
    let held = async |ended_too: &[DisputeKind]| {
        let aggregate = reader(&repository).await.aggregate(&order("o1").id, ended_too).await.unwrap().unwrap();
        aggregate.disputes.iter().map(|dispute| dispute.id.0.as_u128()).collect::<BTreeSet<_>>()
    };
    assert_eq!(held(&[]).await, BTreeSet::from([1, 3, 7]), "the open ones");
    let with_cancellations = held(&[DisputeKind::Cancellation]).await;
    assert_eq!(with_cancellations, BTreeSet::from([1, 3, 5, 6, 7]), "and those of a kind that ended");
    assert_eq!(read_order(&repository, "o3").await, None);
}

async fn read_order(repository: &Repository, id: &str) -> Option<Order> {
    let aggregate = reader(repository).await.aggregate(&OrderId::parse(id).unwrap(), &[]).await.unwrap();
    aggregate.map(|aggregate| aggregate.order)
}

/// A database of the first version, with an accepted offer 4 and a pending request 5.
async fn of_the_first_version() -> (TempDir, Repository) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let repository = Repository::connect(&url).await.unwrap();
    migration::Migrator::up(repository.writer.pool.connections(), Some(1)).await.unwrap();
    let (id, pending) = (Uuid::from_u128(4), Uuid::from_u128(5));
    for statement in [
        "INSERT INTO orders VALUES ('o1', 'ann', 'bob', '', 'USD', 2, 10000, 10000, 0, 500, 2, 0, NULL, NULL, 1, NULL, \
         NULL, 1, 1)"
            .to_owned(),
        format!(
            "INSERT INTO disputes VALUES (x'{}', 'o1', 'ann', 'bob', 2, 1, 1, 3, 'Sorry.', 7, '', 'USD', 2, 500, 9, 1, \
             1, 0, 5, 2, 5, 1, 500, 0, 0, '')",
            id.simple()
        ),
        format!(
            "INSERT INTO disputes VALUES (x'{}', 'o1', 'ann', 'bob', 1, 3, 3, 1, 'How?', NULL, '', NULL, NULL, NULL, 9, \
             1, 1, 0, 0, 1, NULL, NULL, NULL, 0, 0, '')",
            pending.simple()
        ),
    ] {
        repository.writer.pool.connections().execute_unprepared(&statement).await.unwrap();
    }
    (folder, repository)
}

#[tokio::test]
async fn a_database_of_the_first_version_is_migrated_with_what_it_holds() {
    let (_folder, repository) = of_the_first_version().await;
    let (id, pending) = (Uuid::from_u128(4), Uuid::from_u128(5));
    repository.migrate().await.unwrap();
    let found = repository.dispute(&caller(), DisputeId(id)).await.unwrap().unwrap();
    let aggregate = found.aggregate().unwrap();
    let settlement = aggregate.dispute(DisputeId(id)).unwrap().resolution.clone().unwrap().settlement;
    assert_eq!(settlement, Some(Settlement::due()), "what was refunded is due");
    assert_eq!(aggregate.order.extension_requests, 0);
    let next = repository.next_deadlines((Timestamp::MIN, DisputeId(Uuid::nil())), 10).await.unwrap();
    assert_eq!(next.iter().map(|deadline| deadline.dispute.0).collect::<Vec<_>>(), [pending]);
    repository.migrate().await.unwrap();
}

#[tokio::test]
async fn what_was_reported_of_a_refund_is_migrated_to_its_attempts() {
    let settled = SettlementReport::Settled { reference: "said".to_owned() };
    let failed = SettlementReport::Failed { detail: "said".to_owned() };
    for (status, report, attempt, attempts) in [(2, settled, 1, vec![1]), (3, failed, 2, vec![2, 0])] {
        let (_folder, repository) = of_the_first_version().await;
        migration::Migrator::up(repository.writer.pool.connections(), Some(2)).await.unwrap();
        let reported = format!(
            "UPDATE disputes SET settlement_status = {status}, settlement_reference = 'said', settlement_detail = 'said' \
             WHERE outcome_refund_minor IS NOT NULL"
        );
        repository.writer.pool.connections().execute_unprepared(&reported).await.unwrap();
        repository.migrate().await.unwrap();
        let found = repository.dispute(&caller(), DisputeId(Uuid::from_u128(4))).await.unwrap().unwrap();
        let settlement =
            found.aggregate().unwrap().dispute(DisputeId(Uuid::from_u128(4))).unwrap().settlement().cloned();
        let attempts = attempts.into_iter().map(|bits| Results::from_bits(bits).unwrap()).collect();
        assert_eq!(settlement, Settlement::stored(Some(report), attempt, attempts));
    }
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_named() {
    let (_folder, repository) = repository().await;
    let changes =
        Changes { new_orders: vec![order("o1"), order("o2")], new_disputes: disputes(), ..Changes::default() };
    write(&repository, &changes).await.unwrap();
    let cases = [
        ("status = 3", 1, "resolve_time"),
        ("status = 0", 1, "status"),
        ("kind = -77", 1, "kind"),
        ("least_release = 0", 1, "least_release"),
        ("opener = 0", 1, "opener"),
        ("respond_by = 9223372036854775807", 1, "respond_by"),
        ("exclusion_group = 9", 1, "exclusion_group"),
        ("resolve_time = 5", 1, "resolve_time"),
        ("resolved_by = NULL", 2, "resolve_time"),
        ("amount_minor = NULL", 3, "amount_minor"),
        ("currency = NULL", 3, "amount_minor"),
        ("currency = 'AbC'", 3, "currency"),
        ("message = x'00ff'", 3, "a column is not of its type"),
        ("respond_by = 'soon'", 3, "a column is not of its type"),
        ("respond_by = 'soon', least_release = 2", 3, "a column is not of its type"),
        ("seller_id = 'b b', least_release = 2", 3, "seller_id"),
        ("exponent = -1", 3, "exponent"),
        ("reason = -99", 3, "reason"),
        ("buyer_id = ''", 6, "buyer_id"),
        ("new_due_time = NULL", 7, "amount_minor"),
        ("new_due_time = 5", 1, "new_due_time"),
        ("outcome_new_due_time = 5", 4, "outcome_new_due_time"),
        ("settlement_status = NULL", 4, "settlement_status"),
        ("settlement_status = 1", 2, "settlement_status"),
        ("settlement_status = 0", 10, "settlement_status"),
        ("settlement_attempt = NULL", 4, "settlement_attempt"),
        ("settlement_attempt = 0", 4, "settlement_attempt"),
        ("settlement_attempt = -1", 11, "settlement_attempt"),
        ("settlement_attempt = 4", 11, "settlement_attempt"),
        ("settlement_attempts = ''", 4, "settlement_attempt"),
        ("settlement_attempts = '0 '", 4, "settlement_attempts"),
        ("settlement_attempts = 'g'", 4, "settlement_attempts"),
        ("escalated_by = NULL", 9, "escalated_by"),
        ("escalated_by = NULL", 10, "escalated_by"),
        ("decided_by = 'a b'", 10, "decided_by"),
    ];
    for (change, number, what) in cases {
        let id = DisputeId(Uuid::from_u128(number));
        let row = id.0.simple();
        repository.writer.pool.connections().execute_unprepared("SAVEPOINT before").await.unwrap();
        let update = format!("UPDATE disputes SET {change} WHERE dispute_id = x'{row}'");
        repository.writer.pool.connections().execute_unprepared(&update).await.unwrap();
        // Read on the same connection: none of this is committed.
        let read = read_on_the_writer(&repository, id).await;
        repository.writer.pool.connections().execute_unprepared("ROLLBACK TO before").await.unwrap();
        repository.writer.pool.connections().execute_unprepared("RELEASE before").await.unwrap();
        assert_eq!(read, Err(StorageError::Corrupt { table: "disputes", id: id.to_string(), what }), "{change}");
    }
}

async fn read_on_the_writer(repository: &Repository, id: DisputeId) -> Result<Option<StoredDispute>, StorageError> {
    let rows = corrupt::fetch(entity::dispute::Entity::find_by_id(id.0), repository.writer.pool.connections()).await?;
    let row = rows.into_iter().next().map(|row| rows::dispute_from(row.map_err(|broken| broken.error)?));
    row.transpose()
}

#[tokio::test]
async fn events_are_numbered_without_holes_whatever_is_rolled_back() {
    let (_folder, repository) = repository().await;
    write(&repository, &Changes { new_orders: vec![order("o1")], ..Changes::default() }).await.unwrap();
    let batch = |numbers: std::ops::Range<u128>| Changes {
        events: numbers.map(|number| opened(&dispute(number, "o1"))).collect(),
        ..Changes::default()
    };
    assert_eq!(write(&repository, &batch(0..3)).await, Ok(Some(3)));
    assert_eq!(write(&repository, &Changes::default()).await, Ok(None));
    let connections = repository.writer.pool.connections();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.seq = 13 BEGIN SELECT RAISE(ABORT, 'no'); END";
    connections.execute_unprepared(refuse).await.unwrap();
    let refused = write(&repository, &batch(10..20)).await;
    assert!(matches!(&refused, Err(StorageError::Failed(why)) if why.contains("1811")), "{refused:?}");
    connections.execute_unprepared("DROP TRIGGER refuse").await.unwrap();
    assert_eq!(write(&repository, &batch(3..300)).await, Ok(Some(300)));
    let (log, events) = repository.tail(1, 1_000).await.unwrap();
    assert_eq!((log.last_seq, log.pruned_seq), (300, 0));
    assert!(events.iter().map(|event| event.seq).eq(1..=300));
    assert_eq!(events[299].id, EventId(Uuid::from_u128(299)), "in the order of the batches");
    assert_eq!(log.last_event, Some(events[299].id));
    let found = [Some(events[0].id), None, Some(events[299].id)];
    assert_eq!(reader(&repository).await.log_and_events_at([1, 301, 300]).await, Ok((log, found)), "in one statement");
    assert_eq!(repository.tail(301, 9).await, Ok((log, Vec::new())));
    assert_eq!(events[0].payload.as_ref(), [1, 2, 3]);
}

#[tokio::test]
async fn what_has_come_in_the_place_of_an_event_since_its_key_was_read_is_not_taken_for_it() {
    let (_folder, repository) = repository().await;
    let events = (0..4).map(|number| opened(&dispute(number, "o1"))).collect();
    write(&repository, &Changes { events, ..Changes::default() }).await.unwrap();
    let (_, events) = repository.tail(1, 9).await.unwrap();
    let keys: Vec<_> = events.iter().map(|event| (event.seq, event.id)).collect();
    let connection = repository.readers.connections();
    assert_eq!(Reader::with_keys(connection, &keys[1..3]).await, Ok(events[1..3].to_vec()));
    let other = [keys[0], (keys[1].0, EventId(Uuid::from_u128(9)))];
    let gone = [keys[3], (5, EventId(Uuid::from_u128(9)))];
    for changed in [other, gone] {
        assert!(matches!(Reader::with_keys(connection, &changed).await, Err(StorageError::Unavailable(_))));
    }
}

#[tokio::test]
async fn what_another_writer_was_first_with_is_a_conflict() {
    let (_folder, repository) = repository().await;
    let orders = Changes { new_orders: vec![order("o1")], ..Changes::default() };
    write(&repository, &orders).await.unwrap();
    assert_eq!(write(&repository, &orders).await, Err(StorageError::Conflict), "the same order");
    let open = |number| Changes { new_disputes: vec![dispute(number, "o1")], ..Changes::default() };
    write(&repository, &open(1)).await.unwrap();
    assert_eq!(write(&repository, &open(2)).await, Err(StorageError::Conflict), "a second open dispute of its group");
    let record = IdempotencyRecord {
        key: Uuid::from_u128(1),
        fingerprint: Uuid::from_u128(2),
        dispute: DisputeId(Uuid::from_u128(1)),
        create_time: at(0),
    };
    let requests = Changes { idempotency: vec![record], ..Changes::default() };
    write(&repository, &requests).await.unwrap();
    assert_eq!(write(&repository, &requests).await, Err(StorageError::Conflict), "the same request");
    let unknown = Changes { new_disputes: vec![dispute(3, "no-order")], ..Changes::default() };
    assert!(matches!(write(&repository, &unknown).await, Err(StorageError::Failed(_))), "a dispute about no order");
}

#[tokio::test]
async fn what_is_committed_after_a_full_disk_is_committed() {
    let (_folder, repository) = repository().await;
    let one = |id: &str, title: &str| {
        let order = Order { title: title.to_owned(), ..order(id) };
        Changes { new_orders: vec![order], ..Changes::default() }
    };
    write(&repository, &one("o1", "")).await.unwrap();
    let limit = |pages: &str| {
        let file = &repository.writer.file.as_ref().unwrap().connection;
        file.with(|file| file.execute_batch(&format!("PRAGMA max_page_count = {pages}"))).unwrap().unwrap();
    };
    limit("1");
    let full = write(&repository, &one("o2", &"long ".repeat(100_000))).await;
    assert!(matches!(full, Err(StorageError::Unavailable(_))), "{full:?}");
    limit("1000000");
    // SQLite has rolled back by itself. Code that does not notice would start the next transaction inside another.
    assert_eq!(write(&repository, &one("o1", "")).await, Err(StorageError::Conflict));
    write(&repository, &one("o2", "")).await.unwrap();
    assert!(read_order(&repository, "o2").await.is_some(), "acknowledged, so that others see it");
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_refused_with_a_reason() {
    for url in ["sqlite::memory:", "sqlite://x.db?mode=memory", "sqlite://?mode=rwc", "sqlite:"] {
        assert_eq!(Repository::connect(url).await.unwrap_err(), ConnectError::InMemory);
    }
    for url in ["mysql://localhost/db", "", "disputes.db"] {
        assert_eq!(Repository::connect(url).await.unwrap_err(), ConnectError::UnknownScheme);
    }
    let nowhere = Repository::connect("sqlite:///no/such/folder/disputes.db?mode=rwc").await.unwrap_err();
    let why = "cannot be created: the directory /no/such/folder does not exist";
    assert_eq!(nowhere.to_string(), format!("the database file /no/such/folder/disputes.db {why}"));
    let secret = Repository::connect("postgres://user:secret@127.0.0.1:1/db").await.unwrap_err().to_string();
    assert!(secret.contains("the connection was refused") && !secret.contains("secret"), "{secret}");
    let garbled = Repository::connect("postgres://user:secret@host:port/db").await.unwrap_err().to_string();
    assert!(garbled.contains("its URL is not valid (--database-url, DISPUTES_DATABASE_URL, or a file"), "{garbled}");
}

/// By `.cargo/config.toml`, which a build in another folder does not read.
#[tokio::test]
async fn sqlite_is_compiled_for_plans_that_last_and_for_connections_that_share_nothing() {
    let (_folder, repository) = repository().await;
    let ask = sea_orm::Statement::from_string(DbBackend::Sqlite, "PRAGMA compile_options");
    let rows = repository.writer.pool.connections().query_all_raw(ask).await.unwrap();
    let options: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
    for option in ["ENABLE_QPSG", "DEFAULT_MEMSTATUS=0"] {
        assert!(options.iter().any(|compiled| compiled == option), "{option} is missing: {options:?}");
    }
    assert!(!options.iter().any(|compiled| compiled == "ENABLE_MEMORY_MANAGEMENT"), "{options:?}");
}
