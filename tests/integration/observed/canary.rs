//! A canary in the texts that callers send: it is in no line that the service itself logs, at any level, in no metric, in no
//! trace, and in no error.

use dispute_service::proto::v1;
use tonic::Request;

use super::{connect, scrape, serve};
use crate::support::callers::Party;
use crate::support::collector::Collector;
use crate::support::messages::*;

const CANARY: &str = "c4n4ry-of-a-text";

fn canary() -> String {
    CANARY.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_write_is_in_no_log_no_metric_no_trace_and_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start().await;
    let flags = ["--otlp-endpoint", &collector.endpoint(), "--trace-sample-ratio", "1", "--trace-user-ids"];
    let (server, address) = serve(folder.path(), &flags, "trace").await;
    let channel = connect(&server).await;
    let party = |user: &str, scope| Party::new(channel.clone(), user, scope);
    let (mut shop, mut agent) = (party("shop", Some("platform")), party("agent", Some("support")));
    let (mut ann, mut bob, mut eve) = (party("ann", None), party("bob", None), party("eve", None));
    let mut errors = String::new();
    for id in ["o1", "o2", "o3", "o4"] {
        shop.upsert(v1::Order { title: canary(), ..order(id) }).await;
    }
    let mut watches = [ann.watch(from_beginning()).await, agent.watch(from_beginning()).await];

    // Each command with its texts; and what is refused.
    let asked = ann.ask(v1::RequestOrderUpdateRequest { message: canary(), ..update("o1") }).await.unwrap();
    let reply = v1::AnswerOrderUpdateRequest { message: canary(), ..answer(&asked.dispute_id) };
    errors += &format!("{:?}", eve.disputes.answer_order_update(reply.clone()).await.unwrap_err());
    bob.reply(reply.clone()).await.unwrap();
    errors += &format!("{:?}", bob.disputes.answer_order_update(reply).await.unwrap_err());
    let offer = v1::OfferPartialRefundRequest {
        message: canary(),
        reason: v1::Reason::Other.into(),
        reason_detail: canary(),
        ..offer("o2", 100)
    };
    let offered = bob.offer(offer.clone()).await.unwrap();
    errors += &format!("{:?}", bob.disputes.offer_partial_refund(offer).await.unwrap_err());
    let decline = v1::DeclineDisputeRequest { message: canary(), ..decline(&offered.dispute_id) };
    ann.decline(decline).await.unwrap();
    ann.escalate(v1::EscalateDisputeRequest { message: canary(), ..escalate(&offered.dispute_id) }).await.unwrap();
    agent.decide(v1::DecideDisputeRequest { message: canary(), ..refund(&offered.dispute_id, 100) }).await.unwrap();
    shop.report(failed(&offered.dispute_id, CANARY)).await.unwrap();
    shop.report(settled(&offered.dispute_id, CANARY)).await.unwrap();
    let cancel = v1::RequestCancellationRequest { message: canary(), ..cancellation("o3") };
    ann.cancel(cancel).await.unwrap();

    // What is no text of a dispute: tokens, ids, headers, paths.
    let page = v1::ListDisputesRequest { page_token: canary(), ..Default::default() };
    errors += &format!("{:?}", ann.disputes.list_disputes(page).await.unwrap_err());
    let start = Some(v1::watch_disputes_request::Start::ResumeToken(canary()));
    errors += &format!(
        "{:?}",
        ann.disputes.watch_disputes(v1::WatchDisputesRequest { start, ..Default::default() }).await.unwrap_err()
    );
    let etag = v1::WithdrawDisputeRequest { etag: canary(), ..withdraw(&asked.dispute_id) };
    errors += &format!("{:?}", ann.disputes.withdraw_dispute(etag).await.unwrap_err());
    let once = v1::RequestOrderUpdateRequest { request_id: canary(), ..update("o4") };
    errors += &format!("{:?}", ann.disputes.request_order_update(once).await.unwrap_err());
    let mut headers = Request::new(v1::ListReasonsRequest::default());
    for name in ["traceparent", "tracestate", "x-request-id", "user-agent-of-mine", "authorization"] {
        headers.metadata_mut().insert(name, CANARY.parse().unwrap());
    }
    let _ = ann.disputes.list_reasons(headers).await;
    errors += &format!(
        "{:?}",
        party("c4n4ry of a text", None).disputes.list_reasons(v1::ListReasonsRequest::default()).await
    );
    for watch in &mut watches {
        watch.event().await;
    }
    let mut metrics = String::new();
    for accept in ["text/plain", "application/openmetrics-text"] {
        metrics += &scrape(&address, accept).await.1;
    }
    let (is_well, log) = server.terminate();
    assert!(is_well && log.contains("accepted") && log.contains("refused"), "{log}");
    let traces = collector.text();
    assert!(traces.contains("DecideDispute") && traces.contains("deliver") && traces.contains("\"eve\""), "{traces}");
    for (place, text) in
        [("the log", &log), ("the metrics", &metrics), ("the traces", &traces), ("the errors", &errors)]
    {
        for canary in [CANARY, "c4n4ry of a text"] {
            let found = text.lines().find(|line| line.contains(canary));
            assert_eq!(found, None, "{canary:?} is in {place}");
        }
    }
}
