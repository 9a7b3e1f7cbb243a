//! `WatchDisputes`: what a subscriber may rely on.

use std::time::Duration;

use dispute_service::proto::v1;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::callers::{facts, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    a_subscriber_hears_what_happens_from_then_on,
    all_subscribers_hear_the_same_order,
    a_watch_resumes_over_a_restart,
    a_resume_at_every_token_hears_the_rest,
    a_filter_lets_through_what_matches_all_of_it,
    a_silent_stream_has_heartbeats,
    a_token_that_cannot_be_resumed_is_refused,
    a_draining_server_ends_its_streams,
    a_draining_server_says_that_it_does_not_serve,
    a_subscriber_that_stops_reading_loses_nothing,
);

async fn a_subscriber_hears_what_happens_from_then_on(service: Service) {
    service.orders_with_updates(0..1).await;
    let mut watches = Vec::new();
    for mut caller in [service.user("ann"), service.user("bob"), service.support(), service.platform()] {
        watches.push(caller.watch(v1::WatchDisputesRequest::default()).await);
    }
    service.platform().upsert(order("o1")).await;
    let opened = service.user("bob").disputes.offer_partial_refund(offer("o1", 100)).await.unwrap();
    let opened = opened.into_inner().dispute.unwrap();
    let declined = service.user("ann").disputes.decline_dispute(decline(&opened.dispute_id)).await.unwrap();
    let declined = declined.into_inner().dispute.unwrap();
    for mut watch in watches {
        let first = watch.event().await;
        let expected = v1::DisputeEvent {
            event_id: first.event_id.clone(),
            r#type: v1::EventType::Opened.into(),
            dispute: Some(v1::Dispute {
                reason: v1::Reason::Unspecified.into(),
                allowed_actions: Vec::new(),
                ..opened.clone()
            }),
            previous_status: v1::DisputeStatus::Unspecified.into(),
            event_time: Some(at(0)),
            actor: Some(v1::Actor { role: v1::ActorRole::Seller.into(), id: "bob".to_owned() }),
            revision: 1,
            trace_parent: String::new(),
        };
        assert_eq!(first, expected, "the same for every viewer, without the confidential reason");
        let second = watch.event().await;
        let expected = v1::DisputeEvent {
            event_id: second.event_id.clone(),
            r#type: v1::EventType::Declined.into(),
            dispute: Some(v1::Dispute { allowed_actions: Vec::new(), ..declined.clone() }),
            previous_status: v1::DisputeStatus::Pending.into(),
            // A microsecond after the first: time never stands still in what is stored.
            event_time: declined.update_time,
            actor: Some(v1::Actor { role: v1::ActorRole::Buyer.into(), id: "ann".to_owned() }),
            revision: 2,
            trace_parent: String::new(),
        };
        assert_eq!(second, expected);
    }
}

async fn all_subscribers_hear_the_same_order(service: Service) {
    let mut live = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.many_orders_with_updates("o", 0..300, "ann").await;
    let heard = live.take(300).await;
    let mut later = service.user("bob").watch(from_beginning()).await;
    assert_eq!(later.take(300).await, heard);
    assert_eq!(service.platform().events().await, heard);
    let mut ids: Vec<_> = heard.iter().map(|event| &event.event_id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 300, "each exactly once");
}

async fn a_watch_resumes_over_a_restart(mut service: Service) {
    let mut watch = service.user("bob").watch(v1::WatchDisputesRequest::default()).await;
    service.orders_with_updates(0..3).await;
    let mut heard = watch.take(3).await;
    let token = watch.token.clone();
    service.orders_with_updates(3..5).await;
    drop(watch);
    service.restart().await;
    service.orders_with_updates(5..7).await;
    let mut resumed = service.user("bob").watch_from(&token).await;
    heard.extend(resumed.take(4).await);
    assert_eq!(heard, service.platform().events().await, "each once and in order");
}

async fn a_resume_at_every_token_hears_the_rest(service: Service) {
    service.orders_with_updates(0..20).await;
    let all = service.platform().events().await;
    let mut tokens = Vec::new();
    let mut start = v1::list_dispute_events_request::Start::FromBeginning(true);
    for _ in 0..20 {
        let request = v1::ListDisputeEventsRequest { filter: None, page_size: 1, start: Some(start) };
        let page = service.platform().disputes.list_dispute_events(request).await.unwrap().into_inner();
        tokens.push(page.resume_token.clone());
        start = v1::list_dispute_events_request::Start::ResumeToken(page.resume_token);
    }
    for (index, token) in tokens.iter().enumerate() {
        let rest = &all[index + 1..];
        let mut watch = service.platform().watch_from(token).await;
        assert_eq!(watch.take(rest.len()).await, rest, "a token of a list serves a stream as well");
    }
}

async fn a_filter_lets_through_what_matches_all_of_it(service: Service) {
    let filter = v1::DisputeEventFilter {
        order_ids: vec!["o2".to_owned(), "o3".to_owned()],
        party_id: "bob".to_owned(),
        kinds: vec![v1::DisputeKind::OrderUpdate.into()],
        event_types: vec![v1::EventType::Opened.into(), v1::EventType::Answered.into()],
        ..Default::default()
    };
    let request = v1::WatchDisputesRequest { filter: Some(filter), ..Default::default() };
    let mut watch = service.platform().watch(request).await;
    service.orders_with_updates(0..5).await;
    let mut orders: Vec<_> = watch.take(2).await.into_iter().map(|event| event.dispute.unwrap().order_id).collect();
    orders.sort_unstable();
    assert_eq!(orders, ["o2", "o3"]);
    let dispute = service.number("SELECT count(*) FROM events").await;
    assert_eq!(dispute, 5);
}

