//! Commands: more than one caller's share of them.

use std::time::{Duration, Instant};

use dispute_service::proto::v1;
use prost::Message as _;

use crate::frames::{Connection, message};
use crate::judge::{Arena, Attack};
use crate::tally::Tally;
use crate::target::{MALLORY, ORDERS, order};
use crate::{hpack, path, who};

/// Keeps so many calls in flight on each of so many connections; `body` makes the message of the nth.
pub fn in_flight(
    arena: &Arena,
    block: &[u8],
    connections: usize,
    each: usize,
    body: impl Fn(usize) -> Vec<u8>,
) -> Tally {
    let mut opened: Vec<_> = (0..connections).filter_map(|_| Connection::open(&arena.address, &[])).collect();
    let mut turn = 0;
    while Instant::now() < arena.until {
        let mut is_idle = true;
        for connection in &mut opened {
            let answered = connection.tally.answers.values().sum::<usize>();
            // Some at a time: others want to be read as well.
            for _ in 0..(answered + each).saturating_sub(connection.tally.calls).min(200) {
                connection.call(block, &body(turn), arena.until);
                turn += 1;
                is_idle = false;
            }
            is_idle &= !connection.read();
        }
        if is_idle {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let mut tally = Tally::default();
    for connection in opened {
        tally.add(&connection.tally);
    }
    tally
}

/// A command that is refused once it was judged.
pub fn decline() -> Vec<u8> {
    let dispute_id = "01900000-0000-7000-8000-000000000000".to_owned();
    message(&v1::DeclineDisputeRequest { dispute_id, message: "No.".to_owned(), ..Default::default() }.encode_to_vec())
}

#[test]
fn many_commands_of_one_party_do_not_stop_those_of_others() {
    let block = hpack::call(path::DECLINE, &[who::MALLORY]);
    Attack::new("6,300 commands in flight, by a party").run(|arena| in_flight(arena, &block, 7, 900, |_| decline()));
}

#[test]
fn many_orders_of_one_platform_do_not_stop_those_of_others() {
    let block = hpack::call(path::UPSERT, &[("x-user-id", "other-shop"), who::PLATFORM]);
    Attack::new("6,300 upserts in flight, by another platform").run(|arena| {
        in_flight(arena, &block, 7, 900, |turn| {
            let order_id = format!("x{}", turn % 5_000);
            let source_version = i64::try_from(turn / 5_000 + 1).unwrap();
            let order = v1::Order { order_id, source_version, ..order("carol") };
            message(&v1::UpsertOrderRequest { order: Some(order) }.encode_to_vec())
        })
    });
}

#[test]
fn commands_of_ten_parties_do_not_stop_those_of_others() {
    let blocks: Vec<_> =
        (0..10).map(|index| hpack::call(path::DECLINE, &[("x-user-id", &format!("mallory-{index}"))])).collect();
    Attack::new("630 commands in flight by each of ten parties").run(|arena| {
        let mut callers: Vec<_> =
            blocks.iter().filter_map(|block| Some((Connection::open(&arena.address, &[])?, block))).collect();
        while Instant::now() < arena.until {
            for (connection, block) in &mut callers {
                let answered = connection.tally.answers.values().sum::<usize>();
                for _ in 0..(answered + 630).saturating_sub(connection.tally.calls).min(100) {
                    connection.call(block, &decline(), arena.until);
                }
                connection.read();
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        let mut tally = Tally::default();
        for (connection, _) in callers {
            tally.add(&connection.tally);
        }
        tally
    });
}

#[test]
fn failed_logins_without_end_hurt_nobody_with_a_good_one() {
    let block = hpack::call(path::LIST_REASONS, &[]);
    let tally = Attack::new("2,000 calls in flight of somebody who does not say who it is")
        .in_smoke()
        .run(|arena| in_flight(arena, &block, 4, 500, |_| vec![0; 5]));
    if let Some(tally) = tally {
        assert!(tally.answered("RATE_LIMITED") > 0 && tally.answered("OK") == 0, "{tally}");
    }
}

#[test]
fn a_buyer_who_opens_and_withdraws_is_slowed_down() {
    // A cancellation can be opened again as soon as it was withdrawn; each opening needs the id of the dispute to end
    // it, so that the attacker has a client of gRPC.
    let tally = Attack::new("a buyer who opens and withdraws, 200 at a time").run(|arena| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(open_and_withdraw(arena, 200))
    });
    if let Some(tally) = tally {
        assert!(tally.answered("OK") > 0, "{tally}");
    }
}

async fn open_and_withdraw(arena: &Arena, at_a_time: usize) -> Tally {
    use v1::dispute_service_client::DisputeServiceClient;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", arena.address)).unwrap();
    let until = tokio::time::Instant::from_std(arena.until);
    let Ok(Ok(channel)) = tokio::time::timeout_at(until, endpoint.connect()).await else { return Tally::default() };
    let tally = std::sync::Mutex::new(Tally { connections: 1, ..Tally::default() });
    let note = |error: Option<&tonic::Status>| {
        let details = error.map(tonic_types::StatusExt::get_error_details);
        let reason =
            details.as_ref().map_or("OK", |details| details.error_info().map_or("untyped", |info| &info.reason));
        let mut tally = tally.lock().unwrap();
        tally.calls += 1;
        *tally.answers.entry(reason.to_owned()).or_default() += 1;
    };
    let buyer = async |index: usize| {
        let mut client = DisputeServiceClient::new(channel.clone());
        loop {
            let open = v1::RequestCancellationRequest {
                order_id: format!("m{}", index % ORDERS),
                message: "ä".repeat(2_000),
                reason: v1::Reason::OrderedByMistake.into(),
                ..Default::default()
            };
            let opened = client.request_cancellation(crate::good_caller::from(MALLORY, None, open)).await;
            note(opened.as_ref().err());
            let Ok(opened) = opened else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let dispute_id = opened.into_inner().dispute.unwrap().dispute_id;
            let withdraw = v1::WithdrawDisputeRequest { dispute_id, ..Default::default() };
            let withdrawn = client.withdraw_dispute(crate::good_caller::from(MALLORY, None, withdraw)).await;
            note(withdrawn.as_ref().err());
        }
    };
    let buyers: Vec<_> = (0..at_a_time).map(buyer).collect();
    let _ = tokio::time::timeout_at(until, futures_util::future::join_all(buyers)).await;
    tally.into_inner().unwrap()
}
