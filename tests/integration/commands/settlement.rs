//! The money after the outcome: attempts to pay, what is told twice, what is voided, and what the order system says of
//! the money meanwhile.

use dispute_service::proto::{Money, v1};
use tonic::Code;
use v1::{EventType, SettlementStatus};

use crate::support::callers::{Facts, Party, invalid, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    each_attempt_to_pay_has_a_key_of_its_own,
    a_result_that_was_taken_can_be_told_again_whatever_came_between,
    what_does_not_follow_is_refused_with_the_settlements_status,
    the_attempt_is_judged_after_the_refund_and_before_the_rest,
    the_orders_status_does_not_matter,
    what_is_voided_is_left_to_be_refunded_again,
    a_voided_cancellation_stays_one,
    what_goes_back_too_much_is_taken_in_and_nothing_more_can_be_refunded,
    amounts_at_the_limit_do_not_overflow,
);

/// An offer of 25.00 on this order that was accepted.
async fn refunded(service: &Service, id: &str) -> String {
    let offered = service.order_with_offer(id, 2_500).await;
    service.user("ann").accept(accept(&offered.dispute_id)).await.unwrap().dispute_id
}

fn of(attempt: i32, report: v1::ReportSettlementRequest) -> v1::ReportSettlementRequest {
    v1::ReportSettlementRequest { attempt, ..report }
}

/// Reports, and compares the status and the attempt after it.
async fn take(platform: &mut Party, report: v1::ReportSettlementRequest, status: SettlementStatus, attempt: i32) {
    let told = format!("{report:?}");
    let id = report.dispute_id.clone();
    let before = platform.dispute(&id).await;
    let after = platform.report(report).await.unwrap_or_else(|facts| panic!("{told}: {facts:?}"));
    let settlement = after.settlement.clone().unwrap();
    assert_eq!((settlement.status(), settlement.attempt), (status, attempt), "{told}");
    assert_eq!(settlement.idempotency_key, format!("refund-{id}-{attempt}"), "{told}");
    assert_eq!(settlement.amount, before.settlement.unwrap().amount, "{told}");
    assert_eq!((after.revision, after.outcome.as_ref()), (before.revision + 1, before.outcome.as_ref()), "{told}");
    assert_ne!(after.etag, before.etag);
    assert_eq!(platform.dispute(&id).await, after);
}

/// Reports again what was reported before.
async fn repeat(platform: &mut Party, report: v1::ReportSettlementRequest) {
    let before =
        (platform.dispute(&report.dispute_id).await, platform.order("o1").await, platform.events().await.len());
    let told = format!("{report:?}");
    let after = platform.report(report).await.unwrap_or_else(|facts| panic!("{told}: {facts:?}"));
    assert_eq!((after, platform.order("o1").await, platform.events().await.len()), before, "{told}");
}

fn not_allowed(status: &str) -> Facts {
    refusal(Code::FailedPrecondition, "STATUS_NOT_ALLOWED", &[("status", status)])
}

