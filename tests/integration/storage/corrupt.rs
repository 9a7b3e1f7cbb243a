//! A row that makes no sense costs the request that asks for it, and nobody else.

use std::time::Duration;

use dispute_service::proto::v1;
use tonic::Code;

use crate::support::binary::Binary;
use crate::support::callers::{Facts, Party, facts};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    a_dispute_that_makes_no_sense_costs_whoever_asks_for_it,
    an_order_that_makes_no_sense_costs_whoever_asks_for_it,
    pages_lead_over_rows_that_make_no_sense,
    an_event_that_makes_no_sense_stops_nobody,
    reminders_of_what_has_ended_hold_up_no_deadline,
    a_row_that_makes_no_sense_is_told_of_once,
    what_may_have_been_done_before_is_not_done_again,
);

fn internal(facts: &Facts) -> bool {
    (facts.code, facts.reason.as_str()) == (Code::Internal, "INTERNAL") && facts.metadata.len() == 1
}

async fn get(service: &Service, dispute: &str) -> Result<v1::Dispute, Facts> {
    let request = v1::GetDisputeRequest { dispute_id: dispute.to_owned() };
    let got = service.platform().disputes.get_dispute(request).await;
    got.map(|got| got.into_inner().dispute.unwrap()).map_err(|status| facts(&status))
}

