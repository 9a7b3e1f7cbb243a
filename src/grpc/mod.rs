//! The only room that knows gRPC.
//!
//! - `transport`: what every RPC passes through: who calls, how long it may take, errors of the transport.
//! - `orders`, `disputes`, `watch`: the handlers.
//! - `requests`, `violations`, `pages`: messages in, with every field violation at once.
//! - `responses` and `encoded`: messages out.
//! - `status`: the only place that names a gRPC code.

mod auth;
mod codes;
mod disputes;
pub mod encoded;
mod orders;
mod pages;
mod requests;
mod responses;
mod status;
mod transport;
mod violations;
mod watch;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::Policy;
use crate::engine::{Committer, Feed};
use crate::proto::server::dispute_service_server::DisputeServiceServer;
use crate::proto::server::order_service_server::OrderServiceServer;
use crate::repository::Repository;

pub use disputes::DisputeHandlers;
pub use orders::OrderHandlers;
pub use responses::encode_event;
pub use transport::RpcLayer;

/// What the handlers work with.
#[derive(Debug)]
pub struct Shared {
    /// Where commands go.
    pub committer: Committer,
    /// Where plain reads go.
    pub repository: Arc<Repository>,
    /// Where events come from.
    pub feed: Arc<Feed>,
    /// The time.
    pub clock: Clock,
    /// What an operator has set.
    pub policy: Arc<Policy>,
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
