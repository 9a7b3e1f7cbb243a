//! How often a party may ask, and how often somebody may fail to say who it is.

use std::time::Duration;

use dispute_service::clock::{pause, real_now};
use dispute_service::proto::v1;
use dispute_service::proto::v1::dispute_service_client::DisputeServiceClient;
use dispute_service::proto::v1::order_service_client::OrderServiceClient;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::callers::{Party, facts, refusal};
use crate::support::h2_client::H2Client;
use crate::support::health::Health;
use crate::support::messages::*;
use crate::support::service::Service;

/// One a second, and ten at once.
const COMMANDS: [&str; 2] = ["--max-commands-per-second", "1"];
const READS: [&str; 2] = ["--max-reads-per-second", "1"];
const LOGINS: [&str; 2] = ["--max-failed-logins-per-second", "1"];

async fn with(flags: &[&str]) -> Service {
    let mut service = Service::on_sqlite().await;
    service.restart_with(flags).await;
    service.platform().upsert(order("o1")).await;
    service
}

/// A command that a stranger is refused.
async fn command(mut party: Party) -> Result<(), Status> {
    party.disputes.withdraw_dispute(withdraw("00000000-0000-7000-8000-000000000000")).await.map(drop)
}

async fn read(mut party: Party) -> Result<(), Status> {
    party.orders.get_order(v1::GetOrderRequest { order_id: "o1".to_owned() }).await.map(drop)
}

fn is_limited(result: &Result<(), Status>) -> bool {
    result.as_ref().is_err_and(|status| facts(status).reason == "RATE_LIMITED")
}

/// Calls until it is too often: not before ten calls, and then as soon as there have been ten and one for each second
/// that it took. Returns when it may be tried again.
async fn exhaust<F: Future<Output = Result<(), Status>>>(call: impl Fn() -> F) -> Duration {
    until_refused(10, call).await
}