async fn a_dispute_that_makes_no_sense_costs_whoever_asks_for_it(mut service: Service) {
    // Each makes no sense in another way; what SQLite takes into a column of numbers is PostgreSQL's range.
    let changes = [
        "status = 0",
        "kind = -4",
        "amount_minor = NULL",
        "create_time = -9223372036854775808",
        "respond_by = 9223372036854775807",
        "buyer_id = 'a b'",
        "currency = '12'",
        "exclusion_group = 9",
    ];
    let mut broken = Vec::new();
    for (number, change) in changes.into_iter().enumerate() {
        let id = format!("o{number}");
        let offered = service.order_with_offer(&id, 1_000).await;
        let asked = service.user("ann").ask(update(&id)).await.unwrap();
        broken.push((change, id.clone(), offered.dispute_id, asked.dispute_id));
    }
    for (change, id, ..) in &broken {
        service.execute(&format!("UPDATE disputes SET {change} WHERE order_id = '{id}' AND kind = 1")).await;
    }
    service.platform().upsert(order("whole")).await;
    for restarted in [false, true] {
        if restarted {
            service.restart().await;
        }
        for (change, id, offered, asked) in &broken {
            assert!(internal(&get(&service, offered).await.unwrap_err()), "{change}");
            assert!(internal(&service.user("ann").accept(accept(offered)).await.unwrap_err()), "{change}");
            assert_eq!(get(&service, asked).await.unwrap().order_id, *id, "{change}");
            assert_eq!(service.platform().order(id).await.open_dispute_ids, std::slice::from_ref(asked), "{change}");
            // Nothing can be opened beside what is not known.
            assert!(internal(&service.user("bob").extend(extension(id, 1_000)).await.unwrap_err()), "{change}");
        }
        let request = v1::ListDisputesRequest { page_size: 500, ..Default::default() };
        assert_eq!(service.platform().list(request).await.disputes.len(), changes.len());
        let include_snapshot = v1::WatchDisputesRequest { include_snapshot: true, ..Default::default() };
        let mut watch = service.platform().watch(include_snapshot).await;
        assert_eq!(watch.take(changes.len()).await.len(), changes.len());
        let orders: Vec<_> = broken.iter().map(|(_, id, ..)| v1::Order { source_version: 2, ..order(id) }).collect();
        service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
        service.user("ann").options("whole").await;
    }
    // What SQLite takes into a column of instants need not even be a number.
    if service.url.starts_with("sqlite") {
        service.execute("UPDATE disputes SET respond_by = 'soon', message = x'ff' WHERE kind = -4").await;
        service.execute("UPDATE disputes SET remind_at = 'soon' WHERE status = 0").await;
        assert_eq!(service.platform().list(v1::ListDisputesRequest::default()).await.disputes.len(), changes.len());
    }
    // The others' deadlines pass.
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.clock.advance(Duration::from_secs(48 * 60 * 60));
    let expired = watch.take(changes.len()).await;
    assert!(expired.iter().all(|event| event.r#type() == v1::EventType::DeadlineExpired));
}

async fn what_may_have_been_done_before_is_not_done_again(service: Service) {
    let mut ann = service.user("ann");
    let request = |id: &str| v1::RequestOrderUpdateRequest {
        request_id: format!("018f0000-0000-7000-8000-00000000000{}", &id[1..]),
        ..update(id)
    };
    let mut asked = Vec::new();
    for id in ["o1", "o2", "o3"] {
        service.platform().upsert(order(id)).await;
        asked.push(ann.ask(request(id)).await.unwrap().dispute_id);
        ann.withdraw(withdraw(asked.last().unwrap())).await.unwrap();
    }
    let events = service.number("SELECT count(*) FROM events").await;
    service.execute("UPDATE disputes SET status = 0 WHERE order_id = 'o1'").await;
    assert!(internal(&ann.ask(request("o1")).await.unwrap_err()), "its dispute makes no sense");
    if service.url.starts_with("sqlite") {
        let of_o2 = asked[1].replace('-', "");
        service
            .execute(&format!("UPDATE idempotency_keys SET fingerprint = x'00' WHERE dispute_id = x'{of_o2}'"))
            .await;
        assert!(internal(&ann.ask(request("o2")).await.unwrap_err()), "its record makes no sense");
    }
    assert_eq!(ann.ask(request("o3")).await.unwrap().dispute_id, asked[2], "the others are remembered");
    assert_eq!(service.number("SELECT count(*) FROM events").await, events);
    ann.ask(update("o2")).await.unwrap();
}

async fn an_order_that_makes_no_sense_costs_whoever_asks_for_it(service: Service) {
    let ids: Vec<String> = (0..7).map(|number| format!("o{number}")).collect();
    let mut asked = Vec::new();
    for id in &ids {
        asked.push(service.order_with_update(id, "ann").await.dispute_id);
    }
    let changes = [
        "status = 0",
        "currency = 'us'",
        "exponent = 77",
        "seller_id = ''",
        "create_time = 9223372036854775807",
        "refunded_minor = -1",
    ];
    for (id, change) in ids.iter().zip(changes) {
        service.execute(&format!("UPDATE orders SET {change} WHERE order_id = '{id}'")).await;
    }
    for (number, id) in ids.iter().enumerate() {
        let request = v1::GetOrderRequest { order_id: id.clone() };
        let got = service.platform().orders.get_order(request).await;
        let replied = service.user("bob").reply(answer(&asked[number])).await;
        let request = v1::UpsertOrderRequest { order: Some(v1::Order { source_version: 2, ..order(id) }) };
        let upserted = service.platform().orders.upsert_order(request).await;
        if number < changes.len() {
            assert!(internal(&facts(&got.unwrap_err())) && internal(&replied.unwrap_err()), "{id}");
            assert!(internal(&facts(&upserted.unwrap_err())), "{id}");
        } else {
            assert!(got.is_ok() && replied.is_ok() && upserted.is_ok());
        }
        assert_eq!(get(&service, &asked[number]).await.unwrap().order_id, *id, "the dispute makes sense");
    }
    assert_eq!(service.platform().order_ids(v1::ListOrdersRequest::default()).await, "o6");
    assert_eq!(service.platform().order_ids(v1::ListOrdersRequest { page_size: 1, ..Default::default() }).await, "o6");
    assert_eq!(service.platform().list(v1::ListDisputesRequest::default()).await.disputes.len(), ids.len());
    let orders = vec![v1::Order { source_version: 3, ..order("o6") }, v1::Order { source_version: 3, ..order("o0") }];
    let batch = service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await;
    assert!(internal(&facts(&batch.unwrap_err())));
    let request = v1::GetSellerStandingRequest { seller_id: "bob".to_owned() };
    let mut platform = service.platform();
    platform.orders.get_seller_standing(request.clone()).await.unwrap();
    // What SQLite takes into a column of numbers need not be one: the seller's other orders count.
    if service.url.starts_with("sqlite") {
        for id in ["e1", "e2", "e3"] {
            platform.upsert(v1::Order { status: v1::OrderStatus::Completed.into(), ..order(id) }).await;
        }
        service.execute("UPDATE orders SET status = 99999 WHERE order_id = 'e1'").await;
        service.execute("UPDATE orders SET cancellation_counts = 'no' WHERE order_id = 'e2'").await;
        let standing = platform.orders.get_seller_standing(request).await.unwrap().into_inner().standing.unwrap();
        assert_eq!(standing.completed, 1);
        service.user("bob").options("o6").await;
    }
}

async fn pages_lead_over_rows_that_make_no_sense(service: Service) {
    for number in 0..12 {
        let id = format!("o{number}");
        service.order_with_update(&id, "ann").await;
        service.clock.advance(Duration::from_secs(1));
    }
    service.execute("UPDATE disputes SET status = 0 WHERE order_id IN ('o2', 'o3', 'o4', 'o5', 'o11')").await;
    service.execute("UPDATE disputes SET create_time = 9223372036854775807 WHERE order_id IN ('o6', 'o7')").await;
    service.execute("UPDATE disputes SET create_time = -9223372036854775808 WHERE order_id IN ('o8', 'o9')").await;
    for order_by_respond_by in [false, true] {
        for (mut caller, page_size) in [(service.platform(), 1), (service.platform(), 3), (service.user("bob"), 2)] {
            let mut request = v1::ListDisputesRequest { page_size, order_by_respond_by, ..Default::default() };
            let mut found = Vec::new();
            for page in 0.. {
                assert!(page < 30, "the pages do not end");
                let page = caller.list(request.clone()).await;
                found.extend(page.disputes.into_iter().map(|dispute| dispute.order_id));
                if page.next_page_token.is_empty() {
                    break;
                }
                request.page_token = page.next_page_token;
            }
            found.sort();
            assert_eq!(found, ["o0", "o1", "o10"]);
        }
    }
}

async fn an_event_that_makes_no_sense_stops_nobody(mut service: Service) {
    for id in ["o1", "o2", "o3"] {
        service.order_with_update(id, "ann").await;
    }
    service.execute("UPDATE events SET buyer_id = 'a b', order_id = '' WHERE seq = 2").await;
    for restarted in [false, true] {
        if restarted {
            service.restart().await;
        }
        let kept = service.platform().events().await.len();
        assert_eq!(kept, if restarted { 4 } else { 3 }, "as it is stored");
        assert_eq!(service.user("ann").events().await.len(), kept - 1, "it is nobody's");
        let start = Some(v1::watch_disputes_request::Start::FromBeginning(true));
        let mut watch = service.platform().watch(v1::WatchDisputesRequest { start, ..Default::default() }).await;
        assert_eq!(watch.take(kept).await.len(), kept);
        let mut resumed = service.platform().watch_from(&watch.token).await;
        let id = format!("later-{restarted}");
        service.order_with_update(&id, "ann").await;
        assert_eq!(resumed.take(1).await.len(), 1);
    }
    // What SQLite takes into these columns need be neither an id nor a number: least of all the time of the last event,
    // before which nothing is dated.
    if service.url.starts_with("sqlite") {
        let changes = ["event_id = x'ff'", "dispute_id = x'ff'", "event_type = 'opened'", "event_time = 'soon'"];
        for (number, change) in changes.into_iter().enumerate() {
            let id = format!("o{number}-again");
            service.order_with_update(&id, "ann").await;
            service.execute(&format!("UPDATE events SET {change} WHERE seq = (SELECT max(seq) FROM events)")).await;
            service.restart().await;
            service.user("bob").offer(offer(&id, 1_000)).await.unwrap();
            for order_ids in [Vec::new(), vec![id, "o1".to_owned()]] {
                let filter = Some(v1::DisputeEventFilter { order_ids, ..Default::default() });
                let start = Some(v1::list_dispute_events_request::Start::FromBeginning(true));
                let request = v1::ListDisputeEventsRequest { filter, start, ..Default::default() };
                let listed = service.platform().disputes.list_dispute_events(request).await.unwrap().into_inner();
                assert!(listed.events.len() >= 2 && !listed.more, "{change}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_with_a_key_that_makes_no_sense_stops_nobody_who_follows_its_order() {
    // PostgreSQL takes no such key.
    let service = Service::on_sqlite().await;
    for column in ["dispute_id", "event_id"] {
        let asked = service.order_with_update(column, "ann").await;
        service.user("bob").reply(answer(&asked.dispute_id)).await.unwrap();
        let change = format!("UPDATE events SET {column} = 'x' WHERE order_id = '{column}' AND event_type = 1");
        service.execute(&change).await;
        for dispute_ids in [vec![], vec![asked.dispute_id]] {
            let filter =
                v1::DisputeEventFilter { order_ids: vec![column.to_owned()], dispute_ids, ..Default::default() };
            let (events, _) = service.platform().events_of(Some(filter), 500).await;
            let types: Vec<_> = events.iter().map(v1::DisputeEvent::r#type).collect();
            assert_eq!(types, [v1::EventType::Answered], "of a broken {column} it is nobody's");
        }
    }
}

/// More of them than one look takes.
async fn reminders_of_what_has_ended_hold_up_no_deadline(service: Service) {
    let orders = (0..300).map(|number| order(&format!("o{number}"))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let end = |number| {
        let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
        tokio::spawn(async move {
            let asked = ann.ask(update(&format!("o{number}"))).await.unwrap();
            bob.reply(answer(&asked.dispute_id)).await.unwrap();
        })
    };
    let ended: Vec<_> = (0..300).map(end).collect();
    for ended in ended {
        ended.await.unwrap();
    }
    service.execute("UPDATE disputes SET remind_at = create_time").await;
    service.order_with_update("whole", "ann").await;
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.clock.advance(Duration::from_secs(48 * 60 * 60));
    assert_eq!(watch.event().await.r#type(), v1::EventType::DeadlineExpired);
}

async fn a_row_that_makes_no_sense_is_told_of_once(mut service: Service) {
    let asked = service.order_with_update("o1", "ann").await;
    service.execute("UPDATE disputes SET kind = 0").await;
    service.stop().await;
    let running = Binary::start(env!("CARGO_BIN_EXE_dispute-service"), &service.url, "info");
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", running.address)).unwrap();
    let mut platform = Party::new(channel.connect().await.unwrap(), "shop", Some("platform"));
    for _ in 0..5 {
        assert!(platform.list(v1::ListDisputesRequest::default()).await.disputes.is_empty());
    }
    let (_, log) = running.terminate();
    let told: Vec<_> = log.lines().filter(|line| line.contains("skipping a corrupt row")).collect();
    assert!(told.len() == 1 && told[0].contains(&asked.dispute_id), "{log}");
    assert!(log.contains("corrupt_rows=1"), "{log}");
}
