//! Every reason that the contract names for a command or a request that is refused, with its facts.

use std::collections::BTreeSet;
use std::time::Duration;

use dispute_service::proto::v1;
use tonic::Code;

use crate::commands::errors::raw;
use crate::support::callers::{Facts, facts, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    every_reason_is_given_with_its_facts,
    commands_of_support_and_of_the_platform_need_their_scope,
    a_stranger_learns_nothing_from_the_rest_of_the_commands,
    every_violation_of_the_rest_of_the_commands_is_named_at_once,
);

const POLICY: &str = "[order_update]\nattempts = { cool_down = \"1h\", max = 1 }";

/// The reasons of the contract under these codes.
const REASONS: [&str; 25] = [
    "INVALID_FIELD",
    "AMOUNT_OUT_OF_RANGE",
    "REASON_NOT_VALID",
    "REQUEST_ID_REUSED",
    "PAGE_TOKEN_INVALID",
    "RESUME_TOKEN_MALFORMED",
    "MESSAGE_MALFORMED",
    "WRONG_ROLE",
    "SCOPE_MISSING",
    "ORDER_NOT_FOUND",
    "DISPUTE_NOT_FOUND",
    "ORDER_STATUS_NOT_ALLOWED",
    "OPEN_DISPUTE_EXISTS",
    "REFUND_ALREADY_ACCEPTED",
    "REFUND_CAP_BELOW_MINIMUM",
    "STATUS_NOT_ALLOWED",
    "DEADLINE_PASSED",
    "WRONG_KIND",
    "COOL_DOWN",
    "TOO_MANY_ATTEMPTS",
    "ESCALATION_WINDOW_CLOSED",
    "NOTHING_TO_SETTLE",
    "SETTLED_TWICE",
    "ORDER_IDENTITY_CHANGED",
    "ETAG_MISMATCH",
];

#[derive(Default)]
struct Seen(BTreeSet<String>);

impl Seen {
    fn check<T: std::fmt::Debug>(
        &mut self,
        answer: Result<T, Facts>,
        code: Code,
        reason: &str,
        metadata: &[(&str, &str)],
    ) {
        let facts = answer.unwrap_err();
        assert_eq!(Facts { fields: Vec::new(), ..facts }, refusal(code, reason, metadata));
        self.0.insert(reason.to_owned());
    }
}

