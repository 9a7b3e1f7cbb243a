//! Other pasts: a database that was restored, or has lost commits in a failover, while streams are open. Nobody hears a
//! mixture of two pasts without being told.

use std::time::Duration;

use dispute_service::clock::pause;
use dispute_service::proto::v1;
use tonic::Code;

use crate::support::callers::{Facts, Party, Watch, facts, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    streams_that_heard_what_is_lost_end,
    a_stream_whose_place_is_not_lost_goes_on,
    a_place_moved_on_by_heartbeats_can_be_lost_too,
    a_parked_stream_whose_place_is_not_lost_goes_on,
    a_parked_stream_whose_place_is_lost_ends,
    lists_know_which_past_a_token_is_of,
    a_log_that_is_replaced_by_another_is_recognised,
    a_new_epoch_is_recognised_although_every_event_is_the_same,
    who_comes_before_it_is_noticed_hears_no_mixture,
    a_snapshot_that_has_shown_what_is_lost_ends,
    a_token_knows_what_a_snapshot_has_shown_and_what_it_has_not,
    the_pages_of_a_list_are_of_one_past,
);

fn unknown() -> Facts {
    refusal(Code::OutOfRange, "RESUME_TOKEN_UNKNOWN", &[])
}

async fn dispute_of_next(watch: &mut Watch) -> String {
    watch.event().await.dispute.unwrap().dispute_id
}

fn ids(events: &[v1::DisputeEvent]) -> Vec<&str> {
    events.iter().map(|event| event.event_id.as_str()).collect()
}

fn narrow(user: &str) -> v1::WatchDisputesRequest {
    let filter = v1::DisputeEventFilter { party_id: user.to_owned(), ..Default::default() };
    v1::WatchDisputesRequest { filter: Some(filter), ..Default::default() }
}

async fn list_from(caller: &mut Party, token: &str) -> Result<v1::ListDisputeEventsResponse, Facts> {
    let start = Some(v1::list_dispute_events_request::Start::ResumeToken(token.to_owned()));
    let request = v1::ListDisputeEventsRequest { start, ..Default::default() };
    caller.disputes.list_dispute_events(request).await.map(tonic::Response::into_inner).map_err(|status| facts(&status))
}

async fn watch_refused(caller: &mut Party, token: &str) -> Facts {
    let start = Some(v1::watch_disputes_request::Start::ResumeToken(token.to_owned()));
    let request = v1::WatchDisputesRequest { start, ..Default::default() };
    facts(&caller.disputes.watch_disputes(request).await.unwrap_err())
}

/// What a stream ends with that has nothing more to hear.
async fn end_of(watch: &mut Watch) -> Facts {
    let (events, status) = watch.rest().await;
    assert_eq!(events, [], "nothing of the new past reaches who has heard of the old one");
    facts(&status)
}

/// A service which knows, as its streams do, that everything after number `head` is lost; and what came instead.
async fn fail_over(service: &Service, head: i64, new: &[(&str, &str)]) -> Vec<String> {
    let mut witness = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    let mut disputes = Vec::new();
    service.lose_events_after(head).await;
    for (id, buyer) in new {
        disputes.push(service.order_with_update(id, buyer).await.dispute_id);
    }
    assert_eq!(end_of(&mut witness).await, unknown());
    disputes
}

