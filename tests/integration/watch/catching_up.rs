//! What it costs PostgreSQL when subscribers catch up with a long log, counted in rows that are read.

use std::time::Duration;

use bytes::Bytes;
use dispute_service::clock::pause;
use dispute_service::proto::v1;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;

use crate::support::callers::Party;
use crate::support::messages::*;
use crate::support::service::Service;

const OTHERS: usize = 20_000;

/// How many rows of the log were read so far. The service must have stopped: its connections then tell the last of it.
async fn rows_read(service: &Service) -> i64 {
    let connected = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND application_name = 'dispute-service'";
    while service.number(connected).await > 0 {
        pause(Duration::from_millis(5)).await;
    }
    let read = "SELECT coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0) \
        FROM pg_stat_user_tables WHERE relname = 'events'";
    service.number(read).await
}

/// A log of many events of others, with one of `eve` at the beginning, in the middle and at the end.
async fn long_log() -> Option<(Service, Vec<v1::Dispute>)> {
    let service = Service::on_postgres().await?;
    let mut hers = vec![service.order_with_update("eve0", "eve").await];
    service.order_with_update("o1", "ann").await;
    service.clone_last_event(OTHERS / 2).await;
    hers.push(service.order_with_update("eve1", "eve").await);
    service.order_with_update("o2", "ann").await;
    service.clone_last_event(OTHERS / 2).await;
    hers.push(service.order_with_update("eve2", "eve").await);
    // Every event is of a dispute that is there.
    for (table, own) in [("orders", ""), ("disputes", ", 'dispute_id', dispute_id")] {
        let clone = format!(
            "INSERT INTO {table} SELECT clone.* FROM events,
                jsonb_populate_record(NULL::{table}, (SELECT to_jsonb({table}) FROM {table} WHERE order_id = 'o1')
                    || jsonb_build_object('order_id', 'clone' || seq{own})) AS clone
            WHERE NOT EXISTS (SELECT FROM disputes WHERE disputes.dispute_id = events.dispute_id)"
        );
        service.execute(&clone).await;
    }
    Some((service, hers))
}

