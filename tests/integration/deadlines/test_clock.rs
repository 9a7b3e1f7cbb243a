//! `--clock manual`: integrators try 48 hours in a moment.

use std::time::Duration;

use dispute_service::clock::{pause, real_now};
use dispute_service::proto::testing::advance_clock_request::Target;
use dispute_service::proto::v1::{DisputeStatus, EventType};
use dispute_service::proto::{testing, v1};
use prost_types::Timestamp;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::support::binary::{Binary, program, run};
use crate::support::callers::{Facts, Party, facts, invalid, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    a_deadline_is_tried_in_a_moment,
    the_clock_stops_wherever_something_falls_due,
    what_is_no_advance_is_refused,
    no_other_process_uses_the_database_meanwhile,
    at_a_restart_time_does_not_run_back,
);

const MANUAL: [&str; 2] = ["--clock", "manual"];

fn to(seconds: i64) -> Target {
    Target::To(at(seconds))
}

fn by(seconds: i64) -> Target {
    Target::By(prost_types::Duration { seconds, nanos: 0 })
}

async fn advance(service: &Service, target: Target) -> Result<testing::AdvanceClockResponse, Facts> {
    let request = testing::AdvanceClockRequest { target: Some(target) };
    let answer = service.platform().clock.advance_clock(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| facts(&status))
}

async fn time(party: &mut Party) -> Option<Timestamp> {
    party.clock.get_clock(testing::GetClockRequest {}).await.unwrap().into_inner().time
}

