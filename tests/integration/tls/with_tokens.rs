//! Tokens over TLS: beside client certificates, and while keys and certificates are replaced.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dispute_service::clock::{Clock, pause, real_now};
use dispute_service::proto::v1;
use tonic::Code;
use tonic::transport::Channel;
use v1::order_service_client::OrderServiceClient;

use crate::support::authority::{Authority, DAY};
use crate::support::binary::{Binary, program};
use crate::support::callers::{Facts, facts, refusal};
use crate::support::issuer::{AUDIENCE, ISSUER, Issuer, claims};
use crate::support::tls::Secured;

/// Well above the time after which the files are looked at.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The flags of tokens with the key in this file, and one rule.
fn flags(key: &Path) -> Vec<String> {
    let key = key.display().to_string();
    let jwt = ["--auth", "jwt", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE, "--jwt-jwks", &key];
    let rule = ["--tls-client-ca", "CA", "--mtls-scope", "shop@spiffe://market/shop=platform"];
    jwt.iter().chain(&rule).map(|flag| (*flag).to_owned()).collect()
}

fn publish(file: &Path, issuers: &[(&str, &Issuer)]) {
    let keys: Vec<_> = issuers.iter().map(|(kid, issuer)| issuer.jwk(kid)).collect();
    std::fs::write(file.with_extension("next"), serde_json::json!({"keys": keys}).to_string()).unwrap();
    std::fs::rename(file.with_extension("next"), file).unwrap();
}

fn secured(flags: &[String]) -> Secured {
    Secured::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What comes of an order that only a platform may report, called with these headers.
async fn report(channel: &Channel, headers: &[(&'static str, &str)]) -> Result<(), Facts> {
    let order = crate::support::messages::order("o1");
    let mut request = tonic::Request::new(v1::UpsertOrderRequest { order: Some(order) });
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    OrderServiceClient::new(channel.clone()).upsert_order(request).await.map(|_| ()).map_err(|status| facts(&status))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_beside_a_certificate_decides_alone_over_tls_and_a_page_needs_one() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("jwks");
    let (issuer, foreign) = (Issuer::ed25519(), Issuer::ed25519());
    publish(&keys, &[("a", &issuer)]);
    let service = secured(&flags(&keys));
    let shop = service.authority.client("spiffe://market/shop", DAY);
    let shop = service.try_connect(Some(&shop)).await.unwrap();
    let bearer = |issuer: &Issuer| format!("Bearer {}", issuer.named("a", &claims("ann", Clock::system().now())));
    assert_eq!(report(&shop, &[]).await, Ok(()));
    let missing = refusal(Code::PermissionDenied, "SCOPE_MISSING", &[("scope", "platform")]);
    assert_eq!(report(&shop, &[("authorization", &bearer(&issuer))]).await, Err(missing));
    let invalid = refusal(Code::Unauthenticated, "CREDENTIAL_INVALID", &[]);
    assert_eq!(report(&shop, &[("authorization", &bearer(&foreign))]).await, Err(invalid));
    let origin = ("origin", "https://shop.example");
    let not_allowed = refusal(Code::PermissionDenied, "ORIGIN_NOT_ALLOWED", &[]);
    assert_eq!(report(&shop, &[origin]).await, Err(not_allowed));
    let plain = service.connect().await;
    let missing = refusal(Code::Unauthenticated, "CREDENTIAL_MISSING", &[]);
    assert_eq!(report(&plain, &[]).await, Err(missing));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_certificates_are_replaced_together_without_one_failed_call() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("jwks");
    let (old, new) = (Issuer::ed25519(), Issuer::p256());
    publish(&keys, &[("old", &old)]);
    let service = Arc::new(secured(&flags(&keys)));
    let token = |issuer: &Issuer, kid: &str| {
        let mut claims = claims("shop", Clock::system().now());
        claims["scope"] = "platform".into();
        format!("Bearer {}", issuer.named(kid, &claims))
    };
    let (stop, (old_token, new_token)) = (Arc::<AtomicBool>::default(), (token(&old, "old"), token(&new, "new")));
    let load = tokio::spawn({
        let (service, stop) = (service.clone(), stop.clone());
        async move {
            let (kept, mut calls) = (service.connect().await, 0);
            while !stop.load(Ordering::Relaxed) {
                for channel in [&kept, &service.connect().await] {
                    report(channel, &[("authorization", &old_token)]).await.unwrap();
                    calls += 1;
                }
            }
            (calls, kept, old_token)
        }
    });
    let is_logged = async |what: &str| {
        let began = real_now();
        while !service.binary.log().contains(what) {
            assert!(began.elapsed() < TIMEOUT, "{}", service.binary.log());
            pause(Duration::from_millis(20)).await;
        }
    };
    publish(&keys, &[("old", &old), ("new", &new)]);
    service.authority.server(&["localhost"]).write(service.folder());
    is_logged("the token keys were reloaded").await;
    is_logged("new certificates are in use").await;
    let connected = service.connect().await;
    assert_eq!(report(&connected, &[("authorization", &new_token)]).await, Ok(()));
    stop.store(true, Ordering::Relaxed);
    let (calls, kept, old_token) = load.await.unwrap();
    assert!(calls > 20, "{calls}");
    // Once every caller has a new token, the old key goes.
    publish(&keys, &[("new", &new)]);
    let began = real_now();
    while report(&kept, &[("authorization", &old_token)]).await.is_ok() {
        assert!(began.elapsed() < TIMEOUT, "{}", service.binary.log());
        pause(Duration::from_millis(50)).await;
    }
    assert_eq!(report(&kept, &[("authorization", &new_token)]).await, Ok(()));
}

#[test]
fn tokens_in_the_clear_and_a_key_that_everybody_reads_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("jwks");
    publish(&keys, &[("a", &Issuer::ed25519())]);
    let identity = Authority::new("Tests").server(&["localhost"]);
    identity.write(folder.path());
    let path = |file: &str| folder.path().join(file).display().to_string();
    let url = format!("sqlite://{}?mode=rwc", path("disputes.db"));
    let log = |listen: &str, tls: bool| {
        let mut arguments = ["--listen", listen, "--database-url", &url].map(str::to_owned).to_vec();
        arguments.extend(flags(&keys).into_iter().take(8));
        let files = ["--tls-cert".to_owned(), path("cert.pem"), "--tls-key".to_owned(), path("key.pem")];
        arguments.extend(files.into_iter().filter(|_| tls));
        Binary::launch(&program(), &arguments, "info").unwrap().terminate().1
    };
    let clear = "tokens cross the network in the clear";
    assert_eq!(log("0.0.0.0:0", false).matches(clear).count(), 1);
    assert!(!log("0.0.0.0:0", true).contains(clear) && !log("127.0.0.1:0", false).contains(clear));
    let shown = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(folder.path().join("key.pem"), shown).unwrap();
    let log = log("127.0.0.1:0", true);
    assert!(log.contains("is readable by everybody") && log.contains("--tls-key"), "{log}");
}
