//! Callers: generated clients that say who they are.

use std::collections::BTreeMap;
use std::time::Duration;

use dispute_service::clock::ManualClock;
use dispute_service::proto::testing::test_clock_service_client::TestClockServiceClient;
use dispute_service::proto::v1;
use dispute_service::proto::v1::dispute_service_client::DisputeServiceClient;
use dispute_service::proto::v1::order_service_client::OrderServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;

/// Adds the caller to each request.
#[derive(Clone)]
pub struct Identity(Vec<(&'static str, MetadataValue<Ascii>)>);

impl Identity {
    /// Whoever sends these headers.
    pub fn new(headers: &[(&'static str, &str)]) -> Self {
        Self(headers.iter().map(|(name, value)| (*name, value.parse().unwrap())).collect())
    }
}

impl Interceptor for Identity {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in &self.0 {
            request.metadata_mut().append(*name, value.clone());
        }
        Ok(request)
    }
}

type Identified = InterceptedService<Channel, Identity>;

/// Somebody who calls the service.
#[derive(Clone)]
pub struct Party {
    /// `disputes.v1.OrderService`.
    pub orders: OrderServiceClient<Identified>,
    /// `disputes.v1.DisputeService`.
    pub disputes: DisputeServiceClient<Identified>,
    /// `disputes.testing.v1.TestClockService`.
    pub clock: TestClockServiceClient<Identified>,
}

impl Party {
    /// A caller with this id and scope.
    pub fn new(channel: Channel, user: &str, scope: Option<&str>) -> Self {
        let scope = scope.map(|scope| ("x-scope", scope));
        Self::with(channel, &[("x-user-id", user)].into_iter().chain(scope).collect::<Vec<_>>())
    }

    /// A caller that brings this token.
    pub fn with_token(channel: Channel, token: &str) -> Self {
        Self::with(channel, &[("authorization", &format!("Bearer {token}"))])
    }

    /// A caller that sends these headers with each request.
    pub fn with(channel: Channel, headers: &[(&'static str, &str)]) -> Self {
        let identity = Identity::new(headers);
        Self {
            orders: OrderServiceClient::with_interceptor(channel.clone(), identity.clone()),
            disputes: DisputeServiceClient::with_interceptor(channel.clone(), identity.clone()),
            clock: TestClockServiceClient::with_interceptor(channel, identity),
        }
    }

    /// Takes in an order.
    pub async fn upsert(&mut self, order: v1::Order) -> v1::Order {
        let request = v1::UpsertOrderRequest { order: Some(order) };
        self.orders.upsert_order(request).await.unwrap().into_inner().order.unwrap()
    }

    /// Reads an order.
    pub async fn order(&mut self, order: &str) -> v1::Order {
        let request = v1::GetOrderRequest { order_id: order.to_owned() };
        self.orders.get_order(request).await.unwrap().into_inner().order.unwrap()
    }

    /// Reads a dispute.
    pub async fn dispute(&mut self, dispute: &str) -> v1::Dispute {
        let request = v1::GetDisputeRequest { dispute_id: dispute.to_owned() };
        self.disputes.get_dispute(request).await.unwrap().into_inner().dispute.unwrap()
    }

    /// What the caller can ask for on an order.
    pub async fn options(&mut self, order: &str) -> v1::GetDisputeOptionsResponse {
        let request = v1::GetDisputeOptionsRequest { order_id: order.to_owned(), ..Default::default() };
        self.disputes.get_dispute_options(request).await.unwrap().into_inner()
    }

    /// A page of disputes.
    pub async fn list(&mut self, request: v1::ListDisputesRequest) -> v1::ListDisputesResponse {
        self.disputes.list_disputes(request).await.unwrap().into_inner()
    }

    /// The disputes on every page, as long as the request says.
    pub async fn list_all(&mut self, request: v1::ListDisputesRequest) -> Vec<v1::Dispute> {
        let mut disputes = Vec::new();
        let mut request = request;
        loop {
            let page = self.list(request.clone()).await;
            disputes.extend(page.disputes);
            if page.next_page_token.is_empty() {
                return disputes;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The ids of the orders on every page, as long as the request says.
    pub async fn order_ids(&mut self, request: v1::ListOrdersRequest) -> String {
        let mut ids = Vec::new();
        let mut request = request;
        loop {
            let page = self.orders.list_orders(request.clone()).await.unwrap().into_inner();
            ids.extend(page.orders.into_iter().map(|order| order.order_id));
            if page.next_page_token.is_empty() {
                return ids.join(" ");
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Every event that the caller may see.
    pub async fn events(&mut self) -> Vec<v1::DisputeEvent> {
        self.events_of(None, 500).await.0
    }

    /// Every event of a filter, by pages so long; and the last token.
    pub async fn events_of(
        &mut self,
        filter: Option<v1::DisputeEventFilter>,
        page_size: i32,
    ) -> (Vec<v1::DisputeEvent>, String) {
        let mut start = v1::list_dispute_events_request::Start::FromBeginning(true);
        let mut events = Vec::new();
        loop {
            let request = v1::ListDisputeEventsRequest { filter: filter.clone(), page_size, start: Some(start) };
            let page = self.disputes.list_dispute_events(request).await.unwrap().into_inner();
            events.extend(page.events);
            if !page.more {
                return (events, page.resume_token);
            }
            start = v1::list_dispute_events_request::Start::ResumeToken(page.resume_token);
        }
    }

    /// Follows what happens; the first message is there.
    pub async fn watch(&mut self, request: v1::WatchDisputesRequest) -> Watch {
        let mut stream = self.disputes.watch_disputes(request).await.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap();
        assert!(first.events.is_empty());
        let checkpoint = first.checkpoint.unwrap();
        assert!(checkpoint.subscribed);
        Watch { stream, token: first.resume_token, waiting: Vec::new() }
    }

    /// Follows what happens from a token on.
    pub async fn watch_from(&mut self, token: &str) -> Watch {
        let start = Some(v1::watch_disputes_request::Start::ResumeToken(token.to_owned()));
        self.watch(v1::WatchDisputesRequest { start, ..Default::default() }).await
    }
}

/// Each command with its answer, or the facts of its error.
macro_rules! commands {
    ($($name:ident = $rpc:ident($request:ident)),+ $(,)?) => {
        impl Party {
            $(
                #[doc = concat!("Calls ", stringify!($rpc), ".")]
                pub async fn $name(&mut self, request: v1::$request) -> Result<v1::Dispute, Facts> {
                    let answer = self.disputes.$rpc(request).await;
                    answer.map(|answer| answer.into_inner().dispute.unwrap()).map_err(|status| facts(&status))
                }
            )+
        }
    };
}

commands!(
    offer = offer_partial_refund(OfferPartialRefundRequest),
    cancel = request_cancellation(RequestCancellationRequest),
    ask = request_order_update(RequestOrderUpdateRequest),
    ask_refund = request_partial_refund(RequestPartialRefundRequest),
    counter = counter_offer(CounterOfferRequest),
    extend = request_delivery_extension(RequestDeliveryExtensionRequest),
    accept = accept_dispute(AcceptDisputeRequest),
    decline = decline_dispute(DeclineDisputeRequest),
    reply = answer_order_update(AnswerOrderUpdateRequest),
    withdraw = withdraw_dispute(WithdrawDisputeRequest),
    escalate = escalate_dispute(EscalateDisputeRequest),
    decide = decide_dispute(DecideDisputeRequest),
    postpone = postpone_deadline(PostponeDeadlineRequest),
    report = report_settlement(ReportSettlementRequest),
);

/// A stream of events that is being read.
pub struct Watch {
    stream: Streaming<v1::WatchDisputesResponse>,
    /// The last token.
    pub token: String,
    waiting: Vec<v1::DisputeEvent>,
}

/// Long enough for anything that comes at all.
const TIMEOUT: Duration = Duration::from_secs(20);

impl Watch {
    /// The next message as it comes.
    pub async fn message(&mut self) -> Result<v1::WatchDisputesResponse, Status> {
        let message = tokio::time::timeout(TIMEOUT, self.stream.message()).await.expect("nothing came")?;
        let message = message.expect("a stream of ours ends with a status");
        self.token.clone_from(&message.resume_token);
        Ok(message)
    }

    /// Moves the clock on until a message comes: a heartbeat, if nothing happens. Each waits for the moment at which the
    /// server looks at the clock.
    pub async fn beat(&mut self, clock: &ManualClock, heartbeat: Duration) -> v1::WatchDisputesResponse {
        for _ in 0..200 {
            clock.advance(heartbeat);
            if let Ok(message) = tokio::time::timeout(Duration::from_millis(100), self.stream.message()).await {
                let message = message.unwrap().expect("a stream of ours ends with a status");
                self.token.clone_from(&message.resume_token);
                return message;
            }
        }
        panic!("no heartbeat came");
    }

    /// Every event until the stream ends, and what it ends with.
    pub async fn rest(&mut self) -> (Vec<v1::DisputeEvent>, Status) {
        let mut events = std::mem::take(&mut self.waiting);
        loop {
            match self.message().await {
                Ok(message) => events.extend(message.events),
                Err(status) => return (events, status),
            }
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> v1::DisputeEvent {
        while self.waiting.is_empty() {
            self.waiting = self.message().await.unwrap().events;
        }
        self.waiting.remove(0)
    }

    /// The next so many events.
    pub async fn take(&mut self, count: usize) -> Vec<v1::DisputeEvent> {
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(self.event().await);
        }
        events
    }
}

/// What a client learns from an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The gRPC code.
    pub code: Code,
    /// The reason of its ErrorInfo.
    pub reason: String,
    /// The metadata of its ErrorInfo.
    pub metadata: BTreeMap<String, String>,
    /// The fields of its BadRequest.
    pub fields: Vec<String>,
}

/// The facts of an error, which must have the form that all our errors have.
pub fn facts(status: &Status) -> Facts {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "disputes.v1");
    assert!(status.details().len() <= 4096, "details of {} bytes", status.details().len());
    let encoded = <tonic_types::pb::Status as prost::Message>::decode(status.details()).unwrap();
    assert_eq!(encoded.message, status.message());
    assert_eq!(encoded.code, i32::from(status.code()));
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    Facts {
        code: status.code(),
        reason: info.reason.clone(),
        metadata: info.metadata.clone().into_iter().collect(),
        fields: violations.into_iter().map(|violation| violation.field).collect(),
    }
}

/// The facts of an error with this code, reason and metadata, and no field violations.
pub fn refusal(code: Code, reason: &str, metadata: &[(&str, &str)]) -> Facts {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Facts { code, reason: reason.to_owned(), metadata, fields: Vec::new() }
}

impl Facts {
    /// The same, about this field.
    pub fn about(self, field: &str) -> Self {
        Self { fields: vec![field.to_owned()], ..self }
    }
}

/// The facts of an error that says that these fields are not as they must be.
pub fn invalid(fields: &[&str]) -> Facts {
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    Facts { fields, ..refusal(Code::InvalidArgument, "INVALID_FIELD", &[]) }
}
