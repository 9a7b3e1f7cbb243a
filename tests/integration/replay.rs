//! Random walks over the whole service: the log replays to what is stored.

use std::collections::BTreeMap;
use std::time::Duration;

use dispute_service::clock::mint_id;
use dispute_service::proto::v1;
use proptest::prelude::Strategy as _;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(on_a_random_walk_the_log_replays_to_what_is_stored);

const ORDERS: u8 = 6;
const STEPS: usize = 400;

/// One step: what, on which order, by whom, and a number.
type Step = (u8, u8, bool, i64);

/// A walk by a random seed, which is printed, or by the one in `WALK_SEED`.
fn steps() -> Vec<Step> {
    let seed = std::env::var("WALK_SEED").map_or_else(|_| mint_id(), |seed| seed.parse().unwrap());
    println!("to take this walk again: WALK_SEED={seed}");
    let bytes: Vec<u8> = seed.as_bytes().iter().copied().cycle().take(32).collect();
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let step = (0_u8..12, 0..ORDERS, proptest::bool::ANY, 0_i64..7_000);
    proptest::collection::vec(step, STEPS).new_tree(&mut runner).unwrap().current()
}

async fn on_a_random_walk_the_log_replays_to_what_is_stored(service: Service) {
    let mut platform = service.platform();
    let mut ids: Vec<String> = (0..ORDERS).map(|number| format!("o{number}")).collect();
    for id in &ids {
        platform.upsert(order(id)).await;
    }
    let mut accepted = 0;
    for (version, (what, number, is_buyer, amount)) in (2_i64..).zip(steps()) {
        let id = &mut ids[usize::from(number)];
        // What a dispute cancelled stays so: the walk goes on with another order, and never ends in refusals alone.
        if !platform.order(id).await.cancelled_by_dispute_id.is_empty() {
            *id = format!("o{number}.{version}");
            platform.upsert(order(id)).await;
        }
        let id = id.clone();
        let mut caller = if is_buyer { service.user("ann") } else { service.user("bob") };
        let list = v1::ListDisputesRequest { order_id: id.clone(), page_size: 1, ..Default::default() };
        let last = caller.disputes.list_disputes(list).await.unwrap().into_inner().disputes.pop();
        let last = last.map(|dispute| dispute.dispute_id).unwrap_or_default();
        let is_accepted = match what {
            0 => caller.disputes.offer_partial_refund(offer(&id, amount)).await.is_ok(),
            1 | 2 => caller.disputes.request_cancellation(cancellation(&id)).await.is_ok(),
            3 | 4 => caller.disputes.request_order_update(update(&id)).await.is_ok(),
            5 => caller.disputes.accept_dispute(accept(&last)).await.is_ok(),
            6 => caller.disputes.decline_dispute(decline(&last)).await.is_ok(),
            7 => caller.disputes.answer_order_update(answer(&last)).await.is_ok(),
            8 => caller.disputes.withdraw_dispute(withdraw(&last)).await.is_ok(),
            9 | 10 => {
                service.hand.advance(Duration::from_secs(u64::try_from(amount).unwrap() * 10));
                false
            }
            _ => {
                // Orders come back from the dead unless a dispute cancelled them.
                let status = [1, 2, 3, 4, 2, 5][usize::try_from(amount % 6).unwrap()];
                platform.upsert(v1::Order { status, source_version: version, ..order(&id) }).await;
                false
            }
        };
        accepted += usize::from(is_accepted);
    }
    assert!(accepted > STEPS / 20, "a walk of refusals shows nothing: {accepted} accepted");

    // Every command expires what is overdue on its order first: after these, the sweep has nothing left to do
    // between what is read below.
    let list = v1::ListOrdersRequest { page_size: 500, ..Default::default() };
    let walked = platform.orders.list_orders(list).await.unwrap().into_inner();
    assert_eq!(walked.next_page_token, "");
    let ids: Vec<String> = walked.orders.into_iter().map(|order| order.order_id).collect();
    for id in &ids {
        platform.upsert(v1::Order { source_version: i64::MAX, ..order(id) }).await;
    }

    // The log, replayed: the last event of a dispute is the dispute, and the outcomes are the order's.
    let mut disputes: BTreeMap<String, v1::Dispute> = BTreeMap::new();
    let mut refunded: BTreeMap<String, i64> = BTreeMap::new();
    let mut cancelled_by: BTreeMap<String, String> = BTreeMap::new();
    for event in platform.events().await {
        let dispute = event.dispute.clone().unwrap();
        let before = disputes.get(&dispute.dispute_id);
        assert_eq!(event.revision, before.map_or(1, |before| before.revision + 1), "revisions have no holes");
        assert_eq!(event.revision, dispute.revision);
        assert_eq!(event.previous_status(), before.map_or(v1::DisputeStatus::Unspecified, v1::Dispute::status));
        assert_eq!(event.event_time, dispute.update_time);
        if let Some(outcome) = &dispute.outcome {
            let cents =
                outcome.refund.as_ref().map_or(0, |money| money.units * 100 + i64::from(money.nanos) / 10_000_000);
            *refunded.entry(dispute.order_id.clone()).or_default() += cents;
            if outcome.order_cancelled {
                cancelled_by.insert(dispute.order_id.clone(), dispute.dispute_id.clone());
            }
        }
        disputes.insert(dispute.dispute_id.clone(), dispute);
    }
    assert!(disputes.len() > 10, "a walk opens disputes");
    let list = v1::ListDisputesRequest { page_size: 500, ..Default::default() };
    let stored = platform.disputes.list_disputes(list).await.unwrap().into_inner();
    assert_eq!(stored.next_page_token, "");
    let stored: BTreeMap<_, _> =
        stored.disputes.into_iter().map(|dispute| (dispute.dispute_id.clone(), dispute)).collect();
    assert_eq!(stored, disputes, "the platform sees just what the log shows");
    for id in &ids {
        let order = platform.order(id).await;
        assert_eq!(order.refunded, Some(usd(refunded.get(id).copied().unwrap_or_default())));
        assert_eq!(order.cancelled_by_dispute_id, cancelled_by.get(id).cloned().unwrap_or_default());
    }
    // The log is dense, and its head is its last event.
    let (count, head) = ("SELECT count(*) FROM events", "SELECT head FROM event_log");
    assert_eq!(service.number(count).await, service.number(head).await);
    assert_eq!(service.number("SELECT max(seq) FROM events").await, service.number(head).await);
}
