//! The filters of events: what a list and a stream let through is the same, and just what was asked for.

use std::time::Duration;

use dispute_service::proto::v1;
use v1::{DisputeEventFilter as Filter, DisputeKind, EventType};

use crate::support::callers::Party;
use crate::support::database;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    any_value_of_a_field_lets_an_event_through,
    every_type_of_event_is_found_by_its_type,
    an_event_must_match_every_field_of_a_filter,
    an_order_with_very_many_disputes_can_be_asked_for,
);

/// What happened: four orders, every kind of dispute and every type of event. The numbers are those of the log.
struct Story {
    events: Vec<v1::DisputeEvent>,
    /// The offer on `ab`: 1 to 6.
    offer: String,
    /// The cancellation of `ac`: 13 and 14.
    cancellation: String,
}

const HOUR: Duration = Duration::from_secs(3_600);

/// `ab` is between ann and bob, `ac` between ann and cid, `bc` between bob, who buys, and cid, and `de` between
/// dan and eve.
async fn tell(service: &Service) -> Story {
    let (mut ann, mut bob, mut cid) = (service.user("ann"), service.user("bob"), service.user("cid"));
    let (mut support, mut platform) = (service.support(), service.platform());
    for (id, buyer, seller) in [("ab", "ann", "bob"), ("ac", "ann", "cid"), ("bc", "bob", "cid"), ("de", "dan", "eve")]
    {
        platform.upsert(v1::Order { buyer_id: buyer.to_owned(), seller_id: seller.to_owned(), ..order(id) }).await;
    }
    let mut live = platform.watch(v1::WatchDisputesRequest::default()).await;

    let offered = bob.offer(offer("ab", 100)).await.unwrap().dispute_id;
    ann.decline(decline(&offered)).await.unwrap();
    ann.escalate(escalate(&offered)).await.unwrap();
    support.decide(refund(&offered, 500)).await.unwrap();
    platform.report(failed(&offered, "no")).await.unwrap();
    platform.report(settled(&offered, "pay")).await.unwrap();
    let asked = ann.ask(update("ab")).await.unwrap();
    bob.reply(answer(&asked.dispute_id)).await.unwrap();

    let extended = cid.extend(extension("ac", 99_999)).await.unwrap();
    ann.accept(accept(&extended.dispute_id)).await.unwrap();
    let asked = ann.ask(update("ac")).await.unwrap();
    ann.withdraw(withdraw(&asked.dispute_id)).await.unwrap();
    let cancelled = ann.cancel(cancellation("ac")).await.unwrap().dispute_id;
    support.postpone(postpone(&cancelled, 100 * 3_600)).await.unwrap();

    cid.offer(offer("bc", 100)).await.unwrap();
    cid.extend(extension("bc", 99_999)).await.unwrap();
    let asked = bob.cancel(cancellation("bc")).await.unwrap();
    cid.accept(accept(&asked.dispute_id)).await.unwrap();

    service.user("dan").ask(update("de")).await.unwrap();
    let mut events = live.take(21).await;
    service.clock.advance(24 * HOUR);
    events.push(live.event().await);
    service.clock.advance(24 * HOUR);
    events.push(live.event().await);
    // Whoever heard everything heard it from the tail cache: it is all there for those that come later.
    Story { events, offer: offered, cancellation: cancelled }
}

fn numbers(ranges: &[std::ops::RangeInclusive<usize>]) -> Vec<usize> {
    ranges.iter().cloned().flatten().collect()
}

/// Callers, each with what it may see.
fn viewers(service: &Service) -> [(Party, Vec<usize>); 6] {
    [
        (service.platform(), numbers(&[1..=23])),
        (service.support(), numbers(&[1..=23])),
        (service.user("ann"), numbers(&[1..=14])),
        (service.user("bob"), numbers(&[1..=8, 15..=20])),
        (service.user("cid"), numbers(&[9..=20])),
        (service.user("zoe"), Vec::new()),
    ]
}

/// The events with these numbers, and no others, get through: in a list, page by page, and in a stream.
async fn check(service: &Service, story: &Story, name: &str, filter: Filter, expected: &[usize]) {
    assert!(expected.len() < story.events.len(), "{name} keeps something out");
    for (mut viewer, visible) in viewers(service) {
        let seen = expected.iter().filter(|number| visible.contains(number));
        let seen: Vec<_> = seen.map(|number| story.events[number - 1].clone()).collect();
        let (listed, end) = viewer.events_of(Some(filter.clone()), 500).await;
        assert_eq!(listed, seen, "{name}");
        assert_eq!(viewer.events_of(Some(filter.clone()), 1).await, (listed, end.clone()), "{name}, one by one");
        let mut watch =
            viewer.watch(v1::WatchDisputesRequest { filter: Some(filter.clone()), ..from_beginning() }).await;
        if !seen.is_empty() {
            let message = watch.message().await.unwrap();
            assert_eq!(message.events, seen, "{name}, as a stream");
            assert_eq!(message.resume_token, end, "{name}: the whole log was looked at");
        }
    }
}

