//! What a call holds while its message is waited for: its bytes, and the place of a call without an identity.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Rules;
use super::body::Waiting;
use super::shares::{Share, Shares};
use crate::domain::Caller;
use crate::grpc::rpc::{Class, Rpc, Shape};
use crate::grpc::status::Failure;

/// Bytes are counted in steps of this: whoever waits with a few of them holds a buffer.
const STEP_BYTES: usize = 4 * 1024;

/// One connection among all of this process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// The id of a new connection.
    pub fn mint() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a call holds while its message is waited for. A call that never waits holds nothing.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Share<Option<Caller>>,
    /// Where a call without an identity takes a place once it has to wait.
    waits_on: Option<(Arc<Shares<ConnectionId>>, ConnectionId)>,
    place: Option<Share<ConnectionId>>,
}

impl Held {
    /// Nothing so far.
    pub(super) fn new(rules: &Rules, rpc: &Rpc, caller: Option<Caller>, connection: ConnectionId) -> Self {
        let is_open = rpc.class == Class::Open && rpc.shape == Shape::Unary;
        let waits_on = is_open.then(|| (rules.waiting.clone(), connection));
        Self { bytes: rules.in_flight.share(caller), waits_on, place: None }
    }
}

impl Waiting for Held {
    fn waits_with(&mut self, bytes: usize) -> Result<(), Failure> {
        if let Some((waiting, connection)) = self.waits_on.take() {
            self.place = Some(waiting.one(connection).ok_or_else(Failure::overloaded)?);
        }
        if self.bytes.grow_to(bytes.next_multiple_of(STEP_BYTES)) { Ok(()) } else { Err(Failure::overloaded()) }
    }
}

impl Rules {
    /// The place of a stream that needs no identity; `None` for other calls.
    pub(super) fn stream(&self, rpc: &Rpc, connection: ConnectionId) -> Result<Option<Share<ConnectionId>>, Failure> {
        let places = match (rpc.class, rpc.shape) {
            (Class::Open, Shape::ServerStreaming) => &self.probes,
            (Class::Open, Shape::BidiStreaming) => &self.reflections,
            (Class::Open, Shape::Unary) | (Class::Command | Class::Read | Class::List | Class::Stream, _) => {
                return Ok(None);
            }
        };
        places.one(connection).map(Some).ok_or_else(Failure::too_many_subscriptions)
    }
}