async fn every_reason_is_given_with_its_facts(mut service: Service) {
    use Code::{Aborted, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied};
    service.restart_with_policy(POLICY).await;
    let mut platform = service.platform();
    for id in ["o1", "o2", "o3", "o4", "o5"] {
        platform.upsert(order(id)).await;
    }
    platform.upsert(v1::Order { price: Some(usd(1)), ..order("small") }).await;
    platform.upsert(v1::Order { status: v1::OrderStatus::Completed.into(), ..order("done") }).await;
    let (mut ann, mut bob, mut support) = (service.user("ann"), service.user("bob"), service.support());
    let mut seen = Seen::default();

    // The message alone.
    let status = ann.disputes.list_disputes(v1::ListDisputesRequest { page_size: -1, ..Default::default() }).await;
    seen.check(status.map_err(|status| facts(&status)), InvalidArgument, "INVALID_FIELD", &[]);
    let garbage = raw(&service, "/disputes.v1.DisputeService/GetDispute", vec![0xff]).await;
    seen.check(Err::<(), _>(facts(&garbage)), InvalidArgument, "MESSAGE_MALFORMED", &[]);
    let list = v1::ListDisputesRequest { page_token: "x".to_owned(), ..Default::default() };
    let status = ann.disputes.list_disputes(list).await.map_err(|status| facts(&status));
    seen.check(status, InvalidArgument, "PAGE_TOKEN_INVALID", &[]);
    let start = Some(v1::watch_disputes_request::Start::ResumeToken("x".to_owned()));
    let status = ann.disputes.watch_disputes(v1::WatchDisputesRequest { start, ..Default::default() }).await;
    seen.check(status.map_err(|status| facts(&status)).map(drop), InvalidArgument, "RESUME_TOKEN_MALFORMED", &[]);

    // Who.
    let standing = v1::GetSellerStandingRequest { seller_id: "bob".to_owned() };
    let status = ann.orders.get_seller_standing(standing).await.map_err(|status| facts(&status));
    seen.check(status, PermissionDenied, "SCOPE_MISSING", &[("scope", "support")]);
    seen.check(ann.offer(offer("o1", 100)).await, PermissionDenied, "WRONG_ROLE", &[]);
    seen.check(ann.ask(update("nowhere")).await, NotFound, "ORDER_NOT_FOUND", &[("orderId", "nowhere")]);
    let nobody = "0190f000-0000-7000-8000-000000000001";
    seen.check(ann.accept(accept(nobody)).await, NotFound, "DISPUTE_NOT_FOUND", &[("disputeId", nobody)]);

    // Opening.
    let completed = [("status", "COMPLETED")];
    seen.check(ann.ask(update("done")).await, FailedPrecondition, "ORDER_STATUS_NOT_ALLOWED", &completed);
    let range = [("minAmount", "0.01"), ("maxAmount", "60.00"), ("currency", "USD")];
    seen.check(bob.offer(offer("o1", 6_001)).await, InvalidArgument, "AMOUNT_OUT_OF_RANGE", &range);
    let small = bob.offer(offer("small", 1)).await;
    seen.check(small, FailedPrecondition, "REFUND_CAP_BELOW_MINIMUM", &[("cap", "0.00")]);
    let wrong = v1::OfferPartialRefundRequest { reason: v1::Reason::Workload.into(), ..offer("o1", 1) };
    seen.check(bob.offer(wrong).await, InvalidArgument, "REASON_NOT_VALID", &[]);
    let request_id = nobody.to_owned();
    let once = v1::OfferPartialRefundRequest { request_id: request_id.clone(), ..offer("o1", 100) };
    let offered = bob.offer(once).await.unwrap();
    let offer_id = [("disputeId", offered.dispute_id.as_str())];
    let twice = v1::OfferPartialRefundRequest { request_id, ..offer("o1", 200) };
    seen.check(bob.offer(twice).await, InvalidArgument, "REQUEST_ID_REUSED", &[]);
    seen.check(bob.offer(offer("o1", 100)).await, FailedPrecondition, "OPEN_DISPUTE_EXISTS", &offer_id);
    let stale = v1::AcceptDisputeRequest { etag: "stale".to_owned(), ..accept(&offered.dispute_id) };
    seen.check(ann.accept(stale).await, Aborted, "ETAG_MISMATCH", &[("etag", &offered.etag)]);
    seen.check(
        ann.reply(answer(&offered.dispute_id)).await,
        FailedPrecondition,
        "WRONG_KIND",
        &[("kind", "PARTIAL_REFUND")],
    );
    seen.check(platform.report(settled(&offered.dispute_id, "")).await, FailedPrecondition, "NOTHING_TO_SETTLE", &[]);
    ann.accept(accept(&offered.dispute_id)).await.unwrap();
    seen.check(bob.offer(offer("o1", 1)).await, FailedPrecondition, "REFUND_ALREADY_ACCEPTED", &offer_id);
    platform.report(failed(&offered.dispute_id, "")).await.unwrap();
    platform.report(settled(&offered.dispute_id, "")).await.unwrap();
    let first = v1::ReportSettlementRequest { attempt: 1, ..settled(&offered.dispute_id, "") };
    seen.check(platform.report(first).await, FailedPrecondition, "SETTLED_TWICE", &[("attempt", "2")]);
    let again = ann.decline(decline(&offered.dispute_id)).await;
    seen.check(again, FailedPrecondition, "STATUS_NOT_ALLOWED", &[("status", "ACCEPTED")]);
    let renamed = v1::Order { seller_id: "cid".to_owned(), source_version: 2, ..order("o1") };
    let status = platform.orders.upsert_order(v1::UpsertOrderRequest { order: Some(renamed) }).await;
    let identity = [("orderId", "o1"), ("field", "seller_id")];
    seen.check(status.map_err(|status| facts(&status)), FailedPrecondition, "ORDER_IDENTITY_CHANGED", &identity);

    // By policy, and by the clock.
    let asked = ann.ask(update("o2")).await.unwrap();
    ann.withdraw(withdraw(&asked.dispute_id)).await.unwrap();
    let retry = [("retryTime", "2026-01-01T01:00:00.000000Z")];
    seen.check(ann.ask(update("o2")).await, FailedPrecondition, "COOL_DOWN", &retry);
    service.clock.advance(Duration::from_secs(3_600));
    let attempts = [("attempts", "1"), ("max", "1")];
    seen.check(ann.ask(update("o2")).await, FailedPrecondition, "TOO_MANY_ATTEMPTS", &attempts);
    let expiring = bob.offer(offer("o3", 100)).await.unwrap();
    let declined = bob.offer(offer("o4", 100)).await.unwrap();
    ann.decline(decline(&declined.dispute_id)).await.unwrap();
    service.clock.advance(Duration::from_secs(48 * 3_600));
    let passed = [("respondBy", "2026-01-03T01:00:00.000000Z")];
    seen.check(ann.accept(accept(&expiring.dispute_id)).await, FailedPrecondition, "DEADLINE_PASSED", &passed);
    service.clock.advance(Duration::from_secs(12 * 24 * 3_600));
    let closed = [("closedTime", "2026-01-15T01:00:00.000000Z")];
    let late = ann.escalate(escalate(&declined.dispute_id)).await;
    seen.check(late, FailedPrecondition, "ESCALATION_WINDOW_CLOSED", &closed);
    // Support's commands know the same.
    let open = bob.offer(offer("o5", 100)).await.unwrap();
    let undecided = support.decide(no_action(&open.dispute_id)).await;
    seen.check(undecided, FailedPrecondition, "STATUS_NOT_ALLOWED", &[("status", "PENDING")]);
    assert_eq!(seen.0, REASONS.map(str::to_owned).into());
}

