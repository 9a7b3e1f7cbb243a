//! The times of events, which never run back.

use std::time::Duration;

use super::fixtures::*;
use crate::domain::*;

fn micros(after: Timestamp, count: u64) -> Timestamp {
    after.plus(Duration::from_micros(count))
}

fn times(recorded: &[RecordedEvent]) -> Vec<Timestamp> {
    for recorded in recorded {
        assert_eq!(recorded.dispute.update_time, recorded.time);
    }
    recorded.iter().map(|recorded| recorded.time).collect()
}

/// What a log keeps that ends at `earliest`, and the aggregate then.
fn dated(aggregate: &OrderAggregate, events: &[Event], earliest: Timestamp) -> (Vec<RecordedEvent>, OrderAggregate) {
    let mut aggregate = Some(aggregate.clone());
    let actor = Actor::Party(PartyRole::Buyer, buyer().user);
    let recorded = record(&mut aggregate, events, &actor, earliest);
    (recorded, aggregate.unwrap())
}

/// A cancellation that declines an offer and ends a request for an update, on a clock that shows this.
fn cancels(now: u64) -> (OrderAggregate, Vec<Event>) {
    let mut story = Story::new(OrderStatus::InProgress);
    story.now = at(100);
    story.done(&seller(), &offer(1, 100));
    story.done(&buyer(), &update(2));
    let policy = Policy {
        cancellation: CancellationPolicy {
            immediate_when_late: Span(Duration::from_secs(1)),
            ..Policy::default().cancellation
        },
        ..Policy::default()
    };
    let mut aggregate = story.aggregate().clone();
    aggregate.order.due_time = Some(at(0));
    let events = decide(Some(&aggregate), &buyer(), &cancellation(3, PartyRole::Buyer), &policy, at(now)).unwrap();
    (aggregate, events)
}

#[test]
fn events_have_the_clock_s_time_and_those_of_one_dispute_follow_each_other() {
    let (aggregate, events) = cancels(200);
    // The offer is declined; the cancellation opens and is accepted at once; the update is superseded.
    let now = at(200);
    let (recorded, _) = dated(&aggregate, &events, now);
    assert_eq!(times(&recorded), [now, now, micros(now, 1), micros(now, 1)]);
}

#[test]
fn no_event_is_earlier_than_the_log_or_than_what_its_dispute_has_seen() {
    let (aggregate, events) = cancels(200);
    let log = at(300);
    assert_eq!(times(&dated(&aggregate, &events, log).0), [log, log, micros(log, 1), micros(log, 1)]);
    // On a clock that was set back, with a log that does not know: what the disputes have seen is enough.
    let (aggregate, events) = cancels(50);
    let seen = micros(at(100), 1);
    let (recorded, dated) = dated(&aggregate, &events, at(50));
    assert_eq!(times(&recorded), [seen, seen, micros(seen, 1), micros(seen, 1)]);
    for dispute in &dated.disputes {
        let resolution = dispute.resolution.as_ref().unwrap();
        assert_eq!(resolution.time, at(50), "what is counted from is the clock's");
    }
    let opened = dated.dispute(dispute_id(3)).unwrap();
    assert_eq!((opened.create_time, opened.update_time), (at(50), micros(seen, 1)));
    // The aggregate is what its events make of it.
    let mut replayed = Some(aggregate);
    events.iter().zip(&recorded).for_each(|(event, recorded)| evolve(&mut replayed, event, recorded.time));
    assert_eq!(replayed, Some(dated));
}