async fn each_attempt_to_pay_has_a_key_of_its_own(service: Service) {
    let id = refunded(&service, "o1").await;
    let id = id.as_str();
    let mut platform = service.platform();
    let mut watch = service.user("ann").watch(v1::WatchDisputesRequest::default()).await;
    let due = platform.dispute(id).await.settlement.unwrap();
    assert_eq!((due.status(), due.attempt), (SettlementStatus::Due, 1));
    assert_eq!(due.idempotency_key, format!("refund-{id}-1"));
    take(&mut platform, failed(id, "The card expired."), SettlementStatus::Failed, 2).await;
    take(&mut platform, of(2, failed(id, "The card expired.")), SettlementStatus::Failed, 3).await;
    take(&mut platform, of(1, settled(id, "late-1")), SettlementStatus::Settled, 1).await;
    take(&mut platform, returned(id, "The account is closed."), SettlementStatus::Returned, 4).await;
    take(&mut platform, settled(id, "pay-4"), SettlementStatus::Settled, 4).await;
    take(&mut platform, of(4, returned(id, "Once more.")), SettlementStatus::Returned, 5).await;
    take(&mut platform, voided(id, "Paid in cash."), SettlementStatus::Voided, 5).await;
    let texts = [("", "The card expired."), ("", "The card expired."), ("late-1", ""), ("", "The account is closed.")];
    let texts = texts.into_iter().chain([("pay-4", ""), ("", "Once more."), ("", "Paid in cash.")]);
    use EventType::{Settled, SettlementFailed, SettlementReturned, SettlementVoided};
    let types = [SettlementFailed, SettlementFailed, Settled, SettlementReturned, Settled, SettlementReturned];
    let events = watch.take(7).await;
    for ((event, r#type), (reference, detail)) in
        events.iter().zip(types.into_iter().chain([SettlementVoided])).zip(texts)
    {
        let settlement = event.dispute.clone().unwrap().settlement.unwrap();
        assert_eq!((event.r#type(), settlement.reference.as_str()), (r#type, reference));
        assert_eq!(settlement.detail, "", "never in an event: {detail}");
        let actor = v1::Actor { role: v1::ActorRole::Platform.into(), id: "shop".to_owned() };
        assert_eq!(event.actor, Some(actor));
    }
    assert_eq!(platform.dispute(id).await.settlement.unwrap().detail, "Paid in cash.");
    assert_eq!(service.support().dispute(id).await.settlement.unwrap().detail, "Paid in cash.");
    for party in ["ann", "bob"] {
        let seen = service.user(party).dispute(id).await.settlement.unwrap();
        assert_eq!((seen.detail.as_str(), seen.attempt), ("", 5), "why is not for the parties");
    }
    assert_eq!(platform.dispute(id).await.allowed_actions, [0_i32; 0], "voided is the end of it");
}

async fn a_result_that_was_taken_can_be_told_again_whatever_came_between(service: Service) {
    let id = refunded(&service, "o1").await;
    let id = id.as_str();
    let mut platform = service.platform();
    take(&mut platform, failed(id, "no"), SettlementStatus::Failed, 2).await;
    repeat(&mut platform, failed(id, "no")).await;
    repeat(&mut platform, of(1, failed(id, "in other words"))).await;
    repeat(&mut platform, failed(id, "no")).await;
    take(&mut platform, failed(id, "another no"), SettlementStatus::Failed, 3).await;
    repeat(&mut platform, of(2, failed(id, "no"))).await;
    take(&mut platform, of(3, failed(id, "another no")), SettlementStatus::Failed, 4).await;
    take(&mut platform, of(2, settled(id, "pay-2")), SettlementStatus::Settled, 2).await;
    for repeated in [settled(id, "pay-2"), of(2, settled(id, "")), of(1, failed(id, "")), of(2, failed(id, ""))] {
        repeat(&mut platform, repeated).await;
    }
    repeat(&mut platform, of(4, failed(id, "another attempt, of which nothing was said"))).await;
    take(&mut platform, of(2, returned(id, "back")), SettlementStatus::Returned, 5).await;
    for repeated in [returned(id, "back"), of(2, returned(id, "")), of(2, settled(id, "")), of(3, failed(id, ""))] {
        repeat(&mut platform, repeated).await;
    }
    take(&mut platform, of(5, voided(id, "gone")), SettlementStatus::Voided, 5).await;
    for repeated in [voided(id, "gone"), of(5, voided(id, "")), of(2, settled(id, "")), of(2, returned(id, ""))] {
        repeat(&mut platform, repeated).await;
    }
    repeat(&mut platform, of(1, failed(id, ""))).await;
    let request_id = "0190f000-0000-7000-8000-000000000001".to_owned();
    repeat(&mut platform, v1::ReportSettlementRequest { request_id, ..of(2, failed(id, "")) }).await;
}

async fn what_does_not_follow_is_refused_with_the_settlements_status(service: Service) {
    let id = refunded(&service, "o1").await;
    let id = id.as_str();
    let mut platform = service.platform();
    assert_eq!(platform.report(returned(id, "")).await.unwrap_err(), not_allowed("DUE"));
    take(&mut platform, failed(id, ""), SettlementStatus::Failed, 2).await;
    assert_eq!(platform.report(returned(id, "")).await.unwrap_err(), not_allowed("FAILED"));
    take(&mut platform, settled(id, "pay-2"), SettlementStatus::Settled, 2).await;
    let twice = refusal(Code::FailedPrecondition, "SETTLED_TWICE", &[("attempt", "2")]);
    assert_eq!(platform.report(of(1, settled(id, "pay-2"))).await.unwrap_err(), twice, "whatever its reference");
    for refused in [
        settled(id, "pay-1"),
        failed(id, ""),
        of(2, failed(id, "")),
        of(1, returned(id, "")),
        voided(id, ""),
        of(1, voided(id, "")),
    ] {
        assert_eq!(platform.report(refused).await.unwrap_err(), not_allowed("SETTLED"));
    }
    take(&mut platform, returned(id, ""), SettlementStatus::Returned, 3).await;
    assert_eq!(platform.report(returned(id, "other")).await.unwrap_err(), not_allowed("RETURNED"));
    assert_eq!(platform.report(of(3, returned(id, ""))).await.unwrap_err(), not_allowed("RETURNED"));
    take(&mut platform, voided(id, ""), SettlementStatus::Voided, 3).await;
    for refused in [
        settled(id, ""),
        of(3, settled(id, "")),
        of(1, settled(id, "")),
        failed(id, ""),
        of(3, failed(id, "")),
        returned(id, ""),
        of(3, returned(id, "")),
        voided(id, "other"),
        of(1, voided(id, "")),
    ] {
        assert_eq!(platform.report(refused).await.unwrap_err(), not_allowed("VOIDED"));
    }
}

async fn the_attempt_is_judged_after_the_refund_and_before_the_rest(service: Service) {
    let id = refunded(&service, "o1").await;
    let mut platform = service.platform();
    for attempt in [2, 3, i32::MAX, -1, i32::MIN] {
        for report in [settled(&id, ""), failed(&id, ""), returned(&id, ""), voided(&id, "")] {
            assert_eq!(platform.report(of(attempt, report)).await.unwrap_err(), invalid(&["attempt"]), "{attempt}");
        }
    }
    take(&mut platform, failed(&id, ""), SettlementStatus::Failed, 2).await;
    take(&mut platform, of(1, settled(&id, "")), SettlementStatus::Settled, 1).await;
    assert_eq!(platform.report(of(3, settled(&id, ""))).await.unwrap_err(), invalid(&["attempt"]), "2 is the highest");
    let twice = refusal(Code::FailedPrecondition, "SETTLED_TWICE", &[("attempt", "1")]);
    assert_eq!(platform.report(of(2, settled(&id, ""))).await.unwrap_err(), twice);
    let asked = service.user("ann").ask(update("o1")).await.unwrap().dispute_id;
    let nothing = refusal(Code::FailedPrecondition, "NOTHING_TO_SETTLE", &[]);
    assert_eq!(platform.report(of(7, settled(&asked, ""))).await.unwrap_err(), nothing);
    let nobody = "0190f000-0000-7000-8000-000000000001";
    let unknown = refusal(Code::NotFound, "DISPUTE_NOT_FOUND", &[("disputeId", nobody)]);
    assert_eq!(platform.report(of(7, settled(nobody, ""))).await.unwrap_err(), unknown);
    let both = v1::ReportSettlementRequest { attempt: -1, ..voided("x", &"x".repeat(201)) };
    assert_eq!(platform.report(both).await.unwrap_err(), invalid(&["dispute_id", "voided.detail", "attempt"]));
}

async fn the_orders_status_does_not_matter(service: Service) {
    let mut platform = service.platform();
    for status in 1..=6 {
        let order_id = format!("o{status}");
        let id = refunded(&service, &order_id).await;
        let moved = platform.upsert(v1::Order { status, source_version: 2, ..order(&order_id) }).await;
        take(&mut platform, settled(&id, ""), SettlementStatus::Settled, 1).await;
        take(&mut platform, returned(&id, ""), SettlementStatus::Returned, 2).await;
        take(&mut platform, failed(&id, ""), SettlementStatus::Failed, 3).await;
        assert_eq!(platform.order(&order_id).await, moved);
        take(&mut platform, voided(&id, ""), SettlementStatus::Voided, 3).await;
        let voided = v1::Order { refunded: Some(usd(0)), revision: moved.revision + 1, ..moved };
        assert_eq!(platform.order(&order_id).await, voided);
    }
}

async fn what_is_voided_is_left_to_be_refunded_again(service: Service) {
    let id = refunded(&service, "o1").await;
    let (mut platform, mut support, mut ann) = (service.platform(), service.support(), service.user("ann"));
    let asked = ann.ask(update("o1")).await.unwrap().dispute_id;
    support.escalate(escalate(&asked)).await.unwrap();
    let range = [("minAmount", "0.01"), ("maxAmount", "75.00"), ("currency", "USD")];
    let too_much = refusal(Code::InvalidArgument, "AMOUNT_OUT_OF_RANGE", &range).about("refund");
    assert_eq!(support.decide(refund(&asked, 10_000)).await.unwrap_err(), too_much);
    let before = platform.order("o1").await;
    take(&mut platform, voided(&id, ""), SettlementStatus::Voided, 1).await;
    let after = platform.order("o1").await;
    let expected = v1::Order { refunded: Some(usd(0)), revision: before.revision + 1, ..before };
    assert_eq!(after, expected);
    let again = refusal(Code::FailedPrecondition, "REFUND_ALREADY_ACCEPTED", &[("disputeId", &id)]);
    assert_eq!(service.user("bob").offer(offer("o1", 1)).await.unwrap_err(), again, "no second partial refund");
    let decided = support.decide(refund(&asked, 10_000)).await.unwrap();
    assert_eq!(decided.settlement.unwrap().amount, Some(usd(10_000)), "all of it can be refunded");
    assert_eq!(platform.order("o1").await.refunded, Some(usd(10_000)));
}

async fn a_voided_cancellation_stays_one(service: Service) {
    let (mut platform, mut ann) = (service.platform(), service.user("ann"));
    let asked = service.order_with_cancellation("o1", "ann").await;
    let cancelled = service.user("bob").accept(accept(&asked.dispute_id)).await.unwrap();
    let before = platform.order("o1").await;
    take(&mut platform, voided(&asked.dispute_id, "refunded by the bank"), SettlementStatus::Voided, 1).await;
    let after = platform.order("o1").await;
    assert_eq!(after.status(), v1::OrderStatus::Cancelled);
    assert_eq!(after, v1::Order { refunded: Some(usd(0)), revision: before.revision + 1, ..before });
    assert_eq!(ann.dispute(&asked.dispute_id).await.outcome, cancelled.outcome, "the outcome stays as decided");
    // The bank's refund comes by the order system.
    let elsewhere = v1::Order { refunded_elsewhere: Some(usd(10_000)), source_version: 2, ..order("o1") };
    let told = platform.upsert(elsewhere).await;
    assert_eq!((told.status(), told.over_refunded), (v1::OrderStatus::Cancelled, None));
}

async fn what_goes_back_too_much_is_taken_in_and_nothing_more_can_be_refunded(service: Service) {
    let (mut platform, mut support) = (service.platform(), service.support());
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let with_extras = v1::Order { paid: Some(usd(15_000)), ..order("o1") };
    assert_eq!(platform.upsert(with_extras.clone()).await.over_refunded, None);
    let asked = ann.ask(update("o1")).await.unwrap().dispute_id;
    support.escalate(escalate(&asked)).await.unwrap();
    let decided = support.decide(refund(&asked, 12_000)).await.unwrap().dispute_id;
    // The extras are taken back: 120 of 100 were refunded.
    let lowered = v1::Order { paid: None, source_version: 2, over_refunded: Some(usd(1)), ..with_extras.clone() };
    let order_now = platform.upsert(lowered).await;
    assert_eq!((order_now.paid, order_now.refunded), (Some(usd(10_000)), Some(usd(12_000))));
    assert_eq!(order_now.over_refunded, Some(usd(2_000)));
    for mut viewer in [ann.clone(), bob.clone(), support.clone(), platform.clone()] {
        assert_eq!(viewer.order("o1").await.over_refunded, Some(usd(2_000)));
    }
    let below =
        v1::UpsertOrderRequest { order: Some(v1::Order { paid: Some(usd(9_999)), source_version: 3, ..order("o1") }) };
    let below = platform.orders.upsert_order(below).await.unwrap_err();
    assert_eq!(crate::support::callers::facts(&below), invalid(&["order.paid"]), "but never below the price");
    // A chargeback on top.
    let charged_back = v1::Order { refunded_elsewhere: Some(usd(500)), source_version: 3, ..order("o1") };
    assert_eq!(platform.upsert(charged_back).await.over_refunded, Some(usd(2_500)));
    let range = [("minAmount", "0.01"), ("maxAmount", "0.00"), ("currency", "USD")];
    let nothing_left = refusal(Code::InvalidArgument, "AMOUNT_OUT_OF_RANGE", &range);
    assert_eq!(bob.offer(offer("o1", 1)).await.unwrap_err(), nothing_left.clone().about("amount"));
    let asked = ann.ask(update("o1")).await.unwrap().dispute_id;
    support.escalate(escalate(&asked)).await.unwrap();
    assert_eq!(support.decide(refund(&asked, 1)).await.unwrap_err(), nothing_left.about("refund"));
    support.decide(no_action(&asked)).await.unwrap();
    // Voiding gives back no more than there is: 5 of 100 are refunded then.
    take(&mut platform, voided(&decided, ""), SettlementStatus::Voided, 1).await;
    let order_now = platform.order("o1").await;
    assert_eq!((order_now.refunded, order_now.over_refunded), (Some(usd(0)), None));
    let everything = v1::Order { refunded_elsewhere: Some(usd(10_001)), source_version: 4, ..order("o1") };
    assert_eq!(platform.upsert(everything).await.over_refunded, Some(usd(1)));
    let asked = bob.cancel(cancellation("o1")).await.unwrap();
    assert_eq!(asked.if_accepted.unwrap().refund, None);
    let cancelled = ann.accept(accept(&asked.dispute_id)).await.unwrap();
    assert_eq!((cancelled.outcome.unwrap().refund, cancelled.settlement), (None, None), "cancelled without a refund");
    let nothing = refusal(Code::FailedPrecondition, "NOTHING_TO_SETTLE", &[]);
    assert_eq!(platform.report(settled(&asked.dispute_id, "")).await.unwrap_err(), nothing);
}

async fn amounts_at_the_limit_do_not_overflow(service: Service) {
    let (mut platform, mut ann) = (service.platform(), service.user("ann"));
    let yen = |units| Some(Money { currency_code: "JPY".to_owned(), units, nanos: 0 });
    let most = v1::Order { price: yen(1), paid: yen(i64::MAX), ..order("o1") };
    platform.upsert(most.clone()).await;
    let asked = ann.cancel(cancellation("o1")).await.unwrap();
    service.user("bob").accept(accept(&asked.dispute_id)).await.unwrap();
    let back = v1::Order { paid: None, refunded_elsewhere: yen(i64::MAX), source_version: 2, ..most };
    let order_now = platform.upsert(back).await;
    assert_eq!((order_now.refunded, order_now.over_refunded), (yen(i64::MAX), yen(i64::MAX)), "as much as can be said");
    take(&mut platform, voided(&asked.dispute_id, ""), SettlementStatus::Voided, 1).await;
    let order_now = platform.order("o1").await;
    assert_eq!((order_now.refunded, order_now.over_refunded), (yen(0), yen(i64::MAX - 1)));
}
