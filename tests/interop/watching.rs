//! A watch over servers that are killed and networks that break: every event once, in order.

use std::collections::BTreeSet;

use dispute_service::proto::v1;

use crate::callers::Party;
use crate::client::{Client, TIMEOUT};
use crate::messages::{order, update};
use crate::network::{Conduct, Network};
use crate::service::Service;

crate::in_every_language!(
    a_watch_goes_on_over_servers_that_are_killed,
    a_watch_notices_a_connection_that_has_fallen_silent,
    a_snapshot_that_breaks_off_is_told_once,
    a_watch_that_was_killed_goes_on_where_its_token_says,
    a_watch_ends_quietly_when_it_is_told_to,
    a_watch_with_a_token_that_is_none_is_refused,
);

/// An order of Ann's and Bob's for which Ann asks for an update: an event.
async fn ask(service: &Service, id: &str) {
    service.platform().await.upsert(order(id)).await;
    service.user("ann").await.ask(update(id)).await.unwrap();
}

/// Every event so far, as clients print it.
async fn events(ann: &mut Party) -> Vec<String> {
    let line = |event: v1::DisputeEvent| {
        let (kind, dispute) = (event.r#type(), event.dispute.clone().unwrap());
        let kind = kind.as_str_name().trim_start_matches("EVENT_TYPE_");
        format!("{kind} {} {} {}", dispute.order_id, dispute.dispute_id, event.revision)
    };
    ann.events().await.into_iter().map(line).collect()
}

async fn a_watch_goes_on_over_servers_that_are_killed(client: Client) {
    let mut service = Service::start();
    let mut watch = client.watch(&service.url(), &[]).await;
    for round in 0..3 {
        ask(&service, &format!("before{round}")).await;
        service = service.restart();
        ask(&service, &format!("after{round}")).await;
        // One round sees it connected, the next may not: both happen.
        if round != 1 {
            watch.prints(2 * round + 2).await;
        }
    }
    let printed = watch.prints(6).await;
    assert_eq!(printed, events(&mut service.user("ann").await).await);
    watch.signal("TERM");
    let ended = watch.ends().await;
    assert_eq!((ended.code, ended.out.len()), (Some(0), 6), "{ended:?}");
    assert_eq!(ended.err.iter().filter(|line| *line == "watching").count(), 1, "{ended:?}");
}

async fn a_watch_notices_a_connection_that_has_fallen_silent(client: Client) {
    let service = Service::start();
    let network = Network::to(&service.binary.address).await;
    let mut watch = client.watch(&network.url, &[]).await;
    ask(&service, "o1").await;
    watch.prints(1).await;
    let connections = network.connections();
    network.go_silent();
    ask(&service, "o2").await;
    let printed = watch.prints(2).await;
    assert!(network.connections() > connections, "on a connection of its own");
    assert_eq!(printed, events(&mut service.user("ann").await).await);
}

async fn a_snapshot_that_breaks_off_is_told_once(client: Client) {
    const DISPUTES: usize = 1_000;
    let service = Service::start();
    let ids: Vec<_> = (0..DISPUTES).map(|number| format!("o{number}")).collect();
    for ids in ids.chunks(500) {
        let orders = ids.iter().map(|id| order(id)).collect();
        let request = v1::BatchUpsertOrdersRequest { orders };
        service.platform().await.orders.batch_upsert_orders(request).await.unwrap();
    }
    let ann = service.user("ann").await;
    let asking = ids.iter().map(|id| {
        let mut ann = ann.clone();
        async move { ann.ask(update(id)).await.unwrap() }
    });
    futures_util::future::join_all(asking).await;
    let network = Network::to(&service.binary.address).await;
    // The first two messages of four arrive, or a bit more.
    network.set(Conduct::EndsAfter(150_000));
    let mut watch = client.watch(&network.url, &[]).await;
    watch.prints(257).await;
    let so_often = network.connections() + 2;
    network.has_connections(so_often).await;
    network.set(Conduct::Forwards);
    watch.prints(DISPUTES).await;
    // After it no other can come.
    ask(&service, "last").await;
    let printed = watch.prints(DISPUTES + 1).await;
    assert_eq!(printed.len(), DISPUTES + 1);
    let (last, snapshot) = printed.split_last().unwrap();
    assert!(last.starts_with("OPENED last "), "{last}");
    assert!(snapshot.iter().all(|line| line.starts_with("SNAPSHOT ")));
    assert_eq!(snapshot.iter().collect::<BTreeSet<_>>().len(), DISPUTES);
}

async fn a_watch_that_was_killed_goes_on_where_its_token_says(client: Client) {
    let service = Service::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let token_file = file.display().to_string();
    ask(&service, "o1").await;
    let mut watch = client.watch(&service.url(), &[&token_file]).await;
    watch.prints(1).await;
    ask(&service, "o2").await;
    let printed = watch.prints(2).await;
    assert!(printed[0].starts_with("SNAPSHOT o1 ") && printed[1].starts_with("OPENED o2 "), "{printed:?}");
    // The token is written after what it covers was printed, so it may be a moment later.
    let mut ann = service.user("ann").await;
    let is_written = async || {
        let token = std::fs::read_to_string(&file).unwrap().trim().to_owned();
        let start = Some(v1::list_dispute_events_request::Start::ResumeToken(token));
        let request = v1::ListDisputeEventsRequest { start, ..Default::default() };
        ann.disputes.clone().list_dispute_events(request).await.unwrap().into_inner().events.is_empty()
    };
    let written = async { while !is_written().await {} };
    tokio::time::timeout(TIMEOUT, written).await.expect("the token is not written");
    watch.signal("KILL");
    assert_eq!(watch.ends().await.code, None);
    ask(&service, "o3").await;
    let mut watch = client.watch(&service.url(), &[&token_file]).await;
    ask(&service, "o4").await;
    let printed = watch.prints(2).await;
    assert_eq!(printed, events(&mut ann).await[2..]);
}

async fn a_watch_ends_quietly_when_it_is_told_to(client: Client) {
    let service = Service::start();
    // What a shell starts in the background inherits that it ignores INT, and Java leaves it at that.
    let ignores_int = std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & 0b10 != 0)
    });
    for signal in ["TERM", "INT"].iter().take(if ignores_int { 1 } else { 2 }) {
        let watch = client.watch(&service.url(), &[]).await;
        watch.signal(signal);
        let ended = watch.ends().await;
        assert_eq!(ended.code, Some(0), "{signal}: {ended:?}");
        assert_eq!((&ended.out[..], &ended.err[..]), (&[][..], &["watching".to_owned()][..]), "{signal}");
    }
}

async fn a_watch_with_a_token_that_is_none_is_refused(client: Client) {
    let service = Service::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "no token").unwrap();
    let variables = [("DISPUTES_URL", service.url()), ("DISPUTES_USER_ID", "ann".to_owned())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let ended = client.start(&variables, &["watch", &file.display().to_string()]).ends().await;
    assert_eq!((ended.code, &ended.out[..]), (Some(1), &[][..]), "{ended:?}");
    assert!(ended.err[0].contains(" RESUME_TOKEN_MALFORMED: "), "{ended:?}");
    assert!(ended.err.iter().any(|line| line.starts_with("  resume_token: ")), "{ended:?}");
    // To the service it would mean "from now on", without a word about what has happened.
    std::fs::write(&file, "").unwrap();
    let ended = client.start(&variables, &["watch", &file.display().to_string()]).ends().await;
    assert!(matches!(ended.code, Some(1 | 2)) && ended.out.is_empty(), "{ended:?}");
    assert!(ended.err.iter().any(|line| line.contains("empty")), "{ended:?}");
}
