//! C2 and C3: what a page of a list costs does not depend on where it is, or on how much the list leaves out.

use dispute_service::proto::v1;
use dispute_service::proto::v1::dispute_service_client::DisputeServiceClient;
use dispute_service::proto::v1::order_service_client::OrderServiceClient;
use tonic::transport::Channel;

use super::drive::closed_loop;
use super::load::{connect, platform};
use super::scale::{rounds, scaled};
use super::seed::{self, Seed};
use super::server::Server;
use super::table::{Table, Target};

pub(crate) const ABOUT_DEEP: &str = "ListDisputes, pages of 50 out of a million on SQLite: page 10,000 : the first";
pub(crate) const ABOUT_OPEN: &str =
    "ListOrders has_open_dispute, a million orders on SQLite: a million of them open : a thousand";

/// Disputes on a page.
const PAGE: i32 = 50;

pub(crate) async fn deep(table: &mut Table) {
    let disputes = scaled(1_000_000, 5_000);
    let (skipped, calls) = (disputes / 2 - 50, scaled(500, 50));
    let server = Server::on_file(&seed::file(Seed::pending(disputes)).await);
    let channel = connect([server.address()].into_iter()).await.remove(0);
    let mut client = DisputeServiceClient::new(channel.clone());
    // Larger pages lead to the same place sooner.
    let (mut token, mut seen) = (String::new(), std::collections::HashSet::new());
    while seen.len() < skipped {
        let left = i32::try_from((skipped - seen.len()).min(500)).expect("it is small");
        let page = client.list_disputes(list(&token, left)).await.expect("a page").into_inner();
        seen.extend(page.disputes.into_iter().map(|dispute| dispute.dispute_id));
        token = page.next_page_token;
    }
    assert_eq!(seen.len(), skipped, "each dispute is on one page");
    println!("page {} begins after {skipped} disputes, each of which was on one page before", skipped / 50 + 1);
    let (mut far, mut first) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        far.push(list_p50(&channel, &token, calls).await);
        first.push(list_p50(&channel, "", calls).await);
    }
    server.stop();
    table.compare("C2", "p50 ms, 1 in flight", &far, &first, Target::AtMost(1.2));
}

fn list(token: &str, page_size: i32) -> tonic::Request<v1::ListDisputesRequest> {
    platform(v1::ListDisputesRequest { page_size, page_token: token.to_owned(), ..v1::ListDisputesRequest::default() })
}

/// The median time of a page, one at a time, in milliseconds.
pub(crate) async fn list_p50(channel: &Channel, token: &str, calls: usize) -> f64 {
    let worker = |_| {
        let (client, token) = (DisputeServiceClient::new(channel.clone()), token.to_owned());
        move |_| {
            let (mut client, request) = (client.clone(), list(&token, PAGE));
            async move {
                let page = client.list_disputes(request).await.expect("a page").into_inner();
                assert_eq!(page.disputes.len(), 50, "the page is full");
            }
        }
    };
    closed_loop(1, 0..calls, worker).await.latencies.percentile(50.0)
}

pub(crate) async fn open(table: &mut Table) {
    let orders = scaled(1_000_000, 5_000);
    let all = Seed::pending(orders);
    let few = Seed { pending_of: orders / scaled(1_000, 100), ..all };
    let (mut servers, mut channels) = (Vec::new(), Vec::new());
    for seed in [all, few] {
        let server = Server::on_file(&seed::file(seed).await);
        channels.push(connect([server.address()].into_iter()).await.remove(0));
        servers.push(server);
    }
    let mut p50 = [Vec::new(), Vec::new()];
    for _ in 0..rounds() {
        for (channel, p50) in channels.iter().zip(&mut p50) {
            p50.push(orders_p50(channel, scaled(500, 20)).await);
        }
    }
    servers.into_iter().for_each(|server| drop(server.stop()));
    println!("each page was full of orders that have open disputes");
    table.compare("C3", "p50 ms, 1 in flight", &p50[0], &p50[1], Target::AtMost(1.2));
}

async fn orders_p50(channel: &Channel, calls: usize) -> f64 {
    let worker = |_| {
        let client = OrderServiceClient::new(channel.clone());
        move |_| {
            let mut client = client.clone();
            let request =
                v1::ListOrdersRequest { has_open_dispute: true, page_size: PAGE, ..v1::ListOrdersRequest::default() };
            async move {
                let page = client.list_orders(platform(request)).await.expect("a page").into_inner();
                assert_eq!(page.orders.len(), 50, "the page is full");
                assert!(page.orders.iter().all(|order| !order.open_dispute_ids.is_empty()), "all of them have one");
            }
        }
    };
    closed_loop(1, 0..calls, worker).await.latencies.percentile(50.0)
}
