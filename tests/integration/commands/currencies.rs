//! Currencies that the list no longer has: what was taken in with them stays readable, and goes on.

use dispute_service::proto::{Money, v1};
use tonic::Code;

use crate::support::callers::facts;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    an_order_in_a_withdrawn_currency_goes_on,
    a_new_order_in_a_withdrawn_currency_is_refused,
    the_decimals_of_an_order_are_those_that_it_was_stored_with,
);

fn money(currency: &str, units: i64, nanos: i32) -> Money {
    Money { currency_code: currency.to_owned(), units, nanos }
}

fn order_in(currency: &str, id: &str, source_version: i64) -> v1::Order {
    let price = Some(money(currency, 100, 0));
    v1::Order { price, source_version, ..order(id) }
}

fn fields(status: &tonic::Status) -> Vec<String> {
    let violations = tonic_types::StatusExt::get_details_bad_request(status).unwrap().field_violations;
    violations.into_iter().map(|violation| violation.field).collect()
}

async fn an_order_in_a_withdrawn_currency_goes_on(mut service: Service) {
    // ANG was withdrawn in 2025; ZZZ never was one.
    for (currency, other) in [("ANG", "o1"), ("ZZZ", "o2")] {
        service.platform().upsert(order_in("USD", other, 1)).await;
        service.user("bob").offer(offer(other, 1_000)).await.unwrap();
        for table in ["orders", "disputes"] {
            let sql = format!(
                "UPDATE {table} SET currency = '{currency}' WHERE order_id = '{other}' AND currency IS NOT NULL"
            );
            service.execute(&sql).await;
        }
    }
    service.restart().await;
    for (currency, id) in [("ANG", "o1"), ("ZZZ", "o2")] {
        assert_eq!(service.user("ann").order(id).await.price, Some(money(currency, 100, 0)));
        let request = v1::ListDisputesRequest { order_id: id.to_owned(), ..Default::default() };
        let offered = service.platform().list(request).await.disputes.pop().unwrap();
        assert_eq!(offered.refund_amount, Some(money(currency, 10, 0)));
        let paid = Some(money(currency, 120, 500_000_000));
        let amended = v1::Order { paid: paid.clone(), ..order_in(currency, id, 2) };
        assert_eq!(service.platform().upsert(amended.clone()).await.paid, paid);
        let orders = vec![v1::Order { source_version: 3, ..amended.clone() }, order(&format!("new-{id}"))];
        service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
        let too_precise = v1::Order { paid: Some(money(currency, 120, 1)), ..order_in(currency, id, 4) };
        let request = v1::UpsertOrderRequest { order: Some(too_precise) };
        assert_eq!(fields(&service.platform().orders.upsert_order(request).await.unwrap_err()), ["order.paid"]);
        let changed = v1::UpsertOrderRequest {
            order: Some(v1::Order { price: Some(money(currency, 90, 0)), ..order_in(currency, id, 4) }),
        };
        let refused = facts(&service.platform().orders.upsert_order(changed).await.unwrap_err());
        assert_eq!(refused.reason, "ORDER_IDENTITY_CHANGED");

        service.user("ann").decline(decline(&offered.dispute_id)).await.unwrap();
        let request = |cents| v1::OfferPartialRefundRequest {
            amount: Some(money(currency, 0, cents * 10_000_000)),
            ..offer(id, 1)
        };
        let mut bob = service.user("bob");
        let offered = bob.offer(request(50)).await.unwrap();
        assert_eq!(offered.refund_amount, Some(money(currency, 0, 500_000_000)));
        service.support().escalate(escalate(&offered.dispute_id)).await.unwrap();
        let decision = v1::decide_dispute_request::Decision::Refund(money(currency, 2, 0));
        let decide = v1::DecideDisputeRequest { decision: Some(decision), ..refund(&offered.dispute_id, 1) };
        let decided = service.support().decide(decide).await.unwrap();
        assert_eq!(decided.outcome.unwrap().refund, Some(money(currency, 2, 0)));
        service.platform().report(settled(&offered.dispute_id, "pay-1")).await.unwrap();
        assert_eq!(service.platform().order(id).await.refunded, Some(money(currency, 2, 0)));
        // A stranger learns nothing of the order's currency.
        let eve = service.user("eve").offer(request(50)).await.unwrap_err();
        let nowhere = v1::OfferPartialRefundRequest { order_id: "nowhere".to_owned(), ..request(50) };
        assert_eq!(eve, service.user("eve").offer(nowhere).await.unwrap_err());
        assert_eq!((eve.code, eve.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
    }
    assert_eq!(service.platform().events().await.len(), 12);
}

async fn a_new_order_in_a_withdrawn_currency_is_refused(service: Service) {
    let broken = v1::Order { source_version: 0, ..order_in("ANG", "o1", 1) };
    let request = v1::UpsertOrderRequest { order: Some(broken) };
    let refused = service.platform().orders.upsert_order(request).await.unwrap_err();
    assert_eq!(fields(&refused), ["order.price.currency_code", "order.source_version"], "all at once");
}

async fn the_decimals_of_an_order_are_those_that_it_was_stored_with(service: Service) {
    // As if the list had had three decimals of the one, and none of the other, when they came.
    service.platform().upsert(order_in("USD", "o1", 1)).await;
    service.platform().upsert(order_in("USD", "o2", 1)).await;
    let scaled = |id: &str, exponent: i32, minor: i64| {
        format!(
            "UPDATE orders SET exponent = {exponent}, price_minor = {minor}, paid_minor = {minor} WHERE order_id = '{id}'"
        )
    };
    service.execute(&scaled("o1", 3, 100_000)).await;
    service.execute(&scaled("o2", 0, 100)).await;
    for id in ["o1", "o2"] {
        assert_eq!(service.platform().order(id).await.price, Some(money("USD", 100, 0)));
        service.platform().upsert(order_in("USD", id, 2)).await;
        let offered = service.user("bob").offer(offer(id, 1_000)).await.unwrap();
        assert_eq!(offered.refund_amount, Some(money("USD", 10, 0)));
    }
    let paid = Some(money("USD", 100, 1_000_000));
    let amended = service.platform().upsert(v1::Order { paid: paid.clone(), ..order_in("USD", "o1", 3) }).await;
    assert_eq!(amended.paid, paid);
    let cents = v1::OfferPartialRefundRequest { amount: Some(money("USD", 0, 500_000_000)), ..offer("o2", 1) };
    service.user("ann").cancel(cancellation("o2")).await.unwrap();
    let refused = service.user("bob").offer(cents).await.unwrap_err();
    assert_eq!(refused.code, Code::FailedPrecondition, "first what is open");
    // What the order cannot count is refused, and neither rounded nor counted in other units.
    let half = Some(money("USD", 120, 500_000_000));
    let amended = |paid, refunded_elsewhere| v1::Order { paid, refunded_elsewhere, ..order_in("USD", "o2", 3) };
    for (order, field) in [(amended(half.clone(), None), "paid"), (amended(None, half), "refunded_elsewhere")] {
        let request = v1::UpsertOrderRequest { order: Some(order) };
        assert_eq!(fields(&service.platform().orders.upsert_order(request).await.unwrap_err()), [field]);
    }
    assert_eq!(service.platform().order("o2").await.paid, Some(money("USD", 100, 0)));
    service.platform().upsert(order_in("USD", "o3", 1)).await;
    service.execute(&scaled("o3", 0, 100)).await;
    let cents = v1::OfferPartialRefundRequest { amount: Some(money("USD", 0, 500_000_000)), ..offer("o3", 1) };
    let refused = service.user("bob").disputes.offer_partial_refund(cents).await.unwrap_err();
    assert_eq!(fields(&refused), ["amount"]);
}
