//! Submissions to the committer: commands, imports, disclosures to record, and expiries and reminders; each with the sender
//! for its reply.

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::domain::{Caller, Command, ConfidentialReason, DisputeView, OrderId, OrderReport, OrderView};
use crate::engine::error::Error;
use crate::engine::unit_of_work::{Reply, TimePassed};
use crate::traces::TraceParent;

/// The memory of a submission per order, besides its texts: rounded up from measurements. A span that is recorded doubles it.
const BYTES_PER_ORDER: usize = 768;

/// Recording so many reasons costs about as much as a command: each is one row, and nothing is read for it.
const REASONS_PER_ORDER: usize = 8;

/// Identifies a command that is sent more than once, so that it takes effect once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestKey {
    /// Digest of the caller and the request id.
    pub key: Uuid,
    /// Digest of the RPC and all its fields except the request id.
    pub fingerprint: Uuid,
}

/// A submission to the committer, with the sender for its reply.
pub(in crate::engine) enum Submission {
    /// A command about a dispute.
    Dispute {
        caller: Caller,
        command: Box<Command>,
        request: Option<RequestKey>,
        trace: Option<TraceParent>,
        answer: ReplySender<DisputeView>,
    },
    /// Orders from the order system, all or nothing.
    Orders {
        caller: Caller,
        reports: Vec<OrderReport>,
        trace: Option<TraceParent>,
        answer: ReplySender<Vec<OrderView>>,
    },
    /// Confidential reasons to record before a caller is shown them. Touches no order.
    Disclosure { caller: Caller, reasons: Vec<ConfidentialReason>, answer: ReplySender<()> },
    /// Orders with an overdue dispute or a due reminder.
    PassTime { orders: Vec<OrderId>, answer: ReplySender<TimePassed> },
}

pub(in crate::engine) type ReplySender<T> = oneshot::Sender<Result<T, Error>>;

impl Submission {
    /// The caller that sent it; `None` for expiries and reminders.
    pub(super) fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Dispute { caller, .. } | Self::Orders { caller, .. } | Self::Disclosure { caller, .. } => {
                Some(caller)
            }
            Self::PassTime { .. } => None,
        }
    }

    /// The span of the call that it came by, if that has one.
    pub(super) fn trace(&self) -> Option<TraceParent> {
        match self {
            Self::Dispute { trace, .. } | Self::Orders { trace, .. } => *trace,
            Self::Disclosure { .. } | Self::PassTime { .. } => None,
        }
    }

    /// The name of its kind.
    pub(in crate::engine) fn kind(&self) -> &'static str {
        match self {
            Self::Dispute { .. } => "command",
            Self::Orders { .. } => "import",
            Self::Disclosure { .. } => "disclosure",
            Self::PassTime { .. } => "time",
        }
    }

    /// Whether nobody waits for the reply any more: the call was cancelled, or its connection is gone.
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Dispute { answer, .. } => answer.is_closed(),
            Self::Orders { answer, .. } => answer.is_closed(),
            Self::Disclosure { answer, .. } => answer.is_closed(),
            Self::PassTime { answer, .. } => answer.is_closed(),
        }
    }

    /// Its share of the queue's bounds.
    pub(super) fn load(&self) -> Load {
        let (orders, texts) = match self {
            Self::Dispute { command, .. } => (1, command.text_bytes()),
            Self::Orders { reports, .. } => (reports.len(), reports.iter().map(OrderReport::text_bytes).sum()),
            Self::Disclosure { reasons, .. } => (reasons.len().div_ceil(REASONS_PER_ORDER), 0),
            Self::PassTime { orders, .. } => (orders.len(), 0),
        };
        Load { orders, bytes: texts.saturating_add(orders.saturating_mul(BYTES_PER_ORDER)) }
    }

    /// Sends the reply to the waiting caller; a caller that has gone away is ignored.
    pub(in crate::engine) fn answer(self, reply: Reply) {
        match (self, reply) {
            (Self::Dispute { answer, .. }, Reply::Dispute(reply)) => {
                drop(answer.send(*reply));
            }
            (Self::Orders { answer, .. }, Reply::Orders(reply)) => {
                drop(answer.send(reply));
            }
            (Self::Disclosure { answer, .. }, Reply::Recorded) => drop(answer.send(Ok(()))),
            (Self::PassTime { answer, .. }, Reply::TimePassed(passed)) => drop(answer.send(Ok(passed))),
            (submission, _) => submission.fail(Error::Internal("a reply of another kind".to_owned())),
        }
    }

    pub(super) fn fail(self, error: Error) {
        match self {
            Self::Dispute { answer, .. } => drop(answer.send(Err(error))),
            Self::Orders { answer, .. } => drop(answer.send(Err(error))),
            Self::Disclosure { answer, .. } => drop(answer.send(Err(error))),
            Self::PassTime { answer, .. } => drop(answer.send(Err(error))),
        }
    }
}

/// What counts towards a bound.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Load {
    /// The number of orders.
    pub(super) orders: usize,
    /// The approximate memory in bytes.
    pub(super) bytes: usize,
}

impl Load {
    pub(super) fn plus(self, other: Self) -> Self {
        Self { orders: self.orders.saturating_add(other.orders), bytes: self.bytes.saturating_add(other.bytes) }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self { orders: self.orders.saturating_sub(other.orders), bytes: self.bytes.saturating_sub(other.bytes) }
    }

    pub(super) fn is_within(self, most: Self) -> bool {
        self.orders <= most.orders && self.bytes <= most.bytes
    }
}
