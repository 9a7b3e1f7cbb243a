//! A seller offers a refund: once, whatever happens to the answer, and never without an end.

use std::time::Duration;

use dispute_service::clock::pause;
use dispute_service::proto::v1;

use crate::client::{Client, Ended, TIMEOUT};
use crate::messages::order;
use crate::network::{Conduct, Network};
use crate::service::Service;

crate::in_every_language!(
    an_offer_is_made_and_told,
    a_refusal_is_told_with_its_reason_its_facts_and_every_field,
    an_amount_or_a_command_that_is_none_is_said_before_anybody_is_called,
    an_offer_whose_answer_is_lost_is_made_once,
    an_offer_waits_until_the_service_is_there,
    an_offer_waits_until_the_service_is_healthy,
    an_offer_to_a_service_that_does_not_answer_ends,
);

/// A service with an order of Ann's and Bob's over 100 USD.
async fn service() -> Service {
    let service = Service::start();
    service.platform().await.upsert(order("o1")).await;
    service
}

/// The only dispute of the service, as the client tells it.
async fn told(service: &Service) -> String {
    let disputes = service.user("bob").await.list_all(v1::ListDisputesRequest::default()).await;
    let [dispute] = &disputes[..] else { panic!("{disputes:?}") };
    let respond_by = dispute.respond_by.unwrap();
    let respond_by = prost_types::Timestamp { nanos: 0, ..respond_by };
    format!("{} PENDING {respond_by}", dispute.dispute_id)
}

async fn an_offer_is_made_and_told(client: Client) {
    let service = service().await;
    let ended = client.offer(&service.url(), "o1", "12.50", "Two pictures are late.").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, [told(&service).await]);
    let dispute = service.user("bob").await.list_all(v1::ListDisputesRequest::default()).await.remove(0);
    let amount = dispute.refund_amount.unwrap();
    assert_eq!((amount.currency_code.as_str(), amount.units, amount.nanos), ("USD", 12, 500_000_000));
    assert_eq!(dispute.message, "Two pictures are late.");
}

/// What follows the code and the reason on the first line, and the other lines, sorted.
fn refusal<'a>(ended: &'a Ended, reason: &str) -> (&'a str, Vec<&'a str>) {
    assert_eq!((ended.code, &ended.out[..]), (Some(1), &[][..]), "{ended:?}");
    let first = ended.err.first().unwrap();
    let (code, message) = first.split_once(&format!(" {reason}: ")).unwrap_or_else(|| panic!("{first}"));
    assert!(!code.contains(' '), "{code}");
    let mut facts: Vec<_> = ended.err[1..].iter().map(String::as_str).collect();
    facts.sort_unstable();
    (message, facts)
}

async fn a_refusal_is_told_with_its_reason_its_facts_and_every_field(client: Client) {
    let service = service().await;
    let url = service.url();
    let ended = client.offer(&url, "o1", "60.01", "Too much.").await;
    let message = "the amount must be from 0.01 USD to 60.00 USD";
    let amount = format!("  amount: {message}");
    let facts = [&amount, "  currency: USD", "  maxAmount: 60.00", "  minAmount: 0.01"].to_vec();
    assert_eq!(refusal(&ended, "AMOUNT_OUT_OF_RANGE"), (message, facts));
    let ended = client.offer(&url, "o1", "12.505", "").await;
    let (message, facts) = refusal(&ended, "INVALID_FIELD");
    assert_eq!(message, "amount: has more decimals than the currency; and 1 more");
    assert_eq!(facts, ["  amount: has more decimals than the currency", "  message: must not be empty"]);
    let ended = client.offer(&url, "o2", "1", "Of nobody's order.").await;
    assert_eq!(refusal(&ended, "ORDER_NOT_FOUND"), ("there is no such order", vec!["  orderId: o2"]));
}

