//! `list` and `show`: what there is to do, and everything about a dispute.

use std::time::Duration;

use dispute_service::proto::v1;
use serde_json::{Value, json};

use super::{Tail, escalated, run, url};
use crate::support::messages::*;
use crate::support::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_sees_what_to_decide_first_and_then_what_is_most_urgent() {
    let service = Service::on_sqlite().await;
    let url = url(&service);
    assert_eq!(run(&url, &["list"]).fine(), "No such disputes.\n");
    let late = service.order_with_update("o1", "ann").await.dispute_id;
    let decided = escalated(&service, "o2").await;
    service.clock.advance(Duration::from_secs(3_600));
    let later = service.order_with_cancellation("o3", "bob").await.dispute_id;
    let done = service.order_with_offer("o4", 500).await.dispute_id;
    service.user("ann").accept(accept(&done)).await.unwrap();
    let printed = run(&url, &["list"]).fine();
    let lines: Vec<_> =
        printed.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty())).collect();
    let [heading, rows @ ..] = lines.as_slice() else { panic!("{printed}") };
    let headings = ["dispute", "order", "kind", "status", "on the table", "awaiting", "respond by"];
    assert_eq!(heading.clone().collect::<Vec<_>>(), headings);
    let rows: Vec<Vec<_>> = rows.iter().map(|row| row.clone().collect()).collect();
    assert_eq!(
        rows,
        [
            vec![&decided, "o2", "partial refund", "escalated", "20.00 USD", "support, or the buyer"],
            vec![&late, "o1", "order update", "pending", "seller", "2026-01-03 00:00:00Z, in 47 h"],
            vec![&later, "o3", "cancellation", "pending", "cancellation", "buyer", "2026-01-03 01:00:00Z, in 2 d"],
        ]
    );
    let ids = |arguments: &[&str]| -> Vec<String> {
        let disputes = run(&url, &[&["list", "--json"], arguments].concat()).objects();
        disputes.iter().map(|dispute| dispute["disputeId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&["--all"]), [&*decided, &late, &later, &done]);
    assert_eq!(ids(&["--status", "accepted"]), [&*done]);
    assert_eq!(ids(&["--settlement-status", "due"]), [&*done]);
    assert_eq!(ids(&["--kind", "cancellation", "--kind", "order-update", "--party-id", "bob"]), [&*late, &later]);
    assert_eq!(ids(&["--order-id", "o3"]), [&*later]);
    assert_eq!(ids(&["--party-id", "nobody"]), [""; 0]);
    // A script is told as well: what it does not get could be what it looks for.
    for (flags, lines) in [(&[][..], 3), (&["--json"], 2)] {
        let cut = run(&url, &[&["list", "--limit", "2"], flags].concat());
        assert_eq!((cut.code, cut.out.lines().count()), (0, lines));
        assert_eq!(cut.err, "More disputes match than the 2 that --limit allows.\n");
        assert!(cut.out.contains(&decided) && cut.out.contains(&late), "{}", cut.out);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_goes_on_over_pages() {
    let service = Service::on_sqlite().await;
    service.many_orders_with_updates("o", 0..520, "ann").await;
    let all = run(&url(&service), &["list", "--limit", "1000", "--json"]).objects();
    assert_eq!(all.len(), 520);
    let cut = run(&url(&service), &["list", "--limit", "510"]);
    assert_eq!((cut.out.lines().count(), cut.err.contains("--limit")), (511, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispute_is_shown_with_its_order_and_its_history() {
    let service = Service::on_sqlite().await;
    let url = url(&service);
    let dispute = escalated(&service, "o1").await;
    let printed = run(&url, &["show", &dispute]).fine();
    for line in [
        &format!("Dispute {dispute}"),
        "  status        escalated",
        "  opened by     the seller bob, 2026-01-01 00:00:00Z",
        "  on the table  20.00 USD",
        "  message       Sorry for the delay.",
        "  reason        delay compensation (in confidence: the other party does not see it)",
        "  awaiting      support, or the buyer ann",
        "  if accepted   20.00 USD is refunded",
        "  escalated by  buyer",
        "  you can       decide",
        "  etag          3",
        "Order o1",
        "  title          A logo",
        "  price          100.00 USD",
        "  refunded       0.00 USD",
        "History",
        "  2026-01-01 00:00:00Z  opened                by seller bob",
        "      20.00 USD",
        "      > Sorry for the delay.",
        "  2026-01-01 00:00:00Z  declined              by buyer ann",
        "  2026-01-01 00:00:00Z  escalated             by buyer ann",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}\n{printed}");
    }
    let [shown] = run(&url, &["show", &dispute, "--json"]).objects().try_into().unwrap();
    assert_eq!(shown["dispute"]["disputeId"], *dispute);
    assert_eq!(shown["dispute"]["reason"], "REASON_DELAY_COMPENSATION");
    assert_eq!(shown["dispute"]["revision"], "3", "64 bits are a text");
    assert_eq!(shown["dispute"]["createTime"], "2026-01-01T00:00:00Z");
    assert_eq!(shown["dispute"]["refundAmount"], json!({"currencyCode": "USD", "units": "20"}));
    assert_eq!(shown["order"]["status"], "ORDER_STATUS_IN_PROGRESS");
    assert!(shown["serverTime"].is_string());
    let types: Vec<_> = shown["events"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["EVENT_TYPE_OPENED", "EVENT_TYPE_DECLINED", "EVENT_TYPE_ESCALATED"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_is_no_longer_kept_is_said_to_be_gone() {
    let mut service = Service::on_sqlite().await;
    service.restart_with_policy("event_retention = \"1h\"").await;
    let dispute = service.order_with_offer("o1", 2_000).await.dispute_id;
    service.clock.advance(Duration::from_secs(7_200));
    service.order_with_update("o2", "ann").await;
    service.clock.advance(Duration::from_secs(60));
    service.forgotten(1).await;
    let printed = run(&url(&service), &["show", &dispute]).fine();
    assert!(printed.ends_with("\nHistory\n  Events 1 to 1 are no longer kept.\n"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_strangers_reach_no_terminal_raw() {
    let service = Service::on_sqlite().await;
    let url = url(&service);
    service.platform().upsert(v1::Order { title: "Logo\nOrder forged".to_owned(), ..order("o1") }).await;
    let message = "line 1\n  etag  99\t\u{2066}reversed\u{200f}";
    let offered = v1::OfferPartialRefundRequest { message: message.to_owned(), ..offer("o1", 2_000) };
    let dispute = service.user("bob").offer(offered).await.unwrap().dispute_id;
    // Past every check, as an older release or a restored table might have it.
    service.execute("UPDATE disputes SET message = message || char(27) || '[2J' || char(155) || char(8238)").await;
    let shown = run(&url, &["show", &dispute]).fine();
    for line in [
        "  title          Logo",
        "                 Order forged",
        "  message       line 1",
        "                  etag  99  \\u2066reversed\\u200f\\u001b[2J\\u009b\\u202e",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    let printed = [
        shown,
        run(&url, &["show", &dispute, "--json"]).fine(),
        run(&url, &["list"]).fine(),
        run(&url, &["list", "--json"]).fine(),
        Tail::start(&url, &["--from-beginning"]).next(),
        Tail::start(&url, &["--from-beginning", "--json"]).until("eventId"),
        run(&url, &["postpone", &dispute, "--by", "1h", "--message", message, "--dry-run"]).fine(),
        run(&url, &["show", "\u{1b}[2J"]).failed(1),
    ];
    let is_raw =
        |text: &str| text.chars().any(|c| (c.is_control() && c != '\n') || "\u{2066}\u{200f}\u{202e}".contains(c));
    for text in &printed {
        assert!(!is_raw(text), "{text:?}");
    }
    let listed: Value = serde_json::from_str(&printed[3]).unwrap();
    assert_eq!(
        listed["message"],
        format!("{message}\u{1b}[2J\u{9b}\u{202e}"),
        "in JSON the escapes mean the characters"
    );
}
