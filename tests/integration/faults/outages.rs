//! The database is away: streams stay, commands are answered, and afterwards everything goes on by itself.

use std::time::Duration;

use dispute_service::chance::mint_id;
use dispute_service::clock::pause;
use dispute_service::proto::v1;
use tokio::task::JoinSet;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::callers::{Facts, Party, Watch, facts, refusal};
use crate::support::forwarder::Network;
use crate::support::messages::*;
use crate::support::service::Service;

const HEARTBEAT: Duration = Duration::from_secs(15);

/// A command, and a read, on a database that does not answer are answered within this: a read waits 5 s for its turn, then
/// 15 s for the database.
const ANSWERED: Duration = Duration::from_secs(25);

fn away() -> Facts {
    refusal(Code::Unavailable, "STORAGE_UNAVAILABLE", &[])
}

fn ids(events: &[v1::DisputeEvent]) -> Vec<&str> {
    events.iter().map(|event| event.event_id.as_str()).collect()
}

/// The health of the service as it is told.
async fn health(service: &Service) -> tokio::sync::watch::Receiver<ServingStatus> {
    let request = HealthCheckRequest { service: "disputes.v1.DisputeService".to_owned() };
    let mut said = HealthClient::new(service.channel()).watch(request).await.unwrap().into_inner();
    let (tell, told) = tokio::sync::watch::channel(said.message().await.unwrap().unwrap().status());
    tokio::spawn(async move {
        while let Ok(Some(message)) = said.message().await {
            tell.send_replace(message.status());
        }
    });
    told
}

async fn in_time<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(ANSWERED, answer).await.expect("it is answered in time")
}

/// A command that is sent until it is answered. Answers how often it was sent in vain.
async fn until_done(service: &Service, id: &str) -> usize {
    let request_id = mint_id().to_string();
    for failures in 0..100 {
        let request = v1::RequestOrderUpdateRequest { request_id: request_id.clone(), ..update(id) };
        match in_time(service.user("ann").ask(request)).await {
            Ok(_) => return failures,
            Err(refused) => assert_eq!(refused, away()),
        }
        pause(Duration::from_millis(50)).await;
    }
    panic!("nothing can be done");
}

struct Streams {
    wide: Watch,
    narrow: Watch,
    behind: Watch,
    behind_narrow: Watch,
}

const LOG: usize = 3_001;