async fn an_amount_or_a_command_that_is_none_is_said_before_anybody_is_called(client: Client) {
    // Nobody is there.
    let url = "http://127.0.0.1:1";
    for amount in ["", "ten", "nan", "1e3", "1.0000000001", "-", "1,5"] {
        let ended = client.offer(url, "o1", amount, "No amount.").await;
        assert_eq!((ended.code, &ended.out[..]), (Some(2), &[][..]), "{amount}: {ended:?}");
        assert!(!ended.err.is_empty() && ended.err.len() < 8, "in words: {ended:?}");
    }
    let bob = [("DISPUTES_URL", url), ("DISPUTES_USER_ID", "bob")];
    for arguments in [&[][..], &["offer"], &["offer", "o1", "1"], &["watch", "a", "b"], &["reply"]] {
        let ended = client.start(&bob, arguments).ends().await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.err.iter().any(|line| line.contains("offer ORDER_ID AMOUNT MESSAGE")), "{ended:?}");
    }
    // Nobody in particular calls, or a token would travel in plain text.
    for variables in [vec![("DISPUTES_URL", url)], vec![("DISPUTES_URL", url), ("DISPUTES_TOKEN_FILE", "/dev/null")]] {
        let ended = client.start(&variables, &["watch"]).ends().await;
        assert_eq!(ended.code, Some(2), "{variables:?}: {ended:?}");
        assert!(ended.err.iter().any(|line| line.contains("DISPUTES_TOKEN_FILE")), "{ended:?}");
    }
}

async fn an_offer_whose_answer_is_lost_is_made_once(client: Client) {
    let service = service().await;
    let network = Network::to(&service.binary.address).await;
    let message = "The answer to this is lost.";
    network.set(Conduct::LosesAnswerTo(message.to_owned()));
    let variables = [("DISPUTES_URL", network.url.as_str()), ("DISPUTES_USER_ID", "bob")];
    let running = client.start(&variables, &["offer", "o1", "12.50", message]);
    network.loses_an_answer().await;
    let mut bob = service.user("bob").await;
    let is_made = async { while bob.list_all(v1::ListDisputesRequest::default()).await.is_empty() {} };
    tokio::time::timeout(TIMEOUT, is_made).await.expect("the offer does not arrive");
    network.set(Conduct::Forwards);
    network.cut();
    let ended = running.ends().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, [told(&service).await]);
    assert_eq!(bob.events().await.len(), 1);
}

async fn an_offer_waits_until_the_service_is_there(client: Client) {
    let service = service().await;
    let network = Network::to(&service.binary.address).await;
    network.set(Conduct::Refuses);
    let variables = [("DISPUTES_URL", network.url.as_str()), ("DISPUTES_USER_ID", "bob")];
    let running = client.start(&variables, &["offer", "o1", "12.50", "As soon as you are there."]);
    network.has_connections(2).await;
    network.set(Conduct::Forwards);
    let ended = running.ends().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, [told(&service).await]);
}

async fn an_offer_waits_until_the_service_is_healthy(client: Client) {
    let service = service().await;
    let network = Network::to(&service.binary.address).await;
    let health = service.health().await;
    // A lock counts as an outage only after a while.
    let lock = service.lock_database();
    let is_not_serving = async {
        while health.is_serving() {
            pause(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, is_not_serving).await.expect("it serves without a database");
    let message = "As soon as you are well.";
    let variables = [("DISPUTES_URL", network.url.as_str()), ("DISPUTES_USER_ID", "bob")];
    let running = client.start(&variables, &["offer", "o1", "12.50", message]);
    network.has_connections(1).await;
    // Whoever does not ask how it is has called it by then.
    pause(Duration::from_secs(1)).await;
    assert!(!network.has_heard("o1"), "the service is not well yet");
    drop(lock);
    let ended = running.ends().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, [told(&service).await]);
    assert!(network.has_heard("o1") && network.has_heard(message), "the network hears what is called");
}

async fn an_offer_to_a_service_that_does_not_answer_ends(client: Client) {
    let service = service().await;
    service.binary.signal("STOP");
    let ended = client.offer(&service.url(), "o1", "12.50", "Is anybody there?").await;
    service.binary.signal("CONT");
    assert_eq!((ended.code, &ended.out[..]), (Some(1), &[][..]), "{ended:?}");
    let said = ended.err.concat().to_uppercase().replace(['_', ' '], "");
    assert!(said.contains("DEADLINEEXCEEDED"), "{ended:?}");
}
