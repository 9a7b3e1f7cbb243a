//! What the log keeps of an event beside the fact: made where events are applied.

use super::actor::Actor;
use super::dispute::{Dispute, DisputeStatus};
use super::event::{Event, EventType};
use super::evolve::evolve;
use super::order_aggregate::OrderAggregate;
use super::time::Timestamp;
use super::view::Consequences;

/// An event with its actor, its time and what came of it: what the log keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedEvent {
    /// What happened.
    pub event_type: EventType,
    /// Who did it; of what an event caused, who did that event.
    pub actor: Actor,
    /// When.
    pub time: Timestamp,
    /// The dispute's status before; `None` for an opening.
    pub previous_status: Option<DisputeStatus>,
    /// The dispute after the event.
    pub dispute: Dispute,
    /// What would come of it, as its order stood then.
    pub consequences: Consequences,
}

/// Applies what an actor has brought about, in order; returns what the log keeps of it.
///
/// Time never runs back in what is stored: no event is dated earlier than `earliest` or than the event ahead of it, and each
/// at least a microsecond later than what its dispute saw last. Whatever else an event dates stays the clock's.
pub fn record(
    aggregate: &mut Option<OrderAggregate>,
    events: &[Event],
    actor: &Actor,
    earliest: Timestamp,
) -> Vec<RecordedEvent> {
    let mut time = earliest;
    let mut apply = |event: &Event| {
        let before = event.dispute().and_then(|dispute| aggregate.as_ref()?.dispute(dispute));
        let previous_status = before.map(Dispute::status);
        if let Some(dispute) = before.filter(|_| event.event_type().is_some()) {
            time = time.max(dispute.update_time.next());
        }
        evolve(aggregate, event, time);
        let event_type = event.event_type()?;
        let aggregate = aggregate.as_ref()?;
        let dispute = aggregate.dispute(event.dispute()?)?.clone();
        let consequences = aggregate.consequences(&dispute);
        Some(RecordedEvent { event_type, actor: actor.clone(), time, previous_status, dispute, consequences })
    };
    events.iter().filter_map(&mut apply).collect()
}
