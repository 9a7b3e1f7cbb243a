//! `validate_only`: what a command would be answered, and nothing comes of it.

use std::path::Path;
use std::time::Duration;

use dispute_service::proto::v1;
use dispute_service::proto::v1::DisputeStatus;
use tonic::Code;

use crate::support::callers::refusal;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    nothing_is_written_and_nothing_is_told,
    what_is_overdue_is_judged_and_not_recorded,
    an_id_that_was_done_is_answered_as_a_repeat_and_one_that_was_tried_is_not_remembered,
    the_times_are_those_of_the_real_command,
    a_reason_that_support_is_shown_is_in_the_audit,
);

/// How much there is of everything that commands write.
async fn stored(service: &Service) -> Vec<i64> {
    let mut found = Vec::new();
    for what in [
        "count(*) FROM orders",
        "coalesce(sum(revision), 0) FROM orders",
        "count(*) FROM disputes",
        "coalesce(sum(revision), 0) FROM disputes",
        "coalesce(sum(remind_at), 0) FROM disputes",
        "head FROM event_log",
        "count(*) FROM idempotency_keys",
        "count(*) FROM audit",
        "count(*) FROM no_fault_quotas",
    ] {
        let (column, table) = what.split_once(" FROM ").unwrap();
        found.push(service.number(&format!("SELECT CAST({column} AS BIGINT) FROM {table}")).await);
    }
    found
}

fn trial(request: v1::OfferPartialRefundRequest) -> v1::OfferPartialRefundRequest {
    v1::OfferPartialRefundRequest { validate_only: true, ..request }
}

async fn nothing_is_written_and_nothing_is_told(service: Service) {
    service.platform().upsert(order("o1")).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let mut watch = ann.watch(v1::WatchDisputesRequest::default()).await;
    let before = stored(&service).await;
    let tried = bob.offer(trial(offer("o1", 2_000))).await.unwrap();
    assert_eq!((tried.status(), tried.revision), (DisputeStatus::Pending, 1));
    let again = bob.offer(trial(offer("o1", 2_000))).await.unwrap();
    assert_ne!(tried.dispute_id, again.dispute_id, "its id is not reserved");
    let missing = refusal(Code::NotFound, "DISPUTE_NOT_FOUND", &[("disputeId", &tried.dispute_id)]);
    assert_eq!(ann.accept(accept(&tried.dispute_id)).await, Err(missing));
    let bounds = [("minAmount", "0.01"), ("maxAmount", "60.00"), ("currency", "USD")];
    let out_of = refusal(Code::InvalidArgument, "AMOUNT_OUT_OF_RANGE", &bounds).about("amount");
    assert_eq!(bob.offer(trial(offer("o1", 6_001))).await, Err(out_of), "errors are told as they are");
    assert_eq!(stored(&service).await, before);
    // The first event that a subscriber sees is that of the real command.
    let opened = bob.offer(offer("o1", 2_000)).await.unwrap();
    assert_eq!(v1::Dispute { dispute_id: opened.dispute_id.clone(), ..tried }, opened);
    assert_eq!(watch.event().await.dispute.unwrap().dispute_id, opened.dispute_id);
    let before = stored(&service).await;
    let accepted = ann.accept(v1::AcceptDisputeRequest { validate_only: true, ..accept(&opened.dispute_id) }).await;
    assert_eq!(accepted.as_ref().unwrap().status(), DisputeStatus::Accepted);
    assert_eq!(stored(&service).await, before);
    assert_eq!(ann.accept(accept(&opened.dispute_id)).await, accepted);
}

#[tokio::test]
async fn the_files_of_sqlite_stay_as_they_are_byte_for_byte() {
    let mut service = Service::on_sqlite().await;
    let policy =
        "[partial_refund]\nbuyer_may_ask = true\nmax_counter_offers = 3\n[cancellation]\nno_fault_per_window = 1";
    service.restart_with_policy(policy).await;
    let opened = service.order_with_offer("o1", 2_000).await;
    service.platform().upsert(order("o2")).await;
    let asked = service.user("ann").ask(update("o2")).await.unwrap();
    let bytes = || {
        let path = service.url.trim_start_matches("sqlite://").split('?').next().unwrap().to_owned();
        ["", "-wal"].map(|end| std::fs::read(Path::new(&format!("{path}{end}"))).unwrap_or_default())
    };
    let before = bytes();
    assert!(!before[0].is_empty());
    // Each command, accepted or refused; of support only about what has no confidential reason, which the audit would name.
    macro_rules! trials {
        ($($caller:expr => $command:ident($request:expr);)+) => { $({
            let mut request = $request;
            request.validate_only = true;
            let _ = $caller.$command(request).await;
            assert!(bytes() == before, concat!(stringify!($command), " has written"));
        })+ };
    }
    let (ann, bob) = (|| service.user("ann"), || service.user("bob"));
    let (id, asked) = (opened.dispute_id.as_str(), asked.dispute_id.as_str());
    trials! {
        ann() => accept(accept(id));
        ann() => decline(decline(id));
        ann() => counter(counter(id, 3_000));
        bob() => withdraw(withdraw(id));
        bob() => offer(offer("o1", 100));
        ann() => ask_refund(refund_request("o2", 100));
        ann() => cancel(cancellation("o1"));
        bob() => cancel(no_fault("o2"));
        ann() => ask(update("o1"));
        bob() => extend(extension("o1", 999_999));
        bob() => reply(answer(asked));
        ann() => escalate(escalate(id));
        service.support() => escalate(escalate(asked));
        service.support() => postpone(postpone(asked, 999_999));
        service.support() => decide(no_action(asked));
        service.platform() => report(settled(id, "pay-1"));
    }
}