async fn streams_that_heard_what_is_lost_end(service: Service) {
    let mut wide = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    let mut party = service.user("ann").watch(v1::WatchDisputesRequest::default()).await;
    let mut of_party = service.support().watch(narrow("bob")).await;
    service.orders_with_updates(0..6).await;
    for stream in [&mut wide, &mut party, &mut of_party] {
        stream.take(6).await;
    }
    // Fewer, as many and more than were lost.
    let new = ["n0", "n1", "n2", "n3", "n4"].map(|id| (id, "ann"));
    let instead = fail_over(&service, 3, &new).await;
    for stream in [&mut wide, &mut party, &mut of_party] {
        assert_eq!(end_of(stream).await, unknown());
        assert_eq!(watch_refused(&mut service.platform(), &stream.token).await, unknown());
        assert_eq!(list_from(&mut service.platform(), &stream.token).await.unwrap_err(), unknown());
    }
    let mut afresh = service.platform().watch(from_beginning()).await;
    let heard: Vec<_> = afresh.take(8).await.into_iter().map(|event| event.dispute.unwrap().dispute_id).collect();
    assert_eq!(heard[3..], instead);
    let token = afresh.token.clone();
    let next = service.order_with_update("next", "ann").await.dispute_id;
    assert_eq!(dispute_of_next(&mut afresh).await, next);
    assert_eq!(dispute_of_next(&mut service.user("ann").watch_from(&token).await).await, next);
}

async fn a_stream_whose_place_is_not_lost_goes_on(service: Service) {
    let mut eve = service.user("eve").watch(v1::WatchDisputesRequest::default()).await;
    let mut of_eve = service.platform().watch(narrow("eve")).await;
    service.order_with_update("o0", "ann").await;
    let hers = service.order_with_update("eve0", "eve").await.dispute_id;
    // Having heard it they wait there: what follows is not for them.
    assert_eq!(dispute_of_next(&mut eve).await, hers);
    assert_eq!(dispute_of_next(&mut of_eve).await, hers);
    service.orders_with_updates(1..5).await;
    let new = [("n0", "ann"), ("n1", "eve"), ("n2", "ann"), ("n3", "ann"), ("n4", "ann"), ("n5", "eve")];
    let instead = fail_over(&service, 2, &new).await;
    for stream in [&mut eve, &mut of_eve] {
        assert_eq!(dispute_of_next(stream).await, instead[1]);
        assert_eq!(dispute_of_next(stream).await, instead[5]);
        let token = stream.token.clone();
        let listed = list_from(&mut service.user("eve"), &token).await.unwrap();
        assert_eq!(listed.events, []);
    }
    let next = service.order_with_update("eve1", "eve").await.dispute_id;
    for stream in [&mut eve, &mut of_eve] {
        assert_eq!(dispute_of_next(stream).await, next);
    }
}

async fn a_place_moved_on_by_heartbeats_can_be_lost_too(service: Service) {
    let mut eve = service.user("eve").watch(v1::WatchDisputesRequest::default()).await;
    let hers = service.order_with_update("eve0", "eve").await.dispute_id;
    assert_eq!(dispute_of_next(&mut eve).await, hers);
    let before = eve.token.clone();
    service.orders_with_updates(0..4).await;
    let mut beats = 0;
    while eve.token == before {
        assert_eq!(eve.beat(&service.clock, Duration::from_secs(15)).await.events, []);
        beats += 1;
        assert!(beats < 1_000, "the token stays where it was");
    }
    fail_over(&service, 1, &[("n0", "eve"), ("n1", "ann"), ("n2", "ann"), ("n3", "ann"), ("n4", "ann")]).await;
    // Its tokens spoke of what is lost. It may not go on as if nothing had been.
    let (heard, status) = eve.rest().await;
    assert_eq!((heard, facts(&status)), (Vec::new(), unknown()));
    let mut again = service.user("eve").watch_from(&before).await;
    assert_eq!(again.event().await.dispute.unwrap().order_id, "n0");
}

/// Streams that nobody reads, of everything and of a party, from the beginning or from a token.
async fn parked(service: &Service, token: Option<&str>) -> [Watch; 2] {
    let start = token.map_or(v1::watch_disputes_request::Start::FromBeginning(true), |token| {
        v1::watch_disputes_request::Start::ResumeToken(token.to_owned())
    });
    let request = v1::WatchDisputesRequest { start: Some(start), ..Default::default() };
    let mut platform = Party::new(service.connect_narrowly().await, "shop", Some("platform"));
    let mut ann = Party::new(service.connect_narrowly().await, "ann", None);
    [platform.watch(request.clone()).await, ann.watch(request).await]
}

