//! What the order system says: late, twice and out of order.

use super::fixtures::*;
use crate::domain::PartyRole::{Buyer, Seller};
use crate::domain::*;

#[test]
fn an_upsert_that_is_not_newer_changes_nothing() {
    let mut story = Story::with_report(report(OrderStatus::InProgress, 5));
    let stored = story.order().clone();
    for version in [5, 4, 1] {
        let stranger = UserId::parse("somebody-else").unwrap();
        let changed = OrderReport {
            title: "Changed".to_owned(),
            parties: Parties { buyer: stranger, seller: seller().user },
            ..report(OrderStatus::Completed, version)
        };
        assert_eq!(story.upsert(changed), Ok(stored.clone()), "version {version}, judged before anything else");
    }
}

#[test]
fn buyer_seller_and_price_never_change() {
    let other = UserId::parse("other").unwrap();
    let newer = || report(OrderStatus::InProgress, 2);
    let cases = [
        (OrderIdentity::Buyer, OrderReport { parties: Parties { buyer: other.clone(), ..newer().parties }, ..newer() }),
        (OrderIdentity::Seller, OrderReport { parties: Parties { seller: other, ..newer().parties }, ..newer() }),
        (OrderIdentity::Price, OrderReport { price: usd(9_999), ..newer() }),
        (
            OrderIdentity::Price,
            OrderReport { price: Money::new(10_000, Currency::from_code("EUR").unwrap()), ..newer() },
        ),
    ];
    for (changed, report) in cases {
        let refusal = Refusal::OrderIdentityChanged { order: order_id(), changed };
        let mut story = Story::new(OrderStatus::InProgress);
        assert_eq!(story.refused(&platform(), &Command::UpsertOrder(Box::new(report))), refusal);
    }
}

#[test]
fn an_order_is_created_when_it_is_first_heard_of_unless_it_says_when() {
    let mut story = Story::new(OrderStatus::InProgress);
    assert_eq!(story.order().create_time, at(0));
    story.now = at(5);
    story.upsert(OrderReport { create_time: Some(at(3)), ..report(OrderStatus::InProgress, 2) }).unwrap();
    assert_eq!(story.order().create_time, at(0), "a later create_time is ignored");
    let said = Story::with_report(OrderReport { create_time: Some(at(3)), ..report(OrderStatus::InProgress, 1) });
    assert_eq!(said.order().create_time, at(3));
}

#[test]
fn the_end_time_goes_with_an_ended_status() {
    let mut story = Story::new(OrderStatus::InProgress);
    assert_eq!(story.order().end_time, None);
    story.now = at(5);
    assert_eq!(story.status(OrderStatus::Completed).end_time, Some(at(5)), "unset is now");
    story.now = at(6);
    assert_eq!(story.status(OrderStatus::Completed).end_time, Some(at(5)), "said again, it ended when it ended");
    let said = OrderReport { end_time: Some(at(4)), ..report(OrderStatus::Completed, 9) };
    assert_eq!(story.upsert(said).unwrap().end_time, Some(at(4)), "the order system knows best");
    assert_eq!(story.status(OrderStatus::InRevision).end_time, None, "an order can be taken up again");
}

#[test]
fn the_revision_grows_with_every_change() {
    let mut story = Story::new(OrderStatus::InProgress);
    assert_eq!(story.order().revision, 1);
    assert_eq!(story.status(OrderStatus::Delivered).revision, 2);
    story.done(&seller(), &offer(1, 100));
    assert_eq!(story.order().revision, 2, "a dispute is not a change of the order");
    story.done(&buyer(), &accept(1));
    assert_eq!(story.order().revision, 3, "its outcome is");
}

#[test]
fn what_a_dispute_cancelled_stays_cancelled_whatever_arrives() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&buyer(), &cancellation(1, Buyer));
    story.now = at(7);
    story.done(&seller(), &accept(1));
    let late = OrderReport {
        title: "Done!".to_owned(),
        end_time: Some(at(3)),
        cancellation_counts: false,
        ..report(OrderStatus::Completed, 2)
    };
    let order = story.upsert(late).unwrap();
    assert_eq!((order.status, order.end_time), (OrderStatus::Cancelled.into(), Some(at(7))));
    assert_eq!((order.cancelled_by, order.cancellation_counts), (Some(dispute_id(1)), true));
    assert_eq!((order.title.as_str(), order.refunded), ("Done!", usd(10_000)), "the rest is taken, refunds are kept");
}