fn orders(ids: &[&str]) -> Filter {
    Filter { order_ids: ids.iter().map(|id| (*id).to_owned()).collect(), ..Filter::default() }
}

fn disputes(ids: &[&str]) -> Filter {
    Filter { dispute_ids: ids.iter().map(|id| (*id).to_owned()).collect(), ..Filter::default() }
}

fn party(id: &str) -> Filter {
    Filter { party_id: id.to_owned(), ..Filter::default() }
}

fn kinds(kinds: &[DisputeKind]) -> Filter {
    Filter { kinds: kinds.iter().map(|kind| i32::from(*kind)).collect(), ..Filter::default() }
}

fn types(types: &[EventType]) -> Filter {
    Filter { event_types: types.iter().map(|event_type| i32::from(*event_type)).collect(), ..Filter::default() }
}

async fn any_value_of_a_field_lets_an_event_through(service: Service) {
    use DisputeKind::{Cancellation, DeliveryExtension, OrderUpdate, PartialRefund};
    let story = tell(&service).await;
    let (offer, cancellation) = (story.offer.as_str(), story.cancellation.as_str());
    let nobodys = "0190f000-0000-7000-8000-000000000001";
    let cases: [(&str, Filter, Vec<usize>); 18] = [
        ("an order", orders(&["ab"]), numbers(&[1..=8])),
        ("another order", orders(&["de"]), numbers(&[21..=23])),
        ("two orders", orders(&["bc", "ab"]), numbers(&[1..=8, 15..=20])),
        ("an order and one that nobody has", orders(&["nowhere", "ac"]), numbers(&[9..=14])),
        ("an order that nobody has", orders(&["nowhere"]), Vec::new()),
        ("a dispute", disputes(&[offer]), numbers(&[1..=6])),
        ("two disputes", disputes(&[cancellation, offer]), numbers(&[1..=6, 13..=14])),
        ("a dispute and one that nobody has", disputes(&[cancellation, nobodys]), numbers(&[13..=14])),
        ("a dispute that nobody has", disputes(&[nobodys]), Vec::new()),
        ("a buyer", party("ann"), numbers(&[1..=14])),
        ("a buyer and seller", party("bob"), numbers(&[1..=8, 15..=20])),
        ("a seller", party("cid"), numbers(&[9..=20])),
        ("a party that nobody knows", party("zoe"), Vec::new()),
        ("refunds", kinds(&[PartialRefund]), vec![1, 2, 3, 4, 5, 6, 15, 17]),
        ("cancellations", kinds(&[Cancellation]), vec![13, 14, 18, 19]),
        ("updates", kinds(&[OrderUpdate]), vec![7, 8, 11, 12, 21, 22, 23]),
        ("extensions", kinds(&[DeliveryExtension]), vec![9, 10, 16, 20]),
        ("two kinds", kinds(&[DeliveryExtension, Cancellation]), vec![9, 10, 13, 14, 16, 18, 19, 20]),
    ];
    for (name, filter, expected) in cases {
        check(&service, &story, name, filter, &expected).await;
    }
}

async fn every_type_of_event_is_found_by_its_type(service: Service) {
    use EventType::*;
    let story = tell(&service).await;
    let cases: [(&[EventType], &[usize]); 16] = [
        (&[Opened], &[1, 7, 9, 11, 13, 15, 16, 18, 21]),
        (&[Accepted], &[10, 19]),
        (&[Declined], &[2, 17]),
        (&[Answered], &[8]),
        (&[Withdrawn], &[12]),
        (&[DeadlineApproaching], &[22]),
        (&[DeadlineMoved], &[14]),
        (&[DeadlineExpired], &[23]),
        (&[Superseded], &[20]),
        (&[Escalated], &[3]),
        (&[Decided], &[4]),
        (&[Settled], &[6]),
        (&[SettlementFailed], &[5]),
        (&[Snapshot], &[]),
        (&[Declined, Accepted], &[2, 10, 17, 19]),
        (&[Answered, Snapshot, DeadlineExpired], &[8, 23]),
    ];
    for (event_types, expected) in cases {
        check(&service, &story, &format!("{event_types:?}"), types(event_types), expected).await;
    }
}