/// A log of 10,000 events of which the tail cache, if it is asked to hold them, holds the last 8,192.
async fn long_log(service: &mut Service) -> Vec<String> {
    service.order_with_update("o0", "ann").await;
    service.clone_last_event(9_999).await;
    service.restart().await;
    service.event_ids(1, 10_000).await
}

async fn a_parked_stream_whose_place_is_not_lost_goes_on(mut service: Service) {
    let all = long_log(&mut service).await;
    let streams = parked(&service, None).await;
    let instead = fail_over(&service, 6_000, &[("n0", "ann"), ("n1", "ann")]).await;
    for mut stream in streams {
        assert_eq!(ids(&stream.take(6_000).await), all[..6_000]);
        for dispute in &instead {
            assert_eq!(dispute_of_next(&mut stream).await, *dispute);
        }
    }
}

async fn a_parked_stream_whose_place_is_lost_ends(mut service: Service) {
    let all = long_log(&mut service).await;
    let mut middle = service.platform().watch(from_beginning()).await;
    let mut heard = 0;
    while heard < 5_000 {
        let events = middle.message().await.unwrap().events;
        assert_eq!(ids(&events), all[heard..heard + events.len()]);
        heard += events.len();
    }
    let token = middle.token.clone();
    drop(middle);
    let streams = parked(&service, Some(&token)).await;
    let new = ["n0", "n1", "n2"].map(|id| (id, "ann"));
    fail_over(&service, 4_000, &new).await;
    for mut stream in streams {
        let (events, status) = stream.rest().await;
        assert_eq!(facts(&status), unknown());
        assert_eq!(ids(&events), all[heard..heard + events.len()], "what was on its way, and nothing of the new past");
        assert!(events.len() < 2_000, "{} events", events.len());
    }
    assert_eq!(watch_refused(&mut service.platform(), &token).await, unknown());
}

async fn lists_know_which_past_a_token_is_of(service: Service) {
    let mut tokens = Vec::new();
    for number in 0..6 {
        service.order_with_update(&format!("o{number}"), "ann").await;
        let end = service.platform().events_of(None, 500).await;
        tokens.push(end.1);
    }
    let instead = fail_over(&service, 3, &[("n0", "ann"), ("n1", "ann")]).await;
    for (caller, mut of) in [("the platform", service.platform()), ("ann", service.user("ann"))] {
        for (number, token) in (1_usize..).zip(&tokens) {
            let listed = list_from(&mut of, token).await;
            if number > 3 {
                assert_eq!(listed.unwrap_err(), unknown(), "{caller} after event {number}");
            } else {
                let disputes = listed.unwrap().events.into_iter().map(|event| event.dispute.unwrap().dispute_id);
                assert_eq!(disputes.collect::<Vec<_>>()[3 - number..], instead, "{caller} after event {number}");
            }
        }
    }
}

fn some_epoch(service: &Service) -> &'static str {
    if service.url.starts_with("postgres") { "gen_random_uuid()" } else { "randomblob(16)" }
}

async fn a_log_that_is_replaced_by_another_is_recognised(service: Service) {
    let mut wide = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    let mut party = service.user("ann").watch(v1::WatchDisputesRequest::default()).await;
    service.order_with_update("o0", "ann").await;
    service.order_with_update("o1", "ann").await;
    for stream in [&mut wide, &mut party] {
        stream.take(2).await;
    }
    let epoch = some_epoch(&service);
    service
        .execute(&format!("BEGIN; DELETE FROM events; UPDATE event_log SET head = 0, epoch = {epoch}; COMMIT"))
        .await;
    for stream in [&mut wide, &mut party] {
        assert_eq!(end_of(stream).await, unknown());
        assert_eq!(watch_refused(&mut service.platform(), &stream.token).await, unknown());
    }
    let mut afresh = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    let next = service.order_with_update("next", "ann").await.dispute_id;
    assert_eq!(dispute_of_next(&mut afresh).await, next);
    let token = afresh.token.clone();
    let last = service.order_with_update("last", "ann").await.dispute_id;
    assert_eq!(dispute_of_next(&mut service.platform().watch_from(&token).await).await, last);
}