async fn a_deadline_is_tried_in_a_moment(mut service: Service) {
    service.restart_with(&MANUAL).await;
    let began = real_now();
    let opened = service.order_with_offer("o1", 2_000).await;
    let id = &opened.dispute_id;
    let almost = advance(&service, by(172_799)).await.unwrap();
    assert_eq!(almost.time, Some(at(172_799)));
    assert_eq!(service.user("ann").dispute(id).await.status(), DisputeStatus::Pending);
    let over = advance(&service, by(1)).await.unwrap();
    assert_eq!(over.time, Some(at(172_800)));
    // Everything is in the log when the answer comes, and the token covers it.
    let events = service.user("ann").events().await;
    let last = events.last().unwrap();
    assert_eq!((last.r#type(), last.event_time), (EventType::DeadlineExpired, Some(at(172_800))));
    let rest = v1::ListDisputeEventsRequest {
        start: Some(v1::list_dispute_events_request::Start::ResumeToken(over.resume_token.clone())),
        ..Default::default()
    };
    let rest = service.user("ann").disputes.list_dispute_events(rest).await.unwrap().into_inner();
    assert_eq!(rest.events, []);
    let mut watch = service.user("ann").watch_from(&over.resume_token).await;
    let second = service.user("bob").offer(offer("o1", 100)).await.unwrap();
    assert_eq!(watch.event().await.dispute.unwrap().dispute_id, second.dispute_id);
    assert_eq!(time(&mut service.platform()).await, Some(at(172_800)), "between calls it stands still");
    assert!(began.elapsed() < Duration::from_secs(20));
}

async fn the_clock_stops_wherever_something_falls_due(mut service: Service) {
    service.restart_with(&MANUAL).await;
    service.order_with_offer("o1", 2_000).await;
    advance(&service, by(1_000)).await.unwrap();
    service.order_with_offer("o2", 2_000).await;
    service.platform().upsert(order("o3")).await;
    service.user("ann").cancel(cancellation("o3")).await.unwrap();
    advance(&service, by(10 * 365 * 86_400)).await.unwrap();
    let events = service.platform().events().await;
    let passed = events.iter().filter(|event| event.r#type() != EventType::Opened);
    let passed: Vec<_> = passed
        .map(|event| (event.r#type(), event.dispute.as_ref().unwrap().order_id.as_str(), event.event_time.unwrap()))
        .collect();
    use EventType::{DeadlineApproaching as Reminder, DeadlineExpired as Expired};
    let day = 86_400;
    let mut expected = Vec::new();
    for (what, after) in [(Reminder, day), (Reminder, 2 * day - 7_200), (Expired, 2 * day)] {
        expected.extend([(what, "o1", at(after)), (what, "o2", at(1_000 + after)), (what, "o3", at(1_000 + after))]);
    }
    let sorted = |mut events: Vec<(EventType, &'static str, Timestamp)>| {
        events.sort_by_key(|(_, order, time)| (time.seconds, *order));
        events
    };
    let named = |order: &str| ["o1", "o2", "o3"].into_iter().find(|name| *name == order).unwrap();
    let in_order: Vec<_> = passed.iter().map(|(_, _, time)| time.seconds).collect();
    assert!(in_order.is_sorted(), "the log is in the order of time: {in_order:?}");
    let passed = passed.iter().map(|(what, order, time)| (*what, named(order), *time)).collect();
    assert_eq!(sorted(passed), sorted(expected));
    assert_eq!(service.platform().order("o3").await.end_time, Some(at(1_000 + 2 * day)));
}

async fn what_is_no_advance_is_refused(mut service: Service) {
    service.restart_with(&MANUAL).await;
    advance(&service, to(100)).await.unwrap();
    assert_eq!(advance(&service, to(99)).await, Err(invalid(&["to"])), "backwards");
    assert_eq!(advance(&service, by(-1)).await, Err(invalid(&["by"])));
    assert_eq!(advance(&service, by(11 * 365 * 86_400)).await, Err(invalid(&["by"])));
    assert_eq!(advance(&service, to(11 * 365 * 86_400)).await, Err(invalid(&["to"])));
    let nothing = testing::AdvanceClockRequest { target: None };
    let status = service.platform().clock.advance_clock(nothing).await.unwrap_err();
    assert_eq!(facts(&status), invalid(&["target"]));
    assert_eq!(advance(&service, to(100)).await.unwrap().time, Some(at(100)), "to where it stands is no step back");
    let request = || testing::AdvanceClockRequest { target: Some(by(1)) };
    for mut party in [service.user("ann"), service.support()] {
        let status = party.clock.advance_clock(request()).await.unwrap_err();
        assert_eq!(facts(&status), refusal(Code::PermissionDenied, "SCOPE_MISSING", &[("scope", "platform")]));
    }
    // By the real clock there is no such service.
    service.restart_with(&[]).await;
    let status = service.platform().clock.advance_clock(request()).await.unwrap_err();
    assert_eq!(facts(&status), refusal(Code::Unimplemented, "METHOD_UNKNOWN", &[]));
}

/// Whether the program starts on a database with these flags, and what it says if not.
fn starts(url: &str, flags: &[&str]) -> Result<Binary, String> {
    let arguments = ["--listen", "127.0.0.1:0", "--database-url", url].into_iter().chain(flags.iter().copied());
    Binary::launch(&program(), &arguments.map(str::to_owned).collect::<Vec<_>>(), "warn")
}

async fn no_other_process_uses_the_database_meanwhile(mut service: Service) {
    service.stop().await;
    let refused = |result: Result<Binary, String>, why: &str| {
        let said = result.err().unwrap_or_else(|| panic!("it runs: {why}"));
        assert!(said.contains(why), "{said}");
    };
    let alone = starts(&service.url, &MANUAL).unwrap();
    refused(starts(&service.url, &[]), "another process serves the database with --clock manual");
    refused(starts(&service.url, &MANUAL), "another process");
    assert!(alone.terminate().0);
    let ours = starts(&service.url, &[]).unwrap();
    refused(starts(&service.url, &MANUAL), "--clock manual needs the database for itself");
    let beside = starts(&service.url, &[]).unwrap();
    drop((ours, beside));
    service.start().await;
}

async fn at_a_restart_time_does_not_run_back(mut service: Service) {
    service.stop().await;
    let flags = [&MANUAL[..], &["--clock-start", "2030-01-01T00:00:00Z"]].concat();
    let first = starts(&service.url, &flags).unwrap();
    let channel = async |binary: &Binary| {
        Endpoint::from_shared(format!("http://{}", binary.address)).unwrap().connect().await.unwrap()
    };
    let mut platform = Party::new(channel(&first).await, "shop", Some("platform"));
    let start = Timestamp { seconds: 1_893_456_000, nanos: 0 };
    assert_eq!(time(&mut platform).await, Some(start));
    let request = testing::AdvanceClockRequest { target: Some(by(86_400)) };
    let later = platform.clock.advance_clock(request).await.unwrap().into_inner().time;
    assert_eq!(later, Some(Timestamp { seconds: start.seconds + 86_400, nanos: 0 }));
    platform.upsert(order("o1")).await;
    assert!(first.terminate().0);
    let second = starts(&service.url, &flags).unwrap();
    let mut platform = Party::new(channel(&second).await, "shop", Some("platform"));
    assert_eq!(time(&mut platform).await, later, "the later of its start and the last stored time");
    drop(second);
    service.start().await;
}

#[test]
fn a_clock_that_is_moved_by_hand_is_for_trying_things_out_alone() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let jwt = ["--auth", "jwt", "--jwt-secret", "s", "--jwt-issuer", "i", "--jwt-audience", "a"];
    for (flags, why) in [
        ([&MANUAL[..], &jwt].concat(), "--clock manual (DISPUTES_CLOCK) is for trying things out: it needs --auth dev"),
        (vec!["--clock-start", "2030-01-01T00:00:00Z"], "--clock-start (DISPUTES_CLOCK_START) needs --clock manual"),
    ] {
        let arguments = [&["--listen", "127.0.0.1:0", "--database-url", &url][..], &flags].concat();
        let (ran, said) = run(&program(), &arguments);
        assert!(!ran && said.contains(why), "{said}");
    }
    let arguments = ["--database-url", &url, "--clock", "manual", "--clock-start", "tomorrow"];
    assert!(!run(&program(), &arguments).0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_of_a_service_with_a_manual_clock_come_in_real_time() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let service = starts(&url, &MANUAL).unwrap();
    let channel = Endpoint::from_shared(format!("http://{}", service.address)).unwrap().connect().await.unwrap();
    let heartbeat_interval = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let request = v1::WatchDisputesRequest { heartbeat_interval, ..Default::default() };
    let mut watch = Party::new(channel, "ann", None).watch(request).await;
    let heartbeats = async {
        for _ in 0..3 {
            watch.message().await.unwrap();
        }
    };
    tokio::select! {
        () = heartbeats => {}
        () = pause(Duration::from_secs(20)) => panic!("no heartbeat came"),
    }
}
