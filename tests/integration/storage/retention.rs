//! Retention: old events are forgotten, and nobody who reads the log is deceived about it.

use std::time::Duration;

use dispute_service::proto::v1;
use tonic::{Code, Status};

use crate::support::callers::{Facts, Party, Watch, facts, refusal};
use crate::support::log::Ends;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    old_events_are_forgotten_and_younger_ones_are_not,
    a_token_that_retention_has_passed_says_where_to_start_again,
    the_last_event_is_never_forgotten,
    a_live_stream_goes_on_over_the_forgetting,
    a_parked_stream_that_retention_has_passed_ends_and_skips_nothing,
    zero_keeps_every_event,
    commands_go_on_while_events_are_forgotten,
    a_token_that_is_given_while_its_event_is_forgotten_is_good,
    the_token_of_another_past_is_recognised_at_the_floor_too,
    a_snapshot_that_was_cut_short_is_not_begun_again_without_its_history,
);

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

fn after(token: &str) -> v1::list_dispute_events_request::Start {
    v1::list_dispute_events_request::Start::ResumeToken(token.to_owned())
}

async fn page(
    caller: &mut Party,
    start: v1::list_dispute_events_request::Start,
    page_size: i32,
) -> Result<v1::ListDisputeEventsResponse, Status> {
    let request = v1::ListDisputeEventsRequest { filter: None, page_size, start: Some(start) };
    caller.disputes.list_dispute_events(request).await.map(tonic::Response::into_inner)
}

/// The token after the event with this number.
async fn token_after(service: &Service, seq: usize) -> String {
    let mut start = v1::list_dispute_events_request::Start::FromBeginning(true);
    let mut left = seq - usize::try_from(service.ends().await.floor).unwrap();
    loop {
        let size = left.min(500);
        let page = page(&mut service.platform(), start, i32::try_from(size).unwrap()).await.unwrap();
        left -= page.events.len();
        if left == 0 {
            return page.resume_token;
        }
        start = after(&page.resume_token);
    }
}

/// What a watch and a list from a token are refused with: the same.
async fn refused(service: &Service, token: &str) -> Facts {
    let start = Some(v1::watch_disputes_request::Start::ResumeToken(token.to_owned()));
    let request = v1::WatchDisputesRequest { start, ..Default::default() };
    let watched = facts(&service.platform().disputes.watch_disputes(request).await.unwrap_err());
    let listed = facts(&page(&mut service.platform(), after(token), 0).await.unwrap_err());
    assert_eq!(watched, listed);
    watched
}

fn ids(events: &[v1::DisputeEvent]) -> Vec<&str> {
    events.iter().map(|event| event.event_id.as_str()).collect()
}

async fn old_events_are_forgotten_and_younger_ones_are_not(mut service: Service) {
    service.restart_with_policy("event_retention = \"1h\"").await;
    service.order_with_update("old", "ann").await;
    service.clone_last_event(1_702).await;
    service.clock.advance(40 * MINUTE);
    for number in 0..5 {
        service.order_with_update(&format!("young{number}"), "ann").await;
    }
    let kept = service.event_ids(1_704, 1_708).await;
    service.clock.advance(20 * MINUTE);
    service.order_with_update("youngest", "ann").await;
    service.clock.advance(MINUTE);
    // In several steps; `ends` holds what is kept to be dense at each.
    assert_eq!(service.forgotten(1_703).await, Ends { floor: 1_703, head: 1_709 });
    // One that is a little too young keeps what follows it, and no longer.
    service.clock.advance(35 * MINUTE);
    let mut watch = service.platform().watch(from_beginning()).await;
    assert_eq!(ids(&watch.take(6).await)[..5], kept);
    assert_eq!(service.ends().await.floor, 1_703);
    service.clock.advance(6 * MINUTE);
    assert_eq!(service.forgotten(1_708).await, Ends { floor: 1_708, head: 1_709 });
}