async fn a_new_epoch_is_recognised_although_every_event_is_the_same(service: Service) {
    let mut wide = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.order_with_update("o0", "ann").await;
    wide.take(1).await;
    let epoch = some_epoch(&service);
    service.execute(&format!("UPDATE event_log SET epoch = {epoch}")).await;
    assert_eq!(watch_refused(&mut service.platform(), &wide.token).await, unknown());
    // Once it is noticed, tokens that are given are good.
    let mut is_good = false;
    for _ in 0..100 {
        let token = service.platform().watch(v1::WatchDisputesRequest::default()).await.token;
        is_good = list_from(&mut service.platform(), &token).await.is_ok();
        if is_good {
            break;
        }
        pause(Duration::from_millis(50)).await;
    }
    assert!(is_good, "the service gives tokens that it does not take");
}

/// Until the service has noticed it may still tell of what is lost, as it did a moment before; but whoever was told is
/// told of that, too.
async fn who_comes_before_it_is_noticed_hears_no_mixture(service: Service) {
    service.orders_with_updates(0..40).await;
    let old = service.event_ids(1, 40).await;
    let mut first = service.platform().watch(from_beginning()).await;
    first.take(40).await;
    service.lose_events_after(20).await;
    let (listed, list_token) = service.platform().events_of(None, 500).await;
    let mut streams = [
        service.platform().watch(from_beginning()).await,
        service.user("ann").watch(from_beginning()).await,
        service.platform().watch(v1::WatchDisputesRequest::default()).await,
    ];
    let next = service.order_with_update("next", "ann").await.dispute_id;
    let later = service.order_with_update("later", "ann").await.dispute_id;
    assert_eq!(end_of(&mut first).await, unknown());
    let new = service.event_ids(1, 22).await;
    assert_eq!(new[..20], old[..20]);
    assert!(listed.len() == 20 || list_from(&mut service.platform(), &list_token).await.is_err());
    for stream in &mut streams {
        let mut heard = Vec::new();
        loop {
            match stream.message().await {
                Ok(message) => heard.extend(message.events),
                Err(status) => {
                    assert_eq!(facts(&status), unknown());
                    assert!(old.ends_with(&ids(&heard).into_iter().map(str::to_owned).collect::<Vec<_>>()));
                    break;
                }
            }
            if heard.last().is_some_and(|last| last.dispute.as_ref().unwrap().dispute_id == later) {
                assert!(new.ends_with(&ids(&heard).into_iter().map(str::to_owned).collect::<Vec<_>>()), "of {next}");
                break;
            }
        }
    }
}

