//! Resuming at every token there is, with every kind of filter: exactly the rest comes.

use std::time::Duration;

use dispute_service::proto::v1;
use v1::{DisputeEvent, DisputeEventFilter as Filter, DisputeKind, EventType};

use crate::support::callers::Party;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    at_every_token_every_filter_hears_exactly_the_rest,
    at_every_token_the_rest_is_the_same_after_a_restart,
    at_every_token_a_party_hears_exactly_the_rest_of_its_own,
);

/// How often the story is told: each time on orders of their own.
const ROUNDS: usize = 5;

/// Orders between two buyers and two sellers, disputes of every kind on them, and events of most types.
async fn tell(service: &Service) {
    let mut platform = service.platform();
    for round in 0..ROUNDS {
        let (ab, cd, other) = (format!("ab{round}"), format!("cd{round}"), format!("ad{round}"));
        for (id, buyer, seller) in [(&ab, "ann", "bob"), (&cd, "cid", "dan"), (&other, "ann", "dan")] {
            platform.upsert(v1::Order { buyer_id: buyer.to_owned(), seller_id: seller.to_owned(), ..order(id) }).await;
        }
        let (mut ann, mut bob, mut cid, mut dan) =
            (service.user("ann"), service.user("bob"), service.user("cid"), service.user("dan"));
        let offered = bob.offer(offer(&ab, 100)).await.unwrap();
        let asked = cid.ask(update(&cd)).await.unwrap();
        ann.accept(accept(&offered.dispute_id)).await.unwrap();
        platform.report(settled(&offered.dispute_id, "paid")).await.unwrap();
        dan.reply(answer(&asked.dispute_id)).await.unwrap();
        cid.escalate(escalate(&asked.dispute_id)).await.unwrap();
        service.support().decide(no_action(&asked.dispute_id)).await.unwrap();
        let asked = ann.ask(update(&other)).await.unwrap();
        ann.withdraw(withdraw(&asked.dispute_id)).await.unwrap();
        dan.offer(offer(&other, 200)).await.unwrap();
        // Declines the offer first.
        ann.cancel(cancellation(&other)).await.unwrap();
        // What is left expires, and cancels its order.
        service.clock.advance(Duration::from_secs(172_800));
        platform.upsert(v1::Order { source_version: 2, ..order(&ab) }).await;
        ann.ask(update(&other)).await.unwrap_err();
    }
}

/// The log with the token after each event.
async fn with_tokens(mut caller: Party) -> Vec<(DisputeEvent, String)> {
    use v1::list_dispute_events_request::Start;
    let mut start = Start::FromBeginning(true);
    let mut all = Vec::new();
    loop {
        let request = v1::ListDisputeEventsRequest { filter: None, page_size: 1, start: Some(start) };
        let page = caller.disputes.list_dispute_events(request).await.unwrap().into_inner();
        all.extend(page.events.into_iter().map(|event| (event, page.resume_token.clone())));
        if !page.more {
            return all;
        }
        start = Start::ResumeToken(page.resume_token);
    }
}

/// What lets an event through, as its own words say.
type Test = fn(&DisputeEvent, &v1::Dispute) -> bool;

