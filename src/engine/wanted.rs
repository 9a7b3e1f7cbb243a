//! What is read of the database before commands are judged.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::queue::RequestKey;
use crate::domain::{Command, DisputeId, DisputeKind, OrderId, Policy, Subject};

/// What is read of the database before commands are judged.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) orders: BTreeSet<OrderId>,
    disputes: BTreeSet<DisputeId>,
    attempted: BTreeSet<DisputeKind>,
    keys: BTreeSet<Uuid>,
}

impl Wanted {
    /// Adds what a command is judged by.
    pub(super) fn add(&mut self, command: &Command, request: Option<RequestKey>, policy: &Policy) {
        self.keys.extend(request.map(|request| request.key));
        self.attempted.extend(limited_attempt(command, policy));
        match command.subject() {
            Subject::Order(order) => drop(self.orders.insert(order)),
            Subject::Dispute(dispute) => drop(self.disputes.insert(dispute)),
        }
    }

    /// Disputes, kinds of which those that ended matter too, and keys of requests.
    pub(super) fn lists(&self) -> (Vec<DisputeId>, Vec<DisputeKind>, Vec<Uuid>) {
        let Self { orders: _, disputes, attempted, keys } = self;
        (disputes.iter().copied().collect(), attempted.iter().copied().collect(), keys.iter().copied().collect())
    }
}

/// The kind that a command attempts to open, if earlier attempts matter.
fn limited_attempt(command: &Command, policy: &Policy) -> Option<DisputeKind> {
    let Command::Open(opening) = command else { return None };
    Some(opening.terms.kind()).filter(|kind| policy.for_kind(*kind).attempts.are_limited())
}
