//! What is declared of an RPC: all that is judged of a call before its message is decoded.

use crate::domain::Operation;
use crate::grpc::transport::{Bound, Field, Holds};
use crate::grpc::violations::FILTER_VALUES;

/// What an RPC does, and so what bounds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::grpc) enum Class {
    /// Changes something: goes through the committer, unless it is only tried out.
    Command,
    /// Reads one thing.
    Read,
    /// Reads pages of many.
    List,
    /// Responds for as long as it is asked to.
    Stream,
    /// Needs no identity: health and reflection.
    Open,
}

/// On which sides there can be more than one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::grpc) enum Shape {
    /// One request, one response.
    Unary,
    /// One request, many responses.
    ServerStreaming,
    /// Many of both.
    BidiStreaming,
}

/// How large a message is that the RPC takes: the figures are flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::grpc) enum Size {
    /// The question of a probe or of a tool.
    Probe,
    /// A command, or a request with its filters.
    Single,
    /// Many orders.
    Batch,
}

/// One RPC.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::grpc) struct Rpc {
    /// Its path, as HTTP/2 has it.
    pub(in crate::grpc) path: &'static str,
    pub(in crate::grpc) class: Class,
    pub(in crate::grpc) shape: Shape,
    /// What the caller needs the right to; `None` where everybody may call, authenticated or not.
    pub(in crate::grpc) operation: Option<Operation>,
    pub(in crate::grpc) size: Size,
    /// The lists in a request, and how long they can be.
    pub(in crate::grpc) lists: &'static [Field],
}

impl Rpc {
    /// An RPC of ours.
    pub(super) const fn new(path: &'static str, class: Class, operation: Operation) -> Self {
        Self { path, class, shape: Shape::Unary, operation: Some(operation), size: Size::Single, lists: &[] }
    }

    /// An RPC of others on the same port, which needs no identity.
    pub(super) const fn open(path: &'static str) -> Self {
        Self { path, class: Class::Open, shape: Shape::Unary, operation: None, size: Size::Probe, lists: &[] }
    }

    pub(super) const fn shape(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    pub(super) const fn size(self, size: Size) -> Self {
        Self { size, ..self }
    }

    pub(super) const fn lists(self, lists: &'static [Field]) -> Self {
        Self { lists, ..self }
    }

    /// Whether it describes the API, which an operator can turn off.
    pub(in crate::grpc) fn is_reflection(&self) -> bool {
        self.path.starts_with("/grpc.reflection.")
    }

    /// Whether it is the clock of a service that is tried out.
    pub(in crate::grpc) fn is_of_test_clock(&self) -> bool {
        self.path.starts_with("/disputes.testing.")
    }

    /// Its name within its service.
    pub(in crate::grpc) fn name(&self) -> &'static str {
        self.path.rsplit_once('/').map_or(self.path, |(_, name)| name)
    }
}

/// A list of a filter. Ten times as long as it can be it still costs little: so far its parser names it, with everything
/// else that is wrong.
const FILTER: Bound = Bound { most: FILTER_VALUES, of: "values", unread: 10 * FILTER_VALUES };

/// A list of numbers in a filter.
pub(in crate::grpc) const fn numbers(number: u32, name: &'static str) -> Field {
    Field { number, name, holds: Holds::Numbers(FILTER) }
}

/// A list of texts in a filter.
pub(in crate::grpc) const fn texts(number: u32, name: &'static str) -> Field {
    Field { number, name, holds: Holds::List(FILTER, &[]) }
}
