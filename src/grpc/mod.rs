//! The only layer that knows gRPC. It reads and writes by the engine, never by the repository.
//!
//! - `transport`: the order in which a call is judged; `http`, `auth`, `draining`, `rates`, `quota` and `answers` are parts of it.
//! - `web`: what browsers need, around it.
//! - `rpc`: a file for each RPC, with everything that is declared of it, and the table of all of them.
//! - `violations`: reads the fields of requests, and collects all that is wrong with them. `commands`, `order_reports`,
//!   `event_filter`, `pages`: what several RPCs share.
//! - `responses`, `payloads` and `encoded`: messages out; `codec` and `metered`: in small buffers. `translations`: what people read
//!   in them.
//! - `reflection`: what the service is made of.
//! - `status`: the only place that names a gRPC code.

mod answers;
mod auth;
pub mod codec;
mod codes;
mod commands;
mod compression;
mod digest;
mod draining;
pub mod encoded;
mod event_filter;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod http;
mod metered;
mod order_reports;
mod pages;
mod payloads;
mod peer;
mod quota;
mod rates;
mod reflection;
mod responses;
mod rpc;
mod status;
mod translations;
mod transport;
mod violations;
mod web;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::Policy;
use crate::engine::{Committer, Feed, Reads, TestClock};
use crate::proto::server::dispute_service_server::DisputeServiceServer;
use crate::proto::server::order_service_server::OrderServiceServer;
use crate::proto::testing_server::test_clock_service_server::TestClockServiceServer;
use crate::traces::Tracer;

pub use answers::{Answer, AnswerBudget, Answers, Untaken};
pub use auth::{Authenticator, KeyFileError, MintError, Origins, mint_token};
pub use payloads::encode_event;
pub use peer::PeerIdentity;
pub use quota::Quota;
pub use rates::{PeerAddress, RateBounds, Rates};
pub use reflection::{Described, reflection_v1, reflection_v1alpha};
pub use rpc::{DisputeHandlers, OrderHandlers, TestClockHandlers};
pub use translations::Translations;
pub use transport::{ConnectionId, HEADER_BYTES_READ, Judged, RpcBounds, RpcLayer};
pub use web::WebLayer;

/// What the handlers work with.
#[derive(Debug)]
pub struct Shared {
    /// Where commands go.
    pub committer: Committer,
    /// Where plain reads go.
    pub reads: Reads,
    /// Where events come from.
    pub feed: Arc<Feed>,
    /// The time.
    pub clock: Clock,
    /// What an operator has set about the rules.
    pub policy: Arc<Policy>,
    /// Where customer support is reached; empty if this is not said.
    pub support_url: String,
    /// What people read.
    pub translations: Translations,
    /// How many streams there can be.
    pub quota: Arc<Quota>,
    /// How often somebody may ask.
    pub rates: Arc<Rates>,
    /// What moves the clock, if it is moved by hand.
    pub test_clock: Option<TestClock>,
    /// After how long about a stream ends; zero for never.
    pub max_stream_age: Duration,
    /// The deliveries of events are recorded in their traces.
    pub tracer: Tracer,
    /// Cancelled when the service shuts down: streams end.
    pub drain: CancellationToken,
}

/// `disputes.v1.OrderService`.
pub fn order_service(shared: Arc<Shared>) -> OrderServiceServer<OrderHandlers> {
    OrderServiceServer::new(OrderHandlers::new(shared))
}

/// `disputes.testing.v1.TestClockService`.
pub fn test_clock_service(shared: Arc<Shared>) -> TestClockServiceServer<TestClockHandlers> {
    TestClockServiceServer::new(TestClockHandlers::new(shared))
}

/// `disputes.v1.DisputeService`.
pub fn dispute_service(shared: Arc<Shared>) -> DisputeServiceServer<DisputeHandlers> {
    DisputeServiceServer::new(DisputeHandlers::new(shared))
}