async fn a_token_that_retention_has_passed_says_where_to_start_again(mut service: Service) {
    service.restart_with_policy("event_retention = \"1h\"").await;
    service.order_with_update("old", "ann").await;
    service.clone_last_event(1_199).await;
    let parked = token_after(&service, 700).await;
    let before_the_floor = token_after(&service, 1_199).await;
    let at_the_floor = token_after(&service, 1_200).await;
    let beginning = service.platform().watch(from_beginning()).await.token;
    service.clock.advance(40 * MINUTE);
    for number in 0..5 {
        service.order_with_update(&format!("young{number}"), "ann").await;
    }
    let kept = service.event_ids(1_201, 1_205).await;
    let head = token_after(&service, 1_205).await;
    service.clock.advance(30 * MINUTE);
    service.forgotten(1_200).await;

    let expired = refused(&service, &parked).await;
    assert_eq!((expired.code, expired.reason.as_str()), (Code::OutOfRange, "RESUME_TOKEN_EXPIRED"));
    assert_eq!(expired.metadata.keys().collect::<Vec<_>>(), ["oldestToken"]);
    assert_eq!(expired.fields, [""; 0]);
    assert_eq!(refused(&service, &before_the_floor).await, expired);
    assert_eq!(refused(&service, &beginning).await, expired);
    for token in [&expired.metadata["oldestToken"], &at_the_floor] {
        let mut watch = service.platform().watch_from(token).await;
        assert_eq!(ids(&watch.take(5).await), kept);
        let listed = page(&mut service.platform(), after(token), 0).await.unwrap();
        assert_eq!(ids(&listed.events), kept);
        assert!(!listed.more);
    }
    let mut watch = service.user("bob").watch(from_beginning()).await;
    assert_eq!(ids(&watch.take(5).await), kept);
    assert_eq!(ids(&service.platform().events().await), kept);
    assert_eq!(page(&mut service.platform(), after(&head), 0).await.unwrap().events, []);
    let mut watch = service.platform().watch_from(&head).await;
    let next = service.order_with_update("next", "ann").await;
    assert_eq!(watch.event().await.dispute.unwrap().dispute_id, next.dispute_id);
    // Over a restart it is the same.
    service.restart().await;
    assert_eq!(refused(&service, &parked).await, expired);
    let mut watch = service.platform().watch_from(&at_the_floor).await;
    assert_eq!(ids(&watch.take(5).await), kept);
}

async fn the_last_event_is_never_forgotten(mut service: Service) {
    service.restart_with_policy("event_retention = \"1h\"\nreminders = []").await;
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.orders_with_updates(0..3).await;
    watch.take(3).await;
    let last = service.event_ids(3, 3).await;
    let (before, head) = (token_after(&service, 2).await, watch.token.clone());
    service.clock.advance(40 * HOUR);
    assert_eq!(service.forgotten(2).await, Ends { floor: 2, head: 3 });
    for round in 0..3 {
        service.clock.advance(2 * MINUTE);
        assert_eq!(service.ends().await, Ends { floor: 2, head: 3 });
        let mut resumed = service.platform().watch_from(&before).await;
        assert_eq!(resumed.event().await.event_id, last[0], "round {round}");
        assert_eq!(page(&mut service.platform(), after(&head), 0).await.unwrap().events, []);
        service.restart().await;
    }
    // Nor is it forgotten that it was there: its token is good until something that follows it is forgotten.
    let next = service.order_with_update("next", "ann").await;
    service.clock.advance(2 * MINUTE);
    service.forgotten(3).await;
    let mut resumed = service.platform().watch_from(&head).await;
    assert_eq!(resumed.event().await.dispute.unwrap().dispute_id, next.dispute_id);
    service.clock.advance(2 * HOUR);
    service.order_with_update("another", "ann").await;
    service.clock.advance(2 * MINUTE);
    service.forgotten(4).await;
    assert_eq!(refused(&service, &head).await.reason, "RESUME_TOKEN_EXPIRED");
}

async fn a_live_stream_goes_on_over_the_forgetting(mut service: Service) {
    service.restart_with_policy("event_retention = \"1h\"").await;
    let mut wide = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    let mut narrow = service.user("bob").watch(v1::WatchDisputesRequest::default()).await;
    let mut silent = service.user("eve").watch(v1::WatchDisputesRequest::default()).await;
    service.order_with_update("old", "ann").await;
    service.clone_last_event(1_299).await;
    let old = service.event_ids(1, 1_300).await;
    assert_eq!(ids(&wide.take(1_300).await), old);
    assert_eq!(ids(&narrow.take(1_300).await), old);
    service.clock.advance(2 * HOUR);
    service.forgotten(1_299).await;
    let mut theirs = order("theirs");
    (theirs.buyer_id, theirs.seller_id) = ("eve".to_owned(), "bob".to_owned());
    service.platform().upsert(theirs).await;
    let opened = service.user("eve").ask(update("theirs")).await.unwrap();
    service.clock.advance(2 * MINUTE);
    service.forgotten(1_300).await;
    for stream in [&mut wide, &mut narrow, &mut silent] {
        assert_eq!(stream.event().await.dispute.unwrap().dispute_id, opened.dispute_id);
    }
    let token = wide.token.clone();
    let next = service.order_with_update("next", "ann").await;
    for stream in [&mut wide, &mut narrow, &mut service.platform().watch_from(&token).await] {
        assert_eq!(stream.event().await.dispute.unwrap().dispute_id, next.dispute_id);
    }
}

