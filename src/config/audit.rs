//! Which entries of the audit are printed.

use clap::Args;
use uuid::Uuid;

use crate::domain::{DisputeId, OrderId, Timestamp};

/// Which entries; all without any of these.
#[derive(Args, Clone, Default, PartialEq, Eq, Debug)]
pub struct AuditFlags {
    /// Only entries from this instant on, as 2026-01-31T12:00:00Z.
    #[arg(long, env = "DISPUTES_AUDIT_SINCE", value_name = "TIME")]
    pub since: Option<Timestamp>,
    /// Only what is about this order, or about a dispute of it.
    #[arg(long, env = "DISPUTES_AUDIT_ORDER", value_name = "ID", value_parser = order)]
    pub order: Option<OrderId>,
    /// Only what is about this dispute.
    #[arg(long, env = "DISPUTES_AUDIT_DISPUTE", value_name = "ID", value_parser = dispute)]
    pub dispute: Option<DisputeId>,
}

fn order(text: &str) -> Result<OrderId, String> {
    OrderId::parse(text).map_err(|error| error.to_string())
}

fn dispute(text: &str) -> Result<DisputeId, String> {
    Uuid::try_parse(text).map(DisputeId).map_err(|_| "expected the id of a dispute, which is a UUID".to_owned())
}
