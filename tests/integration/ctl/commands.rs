//! `decide` and `postpone`: tried out, made, and refused.

use dispute_service::proto::v1;
use serde_json::{Value, json};

use super::{escalated, run, url};
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_tried_out_then_made_and_not_made_twice() {
    let service = Service::on_sqlite().await;
    let url = url(&service);
    let dispute = escalated(&service, "o1").await;
    let decide = |flags: &[&str]| run(&url, &[&["decide", &dispute, "--message", "Both are right."], flags].concat());
    let tried = decide(&["--cancel-order", "--does-not-count", "--dry-run"]).fine();
    for part in [
        "A dry run: nothing has happened. With --etag 3 and without --dry-run, dispute",
        "  outcome     the order is cancelled and does not count against the seller's completion rate; 100.00 USD is refunded",
    ] {
        assert!(tried.contains(part), "{part}\n{tried}");
    }
    assert_eq!(service.support().dispute(&dispute).await.status(), v1::DisputeStatus::Escalated);

    let said = decide(&["--refund", "100.01"]).failed(1);
    let expected = "dispute-service: refused: the amount must be from 0.01 USD to 100.00 USD (INVALID_ARGUMENT \
                    AMOUNT_OUT_OF_RANGE)\n  currency: USD\n  maxAmount: 100.00\n  minAmount: 0.01\n";
    assert_eq!(said, expected);
    let said = run(&url, &["decide", &dispute, "--message", " ", "--refund", "0.001"]).failed(1);
    let expected = "dispute-service: refused: message: must not be empty; and 1 more (INVALID_ARGUMENT INVALID_FIELD)\n  \
                    message: must not be empty\n  refund: has more decimals than the currency\n";
    assert_eq!(said, expected);
    let said = decide(&["--no-action", "--etag", "2"]).failed(1);
    let expected = "dispute-service: refused: the dispute has changed since it was read; read it again (ABORTED ETAG_MISMATCH)\n  \
                    etag: 3\nLook at the dispute with `ctl show` before you repeat this.\n";
    assert_eq!(said, expected);
    let said = decide(&["--no-action", "--etag", "2", "--json"]).failed(1);
    let error: Value = serde_json::from_str(&said).unwrap();
    let message = "the dispute has changed since it was read; read it again";
    assert_eq!(
        error,
        json!({"code": "ABORTED", "reason": "ETAG_MISMATCH", "message": message, "metadata": {"etag": "3"}, "violations": []})
    );

    let [decided] = decide(&["--refund", "12.50", "--json"]).objects().try_into().unwrap();
    assert_eq!(decided["status"], "DISPUTE_STATUS_DECIDED");
    assert_eq!(decided["outcome"], json!({"refund": {"currencyCode": "USD", "units": "12", "nanos": 500_000_000}}));
    assert_eq!((&decided["decidedBy"], &decided["decisionMessage"]), (&json!("agent"), &json!("Both are right.")));
    let said = decide(&["--refund", "12.50"]).failed(1);
    let expected = "dispute-service: refused: the dispute is DECIDED (FAILED_PRECONDITION STATUS_NOT_ALLOWED)\n  status: DECIDED\n";
    assert_eq!(said, expected);
    assert_eq!(run(&url, &["show", "none", "--json"]).failed(1).matches("DISPUTE_ID").count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_is_what_its_flag_says() {
    let service = Service::on_sqlite().await;
    let url = url(&service);
    for (order, flags, outcome) in [
        ("o1", &["--no-action"][..], "nothing changes"),
        ("o2", &["--refund", "12.50"], "12.50 USD is refunded"),
        (
            "o3",
            &["--cancel-order"],
            "the order is cancelled and counts against the seller's completion rate; 100.00 USD is refunded",
        ),
    ] {
        let dispute = escalated(&service, order).await;
        let said = run(&url, &[&["decide", &dispute, "--message", "m"], flags].concat()).fine();
        assert!(said.starts_with(&format!("Decided. Dispute {dispute} now:\n")), "{said}");
        assert!(
            said.lines()
                .any(|line| line == format!("  outcome     {outcome}") || line == format!("  outcome  {outcome}")),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_moves_to_an_instant_or_by_a_span_and_only_forward() {
    let service = Service::on_sqlite().await;
    let url = url(&service);
    let dispute = service.order_with_update("o1", "ann").await.dispute_id;
    let postpone = |flags: &[&str]| run(&url, &[&["postpone", &dispute, "--message", "A day more."], flags].concat());
    let tried = postpone(&["--by", "24h", "--dry-run"]).fine();
    assert!(
        tried.starts_with("A dry run: nothing has happened.") && tried.contains("2026-01-04 00:00:00Z, in 3 d"),
        "{tried}"
    );
    let said = postpone(&["--by", "24h"]).fine();
    assert!(said.starts_with("Postponed.") && said.contains("  message     A day more."), "{said}");
    let [moved] = postpone(&["--until", "2026-01-05T13:00:00+01:00", "--json"]).objects().try_into().unwrap();
    assert_eq!(moved["respondBy"], "2026-01-05T12:00:00Z");
    let said = postpone(&["--until", "2026-01-05T12:00:00Z"]).failed(1);
    assert!(
        said.contains("respond_by: must be later than the current deadline") && said.contains("INVALID_FIELD"),
        "{said}"
    );
    let shown = run(&url, &["show", &dispute]).fine();
    assert!(
        shown.contains("deadline moved        by support\n      to 2026-01-05 12:00:00Z\n      > A day more.\n"),
        "{shown}"
    );
}
