//! The port for Prometheus and for probes: `GET /metrics`, `/livez`, `/readyz` and nothing else, over HTTP/1. It
//! knows no identities, so it is a port of its own, and its clients are bounded.

mod process;
mod sampling;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub(super) use self::sampling::Sources;
use crate::clock::pause;
use crate::metrics::{Format, expose};

/// How many clients are served at once; others wait.
const CLIENTS: usize = 64;

/// How long a client may take to ask …
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// … and to be told and to read.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait before accepting again after an error, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the metrics for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, sources: Sources) {
    let (sources, clients) = (Arc::new(sources), Arc::new(Semaphore::new(CLIENTS)));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(permit) = clients.clone().acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((socket, _)) => {
                let sources = sources.clone();
                connections.spawn(async move {
                    let _permit = permit;
                    // What becomes of a client that gives up is its own affair.
                    let _ = tokio::time::timeout(CLIENT_TIMEOUT, serve_one(socket, sources)).await;
                });
            }
            Err(_) => pause(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve_one(socket: TcpStream, sources: Arc<Sources>) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let sources = sources.clone();
        async move { Ok::<_, Infallible>(response(&request, &sources).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASK_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a client of the metrics failed");
    }
}

async fn response<B>(request: &Request<B>, sources: &Sources) -> Response<Full> {
    match request.uri().path() {
        "/metrics" | "/livez" | "/readyz" if request.method() != Method::GET => {
            let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is possible\n");
            refusal.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET"));
            refusal
        }
        "/metrics" => metrics(request.headers(), sources).await,
        // Whoever gets a reply knows that the threads run. Without its database the service is alive as well:
        // a restart would not bring it back.
        "/livez" => plain(StatusCode::OK, "ALIVE\n"),
        "/readyz" => readiness(sources),
        _ => plain(StatusCode::NOT_FOUND, "the metrics are at /metrics, probes at /livez and /readyz\n"),
    }
}

/// What the health service reports, for probes that cannot ask it: those of Kubernetes know no gRPC over TLS.
fn readiness(sources: &Sources) -> Response<Full> {
    if *sources.is_serving.borrow() && !sources.drain.is_cancelled() {
        plain(StatusCode::OK, "SERVING\n")
    } else {
        plain(StatusCode::SERVICE_UNAVAILABLE, "NOT_SERVING\n")
    }
}

async fn metrics(headers: &HeaderMap, sources: &Sources) -> Response<Full> {
    let format = Format::preferred(&accepted(headers));
    match expose(&sources.sample().await, format) {
        Ok(text) => {
            let mut response = Response::new(Full::new(text.into()));
            let content_type = http::HeaderValue::from_static(format.content_type());
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            response
        }
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written; the log says why\n")
        }
    }
}

fn accepted(headers: &HeaderMap) -> String {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

/// A body in one piece.
type Full = http_body_util::Full<Bytes>;

fn plain(status: StatusCode, text: &'static str) -> Response<Full> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use crate::metrics::{Declaration, Kind, Metrics, SAMPLED};

    fn all() -> impl Iterator<Item = &'static Declaration> {
        Metrics::DECLARATIONS.iter().chain(SAMPLED.iter().copied())
    }

    #[test]
    fn names_are_unique_and_end_as_their_kind_demands() {
        let names: BTreeSet<_> = all().map(|declaration| declaration.name).collect();
        assert_eq!(names.len(), all().count());
        for Declaration { name, kind, help, .. } in all() {
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}: the library ends the sentence");
        }
    }

    #[test]
    fn the_documentation_is_made_of_the_declarations() {
        let mut expected = String::from(
            "# Metrics\n\n\
             With `--metrics-listen ADDR` the service answers `GET /metrics` on a port of its own: Prometheus text 0.0.4 with classic\n\
             buckets, OpenMetrics with exemplars (the trace id of a call), or protobuf with native and classic buckets, as the scraper's\n\
             `accept` header prefers. The port authenticates nobody: keep it inside. Rules and dashboard query the classic buckets: with\n\
             native histograms, set `always_scrape_classic_histograms` in Prometheus. `deploy/prometheus/rules.yml` has rules for the\n\
             most urgent alerts of this table.\n\n\
             For probes that know no gRPC, or none over TLS, the same port has `GET /readyz`, which is what the health service reports\n\
             (200 and `SERVING`, or 503 and `NOT_SERVING`), and `GET /livez`, which is 200 as long as its threads run.\n\n\
             Sampled values are looked up at each scrape, some of them less often; the rest is counted where it happens. A test\n\
             (`server::metrics`) generates this file from what the code declares.\n\n\
             | metric | kind | labels | meaning | alert |\n|---|---|---|---|---|\n",
        );
        for Declaration { name, kind, labels, help, alert } in all() {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let alert = if alert.is_empty() { "–" } else { alert };
            writeln!(expected, "| `{name}` | {} | {} | {help} | {alert} |", kind.name(), labels.join(", ")).unwrap();
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let found = std::fs::read_to_string(path).unwrap_or_default();
        if found != expected {
            let made = std::env::temp_dir().join("dispute-service-metrics.md");
            std::fs::write(&made, &expected).unwrap();
            panic!("docs/metrics.md is not what the code declares: copy {} over it", made.display());
        }
    }

    /// The names of ours and of the system's in a text.
    fn names_in(text: &str) -> BTreeSet<&str> {
        let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
        words
            .filter(|word| {
                ["disputes_", "rpc_server_", "process_", "tokio_"].iter().any(|start| word.starts_with(start))
            })
            .collect()
    }

    #[test]
    fn dashboard_and_rules_ask_only_for_metrics_that_there_are() {
        for file in ["deploy/grafana/dispute-service.json", "deploy/prometheus/rules.yml"] {
            let text = std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
            let names = names_in(&text);
            assert!(names.len() >= 8, "{file}: {names:?}");
            for name in names {
                let is_there = |Declaration { name: declared, kind, .. }: &Declaration| match kind {
                    Kind::Histogram => {
                        ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(*declared))
                    }
                    Kind::Counter | Kind::Gauge => name == *declared,
                };
                assert!(all().any(is_there), "{file}: {name}");
            }
        }
    }
}
