//! The only layer that knows gRPC. It reads and writes by the engine, never by the repository.
//!
//! - `transport`: the order in which a call is judged; `http`, `auth`, `draining` and `answers` are parts of it. `rpcs`: the table of
//!   all RPCs that it goes by.
//! - `reflection`: what the service is made of.
//! - `orders`, `disputes`, `lists`, `watch` with `quota`: the handlers.
//! - `requests`, `violations`, `pages`: messages in, with every field violation at once.
//! - `responses` and `encoded`: messages out; `codec` and `metered`: in small buffers. `translations`: what people read in them.
//! - `status`: the only place that names a gRPC code.

mod answers;
mod auth;
pub mod codec;
mod codes;
mod disputes;
mod draining;
pub mod encoded;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod http;
mod lists;
mod metered;
mod orders;
mod pages;
mod quota;
mod rates;
mod reflection;
mod requests;
mod responses;
mod rpcs;
mod status;
mod translations;
mod transport;
mod violations;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::Policy;
use crate::engine::{Committer, Feed, Reads};
use crate::proto::server::dispute_service_server::DisputeServiceServer;
use crate::proto::server::order_service_server::OrderServiceServer;

pub use answers::{Answer, AnswerBudget, Answers, Untaken};
pub use disputes::DisputeHandlers;
pub use orders::OrderHandlers;
pub use quota::Quota;
pub use rates::{PeerAddress, RateBounds, Rates};
pub use reflection::{Described, reflection_v1, reflection_v1alpha};
pub use responses::encode_event;
pub use translations::Translations;
pub use transport::{ConnectionId, HEADER_BYTES_READ, RpcBounds, RpcLayer};

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
    /// After how long about a stream ends; zero for never.
    pub max_stream_age: Duration,
    /// Cancelled when the service shuts down: streams end.
    pub drain: CancellationToken,
}

/// `disputes.v1.OrderService`.
pub fn order_service(shared: Arc<Shared>) -> OrderServiceServer<OrderHandlers> {
    OrderServiceServer::new(OrderHandlers::new(shared))
}

/// `disputes.v1.DisputeService`.
pub fn dispute_service(shared: Arc<Shared>) -> DisputeServiceServer<DisputeHandlers> {
    DisputeServiceServer::new(DisputeHandlers::new(shared))
}
