//! How long pages are, whatever is asked for.

use dispute_service::proto::v1;
use tonic::Status;

use crate::support::callers::{Party, facts, invalid};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(a_page_has_50_rows_unless_it_is_said_and_never_more_than_500, a_negative_page_size_is_refused,);

const ROWS: usize = 502;

/// How many rows the first page of each list has, and whether it says that there are more.
async fn first_pages(caller: &mut Party, page_size: i32) -> Result<[(usize, bool); 3], [Status; 3]> {
    let orders = caller.orders.list_orders(v1::ListOrdersRequest { page_size, ..Default::default() }).await;
    let disputes = caller.disputes.list_disputes(v1::ListDisputesRequest { page_size, ..Default::default() }).await;
    let start = Some(v1::list_dispute_events_request::Start::FromBeginning(true));
    let events = v1::ListDisputeEventsRequest { page_size, start, filter: None };
    match (orders, disputes, caller.disputes.list_dispute_events(events).await) {
        (Ok(orders), Ok(disputes), Ok(events)) => {
            let (orders, disputes, events) = (orders.into_inner(), disputes.into_inner(), events.into_inner());
            Ok([
                (orders.orders.len(), !orders.next_page_token.is_empty()),
                (disputes.disputes.len(), !disputes.next_page_token.is_empty()),
                (events.events.len(), events.more),
            ])
        }
        (orders, disputes, events) => Err([orders.unwrap_err(), disputes.unwrap_err(), events.unwrap_err()]),
    }
}

async fn a_page_has_50_rows_unless_it_is_said_and_never_more_than_500(service: Service) {
    let mut platform = service.platform();
    let orders: Vec<_> = (0..ROWS).map(|number| order(&format!("o{number}"))).collect();
    for orders in orders.chunks(500) {
        let orders = orders.to_vec();
        platform.orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    }
    let opened: Vec<_> = (0..ROWS)
        .map(|number| {
            let mut ann = service.user("ann");
            tokio::spawn(async move { ann.ask(update(&format!("o{number}"))).await.unwrap() })
        })
        .collect();
    for opened in opened {
        opened.await.unwrap();
    }
    for mut caller in service.everybody() {
        for (page_size, expected) in
            [(0, 50), (1, 1), (50, 50), (51, 51), (499, 499), (500, 500), (501, 500), (i32::MAX, 500)]
        {
            let pages = first_pages(&mut caller, page_size).await.unwrap();
            assert_eq!(pages, [(expected, true); 3], "page_size {page_size}");
        }
        // What a page did not hold follows it.
        let all = v1::ListOrdersRequest { page_size: 1_000, ..Default::default() };
        assert_eq!(caller.order_ids(all).await.split(' ').count(), ROWS);
        assert_eq!(caller.events_of(None, 1_000).await.0.len(), ROWS);
    }
}

async fn a_negative_page_size_is_refused(service: Service) {
    for mut caller in service.everybody() {
        for page_size in [-1, i32::MIN] {
            let refused = first_pages(&mut caller, page_size).await.unwrap_err();
            assert_eq!(refused.each_ref().map(facts), [(); 3].map(|()| invalid(&["page_size"])), "{page_size}");
        }
    }
}
