//! `ListDisputeEvents`: pages of events, from a place in the log on.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, Operation};
use crate::engine::EventFilter;
use crate::grpc::encoded;
use crate::grpc::event_filter::{self, EVENT_FILTER};
use crate::grpc::status::Failure;
use crate::grpc::violations::Violations;
use crate::proto::v1;
use crate::proto::v1::list_dispute_events_request::Start;

pub(super) const RPC: Rpc =
    Rpc::new("/disputes.v1.DisputeService/ListDisputeEvents", Class::List, Operation::ListDisputeEvents)
        .lists(EVENT_FILTER);

/// What is looked for, and how many are wanted.
pub(super) fn parse(
    mut violations: Violations,
    caller: &Caller,
    request: &v1::ListDisputeEventsRequest,
) -> Result<(EventFilter, usize), Failure> {
    let filter = event_filter::read(&mut violations, caller, request.filter.as_ref());
    let size = violations.page_size(request.page_size);
    violations.finish(filter.zip(size))
}

pub(super) async fn run(
    call: Call<'_>,
    request: v1::ListDisputeEventsRequest,
) -> Result<encoded::ListDisputeEventsResponse, Failure> {
    let (filter, size) = parse(Violations::default(), &call.caller, &request)?;
    let start = match &request.start {
        Some(Start::ResumeToken(token)) => event_filter::start(token, false),
        Some(Start::FromBeginning(from_beginning)) => event_filter::start("", *from_beginning),
        None => event_filter::start("", false),
    };
    let page = call.shared.feed.events(start, &filter, size).await?;
    Ok(encoded::ListDisputeEventsResponse {
        events: page.events.iter().map(|event| event.payload.clone()).collect(),
        resume_token: page.token.encode(),
        more: page.more,
    })
}