/// Everything, and something by each field.
fn filters() -> [(Filter, Test); 6] {
    let none = Filter::default;
    let types = vec![EventType::Opened.into(), EventType::DeadlineExpired.into()];
    let money = [DisputeKind::PartialRefund, DisputeKind::Cancellation];
    let orders = ["ab1", "ad2", "cd3"].map(str::to_owned).to_vec();
    let is_opened_or_expired = |event: &DisputeEvent, _: &v1::Dispute| {
        matches!(event.r#type(), EventType::Opened | EventType::DeadlineExpired)
    };
    let is_about_money = |_: &DisputeEvent, dispute: &v1::Dispute| {
        dispute.kind() == DisputeKind::PartialRefund || dispute.kind() == DisputeKind::Cancellation
    };
    [
        (none(), |_, _| true),
        (Filter { party_id: "dan".to_owned(), ..none() }, |_, dispute| dispute.seller_id == "dan"),
        (Filter { order_ids: orders, ..none() }, |_, dispute| {
            ["ab1", "ad2", "cd3"].contains(&dispute.order_id.as_str())
        }),
        (Filter { kinds: money.map(Into::into).to_vec(), ..none() }, is_about_money),
        (Filter { event_types: types, ..none() }, is_opened_or_expired),
        (Filter { party_id: "nobody".to_owned(), ..none() }, |_, _| false),
    ]
}

fn rest(all: &[(DisputeEvent, String)], after: usize, test: Test) -> Vec<DisputeEvent> {
    let events = all[after..].iter().map(|(event, _)| event);
    events.filter(|event| test(event, event.dispute.as_ref().unwrap())).cloned().collect()
}

/// A stream from a token brings these events; then its next message is a heartbeat, and a list from the same token the
/// same events.
async fn hears(service: &Service, mut caller: Party, token: &str, filter: &Filter, expected: &[DisputeEvent]) {
    let request = v1::WatchDisputesRequest {
        filter: Some(filter.clone()),
        start: Some(v1::watch_disputes_request::Start::ResumeToken(token.to_owned())),
        heartbeat_interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let mut watch = caller.watch(request).await;
    assert!(watch.take(expected.len()).await == expected, "a stream from {token} with {filter:?}");
    // Over and over: a heartbeat is counted from when the stream begins to wait.
    let next = loop {
        service.clock.advance(Duration::from_secs(1));
        if let Ok(next) = tokio::time::timeout(Duration::from_millis(100), watch.message()).await {
            break next.unwrap();
        }
    };
    assert_eq!(next.events, [], "a stream from {token} with {filter:?} goes on after the end");
    assert!(next.checkpoint.is_some());

    let mut start = token.to_owned();
    let mut listed = Vec::new();
    loop {
        let request = v1::ListDisputeEventsRequest {
            filter: Some(filter.clone()),
            page_size: 7,
            start: Some(v1::list_dispute_events_request::Start::ResumeToken(start)),
        };
        let page = caller.disputes.list_dispute_events(request).await.unwrap().into_inner();
        listed.extend(page.events);
        start = page.resume_token;
        if !page.more {
            break;
        }
    }
    assert!(listed == expected, "a list from {token} with {filter:?}");
}

async fn at_every_token_every_filter_hears_exactly_the_rest(service: Service) {
    tell(&service).await;
    let all = with_tokens(service.platform()).await;
    assert!(all.len() >= 60, "{} events", all.len());
    for (filter, test) in filters() {
        for (after, (_, token)) in (1..).zip(&all) {
            hears(&service, service.platform(), token, &filter, &rest(&all, after, test)).await;
        }
    }
}

async fn at_every_token_the_rest_is_the_same_after_a_restart(mut service: Service) {
    tell(&service).await;
    let all = with_tokens(service.platform()).await;
    service.restart().await;
    // Now nothing is in memory: the log itself is read.
    assert!(with_tokens(service.platform()).await == all, "the same events, and the same tokens");
    for (filter, test) in filters() {
        for (after, (_, token)) in (1..).zip(&all) {
            hears(&service, service.support(), token, &filter, &rest(&all, after, test)).await;
        }
    }
}

/// Tokens are bound to nobody: a party can go on from where the platform was, and sees its own.
async fn at_every_token_a_party_hears_exactly_the_rest_of_its_own(service: Service) {
    tell(&service).await;
    let all = with_tokens(service.platform()).await;
    let parties: [(&str, Test); 3] = [
        ("ann", |_, dispute| dispute.buyer_id == "ann"),
        ("bob", |_, dispute| dispute.seller_id == "bob"),
        ("eve", |_, _| false),
    ];
    for (user, test) in parties {
        for (after, (_, token)) in (1..).zip(&all) {
            hears(&service, service.user(user), token, &Filter::default(), &rest(&all, after, test)).await;
        }
    }
}

/// On one database the log is one, whoever tells of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_one_replica_serves_at_another() {
    let Some(service) = Service::on_postgres().await else { return };
    let replica = service.replica().await;
    tell(&service).await;
    let all = with_tokens(service.platform()).await;
    // What the one has written the other one's list shows at once, and with the same tokens.
    assert!(with_tokens(replica.platform()).await == all, "the same events, and the same tokens");
    for (filter, test) in filters() {
        for (after, (_, token)) in (1..).zip(&all) {
            hears(&replica, replica.platform(), token, &filter, &rest(&all, after, test)).await;
        }
    }
    // And back, with what the other one has written meanwhile.
    tell_once_more(&replica).await;
    let longer = with_tokens(replica.platform()).await;
    assert!(longer.len() > all.len() && longer[..all.len()] == all);
    for (after, (_, token)) in (1..).zip(&longer) {
        hears(&service, service.platform(), token, &Filter::default(), &rest(&longer, after, |_, _| true)).await;
    }
}

async fn tell_once_more(service: &Service) {
    let asked = service.order_with_update("more", "ann").await;
    service.user("bob").reply(answer(&asked.dispute_id)).await.unwrap();
}