/// The same after so many calls.
async fn until_refused<F: Future<Output = Result<(), Status>>>(least: u64, call: impl Fn() -> F) -> Duration {
    let started = real_now();
    let mut admitted = 0;
    let refused = loop {
        let result = call().await;
        if is_limited(&result) {
            break result.unwrap_err();
        }
        admitted += 1;
        assert!(admitted <= least + 1 + started.elapsed().as_secs(), "{admitted} of them in {:?}", started.elapsed());
    };
    assert!(admitted >= least, "only {admitted} were admitted");
    assert_eq!(facts(&refused), refusal(Code::ResourceExhausted, "RATE_LIMITED", &[]));
    let retry = refused.get_error_details().retry_info().unwrap().retry_delay.unwrap();
    assert!(retry > Duration::ZERO && retry <= Duration::from_secs(1), "{retry:?}");
    retry
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_only_tried_out_counts_as_a_read() {
    let trial = |mut party: Party| async move {
        let request = withdraw("00000000-0000-7000-8000-000000000000");
        let request = v1::WithdrawDisputeRequest { validate_only: true, ..request };
        party.disputes.withdraw_dispute(request).await.map(drop)
    };
    // Of the commands that there are none is used up by it …
    let service = with(&COMMANDS).await;
    for _ in 0..40 {
        assert!(!is_limited(&trial(service.user("eve")).await));
    }
    exhaust(|| command(service.user("eve"))).await;
    // … and of the reads one each time.
    let service = with(&READS).await;
    exhaust(|| trial(service.user("eve"))).await;
    assert!(is_limited(&read(service.user("eve")).await));
    assert!(!is_limited(&command(service.user("eve")).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_party_that_sends_too_many_commands_is_told_when_to_come_back_and_nobody_else_is() {
    let service = with(&COMMANDS).await;
    let eve = || service.user("eve");
    let retry = exhaust(|| command(eve())).await;
    // Judged by its headers: the message has not come, and never will.
    let client = H2Client::connect(&service.address.to_string()).await;
    let unfinished = || async {
        let call = client.call("/disputes.v1.DisputeService/AcceptDispute", &[("x-user-id", "eve")], &[]);
        // One for which a token has come back meanwhile waits for its message.
        tokio::time::timeout(Duration::from_millis(300), call.unfinished()).await.map_or(Ok(()), Err)
    };
    until_refused(0, unfinished).await;
    // Her reads are counted apart, and so are others' commands; who has a scope is not counted at all.
    for _ in 0..20 {
        assert!(!is_limited(&read(eve()).await));
        assert!(!is_limited(&command(service.support()).await));
        assert!(!is_limited(&command(Party::new(service.channel(), "eve", Some("platform"))).await));
    }
    assert!(!is_limited(&command(service.user("ann")).await));
    until_refused(0, || command(eve())).await;
    pause(retry.max(Duration::from_secs(1))).await;
    assert!(!is_limited(&command(eve()).await), "a token has come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_lists_and_watches_of_a_party_are_counted_together() {
    let service = with(&READS).await;
    exhaust(|| read(service.user("ann"))).await;
    let list =
        async |mut party: Party| party.disputes.list_disputes(v1::ListDisputesRequest::default()).await.map(drop);
    let watch =
        async |mut party: Party| party.disputes.watch_disputes(v1::WatchDisputesRequest::default()).await.map(drop);
    until_refused(0, || list(service.user("ann"))).await;
    until_refused(0, || watch(service.user("ann"))).await;
    service.user("ann").ask(update("o1")).await.unwrap();
    assert!(read(service.user("bob")).await.is_ok());
    assert!(read(service.platform()).await.is_ok());
    exhaust(|| list(service.user("eve"))).await;
    exhaust(|| watch(service.user("mallory"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_texts_cost_more_than_one_command() {
    let service = with(&COMMANDS).await;
    // Eight thousand bytes.
    let long = v1::RequestOrderUpdateRequest { message: "\u{1F600}".repeat(2_000), ..update("o1") };
    service.user("ann").ask(long.clone()).await.unwrap();
    let mut ann = service.user("ann");
    let refused = ann.disputes.request_order_update(long).await.unwrap_err();
    assert_eq!(facts(&refused), refusal(Code::ResourceExhausted, "RATE_LIMITED", &[]));
    assert_eq!(service.number("SELECT count(*) FROM disputes").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_fails_to_say_who_it_is_too_often_is_told_so_and_whoever_can_say_it_is_not() {
    let service = with(&LOGINS).await;
    let anonymous = || async {
        let request = v1::GetOrderRequest { order_id: "o1".to_owned() };
        let result = OrderServiceClient::new(service.channel()).get_order(request).await.map(drop);
        let reason = facts(result.as_ref().unwrap_err()).reason;
        assert!(["CREDENTIAL_MISSING", "RATE_LIMITED"].contains(&reason.as_str()), "{reason}");
        result
    };
    exhaust(anonymous).await;
    // Whatever is wrong, over whichever connection, and whatever it asks for.
    let channel = service.connect().await;
    let watch = || async {
        let request = v1::WatchDisputesRequest::default();
        DisputeServiceClient::new(channel.clone()).watch_disputes(request).await.map(drop)
    };
    until_refused(0, watch).await;
    until_refused(0, || command(Party::new(channel.clone(), "ann", Some("god")))).await;
    for _ in 0..20 {
        assert!(read(service.user("ann")).await.is_ok());
    }
    // No scope is no failed login.
    let scopeless = v1::UpsertOrderRequest { order: Some(order("o2")) };
    let refused = service.user("ann").orders.upsert_order(scopeless).await.unwrap_err();
    assert_eq!(facts(&refused).reason, "SCOPE_MISSING");
    assert!(Health::of(service.channel()).await.is_serving());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_of_nothing_is_no_bound() {
    let flags =
        ["--max-commands-per-second", "0", "--max-reads-per-second", "0", "--max-failed-logins-per-second", "0"];
    let service = with(&flags).await;
    for _ in 0..150 {
        assert!(!is_limited(&command(service.user("ann")).await));
        assert!(!is_limited(&read(service.user("ann")).await));
        let request = v1::GetOrderRequest { order_id: "o1".to_owned() };
        let anonymous = OrderServiceClient::new(service.channel()).get_order(request).await.map(drop);
        assert_eq!(facts(&anonymous.unwrap_err()).reason, "CREDENTIAL_MISSING");
    }
}
