//! `kill -9` during a load of commands: what was acknowledged is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dispute_service::proto::v1;
use tokio::sync::Mutex;
use tonic::transport::{Channel, Endpoint};

use crate::support::binary::Binary;
use crate::support::callers::Party;
use crate::support::messages::*;
use crate::support::postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_has_lost_nothing_that_it_acknowledged_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    kill_and_look(&url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_has_lost_nothing_that_it_acknowledged_on_postgres() {
    if let Some(url) = postgres::new_database().await {
        kill_and_look(&url).await;
    }
}

const ORDERS: usize = 6_000;
const CLIENTS: usize = 32;
/// The process is killed once so many commands are acknowledged.
const ENOUGH: usize = 1_000;

async fn connect(server: &Binary) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap()
}

fn command(number: usize) -> v1::RequestOrderUpdateRequest {
    let request_id = uuid::Uuid::from_u128(number as u128 + 1).to_string();
    v1::RequestOrderUpdateRequest { request_id, ..update(&format!("o{number}")) }
}

async fn kill_and_look(url: &str) {
    let program = env!("CARGO_BIN_EXE_dispute-service");
    let server = Binary::start(program, url, "warn");
    let channel = connect(&server).await;
    let mut platform = Party::new(channel.clone(), "shop", Some("platform"));
    for first in (0..ORDERS).step_by(500) {
        let orders = (first..first + 500).map(|number| order(&format!("o{number}"))).collect();
        platform.orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    }

    // A subscriber that notes what it hears, and the token of each message.
    let heard = Arc::<Mutex<(Vec<v1::DisputeEvent>, String)>>::default();
    let mut watch = platform.watch(v1::WatchDisputesRequest::default()).await;
    heard.lock().await.1.clone_from(&watch.token);
    let subscriber = tokio::spawn({
        let heard = heard.clone();
        async move {
            while let Ok(message) = watch.message().await {
                let mut heard = heard.lock().await;
                heard.0.extend(message.events);
                heard.1 = message.resume_token;
            }
        }
    });

    // The load, of which each client notes what was acknowledged.
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (channel, acknowledged) = (channel.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut ann = Party::new(channel, "ann", None);
                let mut mine = BTreeMap::new();
                for number in (client..ORDERS).step_by(CLIENTS) {
                    let Ok(answer) = ann.disputes.request_order_update(command(number)).await else { break };
                    mine.insert(number, answer.into_inner().dispute.unwrap().dispute_id);
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                mine
            })
        })
        .collect();
    while acknowledged.load(Ordering::Relaxed) < ENOUGH {
        tokio::task::yield_now().await;
    }
    server.kill();
    let mut acknowledged = BTreeMap::new();
    for client in clients {
        acknowledged.extend(client.await.unwrap());
    }
    subscriber.await.unwrap();
    assert!((ENOUGH..ORDERS).contains(&acknowledged.len()), "killed amid the load: {}", acknowledged.len());

    let server = Binary::start(program, url, "warn");
    let channel = connect(&server).await;
    let (mut ann, mut platform) =
        (Party::new(channel.clone(), "ann", None), Party::new(channel, "shop", Some("platform")));
    for (number, dispute) in &acknowledged {
        assert_eq!(ann.dispute(dispute).await.order_id, format!("o{number}"), "an acknowledged command is lost");
    }
    // Everything is sent again, as clients do that got no answer.
    let mut disputes = BTreeSet::new();
    for number in 0..acknowledged.len() + CLIENTS {
        let again = ann.disputes.request_order_update(command(number)).await.unwrap().into_inner().dispute.unwrap();
        if let Some(first) = acknowledged.get(&number) {
            assert_eq!(again.dispute_id, *first, "a repeated request_id has one effect");
        }
        disputes.insert(again.dispute_id);
    }
    let all = platform.events().await;
    let (mut heard, token) = std::mem::take(&mut *heard.lock().await);
    let mut resumed = platform.watch_from(&token).await;
    heard.extend(resumed.take(all.len() - heard.len()).await);
    assert!(heard == all, "a subscriber with its old token hears each event once and in order");
    let opened: Vec<_> = all.iter().map(|event| event.dispute.clone().unwrap().dispute_id).collect();
    assert_eq!(opened.iter().collect::<BTreeSet<_>>().len(), opened.len(), "each dispute is opened once");
    assert!(disputes.iter().all(|dispute| opened.contains(dispute)));
    drop(resumed);
    let (ended, log) = server.terminate();
    assert!(ended, "{log}");
}
