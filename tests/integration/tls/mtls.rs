//! Client certificates: whom they name, and which of them are not believed.

use std::time::Duration;

use dispute_service::proto::v1;
use tonic::Code;
use tonic::transport::Channel;

use crate::support::authority::{Authority, DAY, Identity};
use crate::support::callers::{Party, facts, refusal};
use crate::support::messages::*;
use crate::support::tls::Secured;
use v1::dispute_service_client::DisputeServiceClient;
use v1::order_service_client::OrderServiceClient;

const RULES: [&str; 6] = [
    "--tls-client-ca",
    "CA",
    "--mtls-scope",
    "spiffe://market/shop=platform",
    "--mtls-scope",
    "dora@spiffe://market/desk=support",
];

const SHOP: &str = "spiffe://market/shop";
const DESK: &str = "spiffe://market/desk";

async fn connect(service: &Secured, identity: &Identity) -> Channel {
    service.try_connect(Some(identity)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_says_who_calls_and_with_which_scope() {
    let service = Secured::start(&RULES);
    let shop = connect(&service, &service.authority.client(SHOP, DAY)).await;
    let request = v1::UpsertOrderRequest { order: Some(order("o1")) };
    OrderServiceClient::new(shop.clone()).upsert_order(request).await.unwrap();
    let refused =
        DisputeServiceClient::new(shop).decide_dispute(no_action("00000000-0000-7000-8000-000000000000")).await;
    let missing = refusal(Code::PermissionDenied, "SCOPE_MISSING", &[("scope", "support")]);
    assert_eq!(facts(&refused.unwrap_err()), missing);

    // The agent's id is the one of the rule.
    let desk = connect(&service, &service.authority.client(DESK, DAY)).await;
    let mut ann = Party::new(service.connect().await, "ann", None);
    let asked = ann.ask(update("o1")).await.unwrap().dispute_id;
    let mut bob = Party::new(service.connect().await, "bob", None);
    bob.reply(answer(&asked)).await.unwrap();
    ann.escalate(escalate(&asked)).await.unwrap();
    let decided = DisputeServiceClient::new(desk).decide_dispute(no_action(&asked)).await.unwrap().into_inner();
    assert_eq!(decided.dispute.unwrap().decided_by, "dora");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_no_rule_names_says_nothing_and_none_is_needed() {
    let service = Secured::start(&RULES);
    let read = async |channel: Channel, user: Option<&'static str>| {
        let mut request = tonic::Request::new(v1::GetOrderRequest { order_id: "o1".to_owned() });
        if let Some(user) = user {
            request.metadata_mut().insert("x-user-id", user.parse().unwrap());
        }
        facts(&OrderServiceClient::new(channel).get_order(request).await.unwrap_err()).reason
    };
    let unnamed = connect(&service, &service.authority.client("spiffe://market/other", DAY)).await;
    assert_eq!(read(unnamed.clone(), None).await, "CREDENTIAL_INVALID");
    assert_eq!(read(unnamed, Some("ann")).await, "ORDER_NOT_FOUND");
    assert_eq!(read(service.connect().await, None).await, "CREDENTIAL_MISSING");
    assert_eq!(read(service.connect().await, Some("ann")).await, "ORDER_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_or_broken_certificate_fails_the_handshake() {
    let service = Secured::start(&RULES);
    let foreign = Authority::new("Tests").client(SHOP, DAY);
    let expired = service.authority.expired_client(SHOP);
    let of_a_server = service.authority.server(&["localhost"]);
    let mut stolen = service.authority.client(SHOP, DAY);
    stolen.key = foreign.key.clone();
    for (what, identity) in
        [("foreign", foreign), ("expired", expired), ("for servers", of_a_server), ("stolen", stolen)]
    {
        let Ok(channel) = service.try_connect(Some(&identity)).await else { continue };
        // With TLS 1.3 a client hears afterwards that its certificate was refused.
        let request = v1::GetOrderRequest { order_id: "o1".to_owned() };
        let refused = OrderServiceClient::new(channel).get_order(request).await.unwrap_err();
        assert!(refused.details().is_empty(), "{what}: an error of the client's own: {refused:?}");
    }
    // Without authorities nobody is asked for a certificate, and none counts.
    let service = Secured::start(&[]);
    let shop = connect(&service, &service.authority.client(SHOP, DAY)).await;
    let request = v1::GetOrderRequest { order_id: "o1".to_owned() };
    let refused = OrderServiceClient::new(shop).get_order(request).await.unwrap_err();
    assert_eq!(facts(&refused), refusal(Code::Unauthenticated, "CREDENTIAL_MISSING", &[]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_outlives_its_certificate_and_its_calls_do_not() {
    let service = Secured::start(&RULES);
    let identity = service.authority.client(SHOP, Duration::from_secs(3));
    let shop = connect(&service, &identity).await;
    let mut disputes = DisputeServiceClient::new(shop.clone());
    let mut watch = disputes.watch_disputes(v1::WatchDisputesRequest::default()).await.unwrap().into_inner();
    let expired = refusal(Code::Unauthenticated, "CREDENTIAL_EXPIRED", &[]);
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Err(status) = watch.message().await {
                return status;
            }
        }
    });
    assert_eq!(facts(&ended.await.expect("the stream ends")), expired);
    let request = v1::GetOrderRequest { order_id: "o1".to_owned() };
    let refused = OrderServiceClient::new(shop).get_order(request).await.unwrap_err();
    assert_eq!(facts(&refused), expired);
}

#[test]
fn rules_and_files_of_certificates_go_together() {
    let program = env!("CARGO_BIN_EXE_dispute-service");
    for (flags, words) in [
        (&["--tls-cert", "x"][..], "--tls-key"),
        (&["--tls-key", "x"], "--tls-cert"),
        (&["--tls-client-ca", "x"], "--tls-cert"),
        (&["--mtls-scope", "shop=platform"], "--tls-client-ca"),
        (&["--mtls-scope", "shop"], "expected [ID@]NAME=platform or [ID@]NAME=support"),
    ] {
        let output = std::process::Command::new(program).args(flags).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(words), "{flags:?}: {said}");
    }
}
