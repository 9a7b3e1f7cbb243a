//! The clock steps back: time never runs back in what is stored, and who asks for what has changed misses nothing.

use std::time::Duration;

use dispute_service::proto::v1;
use prost_types::Timestamp;

use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(nothing_is_missed_when_the_clock_steps_back, events_of_one_instant_are_told_apart_by_their_times,);

const HOUR: Duration = Duration::from_secs(3_600);

fn key(time: Option<&Timestamp>) -> (i64, i32) {
    let time = time.unwrap();
    (time.seconds, time.nanos)
}

/// Which orders have changed after an instant, and the largest time that the listing shows.
async fn changed(service: &Service, after: Option<Timestamp>) -> (Vec<String>, Option<Timestamp>) {
    let listed = service.platform().list(v1::ListDisputesRequest { updated_after: after, ..Default::default() }).await;
    let mut orders: Vec<_> = listed.disputes.iter().map(|dispute| dispute.order_id.clone()).collect();
    orders.sort_unstable();
    let largest = listed.disputes.into_iter().filter_map(|dispute| dispute.update_time);
    (orders, largest.max_by_key(|time| key(Some(time))).or(after))
}

async fn time_never_ran_back(service: &Service) {
    let back = "SELECT count(*) FROM events a JOIN events b ON b.seq = a.seq + 1 WHERE b.event_time < a.event_time";
    assert_eq!(service.number(back).await, 0, "along the log");
    let back = "SELECT count(*) FROM events a JOIN events b ON b.dispute_id = a.dispute_id AND b.seq > a.seq \
        WHERE b.event_time <= a.event_time";
    assert_eq!(service.number(back).await, 0, "nor stood still for a dispute");
    let back = "SELECT count(*) FROM disputes WHERE update_time < create_time OR update_time < resolve_time";
    assert_eq!(service.number(back).await, 0);
    let last = "SELECT count(*) FROM disputes d WHERE update_time <> \
        (SELECT max(event_time) FROM events e WHERE e.dispute_id = d.dispute_id)";
    assert_eq!(service.number(last).await, 0, "each dispute has the time of its last event");
}

async fn nothing_is_missed_when_the_clock_steps_back(mut service: Service) {
    for id in ["a", "b", "c", "d"] {
        service.platform().upsert(order(id)).await;
    }
    service.clock.advance(HOUR);
    let asked = service.user("ann").ask(update("a")).await.unwrap();
    let offered = service.user("bob").offer(offer("b", 1_000)).await.unwrap();
    let (_, seen) = changed(&service, None).await;
    let before = service.now();
    service.clock.set(before.minus(HOUR));
    let answered = service.user("bob").reply(answer(&asked.dispute_id)).await.unwrap();
    assert!(key(answered.update_time.as_ref()) > key(seen.as_ref()));
    assert_eq!(answered.resolve_time, Some(at(0)), "what is counted from is the clock's");
    service.restart().await;
    let opened = service.user("ann").ask(update("c")).await.unwrap();
    assert_eq!((opened.create_time, opened.respond_by), (Some(at(0)), Some(at(48 * 3_600))));
    let (orders, seen) = changed(&service, seen).await;
    assert_eq!(orders, ["a", "c"]);
    // Each of these after a listing, with the clock standing still far behind.
    let declined = service.user("ann").decline(decline(&offered.dispute_id)).await.unwrap();
    let (orders, seen) = changed(&service, seen).await;
    assert_eq!(orders, ["b"]);
    service.restart().await;
    let escalated = service.user("ann").escalate(escalate(&offered.dispute_id)).await.unwrap();
    assert!(key(escalated.update_time.as_ref()) > key(declined.update_time.as_ref()));
    let (orders, seen) = changed(&service, seen).await;
    assert_eq!(orders, ["b"]);
    time_never_ran_back(&service).await;
    // Once the clock has caught up, it is followed again.
    service.clock.set(before.plus(HOUR));
    let asked = service.user("ann").ask(update("d")).await.unwrap();
    assert_eq!(asked.update_time, Some(at(7_200)));
    assert_eq!(changed(&service, seen).await.0, ["d"]);
    time_never_ran_back(&service).await;
}

async fn events_of_one_instant_are_told_apart_by_their_times(service: Service) {
    for id in ["a", "b"] {
        service.platform().upsert(order(id)).await;
    }
    let offered = service.user("bob").offer(offer("a", 1_000)).await.unwrap();
    assert_eq!(offered.update_time, Some(at(0)));
    let escalated = service.support().escalate(escalate(&offered.dispute_id)).await.unwrap();
    let decided = service.support().decide(no_action(&offered.dispute_id)).await.unwrap();
    let micros = |nanos| Some(Timestamp { nanos, ..at(0) });
    assert_eq!((escalated.update_time, decided.update_time), (micros(1_000), micros(2_000)));
    let events = service.platform().events().await;
    let times: Vec<_> = events.iter().map(|event| event.event_time.unwrap()).collect();
    assert_eq!(times, [at(0), micros(1_000).unwrap(), micros(2_000).unwrap()]);
    // An offer that a cancellation declines, and what that ends, in one command.
    service.user("bob").offer(offer("b", 1_000)).await.unwrap();
    service.user("ann").ask(update("b")).await.unwrap();
    let cancellation = service.user("ann").cancel(cancellation("b")).await.unwrap();
    service.user("bob").accept(accept(&cancellation.dispute_id)).await.unwrap();
    time_never_ran_back(&service).await;
}
