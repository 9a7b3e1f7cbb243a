//! A page in a browser must not act through a service that trusts its callers; and reflection by its switch.

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use super::{Guarded, read};
use crate::support::callers::{Facts, Party, facts, refusal};
use crate::support::h2_client::H2Client;
use crate::support::issuer::Issuer;
use crate::support::service::Service;
use crate::support::web::{WebClient, ask_over_http2};

/// A connection whose calls are for this host.
async fn for_host(service: &Service, host: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", service.address)).unwrap();
    endpoint.origin(format!("http://{host}").parse().unwrap()).connect().await.unwrap()
}

async fn check_health(channel: Channel) -> Result<(), Status> {
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.map(drop)
}

async fn reflect(channel: Channel) -> Result<(), Status> {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { message_request, ..ServerReflectionRequest::default() };
    let mut stream = ServerReflectionClient::new(channel)
        .server_reflection_info(tonic::codegen::tokio_stream::once(request))
        .await?
        .into_inner();
    stream.message().await.map(drop)
}

fn not_allowed() -> Facts {
    refusal(Code::PermissionDenied, "ORIGIN_NOT_ALLOWED", &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_trusts_its_callers_takes_calls_for_this_machine_alone() {
    let service = Service::on_sqlite().await;
    for host in ["localhost:50051", "LocalHost", "127.0.0.1", "127.1.2.3:1", "[::1]:50051"] {
        let channel = for_host(&service, host).await;
        read(Party::new(channel.clone(), "ann", None)).await.unwrap();
        check_health(channel.clone()).await.unwrap();
        reflect(channel).await.unwrap();
    }
    // A name of an attacker that leads here, or an address that is this machine for others.
    for host in ["evil.example:50051", "localhost.evil.example", "10.0.0.1:50051", "0.0.0.0:50051"] {
        let channel = for_host(&service, host).await;
        assert_eq!(facts(&read(Party::new(channel.clone(), "ann", None)).await.unwrap_err()), not_allowed(), "{host}");
        let nobody = read(Party::with(channel.clone(), &[])).await.unwrap_err();
        assert_eq!(facts(&nobody), not_allowed(), "before anybody is recognised");
        assert_eq!(facts(&check_health(channel.clone()).await.unwrap_err()), not_allowed(), "{host}");
        assert_eq!(facts(&reflect(channel).await.unwrap_err()), not_allowed(), "{host}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_in_a_browser_reads_and_does_nothing_where_callers_are_trusted() {
    let service = Service::on_sqlite().await;
    let client = H2Client::connect(&service.address.to_string()).await;
    for origin in ["https://evil.example", "http://localhost:5173", "null"] {
        for path in [
            "/disputes.v1.OrderService/UpsertOrder",
            "/disputes.v1.DisputeService/ListReasons",
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/nowhere.Service/Method",
        ] {
            let headers = [("x-user-id", "shop"), ("x-scope", "platform"), ("origin", origin)];
            let response = client.call(path, &headers, &[0; 5]).send().await;
            assert_eq!(facts(&response.status()), not_allowed(), "{path} {origin}");
            assert!(!response.head.headers().contains_key("access-control-allow-origin"));
        }
        // What a browser asks first.
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        let preflight = client.request("OPTIONS", "/disputes.v1.OrderService/UpsertOrder", &headers, &[]).send().await;
        assert_eq!(preflight.head.status().as_u16(), 404);
        assert!(!preflight.head.headers().contains_key("access-control-allow-origin"));
    }
    let elsewhere = [("x-user-id", "ann"), ("host", "evil.example")];
    let response = client.call("/disputes.v1.DisputeService/ListReasons", &elsewhere, &[0; 5]).send().await;
    assert_eq!(facts(&response.status()), not_allowed(), "Host counts beside :authority");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tokens_a_service_has_any_name_and_reflection_only_when_asked_for() {
    let issuer = Issuer::ed25519();
    let unknown = refusal(Code::Unimplemented, "METHOD_UNKNOWN", &[]);
    let guarded = Guarded::by(&issuer).await;
    let token = issuer.token(&guarded.claims("ann"));
    let channel = for_host(&guarded.service, "disputes.example").await;
    read(Party::with_token(channel.clone(), &token)).await.unwrap();
    check_health(channel.clone()).await.unwrap();
    assert_eq!(facts(&reflect(channel).await.unwrap_err()), unknown);
    let guarded = Guarded::new("--jwt-public-key", &issuer.public_pem(), &["--reflection", "true"]).await;
    reflect(guarded.service.channel()).await.unwrap();
    let mut service = guarded.service;
    service.restart_with(&["--reflection", "false"]).await;
    assert_eq!(facts(&reflect(service.channel()).await.unwrap_err()), unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tokens_a_page_that_calls_itself_needs_an_origin_that_is_named_and_a_gateway_does_not() {
    let issuer = Issuer::ed25519();
    let page = "https://shop.example";
    let guarded = Guarded::new("--jwt-public-key", &issuer.public_pem(), &["--web-origin", page]).await;
    let bearer = format!("Bearer {}", issuer.token(&guarded.claims("ann")));
    let reasons = "/disputes.v1.DisputeService/ListReasons";
    let web = ("content-type", "application/grpc-web+proto");
    let client = H2Client::connect(&guarded.service.address.to_string()).await;
    for (origin, is_allowed) in [(page, true), ("https://evil.example", false), ("null", false)] {
        let headers = [("authorization", bearer.as_str()), ("origin", origin)];
        let by_web = [&[web], &headers[..]].concat();
        let responses = [
            ask_over_http2(&client, "POST", reasons, &by_web, &[0; 5]).await,
            WebClient::connect(guarded.service.address).await.ask("POST", reasons, &by_web, &[0; 5]).await,
        ];
        for response in responses {
            let status = response.grpc_status();
            if is_allowed {
                assert_eq!(status.code(), Code::Ok, "{origin}");
            } else {
                assert_eq!(facts(&status), not_allowed(), "{origin}");
            }
            assert_eq!(response.header("access-control-allow-origin"), is_allowed.then_some(page));
        }
        // Translated by a gateway, which passes on what the page sent.
        assert_eq!(client.call(reasons, &headers, &[0; 5]).send().await.status().code(), Code::Ok, "{origin}");
    }
}
