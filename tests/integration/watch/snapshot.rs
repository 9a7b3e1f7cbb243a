//! `include_snapshot`: how what is open stands, and from there on everything that happens to it.

use std::collections::BTreeMap;
use std::time::Duration;

use dispute_service::proto::v1;

use crate::support::callers::{Party, Watch};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    a_snapshot_shows_what_is_open_and_then_comes_what_happens,
    a_snapshot_keeps_to_the_filter_but_not_to_the_event_types,
    of_many_orders_a_party_is_shown_its_own,
    no_event_at_or_below_a_snapshots_revision_follows_it,
    a_token_from_before_the_snapshot_is_complete_repeats_it,
    a_large_snapshot_comes_in_messages_of_a_bounded_size,
    a_snapshot_under_load_and_what_follows_is_the_whole_story,
    a_token_from_after_a_snapshot_hides_nothing_from_who_was_shown_something_else,
    a_snapshot_ends_however_much_is_opened_meanwhile,
    a_snapshot_of_few_large_disputes_ends_however_much_is_opened_meanwhile,
);

fn with_snapshot() -> v1::WatchDisputesRequest {
    v1::WatchDisputesRequest { include_snapshot: true, ..Default::default() }
}

/// Everything up to the checkpoint that completes the snapshot.
async fn snapshot(watch: &mut Watch) -> Vec<v1::DisputeEvent> {
    let mut events = Vec::new();
    loop {
        let message = watch.message().await.unwrap();
        if message.checkpoint.is_some_and(|checkpoint| checkpoint.snapshot_complete) {
            assert!(message.events.is_empty());
            return events;
        }
        assert!(message.events.len() <= 256);
        events.extend(message.events);
    }
}

fn orders(events: &[v1::DisputeEvent]) -> Vec<String> {
    events.iter().map(|event| event.dispute.clone().unwrap().order_id).collect()
}