async fn what_is_overdue_is_judged_and_not_recorded(mut service: Service) {
    let opened = service.order_with_offer("o1", 2_000).await;
    let id = &opened.dispute_id;
    // Nobody sweeps while the service is away; what it finds afterwards is judged by the clock.
    service.stop().await;
    service.clock.advance(Duration::from_secs(172_800));
    service.start().await;
    let late =
        service.user("ann").accept(v1::AcceptDisputeRequest { validate_only: true, ..accept(id) }).await.unwrap_err();
    assert_eq!(late.reason, "DEADLINE_PASSED");
    let tried = service.user("bob").offer(trial(offer("o1", 3_000))).await.unwrap();
    assert_eq!(tried.status(), DisputeStatus::Pending, "the first one is not in the way any more");
}

async fn an_id_that_was_done_is_answered_as_a_repeat_and_one_that_was_tried_is_not_remembered(service: Service) {
    service.platform().upsert(order("o1")).await;
    let mut bob = service.user("bob");
    let request_id = "5ad1c9b0-0000-4000-8000-000000000001".to_owned();
    let request = v1::OfferPartialRefundRequest { request_id, ..offer("o1", 2_000) };
    bob.offer(trial(request.clone())).await.unwrap();
    let opened = bob.offer(request.clone()).await.unwrap();
    let repeated = bob.offer(trial(request.clone())).await.unwrap();
    assert_eq!(repeated, opened, "validate_only is not compared");
    let other = v1::OfferPartialRefundRequest { message: "Something else.".to_owned(), ..request };
    let reused = refusal(Code::InvalidArgument, "REQUEST_ID_REUSED", &[]).about("request_id");
    assert_eq!(bob.offer(trial(other)).await, Err(reused));
}

async fn the_times_are_those_of_the_real_command(service: Service) {
    service.platform().upsert(order("o1")).await;
    service.platform().upsert(order("o2")).await;
    let mut bob = service.user("bob");
    // The clock has stood since the last event, and was set back.
    bob.offer(offer("o1", 2_000)).await.unwrap();
    let tried = bob.offer(trial(offer("o2", 2_000))).await.unwrap();
    let done = bob.offer(offer("o2", 2_000)).await.unwrap();
    assert_eq!((tried.create_time, tried.update_time), (done.create_time, done.update_time));
    let tried = bob.withdraw(v1::WithdrawDisputeRequest { validate_only: true, ..withdraw(&done.dispute_id) }).await;
    assert_eq!(bob.withdraw(withdraw(&done.dispute_id)).await, tried);
    let (tried, done) = (tried.unwrap().update_time.unwrap(), done.update_time.unwrap());
    assert_eq!(tried.nanos, done.nanos + 1_000, "a microsecond later than what its dispute saw last");
}

async fn a_reason_that_support_is_shown_is_in_the_audit(service: Service) {
    let opened = service.order_with_offer("o1", 2_000).await;
    let entries = "SELECT count(*) FROM audit WHERE action = 7";
    let before = service.number(entries).await;
    let request = v1::EscalateDisputeRequest { validate_only: true, ..escalate(&opened.dispute_id) };
    let tried = service.support().escalate(request).await.unwrap();
    assert_eq!((tried.status(), tried.reason()), (DisputeStatus::Escalated, v1::Reason::DelayCompensation));
    assert_eq!(service.number(entries).await, before + 1, "whoever shows it, and however");
    let revision = "SELECT max(revision) FROM audit WHERE action = 7";
    assert_eq!(service.number(revision).await, 1, "of the dispute as it is");
    assert_eq!(service.user("ann").dispute(&opened.dispute_id).await.status(), DisputeStatus::Pending);
}