/// A log of many events, none of which is in the tail cache; two streams at its end, and two that nobody reads near its
/// beginning.
async fn streams(service: &mut Service) -> Streams {
    let orders = (0..10).map(|number| order(&format!("o{number}"))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    service.user("ann").ask(update("o9")).await.unwrap();
    service.clone_last_event(LOG - 1).await;
    service.restart().await;
    let mut platform = Party::new(service.connect_narrowly().await, "shop", Some("platform"));
    let mut bob = Party::new(service.connect_narrowly().await, "bob", None);
    Streams {
        wide: service.platform().watch(v1::WatchDisputesRequest::default()).await,
        narrow: service.user("ann").watch(v1::WatchDisputesRequest::default()).await,
        behind: platform.watch(from_beginning()).await,
        behind_narrow: bob.watch(from_beginning()).await,
    }
}

/// Each hears every event of the log, once and in order.
async fn heard_everything(service: &Service, streams: &mut Streams) {
    let head = usize::try_from(service.ends().await.head).unwrap();
    let all = service.event_ids(1, i64::try_from(head).unwrap()).await;
    for stream in [&mut streams.wide, &mut streams.narrow] {
        assert_eq!(ids(&stream.take(head - LOG).await), all[LOG..]);
    }
    for stream in [&mut streams.behind, &mut streams.behind_narrow] {
        assert_eq!(ids(&stream.take(head).await), all);
    }
}

/// Reads of each class by many callers: more than there are connections, so that some wait for the others.
async fn reads(service: &Service) -> JoinSet<(&'static str, Result<(), tonic::Status>)> {
    let mut reads = JoinSet::new();
    for number in 0..8 {
        let caller = Party::new(service.connect().await, &format!("u{number}"), None);
        let [mut lists, mut singles, mut starts] = [(); 3].map(|()| caller.disputes.clone());
        let get = v1::GetDisputeRequest { dispute_id: mint_id().to_string() };
        let list = v1::ListDisputesRequest::default();
        reads.spawn(async move { ("a list", in_time(lists.list_disputes(list)).await.map(drop)) });
        reads.spawn(async move { ("a single read", in_time(singles.get_dispute(get)).await.map(drop)) });
        reads.spawn(async move { ("a start", in_time(starts.watch_disputes(from_beginning())).await.map(drop)) });
    }
    reads
}

async fn survives(network: Network) {
    let Some((mut service, between, _)) = Service::on_postgres_behind_a_network().await else { return };
    let mut streams = streams(&mut service).await;
    let mut told = health(&service).await;
    assert_eq!(*told.borrow(), ServingStatus::Serving);
    let (wide_token, narrow_token) = (streams.wide.token.clone(), streams.narrow.token.clone());

    between.set(network);
    let command = tokio::spawn({
        let mut ann = service.user("ann");
        async move { in_time(ann.ask(update("o0"))).await }
    });
    let mut reads = reads(&service).await;
    let mut beats = 0;
    let is_over = |command: bool, told: &tokio::sync::watch::Receiver<ServingStatus>| {
        command && *told.borrow() == ServingStatus::NotServing
    };
    let mut answers = Vec::new();
    while beats < 3 || !is_over(command.is_finished() && reads.is_empty(), &told) {
        for (stream, token) in [(&mut streams.wide, &wide_token), (&mut streams.narrow, &narrow_token)] {
            let message = stream.beat(&service.clock, HEARTBEAT).await;
            assert!(message.events.is_empty() && message.checkpoint.is_some());
            assert_eq!(message.resume_token, *token, "with the last token");
        }
        beats += 1;
        assert!(beats < 1_000, "health stays {:?}", *told.borrow());
        pause(Duration::from_millis(50)).await;
        answers.extend(std::iter::from_fn(|| reads.try_join_next()));
    }
    assert_eq!(command.await.unwrap().unwrap_err(), away());
    for answer in answers {
        let (what, answer) = answer.unwrap();
        assert_eq!(facts(&answer.unwrap_err()), away(), "{what}");
    }

    between.set(Network::Works);
    in_time(told.wait_for(|status| *status == ServingStatus::Serving)).await.unwrap();
    let mut failures = 0;
    for number in 1..6 {
        failures += until_done(&service, &format!("o{number}")).await;
    }
    let mut failed_reads = 0;
    for _ in 0..30 {
        let read = service.platform().disputes.list_disputes(v1::ListDisputesRequest::default()).await;
        failed_reads += usize::from(read.is_err());
    }
    println!("{network:?}: afterwards {failures} commands and {failed_reads} reads failed");
    assert!(failures <= 2 && failed_reads <= 10, "{failures} commands and {failed_reads} reads failed");
    heard_everything(&service, &mut streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_survive_a_database_that_is_cut_off() {
    survives(Network::Cuts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_survive_a_database_that_does_not_answer() {
    survives(Network::Swallows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_silence_of_the_database_is_waited_for() {
    let Some((mut service, between, _)) = Service::on_postgres_behind_a_network().await else { return };
    let mut streams = streams(&mut service).await;
    let mut told = health(&service).await;
    for round in 0..3 {
        between.set(Network::Swallows);
        let command = tokio::spawn({
            let mut ann = service.user("ann");
            async move { in_time(ann.ask(update(&format!("o{round}")))).await }
        });
        pause(Duration::from_secs(3)).await;
        between.set(Network::Works);
        let answered = command.await.unwrap();
        assert!(answered.as_ref().err().is_none_or(|refused| *refused == away()), "{answered:?}");
        println!("a command during a silence of 3 s was answered: {}", answered.is_ok());
        in_time(told.wait_for(|status| *status == ServingStatus::Serving)).await.unwrap();
        until_done(&service, &format!("o{}", round + 3)).await;
    }
    heard_everything(&service, &mut streams).await;
}

/// Streams that are in the middle of a read when their callers go away, while the database does not respond.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_away_while_the_database_does_not_answer_leaves_no_task_behind() {
    let Some((mut service, between, _)) = Service::on_postgres_behind_a_network().await else { return };
    drop(streams(&mut service).await);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut before = tasks();
    for _ in 0..40 {
        pause(Duration::from_millis(25)).await;
        before = before.min(tasks());
    }
    let mut watches = Vec::new();
    for number in 0..40 {
        let channel = service.connect_narrowly().await;
        let (user, scope) = if number % 2 == 0 { ("shop", Some("platform")) } else { ("bob", None) };
        let request = v1::WatchDisputesRequest { include_snapshot: number % 4 > 1, ..Default::default() };
        let start = if number % 4 > 1 { None } else { from_beginning().start };
        watches.push(Party::new(channel, user, scope).watch(v1::WatchDisputesRequest { start, ..request }).await);
    }
    between.set(Network::Swallows);
    let reading: Vec<_> = watches
        .into_iter()
        .map(|mut watch| {
            tokio::spawn(async move {
                // What was on its way is read, so that the service reads on.
                let _ = tokio::time::timeout(Duration::from_secs(2), watch.rest()).await;
            })
        })
        .collect();
    pause(Duration::from_secs(1)).await;
    let during = tasks();
    for reading in reading {
        reading.await.unwrap();
    }
    // A read takes fifteen seconds to give up. The few that hold a transaction do, as they must not be cut short.
    let mut left = tasks();
    for _ in 0..100 {
        if left < before + 30 {
            break;
        }
        pause(Duration::from_millis(50)).await;
        left = tasks();
    }
    println!("{before} tasks before, {during} while they read, {left} afterwards");
    assert!(left < before + 30, "{before} tasks before, {during} while they read, {left} afterwards");
}
