//! Which events are asked for, from where on, and by whom: what lists and streams of events share.

use prost::Message as _;
use uuid::Uuid;

use super::digest::digest;
use super::rpc::{numbers, texts};
use super::transport::{Field, Holds};
use super::violations::Violations;
use crate::domain::{Caller, UserId};
use crate::engine::{EventFilter, Start};
use crate::proto::v1;

/// The lists in a request with such a filter.
pub(super) const EVENT_FILTER: &[Field] = &[Field {
    number: 1,
    name: "filter",
    holds: Holds::Message(&[
        texts(1, "order_ids"),
        texts(2, "dispute_ids"),
        numbers(4, "kinds"),
        numbers(5, "event_types"),
    ]),
}];

/// The filter that is asked for; what is not set asks for everything that the caller may see.
pub(super) fn read(
    violations: &mut Violations,
    caller: &Caller,
    filter: Option<&v1::DisputeEventFilter>,
) -> Option<EventFilter> {
    let none = v1::DisputeEventFilter::default();
    let filter = filter.unwrap_or(&none);
    let orders = violations.list("filter.order_ids", &filter.order_ids, |v, field, id| v.order_id(field, id));
    let disputes = violations.list("filter.dispute_ids", &filter.dispute_ids, |v, field, id| v.dispute_id(field, id));
    let kinds =
        violations.list("filter.kinds", &filter.kinds, |v, field, kind| v.value(field, *kind, v1::DisputeKind::known));
    let event_types = violations
        .list("filter.event_types", &filter.event_types, |v, field, kind| v.value(field, *kind, v1::EventType::known));
    let party = violations.optional_user_id("filter.party_id", &filter.party_id)?;
    Some(EventFilter { caller: caller.clone(), orders, disputes, party, kinds, event_types })
}

/// Where to start: with what comes, with the oldest event, or after a token. An empty one is none.
pub(super) fn start(resume_token: &str, from_beginning: bool) -> Start<'_> {
    match resume_token {
        "" if from_beginning => Start::Beginning,
        "" => Start::Now,
        token => Start::After(token),
    }
}

/// Who asks to see what, whatever happened to it, digested.
pub(super) fn audience(filter: &EventFilter) -> Uuid {
    let EventFilter { caller, orders, disputes, party, kinds, event_types: _ } = filter;
    let mut seen = v1::DisputeEventFilter {
        order_ids: orders.iter().map(ToString::to_string).collect(),
        dispute_ids: disputes.iter().map(ToString::to_string).collect(),
        party_id: party.as_ref().map(ToString::to_string).unwrap_or_default(),
        kinds: kinds.iter().map(|kind| v1::DisputeKind::from(*kind).into()).collect(),
        event_types: Vec::new(),
    };
    seen.order_ids.sort_unstable();
    seen.dispute_ids.sort_unstable();
    seen.kinds.sort_unstable();
    let visible_to = caller.sees_only().map_or("", UserId::as_str);
    digest(&[visible_to.as_bytes(), &seen.encode_to_vec()])
}
