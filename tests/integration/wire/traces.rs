//! Traces: an event tells of a span of the service. What a party sends reaches nobody.

use std::collections::HashMap;
use std::time::Duration;

use dispute_service::proto::v1;
use v1::EventType::{DeadlineExpired, Decided, Declined, Escalated, Opened, Superseded};

use crate::support::binary::Binary;
use crate::support::callers::Party;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    an_event_belongs_to_a_span_of_the_service,
    a_command_without_a_trace_and_what_passes_by_time_belong_to_none,
);

/// What callers send: each a trace of its own.
fn sent(number: u8) -> String {
    format!("00-4bf92f3577b34da6a3ce929d0e0e47{number:02x}-00f067aa0ba902b7-01")
}

fn traced<T>(message: T, trace: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("traceparent", trace.parse().unwrap());
    request
}

async fn spans(service: &Service) -> Vec<(v1::EventType, String)> {
    let events = service.platform().events().await;
    events.into_iter().map(|event| (event.r#type(), event.trace_parent)).collect()
}

/// The trace, the span and the flags.
fn parts(trace_parent: &str) -> [&str; 3] {
    let parts: Vec<_> = trace_parent.split('-').collect();
    assert!(matches!(parts[..], ["00", _, _, _]) && trace_parent.len() == 55, "{trace_parent:?}");
    let is_hexadecimal = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    assert!(parts.iter().all(is_hexadecimal), "{trace_parent}");
    [parts[1], parts[2], parts[3]]
}

async fn an_event_belongs_to_a_span_of_the_service(service: Service) {
    let (mut platform, mut ann, mut bob) = (service.platform(), service.user("ann"), service.user("bob"));
    platform.upsert(order("o1")).await;
    platform.upsert(order("o2")).await;
    bob.disputes.offer_partial_refund(traced(offer("o1", 100), &sent(1))).await.unwrap();
    // Declines the offer, and opens.
    ann.disputes.request_cancellation(traced(cancellation("o1"), &sent(2))).await.unwrap();
    let completed = v1::Order { status: v1::OrderStatus::Completed.into(), source_version: 2, ..order("o1") };
    let upsert = v1::UpsertOrderRequest { order: Some(completed) };
    platform.orders.upsert_order(traced(upsert, &sent(3))).await.unwrap();
    let asked = ann.ask(update("o2")).await.unwrap().dispute_id;
    let not_sampled = sent(4).replace("b7-01", "b7-00");
    service.support().disputes.escalate_dispute(traced(escalate(&asked), &not_sampled)).await.unwrap();
    // Of flags that this release does not know none is passed on.
    let with_more_flags = sent(5).replace("b7-01", "b7-ff");
    service.support().disputes.decide_dispute(traced(no_action(&asked), &with_more_flags)).await.unwrap();

    let heard = spans(&service).await;
    let types: Vec<_> = heard.iter().map(|(what, _)| *what).collect();
    assert_eq!(types, [Opened, Declined, Opened, Superseded, Opened, Escalated, Decided]);
    assert_eq!(heard[1].1, heard[2].1, "all events of one command have the same span");
    assert_eq!(heard[4].1, "");
    let [offered, cancelled, superseded, escalated, decided] = [0, 1, 3, 5, 6].map(|event| parts(&heard[event].1));
    // A party's commands are in traces of their own, which it cannot have recorded.
    for (party, sent) in [(offered, sent(1)), (cancelled, sent(2))] {
        assert_ne!((party[0], party[1]), (&sent[3..35], &sent[36..52]));
        assert!(!heard.iter().any(|(_, ours)| ours.contains(&sent[3..35]) || ours.contains(&sent[36..52])));
        assert_eq!(party[2], "00");
    }
    assert_ne!(offered[0], cancelled[0]);
    // Those of the house are in its trace, and sampled as it is.
    for (span, number, flags) in [(superseded, 3, "01"), (escalated, 4, "00"), (decided, 5, "01")] {
        assert_eq!((span[0], span[2]), (&sent(number)[3..35], flags));
    }
    let mut ids: Vec<_> = [offered, cancelled, superseded, escalated, decided].map(|span| span[1]).to_vec();
    ids.push("00f067aa0ba902b7");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6, "each command has a span of its own");
}

async fn a_command_without_a_trace_and_what_passes_by_time_belong_to_none(service: Service) {
    let mut bob = service.user("bob");
    service.order_with_update("o1", "ann").await;
    let malformed = ["a secret", "", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-02"];
    for (number, malformed) in malformed.iter().enumerate() {
        let id = format!("malformed{number}");
        service.platform().upsert(order(&id)).await;
        bob.disputes.request_delivery_extension(traced(extension(&id, 99_999), malformed)).await.unwrap();
    }
    // Also where a command finds what has passed.
    service.clock.advance(Duration::from_secs(172_800));
    bob.disputes.request_cancellation(traced(cancellation("o1"), &sent(4))).await.unwrap();
    let mut heard: HashMap<v1::EventType, Vec<String>> = HashMap::new();
    for (what, span) in spans(&service).await {
        heard.entry(what).or_default().push(span);
    }
    assert!(heard[&DeadlineExpired].iter().all(String::is_empty), "{heard:?}");
    let opened = &heard[&Opened];
    assert_eq!(opened.iter().filter(|span| span.is_empty()).count(), 4, "{opened:?}");
    assert!(opened.last().is_some_and(|span| !parts(span)[0].contains(&sent(4)[3..35])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_tells_which_span_a_partys_trace_has_become() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let server = Binary::start(env!("CARGO_BIN_EXE_dispute-service"), &url, "debug");
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut eve = Party::new(channel, "eve", None);
    eve.disputes.accept_dispute(traced(accept(&uuid::Uuid::nil().to_string()), &sent(7))).await.unwrap_err();
    let log = server.terminate().1;
    let refused = log.lines().find(|line| line.contains(&format!("asked_within=\"{}\"", sent(7))));
    assert!(refused.is_some_and(|line| line.contains("trace_parent=\"00-") && line.contains("refused")), "{log}");
}