async fn parked(service: &Service, user: &str, scope: Option<&str>) -> Watch {
    Party::new(service.connect_narrowly().await, user, scope).watch(from_beginning()).await
}

async fn a_parked_stream_that_retention_has_passed_ends_and_skips_nothing(mut service: Service) {
    service.restart_with_policy("event_retention = \"1h\"").await;
    service.order_with_update("old", "ann").await;
    let mut streams = vec![
        parked(&service, "shop", Some("platform")).await,
        parked(&service, "ann", None).await,
        parked(&service, "agent", Some("support")).await,
    ];
    // Of one party: what such a stream reads is not kept for others, who could then go on without the log.
    let mut quick = service.user("bob").watch(from_beginning()).await;
    // More than the tail cache holds.
    service.clone_last_event(9_999).await;
    let all = service.event_ids(1, 10_000).await;
    assert_eq!(ids(&quick.take(10_000).await), all);
    service.clock.advance(2 * HOUR);
    service.forgotten(9_999).await;
    for stream in &mut streams {
        let (heard, status) = stream.rest().await;
        assert!((1..9_999).contains(&heard.len()), "{} events", heard.len());
        assert_eq!(ids(&heard), all[..heard.len()], "without a gap");
        let expired = facts(&status);
        assert_eq!((expired.code, expired.reason.as_str()), (Code::OutOfRange, "RESUME_TOKEN_EXPIRED"));
        assert_eq!(refused(&service, &stream.token).await, expired);
        let mut resumed = service.platform().watch_from(&expired.metadata["oldestToken"]).await;
        assert_eq!(resumed.event().await.event_id, all[9_999]);
    }
}

async fn zero_keeps_every_event(mut service: Service) {
    service.restart_with_policy("event_retention = \"0s\"\nreminders = []").await;
    service.order_with_update("old", "ann").await;
    service.clone_last_event(700).await;
    let mut watch = service.platform().watch(from_beginning()).await;
    let all = service.event_ids(1, 701).await;
    for number in 0..20 {
        service.clock.advance(2 * HOUR);
        service.order_with_update(&format!("o{number}"), "ann").await;
    }
    assert_eq!(ids(&watch.take(701).await), all);
    watch.take(20).await;
    assert_eq!(service.ends().await, Ends { floor: 0, head: 721 });
}

