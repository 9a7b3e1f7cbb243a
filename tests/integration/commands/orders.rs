//! Orders, end to end.

use dispute_service::proto::v1;
use tonic::Code;

use crate::support::callers::{facts, invalid, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    an_order_is_taken_in_as_it_was_said,
    an_upsert_that_is_not_newer_changes_nothing,
    the_identity_of_an_order_never_changes,
    an_order_that_a_dispute_cancelled_stays_cancelled,
    an_order_that_ends_supersedes_its_disputes,
    a_batch_is_taken_in_all_or_nothing,
    every_field_that_is_wrong_is_named_at_once,
    money_is_exact_in_every_currency,
);

async fn an_order_is_taken_in_as_it_was_said(service: Service) {
    let said = v1::Order {
        title: " A logo\r\n".to_owned(),
        paid: Some(usd(12_345)),
        refunded_elsewhere: Some(usd(45)),
        create_time: Some(at(-100)),
        due_time: Some(prost_types::Timestamp { nanos: 123_456_789, ..at(1_000) }),
        cancellation_counts: Some(false),
        source_version: 7,
        // Output fields are ignored.
        refunded: Some(usd(999)),
        cancelled_by_dispute_id: "nonsense".to_owned(),
        revision: 99,
        ..order("o1")
    };
    let stored = service.platform().upsert(said.clone()).await;
    let expected = v1::Order {
        title: "A logo".to_owned(),
        due_time: Some(prost_types::Timestamp { nanos: 123_456_000, ..at(1_000) }),
        refunded: Some(usd(0)),
        cancelled_by_dispute_id: String::new(),
        revision: 1,
        ..said
    };
    assert_eq!(stored, expected, "instants are kept in microseconds");
    for mut viewer in [service.user("ann"), service.user("bob"), service.support(), service.platform()] {
        assert_eq!(viewer.order("o1").await, expected);
    }
}

async fn an_upsert_that_is_not_newer_changes_nothing(service: Service) {
    let mut platform = service.platform();
    let stored = platform.upsert(v1::Order { source_version: 5, ..order("o1") }).await;
    for source_version in [5, 4, 1] {
        let late = v1::Order { source_version, buyer_id: "somebody".to_owned(), ..order("o1") };
        assert_eq!(platform.upsert(late).await, stored);
    }
    let newer = platform.upsert(v1::Order { source_version: 6, title: "New".to_owned(), ..order("o1") }).await;
    assert_eq!((newer.title.as_str(), newer.revision), ("New", 2));
}

async fn the_identity_of_an_order_never_changes(service: Service) {
    let mut platform = service.platform();
    platform.upsert(order("o1")).await;
    let changes = [
        ("buyer_id", v1::Order { buyer_id: "eve".to_owned(), ..order("o1") }),
        ("seller_id", v1::Order { seller_id: "eve".to_owned(), ..order("o1") }),
        ("price", v1::Order { price: Some(usd(1)), ..order("o1") }),
    ];
    for (field, changed) in changes {
        let request = v1::UpsertOrderRequest { order: Some(v1::Order { source_version: 2, ..changed }) };
        let refused = platform.orders.upsert_order(request).await.unwrap_err();
        let expected =
            refusal(Code::FailedPrecondition, "ORDER_IDENTITY_CHANGED", &[("orderId", "o1"), ("field", field)]);
        assert_eq!(facts(&refused), expected);
    }
}

async fn an_order_that_a_dispute_cancelled_stays_cancelled(service: Service) {
    let mut platform = service.platform();
    platform.upsert(order("o1")).await;
    let opened = service.user("ann").disputes.request_cancellation(cancellation("o1")).await.unwrap();
    let dispute = opened.into_inner().dispute.unwrap().dispute_id;
    service.user("bob").disputes.accept_dispute(accept(&dispute)).await.unwrap();
    let completed = v1::Order { status: v1::OrderStatus::Completed.into(), source_version: 2, ..order("o1") };
    let stored = platform.upsert(completed).await;
    assert_eq!(stored.status(), v1::OrderStatus::Cancelled);
    assert_eq!((stored.cancelled_by_dispute_id, stored.end_time), (dispute, Some(at(0))));
}

async fn an_order_that_ends_supersedes_its_disputes(service: Service) {
    let mut platform = service.platform();
    platform.upsert(order("o1")).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let offered = bob.disputes.offer_partial_refund(offer("o1", 100)).await.unwrap().into_inner().dispute.unwrap();
    ann.disputes.request_order_update(update("o1")).await.unwrap();
    platform.upsert(v1::Order { status: v1::OrderStatus::Completed.into(), source_version: 2, ..order("o1") }).await;
    let superseded = bob.dispute(&offered.dispute_id).await;
    assert_eq!(superseded.status(), v1::DisputeStatus::Superseded);
    assert_eq!(superseded.resolved_by(), v1::ResolvedBy::OrderEnded);
    let events = platform.events().await;
    assert_eq!(events.len(), 4);
    let actor = events[3].actor.clone().unwrap();
    assert_eq!((actor.role(), actor.id.as_str()), (v1::ActorRole::Platform, "shop"));
    let refused = ann.disputes.accept_dispute(accept(&offered.dispute_id)).await.unwrap_err();
    assert_eq!(facts(&refused), refusal(Code::FailedPrecondition, "STATUS_NOT_ALLOWED", &[("status", "SUPERSEDED")]));
}