async fn a_silent_stream_has_heartbeats(service: Service) {
    service.orders_with_updates(0..1).await;
    let second = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let request = v1::WatchDisputesRequest { heartbeat_interval: second, ..Default::default() };
    let mut watch = service.user("nobody").watch(request).await;
    let first = watch.token.clone();
    service.orders_with_updates(1..2).await;
    // Others' events move the token on, though nothing matches: with the first heartbeat after they were read.
    for beat in 1.. {
        service.clock.advance(Duration::from_secs(1));
        let message = watch.message().await.unwrap();
        assert_eq!(message.events, []);
        let checkpoint = message.checkpoint.unwrap();
        assert!(!checkpoint.subscribed);
        assert_eq!(checkpoint.heartbeat_interval, second);
        assert_eq!(checkpoint.server_time, Some(at(beat)));
        if beat >= 3 && watch.token != first {
            break;
        }
        assert!(beat < 10_000, "the token stays where it was");
    }
}

async fn a_token_that_cannot_be_resumed_is_refused(service: Service) {
    service.orders_with_updates(0..5).await;
    let token = service.platform().watch(v1::WatchDisputesRequest::default()).await.token;
    let resume = async |token: &str| {
        let start = Some(v1::watch_disputes_request::Start::ResumeToken(token.to_owned()));
        let request = v1::WatchDisputesRequest { start, ..Default::default() };
        let watched = facts(&service.platform().disputes.watch_disputes(request).await.unwrap_err());
        let start = Some(v1::list_dispute_events_request::Start::ResumeToken(token.to_owned()));
        let request = v1::ListDisputeEventsRequest { start, ..Default::default() };
        let listed = facts(&service.platform().disputes.list_dispute_events(request).await.unwrap_err());
        assert_eq!(watched, listed);
        watched
    };
    for garbage in ["x", "nonsense", &token[1..], &format!("{token}AAAA")] {
        assert_eq!(
            resume(garbage).await,
            refusal(Code::InvalidArgument, "RESUME_TOKEN_MALFORMED", &[]).about("resume_token"),
            "{garbage}"
        );
    }
    let unknown = refusal(Code::OutOfRange, "RESUME_TOKEN_UNKNOWN", &[]);
    // Another past: a restored backup that went on has another event at that number.
    service.execute("UPDATE events SET event_id = dispute_id WHERE seq = 5").await;
    assert_eq!(resume(&token).await, unknown);
    // The future: what this token covers was lost.
    service.execute("DELETE FROM events WHERE seq > 3").await;
    service.execute("UPDATE event_log SET head = 3").await;
    assert_eq!(resume(&token).await, unknown);
    // What is no longer kept.
    let first = v1::ListDisputeEventsRequest {
        page_size: 1,
        start: Some(v1::list_dispute_events_request::Start::FromBeginning(true)),
        ..Default::default()
    };
    let early = service.platform().disputes.list_dispute_events(first).await.unwrap().into_inner().resume_token;
    service.execute("DELETE FROM events WHERE seq <= 2").await;
    service.execute("UPDATE event_log SET floor = 2").await;
    let expired = resume(&early).await;
    assert_eq!((expired.code, expired.reason.as_str()), (Code::OutOfRange, "RESUME_TOKEN_EXPIRED"));
    let mut oldest = service.platform().watch_from(&expired.metadata["oldestToken"]).await;
    assert_eq!(oldest.event().await.dispute.unwrap().revision, 1);
    // Another log.
    let epoch = if service.url.starts_with("postgres") { "gen_random_uuid()" } else { "randomblob(16)" };
    service.execute(&format!("UPDATE event_log SET epoch = {epoch}")).await;
    assert_eq!(resume(&token).await, unknown);
}

async fn a_draining_server_says_that_it_does_not_serve(mut service: Service) {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let mut health = HealthClient::new(service.channel());
    let request = HealthCheckRequest { service: "disputes.v1.DisputeService".to_owned() };
    let mut said = health.watch(request).await.unwrap().into_inner();
    assert_eq!(said.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let ended = service.drain();
    assert_eq!(said.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    drop(said);
    ended.await.unwrap();
}

async fn a_draining_server_ends_its_streams(mut service: Service) {
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.orders_with_updates(0..1).await;
    watch.event().await;
    let ended = service.drain();
    let last = watch.message().await.unwrap();
    assert!(last.checkpoint.is_some() && last.events.is_empty());
    let status = watch.message().await.unwrap_err();
    assert_eq!(facts(&status), refusal(Code::Unavailable, "SERVER_DRAINING", &[]));
    assert!(status.get_error_details().retry_info().unwrap().retry_delay.is_some());
    ended.await.unwrap();
    service.start().await;
    service.orders_with_updates(1..2).await;
    let mut resumed = service.platform().watch_from(&last.resume_token).await;
    assert_eq!(resumed.event().await.dispute.unwrap().order_id, "o1");
}

async fn a_subscriber_that_stops_reading_loses_nothing(service: Service) {
    let mut slow = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    let mut quick = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    // Far more than the transport holds for one stream, and than the tail cache holds bytes.
    let text = "\u{1F600}".repeat(2_000);
    service.orders_with_updates(0..1).await;
    quick.take(1).await;
    for round in 0..10 {
        let orders = (0..100).map(|number| order(&format!("r{round}-{number}"))).collect();
        service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                let (mut ann, message) = (service.user("ann"), text.clone());
                let request = v1::RequestOrderUpdateRequest { message, ..update(&format!("r{round}-{number}")) };
                tokio::spawn(async move { ann.disputes.request_order_update(request).await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        quick.take(100).await;
    }
    let heard = slow.take(1_001).await;
    assert!(heard == service.platform().events().await);
}