async fn commands_go_on_while_events_are_forgotten(mut service: Service) {
    service.restart_with_policy("event_retention = \"1h\"").await;
    let orders = (0..400).map(|number| order(&format!("o{number}"))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    service.order_with_update("old", "ann").await;
    service.clone_last_event(5_999).await;
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.clock.advance(2 * HOUR);
    // A few at a time, for as long as there is something to forget.
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let mut ann = service.user("ann");
            tokio::spawn(async move {
                let mut opened = Vec::new();
                for number in (client..400).step_by(8) {
                    opened.push(ann.ask(update(&format!("o{number}"))).await.unwrap().dispute_id);
                }
                opened
            })
        })
        .collect();
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.extend(client.await.unwrap());
    }
    let mut heard: Vec<_> = watch.take(400).await.into_iter().map(|event| event.dispute.unwrap().dispute_id).collect();
    acknowledged.sort_unstable();
    heard.sort_unstable();
    assert_eq!(heard, acknowledged, "each is acknowledged and delivered, once");
    assert_eq!(service.forgotten(6_000).await, Ends { floor: 6_000, head: 6_400 });
    assert_eq!(service.platform().events().await.len(), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_forget_at_once_do_not_disturb_each_other() {
    let Some(mut service) = Service::on_postgres().await else { return };
    service.restart_with_policy("event_retention = \"1h\"").await;
    let other = service.replica().await;
    service.order_with_update("old", "ann").await;
    service.clone_last_event(7_999).await;
    let mut watches = [
        service.platform().watch(v1::WatchDisputesRequest::default()).await,
        other.platform().watch(v1::WatchDisputesRequest::default()).await,
    ];
    service.clock.advance(2 * HOUR);
    for number in 0..40 {
        let replica = if number % 2 == 0 { &service } else { &other };
        replica.order_with_update(&format!("o{number}"), "ann").await;
        service.ends().await;
    }
    assert_eq!(service.forgotten(8_000).await, Ends { floor: 8_000, head: 8_040 });
    let heard = watches[0].take(40).await;
    assert_eq!(watches[1].take(40).await, heard);
    assert_eq!(other.platform().events().await, heard);
    service.clock.advance(2 * HOUR);
    service.forgotten(8_039).await;
}

/// The log grows by one, and everything before that is forgotten, as fast as a database can.
async fn a_token_that_is_given_while_its_event_is_forgotten_is_good(service: Service) {
    service.order_with_update("old", "ann").await;
    let columns = "dispute_id, order_id, buyer_id, seller_id, kind, event_type, event_time, payload";
    let id = if service.url.starts_with("postgres") { "gen_random_uuid()" } else { "randomblob(16)" };
    let step = format!(
        "BEGIN;
        UPDATE event_log SET floor = head, floor_event = (SELECT event_id FROM events WHERE seq = head), head = head + 1;
        INSERT INTO events (seq, event_id, {columns}) SELECT seq + 1, {id}, {columns} FROM events;
        DELETE FROM events WHERE seq <= (SELECT floor FROM event_log);
        COMMIT;"
    );
    let forgetting = tokio::spawn({
        let (database, steps) = (service.database().await, step.repeat(20));
        async move {
            for _ in 0..150 {
                sea_orm::ConnectionTrait::execute_unprepared(&database, &steps).await.unwrap();
            }
        }
    });
    let mut platform = service.platform();
    while !forgetting.is_finished() {
        let mut listed = page(&mut platform, after(""), 1).await;
        if let Ok(from_now) = listed {
            listed = page(&mut platform, after(&from_now.resume_token), 1).await;
        }
        let refused = listed.err().map(|status| facts(&status).reason);
        assert!(refused.as_deref().is_none_or(|reason| reason == "RESUME_TOKEN_EXPIRED"), "{refused:?}");
    }
    forgetting.await.unwrap();
}

async fn the_token_of_another_past_is_recognised_at_the_floor_too(mut service: Service) {
    service.restart_with_policy("event_retention = \"1h\"").await;
    service.orders_with_updates(0..4).await;
    let (other, below) = (token_after(&service, 3).await, token_after(&service, 2).await);
    // A backup of when there were two events was restored, and has gone on.
    service.stop().await;
    service.execute("UPDATE events SET event_id = dispute_id WHERE seq = 3").await;
    service.start().await;
    let ours = token_after(&service, 3).await;
    service.clock.advance(70 * MINUTE);
    assert_eq!(service.forgotten(3).await.floor, 3);
    assert_eq!(refused(&service, &other).await, refusal(Code::OutOfRange, "RESUME_TOKEN_UNKNOWN", &[]));
    let expired = refused(&service, &below).await;
    assert_eq!(expired.reason, "RESUME_TOKEN_EXPIRED");
    assert_eq!(expired.metadata["oldestToken"], ours);
    assert_eq!(page(&mut service.platform(), after(&ours), 0).await.unwrap().events.len(), 1);
}

async fn a_snapshot_that_was_cut_short_is_not_begun_again_without_its_history(mut service: Service) {
    service.restart_with_policy("event_retention = \"1h\"\nreminders = []").await;
    service.orders_with_updates(0..3).await;
    let request = v1::WatchDisputesRequest { include_snapshot: true, ..Default::default() };
    let cut_short = service.platform().watch(request).await.token;
    // What happened to what it has shown would be missed.
    service.order_with_update("o3", "ann").await;
    service.order_with_update("o4", "ann").await;
    assert!(service.platform().watch_from(&cut_short).await.event().await.r#type() == v1::EventType::Snapshot);
    service.clock.advance(70 * MINUTE);
    assert_eq!(service.forgotten(4).await.floor, 4);
    assert_eq!(refused(&service, &cut_short).await.reason, "RESUME_TOKEN_EXPIRED");
}