async fn a_snapshot_shows_what_is_open_and_then_comes_what_happens(service: Service) {
    let mut ann = service.user("ann");
    let mut opened = Vec::new();
    for id in ["o3", "o1", "o2", "o4"] {
        opened.push(service.order_with_offer(id, 100).await);
        service.clock.advance(Duration::from_secs(1));
    }
    ann.decline(decline(&opened[1].dispute_id)).await.unwrap();
    service.support().escalate(escalate(&opened[2].dispute_id)).await.unwrap();
    let mut watch = ann.watch(with_snapshot()).await;
    let shown = snapshot(&mut watch).await;
    assert_eq!(orders(&shown), ["o3", "o2", "o4"], "what is open, by create_time");
    let first = &shown[0];
    assert_eq!((first.r#type(), first.revision), (v1::EventType::Snapshot, 1));
    assert_eq!((first.previous_status(), first.event_time), (v1::DisputeStatus::Unspecified, Some(at(4))));
    let dispute = first.dispute.clone().unwrap();
    assert_eq!((dispute.reason(), dispute.allowed_actions.as_slice()), (v1::Reason::Unspecified, &[][..]));
    assert_eq!(dispute.if_accepted.unwrap().refund, Some(usd(100)));
    assert_eq!(shown[1].dispute.as_ref().unwrap().status(), v1::DisputeStatus::Escalated);
    assert_eq!(shown[1].revision, 2);
    ann.accept(accept(&opened[0].dispute_id)).await.unwrap();
    let live = watch.event().await;
    assert_eq!((live.r#type(), live.revision), (v1::EventType::Accepted, 2));
    // A token from after the snapshot goes on from there, without another one.
    let mut resumed = ann.watch_from(&watch.token).await;
    ann.decline(decline(&opened[3].dispute_id)).await.unwrap();
    assert_eq!(resumed.event().await.r#type(), v1::EventType::Declined);
    assert_eq!(watch.event().await.r#type(), v1::EventType::Declined);
}

async fn a_snapshot_keeps_to_the_filter_but_not_to_the_event_types(service: Service) {
    let (mut ann, bob) = (service.user("ann"), service.user("bob"));
    for id in ["o1", "o2"] {
        service.order_with_offer(id, 100).await;
        ann.ask(update(id)).await.unwrap();
    }
    let third = v1::Order { seller_id: "cid".to_owned(), ..order("o3") };
    service.platform().upsert(third).await;
    let with_cid = ann.ask(update("o3")).await.unwrap();
    let shown = async |mut caller: Party, filter: v1::DisputeEventFilter| {
        let mut watch = caller.watch(v1::WatchDisputesRequest { filter: Some(filter), ..with_snapshot() }).await;
        orders(&snapshot(&mut watch).await).join(" ")
    };
    let filter = v1::DisputeEventFilter::default;
    assert_eq!(shown(service.platform(), filter()).await, "o1 o1 o2 o2 o3");
    assert_eq!(shown(service.user("bob"), filter()).await, "o1 o1 o2 o2", "a party sees its own");
    let party_id = "cid".to_owned();
    assert_eq!(shown(ann.clone(), v1::DisputeEventFilter { party_id, ..filter() }).await, "o3");
    let order_ids = vec!["o2".to_owned(), "o3".to_owned()];
    let kinds = vec![v1::DisputeKind::OrderUpdate.into()];
    assert_eq!(shown(service.support(), v1::DisputeEventFilter { order_ids, kinds, ..filter() }).await, "o2 o3");
    let dispute_ids = vec![with_cid.dispute_id];
    assert_eq!(shown(ann.clone(), v1::DisputeEventFilter { dispute_ids: dispute_ids.clone(), ..filter() }).await, "o3");
    assert_eq!(shown(bob.clone(), v1::DisputeEventFilter { dispute_ids, ..filter() }).await, "");
    let event_types = vec![v1::EventType::Accepted.into()];
    assert_eq!(shown(ann, v1::DisputeEventFilter { event_types, ..filter() }).await, "o1 o1 o2 o2 o3");
}

async fn of_many_orders_a_party_is_shown_its_own(service: Service) {
    let ids: Vec<String> = (0..102).map(|number| format!("o{number:03}")).collect();
    let buyer = |number: usize| if number.is_multiple_of(2) { "ann" } else { "cid" };
    let taken_in = |(number, id): (usize, &String)| v1::Order { buyer_id: buyer(number).to_owned(), ..order(id) };
    let orders_in = ids.iter().enumerate().map(taken_in).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders: orders_in }).await.unwrap();
    let mut asked = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        asked.push(service.user(buyer(number)).ask(update(id)).await.unwrap().dispute_id);
    }
    for (from, to) in [(0, 1), (1, 2), (3, 7), (0, 4), (0, 100), (1, 99)] {
        let named = &ids[from..to];
        let filter = Some(v1::DisputeEventFilter { order_ids: named.to_vec(), ..Default::default() });
        let request = v1::WatchDisputesRequest { filter, ..with_snapshot() };
        let of_ann: Vec<_> =
            (from..to).filter(|number| buyer(*number) == "ann").map(|number| ids[number].clone()).collect();
        for (mut viewer, expected) in [
            (service.user("ann"), of_ann),
            (service.user("bob"), named.to_vec()),
            (service.support(), named.to_vec()),
            (service.user("eve"), Vec::new()),
        ] {
            let mut watch = viewer.watch(request.clone()).await;
            assert_eq!(orders(&snapshot(&mut watch).await), expected, "of {} orders", named.len());
        }
    }
    // What comes after it keeps to the same.
    let filter = Some(v1::DisputeEventFilter { order_ids: ids[..100].to_vec(), ..Default::default() });
    let mut watch = service.user("ann").watch(v1::WatchDisputesRequest { filter, ..with_snapshot() }).await;
    assert_eq!(snapshot(&mut watch).await.len(), 50);
    for number in [100, 99, 98] {
        service.user("bob").reply(answer(&asked[number])).await.unwrap();
    }
    let live = watch.event().await;
    assert_eq!((live.r#type(), live.dispute.unwrap().order_id), (v1::EventType::Answered, ids[98].clone()));
}

async fn no_event_at_or_below_a_snapshots_revision_follows_it(service: Service) {
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    service.platform().upsert(order("o1")).await;
    let closes = service.order_with_update("o2", "ann").await;
    // The stream takes its place in the log before its snapshot is read: what happens meanwhile is in both.
    let mut watch = service.platform().watch(with_snapshot()).await;
    let opened = ann.ask(update("o1")).await.unwrap();
    service.support().postpone(postpone(&opened.dispute_id, 999_999)).await.unwrap();
    bob.reply(answer(&closes.dispute_id)).await.unwrap();
    let shown = snapshot(&mut watch).await;
    bob.reply(answer(&opened.dispute_id)).await.unwrap();
    let mut revisions: BTreeMap<String, i64> = BTreeMap::new();
    for event in &shown {
        revisions.insert(event.dispute.clone().unwrap().dispute_id, event.revision);
    }
    // Whatever the snapshot showed, and it may have been read at any moment: each goes on by one.
    while revisions.get(&opened.dispute_id) != Some(&3) || revisions.get(&closes.dispute_id) != Some(&2) {
        let event = watch.event().await;
        let id = event.dispute.unwrap().dispute_id;
        assert_eq!(event.revision, revisions.get(&id).map_or(event.revision, |revision| revision + 1));
        revisions.insert(id, event.revision);
    }
}

async fn a_token_from_before_the_snapshot_is_complete_repeats_it(service: Service) {
    let mut ann = service.user("ann");
    service.platform().upsert(order("o1")).await;
    service.platform().upsert(order("o2")).await;
    ann.ask(update("o1")).await.unwrap();
    let mut watch = ann.watch(with_snapshot()).await;
    let before = watch.token.clone();
    watch.message().await.unwrap();
    let within = watch.token.clone();
    snapshot(&mut watch).await;
    let complete = watch.token.clone();
    ann.ask(update("o2")).await.unwrap();
    for token in [before, within] {
        let mut again = ann.watch_from(&token).await;
        assert_eq!(orders(&snapshot(&mut again).await), ["o1", "o2"], "as it is now");
    }
    let mut on = ann.watch_from(&complete).await;
    assert_eq!(on.event().await.r#type(), v1::EventType::Opened);
    // An empty token is none.
    let start = Some(v1::watch_disputes_request::Start::ResumeToken(String::new()));
    let mut anew = ann.watch(v1::WatchDisputesRequest { start: start.clone(), ..with_snapshot() }).await;
    assert_eq!(orders(&snapshot(&mut anew).await), ["o1", "o2"]);
    let anew = ann.watch(v1::WatchDisputesRequest { start, ..Default::default() }).await;
    assert_eq!(anew.token, token_of_now(&mut ann).await, "from now on");
    // A list of events takes such a token for the place that it is.
    let start = Some(v1::list_dispute_events_request::Start::ResumeToken(complete));
    let page = ann.disputes.list_dispute_events(v1::ListDisputeEventsRequest { start, ..Default::default() }).await;
    assert_eq!(page.unwrap().into_inner().events.len(), 1);
}

/// The token of a list of events from now on.
async fn token_of_now(caller: &mut Party) -> String {
    let start = Some(v1::list_dispute_events_request::Start::ResumeToken(String::new()));
    let request = v1::ListDisputeEventsRequest { start, ..Default::default() };
    caller.disputes.list_dispute_events(request).await.unwrap().into_inner().resume_token
}

async fn a_large_snapshot_comes_in_messages_of_a_bounded_size(service: Service) {
    let orders: Vec<_> = (0..300).map(|number| order(&format!("o{number}"))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let text = "\u{1F600}".repeat(2_000);
    for number in 0..300 {
        let request = v1::RequestOrderUpdateRequest { message: text.clone(), ..update(&format!("o{number}")) };
        service.user("ann").ask(request).await.unwrap();
    }
    let mut watch = service.support().watch(with_snapshot()).await;
    let shown = snapshot(&mut watch).await;
    let mut ids: Vec<_> = shown.iter().map(|event| event.dispute.clone().unwrap().dispute_id).collect();
    assert!(ids.is_sorted(), "by create_time and id");
    ids.dedup();
    assert_eq!(ids.len(), 300);
}

/// So many orders, on each of which an update is asked for: more than a read of a snapshot looks at.
const MANY: usize = 600;

/// Who sells order `o{number}`.
fn seller(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "bob" } else { "cid" }
}

/// Answers every ninth of these updates and asks for another one, again and again; asks once more in the end.
fn load(service: &Service, asked: &[String]) -> Vec<tokio::task::JoinHandle<()>> {
    let busy = asked.iter().cloned().enumerate().step_by(9);
    busy.map(|(number, mut dispute)| {
        let (mut ann, mut seller) = (service.user("ann"), service.user(seller(number)));
        tokio::spawn(async move {
            for _ in 0..6 {
                seller.reply(answer(&dispute)).await.unwrap();
                dispute = ann.ask(update(&format!("o{number}"))).await.unwrap().dispute_id;
            }
        })
    })
    .collect()
}

async fn updates(service: &Service) -> Vec<String> {
    for chunk in (0..MANY).collect::<Vec<_>>().chunks(500) {
        let sold = |number: &usize| v1::Order { seller_id: seller(*number).to_owned(), ..order(&format!("o{number}")) };
        let orders = chunk.iter().map(sold).collect();
        service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    }
    let ask = |number| {
        let mut ann = service.user("ann");
        tokio::spawn(async move { ann.ask(update(&format!("o{number}"))).await.unwrap().dispute_id })
    };
    let asking: Vec<_> = (0..MANY).map(ask).collect();
    let mut asked = Vec::new();
    for asking in asking {
        asked.push(asking.await.unwrap());
    }
    asked
}

/// What a stream sends up to the event of the order `last`.
async fn up_to_the_last(watch: &mut Watch) -> Vec<v1::DisputeEvent> {
    let mut events = Vec::new();
    loop {
        let event = watch.event().await;
        let is_last = event.dispute.as_ref().unwrap().order_id == "last";
        events.push(event);
        if is_last {
            return events;
        }
    }
}

async fn a_snapshot_under_load_and_what_follows_is_the_whole_story(service: Service) {
    let asked = updates(&service).await;
    let work = load(&service, &asked);
    let mut watches = Vec::new();
    for _ in 0..4 {
        let mut watch = service.platform().watch(with_snapshot()).await;
        let shown = snapshot(&mut watch).await;
        let complete = watch.token.clone();
        watches.push((watch, shown, complete));
    }
    for task in work {
        task.await.unwrap();
    }
    service.order_with_update("last", "ann").await;
    for (mut watch, shown, complete) in watches {
        let mut revisions: BTreeMap<String, i64> = BTreeMap::new();
        for event in shown {
            assert!(revisions.insert(event.dispute.unwrap().dispute_id, event.revision).is_none(), "shown once");
        }
        assert!(revisions.len() > MANY / 2);
        let live = up_to_the_last(&mut watch).await;
        for event in &live {
            assert_ne!(event.r#type(), v1::EventType::Snapshot);
            let id = event.dispute.clone().unwrap().dispute_id;
            // What was resolved while the snapshot was read is not in it.
            if let Some(before) = revisions.insert(id, event.revision) {
                assert_eq!(event.revision, before + 1, "nothing twice, and no hole");
            }
        }
        let open = revisions.values().filter(|revision| **revision == 1).count();
        assert_eq!(open, MANY + 1, "each asked for once more, and the last");
        // Who reconnects just after the snapshot is sent the same.
        let mut resumed = service.platform().watch_from(&complete).await;
        assert_eq!(up_to_the_last(&mut resumed).await, live);
    }
}

async fn a_token_from_after_a_snapshot_hides_nothing_from_who_was_shown_something_else(service: Service) {
    let asked = updates(&service).await;
    let work = load(&service, &asked);
    let mut tokens = Vec::new();
    for _ in 0..6 {
        let mut watch = service.user("bob").watch(with_snapshot()).await;
        snapshot(&mut watch).await;
        tokens.push(watch.token.clone());
    }
    for task in work {
        task.await.unwrap();
    }
    service.order_with_update("last", "ann").await;
    for token in tokens {
        // The list knows nothing of snapshots: everything that follows the place.
        let start = Some(v1::list_dispute_events_request::Start::ResumeToken(token.clone()));
        let request = v1::ListDisputeEventsRequest { start, page_size: 500, ..Default::default() };
        let first = service.platform().disputes.list_dispute_events(request).await.unwrap().into_inner().events;
        let mut wider = service.platform().watch_from(&token).await;
        let heard = up_to_the_last(&mut wider).await;
        assert_eq!(heard[..first.len().min(heard.len())], first[..]);
    }
}

async fn a_snapshot_ends_however_much_is_opened_meanwhile(service: Service) {
    snapshot_beside_openings(&service, 60).await;
}

/// One read finds them all, and a message does not hold them.
async fn a_snapshot_of_few_large_disputes_ends_however_much_is_opened_meanwhile(service: Service) {
    snapshot_beside_openings(&service, 24).await;
}

/// More is opened with each message than a message shows, as long as the snapshot lasts.
async fn snapshot_beside_openings(service: &Service, at_first: usize) {
    let orders = (0..500).map(|number| order(&format!("o{number:03}"))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let text = "\u{1F600}".repeat(1_100);
    let open = |number: usize| {
        let mut ann = service.user("ann");
        let request = v1::RequestOrderUpdateRequest { message: text.clone(), ..update(&format!("o{number:03}")) };
        async move { ann.ask(request).await.unwrap().dispute_id }
    };
    let mut opened = Vec::new();
    for number in 0..at_first {
        opened.push(open(number).await);
    }
    let mut platform = Party::new(service.connect_narrowly().await, "shop", Some("platform"));
    let mut watch = platform.watch(with_snapshot()).await;
    let mut shown = Vec::new();
    loop {
        let message = watch.message().await.unwrap();
        if message.checkpoint.is_some_and(|checkpoint| checkpoint.snapshot_complete) {
            break;
        }
        shown.extend(message.events.into_iter().map(|event| event.dispute.unwrap().dispute_id));
        for _ in 0..6 {
            assert!(opened.len() < 480, "the snapshot does not end");
            opened.push(open(opened.len()).await);
        }
        service.clock.advance(Duration::from_millis(1));
    }
    // Some may have been opened before the first page was read, at the same moment.
    assert!((at_first..at_first + 12).contains(&shown.len()), "{} are shown", shown.len());
    let live = watch.take(opened.len() - shown.len()).await;
    assert!(live.iter().all(|event| event.r#type() == v1::EventType::Opened));
    shown.extend(live.into_iter().map(|event| event.dispute.unwrap().dispute_id));
    assert_eq!(shown, opened, "each once, and in order");
}