async fn an_event_must_match_every_field_of_a_filter(service: Service) {
    use DisputeKind::{Cancellation, OrderUpdate, PartialRefund};
    use EventType::{Accepted, Decided, Declined, Opened, Settled};
    let story = tell(&service).await;
    let (offer, cancellation) = (story.offer.as_str(), story.cancellation.as_str());
    let updates = kinds(&[OrderUpdate]).kinds;
    let money = kinds(&[PartialRefund, Cancellation]).kinds;
    let cases: [(&str, Filter, Vec<usize>); 10] = [
        ("orders and a kind", Filter { kinds: updates, ..orders(&["ab", "ac"]) }, vec![7, 8, 11, 12]),
        (
            "orders and a party",
            Filter { order_ids: orders(&["ab", "bc"]).order_ids, ..party("cid") },
            numbers(&[15..=20]),
        ),
        ("an order and a party of others", Filter { order_ids: orders(&["ab"]).order_ids, ..party("cid") }, Vec::new()),
        (
            "disputes and types",
            Filter { event_types: types(&[Opened, Decided]).event_types, ..disputes(&[offer, cancellation]) },
            vec![1, 4, 13],
        ),
        (
            "a dispute and an order of others",
            Filter { dispute_ids: vec![offer.to_owned()], ..orders(&["ac"]) },
            Vec::new(),
        ),
        (
            "a dispute and its order",
            Filter { dispute_ids: vec![offer.to_owned()], ..orders(&["ac", "ab"]) },
            numbers(&[1..=6]),
        ),
        ("a party and a type", Filter { event_types: types(&[Accepted]).event_types, ..party("cid") }, vec![10, 19]),
        ("kinds and types", Filter { kinds: money.clone(), ..types(&[Opened, Accepted]) }, vec![1, 13, 15, 18, 19]),
        ("a kind and types it has not", Filter { kinds: vec![Cancellation.into()], ..types(&[Settled]) }, Vec::new()),
        (
            "all at once",
            Filter {
                order_ids: orders(&["ab", "bc", "de"]).order_ids,
                dispute_ids: disputes(&[offer, cancellation]).dispute_ids,
                party_id: "bob".to_owned(),
                kinds: money,
                event_types: types(&[Declined, Settled, Opened]).event_types,
            },
            vec![1, 2, 6],
        ),
    ];
    for (name, filter, expected) in cases {
        check(&service, &story, name, filter, &expected).await;
    }
}

/// Copies of the one dispute of the service, as far as anything knows of them, and as many events of its order.
async fn very_many_disputes(service: &Service, count: usize) {
    let postgres = service.url.starts_with("postgres");
    let columns = if postgres {
        "SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'disputes'"
    } else {
        "SELECT name FROM pragma_table_info('disputes')"
    };
    let columns = database::rows(&service.url, columns).await;
    let columns = columns.iter().map(|row| row.try_get::<String>("", "name").unwrap());
    let columns = columns.filter(|column| column != "dispute_id").collect::<Vec<_>>().join(", ");
    let numbers = if postgres {
        format!("SELECT gen_random_uuid(), {columns} FROM disputes, generate_series(1, {count})")
    } else {
        format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
            SELECT randomblob(16), {columns} FROM disputes, numbers"
        )
    };
    service.execute(&format!("INSERT INTO disputes (dispute_id, {columns}) {numbers}")).await;
    service.clone_last_event(count).await;
}

async fn an_order_with_very_many_disputes_can_be_asked_for(mut service: Service) {
    const MANY: usize = 33_000;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    for id in ["large", "small"] {
        service.platform().upsert(order(id)).await;
    }
    let first = ann.ask(update("large")).await.unwrap();
    bob.reply(answer(&first.dispute_id)).await.unwrap();
    very_many_disputes(&service, MANY).await;
    let small = ann.ask(update("small")).await.unwrap();
    let last = ann.ask(update("large")).await.unwrap();
    // Nothing is in memory: the log itself is read.
    service.restart().await;
    let end = i64::try_from(MANY).unwrap() + 4;
    let near_the_end = service.platform().events_of(None, 500).await.0;
    assert_eq!(near_the_end.len(), MANY + 4);
    let of_orders =
        |ids: &[&str]| Filter { order_ids: ids.iter().map(|id| (*id).to_owned()).collect(), ..Default::default() };
    let of_dispute = |id: &str| Filter { dispute_ids: vec![id.to_owned()], ..Default::default() };
    for mut caller in [service.platform(), service.user("bob")] {
        let (both, _) = caller.events_of(Some(of_orders(&["large", "small", "none"])), 500).await;
        assert!(both == near_the_end, "all of both, in order");
        let (of_small, _) = caller.events_of(Some(of_orders(&["small"])), 500).await;
        assert_eq!(of_small.len(), 1);
        assert_eq!(of_small[0].dispute.as_ref().unwrap().dispute_id, small.dispute_id);
        let (of_first, _) = caller.events_of(Some(of_dispute(&first.dispute_id)), 500).await;
        assert_eq!(of_first, near_the_end[..2]);
        for (filter, dispute) in [(of_orders(&["small"]), &small), (of_dispute(&last.dispute_id), &last)] {
            let request =
                v1::WatchDisputesRequest { filter: Some(filter), include_snapshot: true, ..Default::default() };
            let event = caller.watch(request.clone()).await.event().await;
            assert_eq!(event.dispute.unwrap().dispute_id, dispute.dispute_id, "a snapshot");
            let request =
                v1::WatchDisputesRequest { include_snapshot: false, start: from_beginning().start, ..request };
            let event = caller.watch(request).await.event().await;
            assert_eq!(event.dispute.unwrap().dispute_id, dispute.dispute_id);
        }
    }
    assert_eq!(service.ends().await.head, end);
}
