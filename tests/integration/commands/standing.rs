//! The completion rate of a seller.

use dispute_service::proto::v1;
use tonic::Code;

use crate::support::callers::{Facts, Party, facts, invalid, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    the_rate_counts_the_orders_that_ended_within_the_window,
    a_cancellation_by_dispute_counts_unless_support_says_otherwise,
    a_standing_is_for_the_seller_support_and_the_platform,
);

const DAY: i64 = 86_400;

async fn standing(mut caller: Party, seller: &str) -> Result<v1::SellerStanding, Facts> {
    let request = v1::GetSellerStandingRequest { seller_id: seller.to_owned() };
    let answer = caller.orders.get_seller_standing(request).await.map_err(|status| facts(&status))?;
    Ok(answer.into_inner().standing.unwrap())
}

fn ended(id: &str, status: v1::OrderStatus, end: i64, counts: Option<bool>) -> v1::Order {
    v1::Order { status: status.into(), end_time: Some(at(end)), cancellation_counts: counts, ..order(id) }
}

async fn the_rate_counts_the_orders_that_ended_within_the_window(service: Service) {
    use v1::OrderStatus::{Cancelled, Completed};
    let empty = standing(service.user("bob"), "bob").await.unwrap();
    assert_eq!((empty.completed, empty.cancelled, empty.completion_rate_bps), (0, 0, None), "no rate, not 0");
    assert_eq!((empty.window_start_time, empty.window_end_time), (Some(at(-60 * DAY)), Some(at(0))));
    let orders = vec![
        ended("just-inside", Completed, -60 * DAY + 1, None),
        ended("just-outside", Completed, -60 * DAY, None),
        ended("now", Completed, 0, None),
        ended("cancelled", Cancelled, -1, None),
        ended("cancelled-not-counted", Cancelled, -1, Some(false)),
        ended("tomorrow", Cancelled, DAY, None),
        order("goes-on"),
        v1::Order { seller_id: "cid".to_owned(), ..ended("of-another", Cancelled, -1, None) },
    ];
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let standing = standing(service.user("bob"), "bob").await.unwrap();
    let expected = v1::SellerStanding {
        seller_id: "bob".to_owned(),
        completed: 2,
        cancelled: 1,
        cancelled_not_counted: 1,
        completion_rate_bps: Some(6_666),
        ..empty
    };
    assert_eq!(standing, expected);
}

async fn a_cancellation_by_dispute_counts_unless_support_says_otherwise(service: Service) {
    let done = ended("o0", v1::OrderStatus::Completed, 0, None);
    service.platform().upsert(done).await;
    for id in ["o1", "o2"] {
        service.platform().upsert(order(id)).await;
    }
    let (mut ann, mut bob, mut support) = (service.user("ann"), service.user("bob"), service.support());
    let option = &bob.options("o1").await.options[1];
    assert_eq!((option.rate_before_bps, option.rate_after_bps), (Some(10_000), Some(5_000)), "what it will do");
    let asked = bob.cancel(cancellation("o1")).await.unwrap();
    ann.accept(accept(&asked.dispute_id)).await.unwrap();
    let after = standing(bob.clone(), "bob").await.unwrap();
    assert_eq!((after.cancelled, after.completion_rate_bps), (1, Some(5_000)), "and what it did");

    let asked = ann.cancel(cancellation("o2")).await.unwrap();
    support.escalate(escalate(&asked.dispute_id)).await.unwrap();
    let request =
        v1::DecideDisputeRequest { counts_against_completion_rate: Some(false), ..cancel_order(&asked.dispute_id) };
    support.decide(request).await.unwrap();
    let after = standing(bob.clone(), "bob").await.unwrap();
    assert_eq!((after.cancelled_not_counted, after.completion_rate_bps), (1, Some(5_000)));
    assert_eq!(ann.options("o2").await.options[0].rate_before_bps, None, "rates are for the seller only");
}

async fn a_standing_is_for_the_seller_support_and_the_platform(service: Service) {
    for caller in [service.user("bob"), service.support(), service.platform()] {
        assert_eq!(standing(caller, "bob").await.unwrap().seller_id, "bob");
    }
    let missing = refusal(Code::PermissionDenied, "SCOPE_MISSING", &[("scope", "support")]);
    assert_eq!(standing(service.user("ann"), "bob").await.unwrap_err(), missing);
    assert_eq!(standing(service.support(), "not an id").await.unwrap_err(), invalid(&["seller_id"]));
}
