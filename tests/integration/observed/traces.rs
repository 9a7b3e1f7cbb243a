//! Traces: from the call over its batch to the subscriber, and nothing that depends on the collector.

use std::collections::HashMap;
use std::time::Duration;

use dispute_service::proto::v1;
use dispute_service_test_features::opentelemetry_proto::tonic::trace::v1::Span;
use dispute_service_test_features::opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use tokio::task::JoinSet;
use tonic::Request;

use super::{connect, scrape, serve, serve_on};
use crate::support::callers::Party;
use crate::support::collector::{Collector, hex, texts};
use crate::support::database;
use crate::support::messages::*;
use crate::support::postgres;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// A call within a trace of its caller.
fn within<T>(message: T, flags: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("traceparent", format!("00-{TRACE}-{SPAN}-{flags}").parse().unwrap());
    request
}

fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_leads_from_a_call_over_its_batch_to_a_subscriber_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    leads_to_the_subscriber(&format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_leads_from_a_call_over_its_batch_to_a_subscriber_on_postgres() {
    if let Some(url) = postgres::new_database().await {
        leads_to_the_subscriber(&url).await;
    }
}

async fn leads_to_the_subscriber(url: &str) {
    let collector = Collector::start().await;
    let flags = ["--otlp-endpoint", &collector.endpoint(), "--trace-sample-ratio", "1"];
    let (server, _) = serve_on(url, &flags, "info").await;
    let channel = connect(&server).await;
    let party = |user: &str, scope| Party::new(channel.clone(), user, scope);
    let (mut shop, mut ann, mut agent) =
        (party("shop", Some("platform")), party("ann", None), party("agent", Some("support")));
    shop.upsert(order("o1")).await;
    let mut watch = ann.watch(v1::WatchDisputesRequest::default()).await;
    let asked = ann.disputes.request_order_update(within(update("o1"), "01")).await.unwrap().into_inner();
    let dispute_id = asked.dispute.unwrap().dispute_id;
    let of_ann = watch.event().await.trace_parent;
    agent.disputes.escalate_dispute(within(escalate(&dispute_id), "01")).await.unwrap();
    let of_agent = watch.event().await.trace_parent;

    // The agent's call is in the agent's trace.
    let spans = collector.spans_of(TRACE, 6).await;
    let call = one(&spans, "disputes.v1.DisputeService/EscalateDispute");
    assert_eq!((hex(&call.parent_span_id).as_str(), call.kind()), (SPAN, SpanKind::Server));
    assert_eq!(of_agent, format!("00-{TRACE}-{}-01", hex(&call.span_id)), "the event carries it");
    let attributes = [
        ("rpc.system.name", "grpc"),
        ("rpc.method", "disputes.v1.DisputeService/EscalateDispute"),
        ("rpc.response.status_code", "OK"),
    ];
    assert_eq!(texts(&call.attributes), attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let [commit, batch, judge, write, deliver] =
        ["commit", "batch", "judge", "write", "deliver"].map(|name| one(&spans, name));
    for (span, parent) in [(commit, call), (batch, commit), (judge, batch), (write, batch), (deliver, call)] {
        assert_eq!(span.parent_span_id, parent.span_id, "{}", span.name);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    }
    assert_eq!(texts(&commit.attributes)["disputes.dispute.id"], dispute_id);
    assert_eq!(texts(&batch.attributes)["disputes.batch.submissions"], "1");
    assert!(texts(&deliver.attributes).contains_key("disputes.event.id"));
    assert!(judge.end_time_unix_nano <= write.start_time_unix_nano + 1_000_000);

    // Of what a party sends there is a link, for us.
    let trace = of_ann.split('-').nth(1).unwrap();
    let spans = collector.spans_of(trace, 6).await;
    let call = one(&spans, "disputes.v1.DisputeService/RequestOrderUpdate");
    assert!(call.parent_span_id.is_empty() && trace != TRACE);
    assert_eq!(of_ann, format!("00-{trace}-{}-01", hex(&call.span_id)));
    assert_eq!((hex(&call.links[0].trace_id), hex(&call.links[0].span_id)), (TRACE.to_owned(), SPAN.to_owned()));

    let resource = collector.resource();
    assert_eq!(resource["service.name"], "dispute-service");
    assert_eq!(resource["deployment.environment.name"], "test");
    assert!(server.terminate().0);
    assert!(!collector.text().contains("user.id"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_linked_with_its_commands() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start().await;
    let flags = ["--otlp-endpoint", &collector.endpoint(), "--trace-sample-ratio", "1"];
    let (server, _) = serve(folder.path(), &flags, "info").await;
    let channel = connect(&server).await;
    let mut shop = Party::new(channel.clone(), "shop", Some("platform"));
    let orders = (0..100).map(|number| order(&format!("o{number}"))).collect();
    shop.orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let mut asking = JoinSet::new();
    for number in 0..100 {
        let mut ann = Party::new(channel.clone(), "ann", None);
        asking.spawn(async move { ann.ask(update(&format!("o{number}"))).await.unwrap() });
    }
    asking.join_all().await;
    assert!(server.terminate().0, "the last spans are sent at its end");

    let spans = collector.spans();
    let all = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let batches: HashMap<_, _> = all("batch").into_iter().map(|span| (&span.span_id, span)).collect();
    let commits: HashMap<_, _> = all("commit").into_iter().map(|span| (&span.span_id, span)).collect();
    assert_eq!(commits.len(), 101);
    assert!(batches.len() < 101, "{} batches", batches.len());
    let mut linked = 0;
    for batch in batches.values() {
        assert_eq!(commits[&batch.parent_span_id].trace_id, batch.trace_id);
        for link in &batch.links {
            assert_eq!(commits[&link.span_id].trace_id, link.trace_id);
            linked += 1;
        }
    }
    assert_eq!(linked + batches.len(), 101, "each command is in one batch");
    for commit in commits.values() {
        let [link] = &commit.links[..] else { panic!("{commit:?}") };
        assert_eq!(batches[&link.span_id].trace_id, link.trace_id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_waits_for_a_locked_order_is_in_one_batch() {
    let Some(url) = postgres::new_database().await else { return };
    let collector = Collector::start().await;
    let flags = ["--otlp-endpoint", &collector.endpoint(), "--trace-sample-ratio", "1"];
    let (server, _) = serve_on(&url, &flags, "info").await;
    let channel = connect(&server).await;
    let mut shop = Party::new(channel.clone(), "shop", Some("platform"));
    shop.upsert(order("o1")).await;
    shop.upsert(order("o2")).await;
    let session = database::open(&url).await.begin().await.unwrap();
    session.execute_unprepared("SELECT 1 FROM orders WHERE order_id = 'o1' FOR UPDATE").await.unwrap();
    let mut ann = Party::new(channel.clone(), "ann", None);
    let waits = tokio::spawn({
        let mut ann = ann.clone();
        async move { ann.ask(update("o1")).await }
    });
    // It is tried again with each of these.
    for _ in 0..20 {
        let asked = ann.ask(update("o2")).await.unwrap();
        ann.withdraw(withdraw(&asked.dispute_id)).await.unwrap();
    }
    session.rollback().await.unwrap();
    waits.await.unwrap().unwrap();
    assert!(server.terminate().0);
    let spans = collector.spans();
    let is_of = |span: &&Span| texts(&span.attributes).get("disputes.order.id").is_some_and(|id| id == "o1");
    let commit = spans.iter().filter(|span| span.name == "commit").find(is_of).unwrap();
    let batches = spans.iter().filter(|span| span.name == "batch");
    let is_in = |batch: &&Span| {
        batch.parent_span_id == commit.span_id || batch.links.iter().any(|link| link.span_id == commit.span_id)
    };
    assert_eq!((batches.filter(is_in).count(), commit.links.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_sampled_is_not_recorded_and_what_the_house_samples_is_and_users_are_named_if_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start().await;
    let flags = ["--otlp-endpoint", &collector.endpoint(), "--trace-sample-ratio", "0", "--trace-user-ids"];
    let (server, _) = serve(folder.path(), &flags, "info").await;
    let channel = connect(&server).await;
    let mut shop = Party::new(channel.clone(), "shop", Some("platform"));
    let mut ann = Party::new(channel.clone(), "ann", None);
    shop.upsert(order("o1")).await;
    ann.disputes.request_order_update(within(update("o1"), "01")).await.unwrap();
    let get = v1::GetOrderRequest { order_id: "o1".to_owned() };
    shop.orders.get_order(within(get.clone(), "00")).await.unwrap();
    shop.orders.get_order(within(get, "01")).await.unwrap();
    assert!(server.terminate().0);
    let spans = collector.spans();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["disputes.v1.OrderService/GetOrder"]);
    assert_eq!(texts(&spans[0].attributes)["user.id"], "shop");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_or_is_not_there_changes_nothing() {
    let hanging = Collector::start_that_hangs().await;
    for (endpoint, failure) in
        [(hanging.endpoint(), None), ("http://127.0.0.1:1".to_owned(), Some("traces cannot be exported"))]
    {
        let folder = tempfile::tempdir().unwrap();
        let flags = ["--otlp-endpoint", &endpoint, "--trace-sample-ratio", "1", "--max-reads-per-second", "0"];
        let (server, metrics) = serve(folder.path(), &flags, "info").await;
        let channel = connect(&server).await;
        let mut shop = Party::new(channel.clone(), "shop", Some("platform"));
        shop.upsert(order("o1")).await;
        // More than the queue of spans holds.
        let mut reading = JoinSet::new();
        for _ in 0..30 {
            let mut shop = shop.clone();
            reading.spawn(async move {
                for _ in 0..100 {
                    shop.orders.get_order(v1::GetOrderRequest { order_id: "o1".to_owned() }).await.unwrap();
                }
            });
        }
        reading.join_all().await;
        let (_, text) = scrape(&metrics, "text/plain").await;
        let ended = text.lines().find_map(|line| line.strip_prefix("disputes_trace_spans_total{outcome=\"ended\"} "));
        assert!(ended.unwrap().parse::<f64>().unwrap() > 3_000.0, "{text}");
        assert!(text.contains("disputes_trace_spans_total{outcome=\"exported\"} 0"), "{text}");
        server.signal("TERM");
        let (is_well, log) = server.ends(Duration::from_secs(5)).await.expect("it ends although spans wait");
        assert!(is_well && !log.contains("panicked"), "{log}");
        if let Some(failure) = failure {
            assert_eq!(log.lines().filter(|line| line.contains(failure)).count(), 1, "{log}");
        }
    }
}