async fn a_batch_is_taken_in_all_or_nothing(service: Service) {
    let mut platform = service.platform();
    platform.upsert(order("o2")).await;
    let mut upsert = async |orders: Vec<v1::Order>| {
        platform.orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await
    };
    let changed = v1::Order { price: Some(usd(1)), source_version: 2, ..order("o2") };
    let refused = upsert(vec![order("o1"), changed, order("o3")]).await.unwrap_err();
    assert_eq!(facts(&refused).reason, "ORDER_IDENTITY_CHANGED");
    assert_eq!(service.number("SELECT count(*) FROM orders").await, 1, "nothing of it was taken in");
    let taken = upsert((0..500).map(|number| order(&format!("b{number}"))).collect()).await.unwrap().into_inner();
    let ids: Vec<_> = taken.orders.iter().map(|order| order.order_id.clone()).collect();
    assert_eq!(ids, (0..500).map(|number| format!("b{number}")).collect::<Vec<_>>(), "in request order");
    let many = upsert((0..501).map(|number| order(&format!("c{number}"))).collect()).await.unwrap_err();
    assert_eq!(facts(&many), invalid(&["orders"]));
    let twice = upsert(vec![order("d1"), order("d2"), order("d1")]).await.unwrap_err();
    assert_eq!(facts(&twice), invalid(&["orders[2].order_id"]));
    assert_eq!(upsert(Vec::new()).await.unwrap().into_inner().orders, []);
}

async fn every_field_that_is_wrong_is_named_at_once(service: Service) {
    let mut platform = service.platform();
    let mut upsert = async |order: Option<v1::Order>| {
        facts(&platform.orders.upsert_order(v1::UpsertOrderRequest { order }).await.unwrap_err())
    };
    assert_eq!(upsert(None).await, invalid(&["order"]));
    let wrong = v1::Order {
        order_id: "a b".to_owned(),
        buyer_id: String::new(),
        title: "x".repeat(201),
        price: Some(usd(-1)),
        refunded_elsewhere: Some(usd(-1)),
        status: 99,
        due_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
        source_version: 0,
        ..order("o1")
    };
    let fields =
        ["order_id", "buyer_id", "title", "price", "refunded_elsewhere", "status", "due_time", "source_version"];
    let fields = fields.map(|field| format!("order.{field}"));
    assert_eq!(upsert(Some(wrong)).await, invalid(&fields.each_ref().map(String::as_str)));
    let eur = dispute_service::proto::Money { currency_code: "EUR".to_owned(), ..usd(20_000) };
    let cases = [
        ("order.seller_id", v1::Order { seller_id: "ann".to_owned(), ..order("o1") }),
        ("order.price", v1::Order { price: None, ..order("o1") }),
        ("order.paid", v1::Order { paid: Some(usd(9_999)), ..order("o1") }),
        ("order.paid.currency_code", v1::Order { paid: Some(eur), ..order("o1") }),
        ("order.end_time", v1::Order { end_time: Some(at(0)), ..order("o1") }),
        ("order.title", v1::Order { title: "a\0b".to_owned(), ..order("o1") }),
        (
            "order.create_time",
            v1::Order { create_time: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }), ..order("o1") },
        ),
    ];
    for (field, order) in cases {
        assert_eq!(upsert(Some(order)).await, invalid(&[field]));
    }
}

async fn money_is_exact_in_every_currency(service: Service) {
    let money = |currency_code: &str, units, nanos| dispute_service::proto::Money {
        currency_code: currency_code.to_owned(),
        units,
        nanos,
    };
    let mut platform = service.platform();
    let cases = [
        ("o-jpy", money("JPY", 333, 0), money("JPY", 199, 0)),
        ("o-kwd", money("KWD", 1, 1_000_000), money("KWD", 0, 600_000_000)),
        ("o-usd", money("USD", 98, 990_000_000), money("USD", 59, 390_000_000)),
        ("o-big", money("USD", 92_233_720_368_547_758, 70_000_000), money("USD", 55_340_232_221_128_654, 840_000_000)),
    ];
    for (id, price, cap) in cases {
        let stored = platform.upsert(v1::Order { price: Some(price.clone()), ..order(id) }).await;
        assert_eq!(stored.paid, Some(price.clone()));
        assert_eq!(platform.order(id).await.price, Some(price), "{id}");
        let options = v1::GetDisputeOptionsRequest { order_id: id.to_owned(), ..Default::default() };
        let options = service.user("bob").disputes.get_dispute_options(options).await.unwrap().into_inner();
        assert_eq!(options.options[0].max_amount, Some(cap.clone()), "{id}");
        let request = v1::OfferPartialRefundRequest { amount: Some(cap), ..offer(id, 1) };
        service.user("bob").disputes.offer_partial_refund(request).await.unwrap();
    }
    for (price, field) in [
        (money("JPY", 1, 500_000_000), "order.price"),
        (money("USD", 0, 1), "order.price"),
        (money("XXX", 1, 0), "order.price.currency_code"),
        (money("usd", 1, 0), "order.price.currency_code"),
        (money("USD", i64::MAX, 0), "order.price"),
        (money("USD", 1, -1), "order.price"),
    ] {
        let request = v1::UpsertOrderRequest { order: Some(v1::Order { price: Some(price), ..order("o-bad") }) };
        assert_eq!(facts(&platform.orders.upsert_order(request).await.unwrap_err()), invalid(&[field]));
    }
}
