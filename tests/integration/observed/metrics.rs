//! The metrics: each that is declared is there, and says what has happened.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use dispute_service::metrics::{Metrics, SAMPLED};
use dispute_service::proto::v1;
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::{LabelPair, MetricFamily};
use prost::Message as _;
use tonic::Request;

use super::{ask, connect, scrape, serve, serve_on};
use crate::support::callers::Party;
use crate::support::health::Health;
use crate::support::messages::*;
use crate::support::{database, postgres};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The value of the one series with this name and these labels.
fn value(text: &str, name: &str, labels: &[&str]) -> f64 {
    let is_it = |line: &&str| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']));
        rest.is_some_and(|rest| labels.iter().all(|label| rest.contains(label)))
    };
    let found: Vec<_> = text.lines().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}\n{text}");
    found[0].rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Orders, commands, refusals, a stream.
async fn keep_busy(party: impl Fn(&str, Option<&str>) -> Party) {
    let (mut shop, mut ann) = (party("shop", Some("platform")), party("ann", None));
    for number in 0..3 {
        shop.upsert(order(&format!("o{number}"))).await;
        ann.ask(update(&format!("o{number}"))).await.unwrap();
    }
    ann.ask(update("o0")).await.unwrap_err();
    ann.ask(update("unknown")).await.unwrap_err();
    let mut within = Request::new(v1::GetOrderRequest { order_id: "o0".to_owned() });
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    within.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    shop.orders.get_order(within).await.unwrap();
    let mut stream = shop.watch(from_beginning()).await;
    stream.take(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_service_has_every_metric_that_is_documented_and_they_say_what_has_happened_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    require_metrics_of_a_busy_service(&url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_service_has_every_metric_that_is_documented_and_they_say_what_has_happened_on_postgres() {
    if let Some(url) = postgres::new_database().await {
        require_metrics_of_a_busy_service(&url).await;
    }
}

async fn require_metrics_of_a_busy_service(url: &str) {
    let (server, address) = serve_on(url, &[], "info").await;
    let channel = connect(&server).await;
    keep_busy(|user, scope| Party::new(channel.clone(), user, scope)).await;
    let (head, text) = scrape(&address, "text/plain;version=0.0.4").await;
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    let named: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let declared = Metrics::DECLARATIONS.iter().chain(SAMPLED.iter().copied());
    // There is no certificate without TLS.
    let absent = ["disputes_certificate_expiry_timestamp_seconds"];
    let expected: BTreeSet<_> = declared
        .filter(|declaration| !absent.contains(&declaration.name))
        .map(|declaration| format!("{} {}", declaration.name, declaration.kind.name()))
        .collect();
    assert_eq!(named, expected.iter().map(String::as_str).collect());
    assert!(named.len() >= 40, "{}", named.len());

    let called = r#"rpc_method="disputes.v1.DisputeService/RequestOrderUpdate""#;
    let calls = |labels: &[&str]| value(&text, "rpc_server_call_duration_seconds_count", labels);
    assert_eq!(calls(&[called, r#"rpc_status_code="OK""#, r#"error_type="""#, r#"rpc_system_name="grpc""#]), 3.0);
    assert_eq!(
        calls(&[called, r#"rpc_status_code="FAILED_PRECONDITION""#, r#"error_type="OPEN_DISPUTE_EXISTS""#]),
        1.0
    );
    assert_eq!(calls(&[called, r#"rpc_status_code="NOT_FOUND""#, r#"error_type="ORDER_NOT_FOUND""#]), 1.0);
    assert_eq!(value(&text, "disputes_refusals_total", &[r#"reason="ORDER_NOT_FOUND""#]), 1.0);
    assert_eq!(value(&text, "disputes_submissions_total", &[r#"kind="command""#]), 5.0);
    assert_eq!(value(&text, "disputes_submissions_total", &[r#"kind="import""#]), 3.0);
    assert_eq!(value(&text, "disputes_batch_submissions_sum", &[]), 8.0);
    assert_eq!(value(&text, "disputes_log_last_seq", &[]), 3.0);
    assert_eq!(value(&text, "disputes_feed_seq", &[]), 3.0);
    assert_eq!(value(&text, "disputes_pending", &[]), 3.0);
    assert_eq!(value(&text, "disputes_overdue", &[]), 0.0);
    assert_eq!(value(&text, "disputes_serving", &[]), 1.0);
    assert_eq!(value(&text, "disputes_events_sent_total", &[]), 3.0);
    assert_eq!(value(&text, "disputes_streams_started_total", &[r#"start="beginning""#]), 1.0);
    assert_eq!(value(&text, "disputes_connections", &[]), 1.0);
    assert_eq!(value(&text, "disputes_database_errors_total", &[r#"error="failed""#]), 0.0);
    assert!(value(&text, "process_resident_memory_bytes", &[]) > 1e6);
}

/// Prometheus's own opinion of the names and texts, where it is installed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_has_nothing_to_say_against_the_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = serve(folder.path(), &[], "info").await;
    let channel = connect(&server).await;
    keep_busy(|user, scope| Party::new(channel.clone(), user, scope)).await;
    let (_, text) = scrape(&address, "*/*").await;
    let promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut promtool = match promtool {
        Ok(promtool) => promtool,
        Err(_) if std::env::var_os("REQUIRE_PROMTOOL").is_none() => {
            return println!("SKIPPED: promtool is not installed");
        }
        Err(error) => panic!("promtool: {error}"),
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_format_has_what_it_alone_can_carry() {
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = serve(folder.path(), &[], "info").await;
    let channel = connect(&server).await;
    keep_busy(|user, scope| Party::new(channel.clone(), user, scope)).await;
    let (head, text) = scrape(&address, "application/openmetrics-text;version=1.0.0").await;
    assert!(head.to_lowercase().contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(text.ends_with("# EOF\n"));
    let exemplar = format!(r#"# {{trace_id="{TRACE}"}}"#);
    assert!(text.lines().any(|line| line.contains("GetOrder") && line.contains(&exemplar)), "{text}");
    let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let (head, body) = ask(&address, "GET /metrics", protobuf).await;
    assert!(head.to_lowercase().contains("content-type: application/vnd.google.protobuf"), "{head}");
    let (mut rest, mut families) = (body.as_slice(), Vec::new());
    while !rest.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut rest).unwrap());
    }
    let calls = families.iter().find(|family| family.name == "rpc_server_call_duration_seconds").unwrap();
    let histograms: Vec<_> = calls.metric.iter().filter_map(|metric| metric.histogram.as_ref()).collect();
    assert!(!histograms.is_empty() && histograms.iter().all(|histogram| !histogram.positive_delta.is_empty()));
    let is_ours = |pair: &LabelPair| pair.value == TRACE;
    let mut buckets = histograms.iter().flat_map(|histogram| &histogram.bucket);
    assert!(buckets.any(|bucket| bucket.exemplar.iter().any(|exemplar| exemplar.label.iter().any(is_ours))));
}

#[tokio::test]
async fn the_port_serves_metrics_and_probes_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, address) = serve(folder.path(), &[], "info").await;
    for (request, status) in [
        ("GET /", "404"),
        ("GET /metrics/", "404"),
        ("POST /metrics", "405"),
        ("GET /metrics?name=x", "200"),
        ("GET /readyz", "200"),
        ("GET /livez", "200"),
        ("HEAD /readyz", "405"),
        ("GET /health", "404"),
        ("GET /disputes.v1.DisputeService/GetDispute", "404"),
    ] {
        let (head, _) = ask(&address, request, "*/*").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_of_readiness_hears_what_the_health_service_reports_and_one_of_life_does_not_mind() {
    let Some(url) = postgres::new_database().await else { return };
    let (server, address) = serve_on(&url, &[], "info").await;
    let mut health = Health::of(connect(&server).await).await;
    for _ in 0..2 {
        let (head, body) = ask(&address, "GET /readyz", "*/*").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && body == b"SERVING\n", "{head}");
        database::set_read_only(&url, true).await;
        health.turns_not_serving().await;
        let (head, body) = ask(&address, "GET /readyz", "*/*").await;
        assert!(head.starts_with("HTTP/1.1 503 ") && body == b"NOT_SERVING\n", "{head}");
        assert!(ask(&address, "GET /livez", "*/*").await.0.starts_with("HTTP/1.1 200 "));
        database::set_read_only(&url, false).await;
        health.turns_serving().await;
    }
}
