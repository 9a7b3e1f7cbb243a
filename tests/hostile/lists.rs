//! Reads that are much work, by one who wants many of them.

use dispute_service::proto::v1;
use prost::Message as _;

use crate::frames::message;
use crate::judge::Attack;
use crate::{commands, hpack, path, who};

/// So many lists of one party are in flight.
const IN_FLIGHT: usize = 100;

#[test]
fn lists_of_orders_by_one_party_do_not_stop_the_reads_of_others() {
    let body = message(&v1::ListOrdersRequest { page_size: 500, ..Default::default() }.encode_to_vec());
    let block = hpack::call(path::LIST_ORDERS, &[who::MALLORY]);
    Attack::new("100 lists of 500 orders in flight, by a party")
        .run(|arena| commands::in_flight(arena, &block, 1, IN_FLIGHT, |_| body.clone()));
}

#[test]
fn lists_of_disputes_by_one_party_do_not_stop_the_reads_of_others() {
    let body = message(&v1::ListDisputesRequest { page_size: 500, ..Default::default() }.encode_to_vec());
    let block = hpack::call(path::LIST_DISPUTES, &[who::MALLORY]);
    Attack::new("100 lists of 500 disputes in flight, by a party")
        .run(|arena| commands::in_flight(arena, &block, 1, IN_FLIGHT, |_| body.clone()));
}

#[test]
fn lists_of_events_by_one_party_do_not_stop_the_reads_of_others() {
    let start = Some(v1::list_dispute_events_request::Start::FromBeginning(true));
    let body = message(&v1::ListDisputeEventsRequest { page_size: 500, start, ..Default::default() }.encode_to_vec());
    let block = hpack::call(path::LIST_EVENTS, &[who::MALLORY]);
    Attack::new("100 lists of 500 events in flight, by a party")
        .run(|arena| commands::in_flight(arena, &block, 1, IN_FLIGHT, |_| body.clone()));
}

#[test]
fn snapshots_by_one_party_do_not_stop_the_reads_of_others() {
    let body = message(&v1::WatchDisputesRequest { include_snapshot: true, ..Default::default() }.encode_to_vec());
    let block = hpack::call(path::WATCH, &[who::MALLORY]);
    Attack::new("1,000 snapshots of 500 disputes at once, by a party")
        .run(|arena| commands::in_flight(arena, &block, 1, 1_000, |_| body.clone()));
}
