//! A collector of traces that the test is: it keeps every span that it is sent, or never answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispute_service::clock::pause;
use dispute_service_test_features::opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use dispute_service_test_features::opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use dispute_service_test_features::opentelemetry_proto::tonic::common::v1::any_value::Value;
use dispute_service_test_features::opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use dispute_service_test_features::opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A collector on a port of its own.
#[derive(Clone)]
pub struct Collector {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    answers: bool,
}

impl Collector {
    pub async fn start() -> Self {
        Self::start_that(true).await
    }

    /// One that takes every request and answers none.
    pub async fn start_that_hangs() -> Self {
        Self::start_that(false).await
    }

    async fn start_that(answers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self { address: listener.local_addr().unwrap(), requests: Arc::default(), answers };
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
        collector
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that it was sent, as text.
    pub fn text(&self) -> String {
        format!("{:?}", self.requests.lock().unwrap())
    }

    /// The resource of what it was sent last.
    pub fn resource(&self) -> HashMap<String, String> {
        let requests = self.requests.lock().unwrap();
        let resource = requests.last().unwrap().resource_spans[0].resource.clone();
        texts(&resource.unwrap().attributes)
    }

    /// The spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().unwrap();
        let scopes = requests.iter().flat_map(|request| &request.resource_spans).flat_map(|spans| &spans.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The spans of a trace, once there are as many.
    pub async fn spans_of(&self, trace: &str, count: usize) -> Vec<Span> {
        for _ in 0..1_000 {
            let mut spans = self.spans();
            spans.retain(|span| hex(&span.trace_id) == trace);
            if spans.len() >= count {
                return spans;
            }
            pause(Duration::from_millis(10)).await;
        }
        panic!("it was not sent {count} spans of {trace}: {:#?}", self.spans());
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.requests.lock().unwrap().push(request.into_inner());
        if !self.answers {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// An id as headers have it.
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Attributes as texts.
pub fn texts(attributes: &[KeyValue]) -> HashMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(&attribute.value))).collect()
}