async fn commands_of_support_and_of_the_platform_need_their_scope(service: Service) {
    let missing = |scope| refusal(Code::PermissionDenied, "SCOPE_MISSING", &[("scope", scope)]);
    // The scope comes before everything that is wrong with the message.
    for mut caller in [service.user("ann"), service.platform()] {
        assert_eq!(caller.decide(v1::DecideDisputeRequest::default()).await.unwrap_err(), missing("support"));
        assert_eq!(caller.postpone(v1::PostponeDeadlineRequest::default()).await.unwrap_err(), missing("support"));
    }
    for mut caller in [service.user("ann"), service.support()] {
        assert_eq!(caller.report(v1::ReportSettlementRequest::default()).await.unwrap_err(), missing("platform"));
    }
    let offered = service.order_with_offer("o1", 100).await;
    let wrong_role = refusal(Code::PermissionDenied, "WRONG_ROLE", &[]);
    assert_eq!(service.platform().escalate(escalate(&offered.dispute_id)).await.unwrap_err(), wrong_role);
    assert_eq!(service.support().extend(extension("o1", 99_999)).await.unwrap_err(), wrong_role);
}

async fn a_stranger_learns_nothing_from_the_rest_of_the_commands(service: Service) {
    let offered = service.order_with_offer("o1", 100).await;
    let id = offered.dispute_id.as_str();
    let no_order = refusal(Code::NotFound, "ORDER_NOT_FOUND", &[("orderId", "o1")]);
    let no_dispute = refusal(Code::NotFound, "DISPUTE_NOT_FOUND", &[("disputeId", id)]);
    let mut eve = service.user("eve");
    assert_eq!(eve.extend(extension("o1", 99_999)).await.unwrap_err(), no_order);
    assert_eq!(eve.escalate(escalate(id)).await.unwrap_err(), no_dispute);
    let include_snapshot = true;
    let mut watch = eve.watch(v1::WatchDisputesRequest { include_snapshot, ..Default::default() }).await;
    let next = watch.message().await.unwrap();
    assert!(next.events.is_empty() && next.checkpoint.unwrap().snapshot_complete, "a snapshot of nothing");
}