async fn catch_up(caller: &mut Party, filter: Option<v1::DisputeEventFilter>, hers: &[v1::Dispute]) {
    let request = v1::WatchDisputesRequest { filter: filter.clone(), ..from_beginning() };
    let mut watch = caller.watch(request).await;
    for dispute in hers {
        assert_eq!(watch.event().await.dispute.unwrap().dispute_id, dispute.dispute_id);
    }
    let (listed, _) = caller.events_of(filter, 500).await;
    assert_eq!(listed.len(), hers.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_little_reads_little() {
    let Some((mut service, hers)) = long_log().await else { return };
    // Also of a database that knows nothing of its tables, or everything.
    for statistics in ["", "ANALYZE"] {
        if !statistics.is_empty() {
            service.execute(statistics).await;
        }
        let party = v1::DisputeEventFilter { party_id: "eve".to_owned(), ..Default::default() };
        let order_ids = hers.iter().map(|dispute| dispute.order_id.clone()).collect();
        let orders = v1::DisputeEventFilter { order_ids, ..Default::default() };
        let dispute_ids = hers.iter().map(|dispute| dispute.dispute_id.clone()).collect();
        let disputes = v1::DisputeEventFilter { dispute_ids, ..Default::default() };
        let cases = [
            ("a party", false, None),
            ("a party of orders", false, Some(orders.clone())),
            ("a party of disputes", false, Some(disputes.clone())),
            ("the platform of a party", true, Some(party)),
            ("the platform of orders", true, Some(orders)),
            ("the platform of disputes", true, Some(disputes)),
        ];
        for (who, is_platform, filter) in cases {
            service.stop().await;
            let before = rows_read(&service).await;
            // Nothing is in memory.
            service.start().await;
            let mut caller = if is_platform { service.platform() } else { service.user("eve") };
            catch_up(&mut caller, filter, &hers).await;
            service.stop().await;
            let read = rows_read(&service).await - before;
            println!("{who} {statistics}: {read} rows");
            assert!(read < 200, "{who} {statistics}: {read} rows were read for 3 events");
            service.start().await;
        }
    }
}

/// A message whose events are left as they came.
#[derive(Clone, PartialEq, prost::Message)]
struct Raw {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    events: Vec<Bytes>,
}

/// Reads every event from the beginning, and compares their ids.
async fn read_all(service: &Service, ids: &[String]) {
    let mut client = tonic::client::Grpc::new(service.connect().await);
    client.ready().await.unwrap();
    let mut request = tonic::Request::new(tonic::codegen::tokio_stream::once(from_beginning()));
    request.metadata_mut().insert("x-user-id", MetadataValue::from_static("shop"));
    request.metadata_mut().insert("x-scope", MetadataValue::from_static("platform"));
    let path = PathAndQuery::from_static("/disputes.v1.DisputeService/WatchDisputes");
    let codec = tonic_prost::ProstCodec::<v1::WatchDisputesRequest, Raw>::default();
    let mut stream = client.streaming(request, path, codec).await.unwrap().into_inner();
    let mut heard = 0;
    while heard < ids.len() {
        let message = tokio::time::timeout(Duration::from_secs(60), stream.message()).await.unwrap();
        for event in message.unwrap().unwrap().events {
            // The id is the first field.
            assert_eq!(&event[2..38], ids[heard].as_bytes(), "event {}", heard + 1);
            heard += 1;
        }
    }
}

/// The seller of nearly everything. Each of its events is found once, however often it reads on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_party_with_many_events_reads_each_once() {
    let Some((mut service, _)) = long_log().await else { return };
    let count = OTHERS + 5;
    let ids = service.event_ids(1, i64::try_from(count).unwrap()).await;
    for statistics in ["", "ANALYZE"] {
        if !statistics.is_empty() {
            service.execute(statistics).await;
        }
        service.stop().await;
        let before = rows_read(&service).await;
        service.start().await;
        let heard = service.user("bob").watch(from_beginning()).await.take(count).await;
        assert!(heard.iter().map(|event| &event.event_id).eq(&ids));
        service.stop().await;
        let read = rows_read(&service).await - before;
        println!("a party of {count} events {statistics}: {read} rows");
        assert!(read <= i64::try_from(count * 3 / 2 + 2_000).unwrap(), "{statistics}: {read} rows for {count} events");
        service.start().await;
    }
}

/// Of a database that knows nothing of its tables, as a young one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_events_of_other_replicas_are_read_once() {
    let Some(mut service) = Service::on_postgres().await else { return };
    service.order_with_update("o1", "ann").await;
    service.restart().await;
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.clone_last_event(OTHERS).await;
    watch.take(OTHERS).await;
    service.stop().await;
    let read = rows_read(&service).await;
    println!("{read} rows were read of a burst of {OTHERS} events");
    // The copying itself is not the service's.
    assert!(read <= i64::try_from(OTHERS * 3 / 2 + 2_000).unwrap(), "{read} rows were read of {OTHERS} events");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_ask_for_everything_read_it_once() {
    let Some((mut service, _)) = long_log().await else { return };
    let count = i64::try_from(OTHERS + 5).unwrap();
    let ids = std::sync::Arc::new(service.event_ids(1, count).await);
    // However slow the machine is, nobody is refused for waiting.
    service.restart_with(&["--read-wait", "60s"]).await;
    service.stop().await;
    let before = rows_read(&service).await;
    service.start().await;
    let service_now = std::sync::Arc::new(service);
    let readers: Vec<_> = (0..50)
        .map(|_| {
            let (service, ids) = (service_now.clone(), ids.clone());
            tokio::spawn(async move { read_all(&service, &ids).await })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    let mut service = std::sync::Arc::into_inner(service_now).unwrap();
    service.stop().await;
    let read = rows_read(&service).await - before;
    println!("{read} rows were read for {count} events and 50 subscribers");
    assert!(read <= count * 3 / 2 + 2_000, "{read} rows were read for {count} events");
}