/// So many updates, of whose texts a page of a snapshot holds three.
async fn long_updates(service: &Service, prefix: &str, count: usize) -> Vec<String> {
    let orders = (0..count).map(|number| order(&format!("{prefix}{number}"))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let mut opened = Vec::new();
    for number in 0..count {
        let message = "\u{1F600}".repeat(1_200);
        let request = v1::RequestOrderUpdateRequest { message, ..update(&format!("{prefix}{number}")) };
        opened.push(service.user("ann").ask(request).await.unwrap().dispute_id);
    }
    opened
}

fn with_snapshot() -> v1::WatchDisputesRequest {
    v1::WatchDisputesRequest { include_snapshot: true, ..Default::default() }
}

async fn until_shown(watch: &mut Watch, dispute: &str) -> v1::DisputeEvent {
    loop {
        let event = watch.event().await;
        assert_eq!(event.r#type(), v1::EventType::Snapshot);
        if event.dispute.as_ref().unwrap().dispute_id == dispute {
            return event;
        }
    }
}

/// How a stream ends of which nothing is left to show but what was on its way.
async fn ends_before_it_is_complete(watch: &mut Watch) -> Facts {
    loop {
        match watch.message().await {
            Ok(message) => assert!(message.checkpoint.is_none_or(|checkpoint| !checkpoint.snapshot_complete)),
            Err(status) => return facts(&status),
        }
    }
}

async fn a_snapshot_that_has_shown_what_is_lost_ends(service: Service) {
    let opened = long_updates(&service, "o", 400).await;
    let mut platform = Party::new(service.connect_narrowly().await, "shop", Some("platform"));
    let mut watch = platform.watch(with_snapshot()).await;
    // Nobody reads on, so that the server waits long before it has read this one.
    service.support().escalate(escalate(&opened[200])).await.unwrap();
    let shown = until_shown(&mut watch, &opened[200]).await;
    assert_eq!((shown.revision, shown.dispute.unwrap().status()), (2, v1::DisputeStatus::Escalated));
    let within = watch.token.clone();
    service.lose_events_after(400).await;
    service.clone_last_event(3).await;
    assert_eq!(ends_before_it_is_complete(&mut watch).await, unknown());
    for token in [within, watch.token] {
        assert_eq!(watch_refused(&mut service.platform(), &token).await, unknown());
        assert_eq!(list_from(&mut service.platform(), &token).await.unwrap_err(), unknown());
    }
}

async fn a_token_knows_what_a_snapshot_has_shown_and_what_it_has_not(service: Service) {
    let opened = long_updates(&service, "o", 400).await;
    let mut platform = Party::new(service.connect_narrowly().await, "shop", Some("platform"));
    let mut watch = platform.watch(with_snapshot()).await;
    let at_first = watch.token.clone();
    // The last one that there is: it is not shown.
    service.user("bob").reply(answer(&opened[399])).await.unwrap();
    let mut shown = 0;
    let complete = loop {
        let message = watch.message().await.unwrap();
        shown += message.events.len();
        if message.checkpoint.is_some_and(|checkpoint| checkpoint.snapshot_complete) {
            break message.resume_token;
        }
    };
    assert_eq!(shown, 399);
    drop(watch);
    // Whoever lists from there and comes back has still been told of it.
    let filter = Some(v1::DisputeEventFilter { party_id: "nobody".to_owned(), ..Default::default() });
    let start = Some(v1::list_dispute_events_request::Start::ResumeToken(complete.clone()));
    let request = v1::ListDisputeEventsRequest { filter, start, page_size: 1 };
    let listed = service.platform().disputes.list_dispute_events(request).await.unwrap().into_inner().resume_token;
    fail_over(&service, 400, &[("n0", "ann"), ("n1", "ann")]).await;
    for token in [&complete, &listed] {
        assert_eq!(watch_refused(&mut service.platform(), token).await, unknown());
        assert_eq!(list_from(&mut service.platform(), token).await.unwrap_err(), unknown());
    }
    // From before anything was shown it can begin again.
    let mut again = service.platform().watch_from(&at_first).await;
    assert_eq!(again.event().await.r#type(), v1::EventType::Snapshot);
}

async fn the_pages_of_a_list_are_of_one_past(service: Service) {
    service.orders_with_updates(0..6).await;
    let mut ann = service.user("ann");
    let request = |page_token: &str| v1::ListDisputesRequest {
        page_size: 2,
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    let first = ann.list(request("")).await;
    service.user("bob").reply(answer(&first.disputes[1].dispute_id)).await.unwrap();
    let second = ann.list(request(&first.next_page_token)).await;
    assert_eq!(second.resume_token, first.resume_token);
    fail_over(&service, 6, &[("n0", "eve"), ("n1", "eve")]).await;
    // What the second page was read at is lost; what the first was read at is not.
    let refused = ann.disputes.list_disputes(request(&second.next_page_token)).await.unwrap_err();
    assert_eq!(facts(&refused), unknown());
    assert_eq!(ann.list(request(&first.next_page_token)).await.disputes.len(), 2);
    let mut watch = service.platform().watch_from(&first.resume_token).await;
    assert_eq!(watch.event().await.dispute.unwrap().order_id, "n0");
}

/// What a page shows can be beyond what the replica has read of the log, and be lost before it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_was_ahead_of_its_replica_covers_nothing_that_came_instead() {
    let Some(mut service) = Service::on_postgres().await else { return };
    service.restart_with(&["--notify", "false"]).await;
    let other = service.replica().await;
    let mut witness = other.platform().watch(v1::WatchDisputesRequest::default()).await;
    for round in 0..4 {
        let opened = long_updates(&service, &format!("o{round}-"), 40).await;
        witness.take(40).await;
        let filter = Some(v1::DisputeEventFilter { dispute_ids: opened.clone(), ..Default::default() });
        let mut platform = Party::new(other.connect_narrowly().await, "shop", Some("platform"));
        let mut watch = platform.watch(v1::WatchDisputesRequest { filter, ..with_snapshot() }).await;
        let head = service.ends().await.head;
        service.support().postpone(postpone(&opened[39], 999_999)).await.unwrap();
        while !watch.message().await.unwrap().checkpoint.is_some_and(|checkpoint| checkpoint.snapshot_complete) {}
        service.lose_events_after(head).await;
        // In its place comes another event of the same dispute.
        service.clone_last_event(1).await;
        let (seq, id) = (head + 1, opened[39].replace('-', ""));
        let id = if service.url.starts_with("postgres") { format!("'{id}'") } else { format!("x'{id}'") };
        service.execute(&format!("UPDATE events SET dispute_id = {id} WHERE seq = {seq}")).await;
        assert_eq!(end_of(&mut watch).await, unknown(), "round {round}");
        witness.take(1).await;
    }
}

/// A replica reads what another one has committed within a second, and not at once, if nobody rings. Meanwhile a
/// subscriber starts there after events that are then lost: as many come instead, some of which are not for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_ahead_of_its_replica_hears_no_mixture() {
    let Some(mut service) = Service::on_postgres().await else { return };
    service.restart_with(&["--notify", "false"]).await;
    let other = service.replica().await;
    for round in 0..8 {
        let mut witness = other.platform().watch(v1::WatchDisputesRequest::default()).await;
        service.order_with_update(&format!("seen{round}"), "ann").await;
        // The other replica has just looked.
        witness.event().await;
        let head = service.ends().await.head;
        for number in 0..2 {
            service.order_with_update(&format!("lost{round}-{number}"), "ann").await;
        }
        let (_, token) = service.platform().events_of(None, 500).await;
        let mut streams = [
            other.platform().watch_from(&token).await,
            other.user("ann").watch_from(&token).await,
            other.user("eve").watch_from(&token).await,
        ];
        let before = other.platform().events().await;
        service.lose_events_after(head).await;
        service.clone_last_event(2).await;
        let after = other.platform().events().await;
        assert_eq!(ids(&after), service.event_ids(1, head + 2).await);
        assert_ne!(before, after);
        for stream in &mut streams {
            assert_eq!(end_of(stream).await, unknown(), "round {round}");
        }
        // It goes on, unless this took a second: then the other replica has looked again, and told it what was lost.
        let newest = &after[after.len() - 1].event_id;
        loop {
            match witness.message().await {
                Ok(message) if message.events.iter().any(|event| event.event_id == *newest) => break,
                Ok(_) => {}
                Err(status) => {
                    assert_eq!(facts(&status), unknown(), "round {round}");
                    break;
                }
            }
        }
    }
}