async fn every_violation_of_the_rest_of_the_commands_is_named_at_once(service: Service) {
    let (mut bob, mut support, mut platform) = (service.user("bob"), service.support(), service.platform());
    let request = v1::RequestDeliveryExtensionRequest { order_id: "a b".to_owned(), ..Default::default() };
    let expected = ["order_id", "new_due_time", "message", "reason"];
    assert_eq!(bob.extend(request).await.unwrap_err().fields, expected);
    let request = v1::EscalateDisputeRequest { request_id: "x".to_owned(), ..Default::default() };
    assert_eq!(bob.escalate(request).await.unwrap_err().fields, ["message", "dispute_id", "request_id"]);
    let request = v1::DecideDisputeRequest { counts_against_completion_rate: Some(true), ..Default::default() };
    let expected = ["message", "dispute_id", "decision", "counts_against_completion_rate"];
    assert_eq!(support.decide(request).await.unwrap_err().fields, expected);
    let id = "0190f000-0000-7000-8000-000000000001";
    let request = v1::DecideDisputeRequest { counts_against_completion_rate: Some(false), ..refund(id, 1) };
    assert_eq!(support.decide(request).await.unwrap_err().fields, ["counts_against_completion_rate"]);
    let respond_by = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
    let request = v1::PostponeDeadlineRequest { respond_by, ..Default::default() };
    assert_eq!(support.postpone(request).await.unwrap_err().fields, ["respond_by", "message", "dispute_id"]);
    let request = v1::ReportSettlementRequest { dispute_id: "x".to_owned(), attempt: -1, ..Default::default() };
    assert_eq!(platform.report(request).await.unwrap_err().fields, ["dispute_id", "result", "attempt"]);
    assert_eq!(platform.report(settled(id, &"x".repeat(201))).await.unwrap_err().fields, ["settled.reference"]);
    assert_eq!(platform.report(failed(id, &"x".repeat(201))).await.unwrap_err().fields, ["failed.detail"]);
    assert_eq!(platform.report(returned(id, &"x".repeat(201))).await.unwrap_err().fields, ["returned.detail"]);
    assert_eq!(platform.report(voided(id, &"x".repeat(201))).await.unwrap_err().fields, ["voided.detail"]);
    let list = v1::ListDisputesRequest {
        settlement_statuses: vec![0],
        updated_after: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
        ..Default::default()
    };
    let status = bob.disputes.list_disputes(list).await.unwrap_err();
    assert_eq!(facts(&status).fields, ["settlement_statuses[0]", "updated_after"]);
    let watch = v1::WatchDisputesRequest { include_snapshot: true, ..from_beginning() };
    assert_eq!(facts(&bob.disputes.watch_disputes(watch).await.unwrap_err()).fields, ["include_snapshot"]);
    // What the order and the dispute say about a field.
    let offered = service.order_with_offer("o1", 100).await;
    let earlier = support.postpone(postpone(&offered.dispute_id, 172_800)).await.unwrap_err();
    assert_eq!((earlier.code, earlier.fields), (Code::InvalidArgument, vec!["respond_by".to_owned()]));
    support.escalate(escalate(&offered.dispute_id)).await.unwrap();
    let mut eur = refund(&offered.dispute_id, 100);
    let amount = dispute_service::proto::Money { currency_code: "EUR".to_owned(), ..usd(100) };
    eur.decision = Some(v1::decide_dispute_request::Decision::Refund(amount));
    assert_eq!(support.decide(eur).await.unwrap_err().fields, ["refund.currency_code"]);
}