#[test]
fn a_cancellation_by_a_dispute_counts_though_the_order_system_had_said_that_it_would_not() {
    let uncounted = || OrderReport { cancellation_counts: false, ..report(OrderStatus::InProgress, 1) };
    type Way = fn(&mut Story);
    let ways: [(&str, Way); 4] = [
        ("accepted", |story| drop(story.done(&seller(), &accept(1)))),
        ("crossed", |story| drop(story.done(&seller(), &cancellation(2, Seller)))),
        ("expired", |story| story.now = at(172_800)),
        ("decided", |story| {
            story.done(&support(), &escalate(1));
            story.done(&support(), &rule(1, Ruling::CancelOrder { counts: true }));
        }),
    ];
    for (name, way) in ways {
        let mut story = Story::with_report(uncounted());
        story.done(&buyer(), &cancellation(1, Buyer));
        assert!(!story.order().cancellation_counts, "{name}");
        way(&mut story);
        story.expire_overdue();
        assert_eq!(story.ending(1).2, cancelled(10_000), "{name}");
        assert!(story.order().cancellation_counts, "{name}");
    }
}

#[test]
fn what_the_clock_did_stands_though_the_upsert_is_refused() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&buyer(), &cancellation(1, Buyer));
    story.done(&buyer(), &update(2));
    let before = story.events.len();
    story.now = at(172_800);
    let other_price = OrderReport { price: usd(9_999), ..report(OrderStatus::Delivered, 2) };
    let refusal = story.refused(&platform(), &Command::UpsertOrder(Box::new(other_price)));
    assert_eq!(refusal, Refusal::OrderIdentityChanged { order: order_id(), changed: OrderIdentity::Price });
    assert_eq!(story.ending(1), (DisputeStatus::Expired, ResolvedBy::Deadline, cancelled(10_000)));
    let expected = [(EventType::DeadlineExpired, dispute_id(1)), (EventType::Superseded, dispute_id(2))];
    assert_eq!(story.happened(before), expected);
    assert_eq!((story.order().status, story.order().source_version), (OrderStatus::Cancelled.into(), 1));
}

#[test]
fn an_order_that_leaves_the_statuses_allowed_supersedes_what_is_pending() {
    use crate::domain::OrderStatus::*;
    use ResolvedBy::{OrderCancelled, OrderCompleted, OrderStatus as ByStatus};
    let cases: [(&str, Caller, Command, OrderStatus, Option<ResolvedBy>); 7] = [
        ("completion ends an offer", seller(), offer(1, 100), Completed, Some(OrderCompleted)),
        ("completion ends a cancellation", buyer(), cancellation(1, Buyer), Completed, Some(OrderCompleted)),
        ("cancellation ends a request for an update", buyer(), update(1), Cancelled, Some(OrderCancelled)),
        ("cancellation ends a cancellation", seller(), cancellation(1, Seller), Cancelled, Some(OrderCancelled)),
        (
            "back before the beginning, an offer is not allowed",
            seller(),
            offer(1, 100),
            RequirementsPending,
            Some(ByStatus),
        ),
        ("back before the beginning, a cancellation is", seller(), cancellation(1, Seller), RequirementsPending, None),
        ("delivery ends nothing", seller(), offer(1, 100), Delivered, None),
    ];
    for (name, caller, command, status, by) in cases {
        let mut story = Story::new(InProgress);
        story.done(&caller, &command);
        story.status(status);
        let ending =
            story.dispute(1).resolution.as_ref().map(|resolution| (resolution.status, resolution.by.known().unwrap()));
        assert_eq!(ending, by.map(|by| (DisputeStatus::Superseded, by)), "{name}");
        if by.is_some() {
            assert_eq!(story.events.last().unwrap().actor, Actor::Platform(platform().user), "{name}");
        }
    }
}

#[test]
fn what_is_left_is_never_below_nothing() {
    let mut story = Story::new(OrderStatus::InProgress);
    let cases =
        [(10_000, 0, 10_000), (15_000, 0, 15_000), (10_000, 9_999, 1), (10_000, 10_001, 0), (i64::MAX, i64::MAX, 0)];
    for (version, (paid, elsewhere, left)) in (2..).zip(cases) {
        let report = OrderReport {
            paid: usd(paid),
            refunded_elsewhere: usd(elsewhere),
            ..report(OrderStatus::InProgress, version)
        };
        assert_eq!(story.upsert(report).unwrap().left(), usd(left));
    }
}
