//! What a token says, and how long it counts.

use std::time::Duration;

use dispute_service::domain::Timestamp;
use dispute_service::proto::v1;
use serde_json::json;
use tonic::Code;

use super::{Guarded, jwks, read, refused, unauthenticated};
use crate::support::callers::{Party, facts};
use crate::support::h2_client::H2Client;
use crate::support::issuer::{Issuer, base64, claims, with, without};
use crate::support::messages::{order, update};

const HOUR: Duration = Duration::from_secs(3_600);
const MICROSECOND: Duration = Duration::from_micros(1);

fn seconds(instant: Timestamp) -> i64 {
    instant.micros() / 1_000_000
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_any_kind_of_key_names_the_caller_and_its_scope() {
    for issuer in [Issuer::ed25519(), Issuer::p256(), Issuer::rsa(), Issuer::Secret(b"0123456789abcdef".repeat(2))] {
        let guarded = match &issuer {
            Issuer::Secret(secret) => {
                // The end of the line is no part of it.
                let text = format!("{}\n", std::str::from_utf8(secret).unwrap());
                Guarded::new("--jwt-secret", &text, &[]).await
            }
            Issuer::Ed25519(_) | Issuer::P256(_) | Issuer::Rsa(_) => Guarded::by(&issuer).await,
        };
        guarded.platform(&issuer).upsert(order("o1")).await;
        let mut ann = guarded.party(&issuer.token(&guarded.claims("ann")));
        let dispute = ann.ask(update("o1")).await.unwrap();
        let mut eve = guarded.party(&issuer.token(&guarded.claims("eve")));
        let request = v1::GetDisputeRequest { dispute_id: dispute.dispute_id.clone() };
        assert_eq!(facts(&eve.disputes.get_dispute(request).await.unwrap_err()).reason, "DISPUTE_NOT_FOUND");
        let agent = with(guarded.claims("agent"), "scope", "profile support offline_access");
        guarded.party(&issuer.token(&agent)).dispute(&dispute.dispute_id).await;
        // A name that only holds that of a scope is another one.
        let other = with(guarded.claims("eve"), "scope", "supporter platform:read");
        let upsert = v1::UpsertOrderRequest { order: Some(order("o2")) };
        let status = guarded.party(&issuer.token(&other)).orders.upsert_order(upsert).await.unwrap_err();
        assert_eq!(facts(&status).reason, "SCOPE_MISSING", "{}", issuer.algorithm());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_with_a_token_is_refused_with_its_reason() {
    let (issuer, other) = (Issuer::ed25519(), Issuer::ed25519());
    let guarded =
        Guarded::new("--jwt-public-key", &issuer.public_pem(), &["--max-failed-logins-per-second", "0"]).await;
    let good = guarded.claims("ann");
    let now = seconds(guarded.service.now());
    guarded.call(&issuer.token(&good)).await.unwrap();

    let channel = || guarded.service.channel();
    let missing = [Party::with(channel(), &[]), Party::new(channel(), "ann", Some("support"))];
    for party in missing {
        assert_eq!(refused(read(party).await, ""), unauthenticated("CREDENTIAL_MISSING"));
    }
    let expired = issuer.token(&with(good.clone(), "exp", now - 3_600));
    assert_eq!(refused(guarded.call(&expired).await, &expired), unauthenticated("CREDENTIAL_EXPIRED"));

    let token = issuer.token(&good);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let unsigned = |algorithm: &str| {
        let parts = [json!({"alg": algorithm}), good.clone()].map(|part| base64(part.to_string().as_bytes()));
        parts.join(".")
    };
    let by_public_key = Issuer::Secret(issuer.public_pem().into_bytes());
    let header = |extra: &str| json!({"alg": "EdDSA", extra: ["exp"]});
    for (what, token) in [
        ("no exp", issuer.token(&without(good.clone(), "exp"))),
        ("no sub", issuer.token(&without(good.clone(), "sub"))),
        ("no iss", issuer.token(&without(good.clone(), "iss"))),
        ("no aud", issuer.token(&without(good.clone(), "aud"))),
        ("another issuer", issuer.token(&with(good.clone(), "iss", "https://evil.example"))),
        ("several issuers", issuer.token(&with(good.clone(), "iss", json!(["https://login.example"])))),
        ("another audience", issuer.token(&with(good.clone(), "aud", "orders"))),
        ("other audiences", issuer.token(&with(good.clone(), "aud", json!(["orders", "billing"])))),
        ("not valid yet", issuer.token(&with(good.clone(), "nbf", now + 60))),
        ("an exp that is no number", issuer.token(&with(good.clone(), "exp", (now + 60).to_string()))),
        ("an exp before all time", issuer.token(&with(good.clone(), "exp", -1))),
        ("an exp after all time", issuer.token(&with(good.clone(), "exp", 1e300))),
        ("an exp too far ahead", issuer.token(&with(good.clone(), "exp", now + 24 * 3_600 + 1))),
        ("another key", other.token(&good)),
        ("none", format!("{}.", unsigned("none"))),
        ("no signature", format!("{}.", unsigned("EdDSA"))),
        ("no third part", unsigned("EdDSA")),
        ("HS256 with the public key", by_public_key.token(&good)),
        ("HS256 said, EdDSA signed", issuer.sign(&json!({"alg": "HS256"}), &good)),
        ("crit", issuer.sign(&header("crit"), &good)),
        ("a cut token", token[..token.len() - 3].to_owned()),
        ("a cut message", format!("{}.{signature}", &message[..message.len() - 2])),
        ("other claims", format!("{}.{signature}", issuer.token(&guarded.claims("bob")).rsplit_once('.').unwrap().0)),
        ("noise", "a.b.c".to_owned()),
        ("an id outside of the grammar", issuer.token(&guarded.claims("ann smith"))),
        ("an empty id", issuer.token(&guarded.claims(""))),
        ("an id that is too long", issuer.token(&guarded.claims(&"x".repeat(129)))),
        ("an id that is no text", issuer.token(&with(good.clone(), "sub", 7))),
        ("both scopes", issuer.token(&with(good.clone(), "scope", "support platform"))),
        ("a scope that is no text", issuer.token(&with(good.clone(), "scope", json!(["support"])))),
    ] {
        assert_eq!(refused(guarded.call(&token).await, &token), unauthenticated("CREDENTIAL_INVALID"), "{what}");
    }
    for claim in ["exp", "sub", "iss", "aud"] {
        let status = guarded.call(&issuer.token(&without(good.clone(), claim))).await.unwrap_err();
        assert_eq!(status.message(), "the token must have sub, exp, iss and aud");
    }
    for headers in [
        vec![("authorization", "Basic YW5uOnB3")],
        vec![("authorization", "Bearer ")],
        vec![("authorization", token.as_str())],
    ] {
        let result = read(Party::with(channel(), &headers)).await;
        assert_eq!(refused(result, &token), unauthenticated("CREDENTIAL_INVALID"), "{headers:?}");
    }
    let bearer = format!("Bearer {token}");
    let twice = Party::with(channel(), &[("authorization", bearer.as_str()), ("authorization", bearer.as_str())]);
    assert_eq!(refused(read(twice).await, &token), unauthenticated("CREDENTIAL_INVALID"));
    // What says who calls elsewhere means nothing here.
    let beside = [("authorization", bearer.as_str()), ("x-user-id", "bob"), ("x-scope", "platform")];
    read(Party::with(channel(), &beside)).await.unwrap();
    let upsert = v1::UpsertOrderRequest { order: Some(order("o1")) };
    let status = Party::with(channel(), &beside).orders.upsert_order(upsert).await.unwrap_err();
    assert_eq!(facts(&status).reason, "SCOPE_MISSING");
    // The message has not come, and never will.
    let client = H2Client::connect(&guarded.service.address.to_string()).await;
    let call = client.call("/disputes.v1.DisputeService/AcceptDispute", &[("authorization", "Bearer a.b.c")], &[]);
    assert_eq!(facts(&call.unfinished().await), unauthenticated("CREDENTIAL_INVALID"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_counts_by_the_clock_of_the_service_and_with_half_a_minute_of_leeway() {
    let issuer = Issuer::ed25519();
    let guarded = Guarded::by(&issuer).await;
    let (clock, now) = (&guarded.service.clock, guarded.service.now());
    let claims = claims("ann", now);
    // In each of its forms.
    let several = with(claims.clone(), "aud", json!(["orders", "disputes"]));
    let fraction = with(claims.clone(), "exp", json!(seconds(now) as f64 + 3_600.0));
    let tokens = [claims.clone(), several, fraction].map(|claims| issuer.token(&claims));
    // One that is remembered, and one that was never seen before.
    let unseen = issuer.token(&with(claims.clone(), "jti", "unseen"));
    clock.set(now.plus(HOUR + Duration::from_secs(30)).minus(MICROSECOND));
    for token in &tokens {
        guarded.call(token).await.unwrap();
    }
    clock.advance(MICROSECOND);
    for token in tokens.iter().chain([&unseen]) {
        assert_eq!(refused(guarded.call(token).await, token), unauthenticated("CREDENTIAL_EXPIRED"));
    }
    clock.set(now);
    let begins = |after: i64| issuer.token(&with(claims.clone(), "nbf", seconds(now) + after));
    guarded.call(&begins(30)).await.unwrap();
    let early = begins(31);
    assert_eq!(refused(guarded.call(&early).await, &early), unauthenticated("CREDENTIAL_INVALID"));
    clock.advance(Duration::from_secs(1));
    guarded.call(&early).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lasts_no_longer_than_the_operator_lets_it() {
    let issuer = Issuer::ed25519();
    let mut guarded = Guarded::new("--jwt-public-key", &issuer.public_pem(), &["--jwt-max-lifetime", "10m"]).await;
    let now = seconds(guarded.service.now());
    let lasts = |span: i64| issuer.token(&with(claims("ann", guarded.service.now()), "exp", now + span));
    guarded.call(&lasts(600)).await.unwrap();
    let long = lasts(601);
    assert_eq!(refused(guarded.call(&long).await, &long), unauthenticated("CREDENTIAL_INVALID"));
    let file = guarded.file.to_str().unwrap().to_owned();
    let flags = ["--auth", "jwt", "--jwt-issuer", "https://login.example", "--jwt-audience", "disputes"];
    guarded
        .service
        .restart_with(&[&flags[..], &["--jwt-public-key", &file, "--jwt-max-lifetime", "0s"]].concat())
        .await;
    let endless = issuer.token(&with(guarded.claims("ann"), "exp", now + 100 * 365 * 86_400));
    guarded.call(&endless).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_when_its_token_expires_and_goes_on_with_another_one() {
    let issuer = Issuer::p256();
    let guarded = Guarded::by(&issuer).await;
    guarded.platform(&issuer).upsert(order("o1")).await;
    let now = guarded.service.now();
    let token = issuer.token(&claims("ann", now));
    let later = issuer.token(&claims("ann", now.plus(Duration::from_secs(1_800))));
    let mut watch = guarded.party(&token).watch(v1::WatchDisputesRequest::default()).await;
    let mut other = guarded.party(&later).watch(v1::WatchDisputesRequest::default()).await;
    guarded.party(&later).ask(update("o1")).await.unwrap();
    watch.event().await;
    other.event().await;
    guarded.service.clock.set(now.plus(HOUR));
    let last = watch.message().await.unwrap();
    assert!(last.events.is_empty() && last.checkpoint.is_some());
    let (events, status) = watch.rest().await;
    assert!(events.is_empty());
    assert_eq!(facts(&status), unauthenticated("CREDENTIAL_EXPIRED"));
    // Nothing is lost: what comes next is what happened since.
    let dispute = guarded.party(&later).list(v1::ListDisputesRequest::default()).await.disputes.remove(0);
    let mut resumed = guarded.party(&later).watch_from(&last.resume_token).await;
    let withdraw = v1::WithdrawDisputeRequest { dispute_id: dispute.dispute_id, ..Default::default() };
    guarded.party(&later).withdraw(withdraw).await.unwrap();
    let next = resumed.event().await.event_id;
    assert_eq!(other.event().await.event_id, next, "a stream of another token goes on");

    // One that begins within the leeway ends with that.
    let mut watch = guarded.party(&token).watch(v1::WatchDisputesRequest::default()).await;
    guarded.service.clock.advance(Duration::from_secs(30));
    let (_, status) = watch.rest().await;
    assert_eq!(facts(&status), unauthenticated("CREDENTIAL_EXPIRED"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_may_use_is_counted_by_the_subject_of_its_tokens() {
    let issuer = Issuer::ed25519();
    let flags = ["--max-reads-per-second", "1", "--max-failed-logins-per-second", "1"];
    let guarded = Guarded::new("--jwt-public-key", &issuer.public_pem(), &flags).await;
    let of_eve = |number: i32| issuer.token(&with(guarded.claims("eve"), "jti", number.to_string()));
    let mut reasons = Vec::new();
    for number in 0..20 {
        let token = of_eve(number);
        reasons.extend(guarded.call(&token).await.err().map(|status| facts(&status).reason));
    }
    assert!(reasons.len() >= 5 && reasons.iter().all(|reason| reason == "RATE_LIMITED"), "{reasons:?}");
    guarded.call(&issuer.token(&guarded.claims("ann"))).await.unwrap();
    // Credentials that are not valid are counted by the address, and those that are, are not.
    let mut reasons = Vec::new();
    for _ in 0..20 {
        let status = guarded.call("a.b.c").await.unwrap_err();
        assert!([Code::Unauthenticated, Code::ResourceExhausted].contains(&status.code()));
        reasons.push(facts(&status).reason);
    }
    assert!(reasons[..10].iter().all(|reason| reason == "CREDENTIAL_INVALID"), "{reasons:?}");
    assert!(reasons[10..].iter().filter(|reason| *reason == "RATE_LIMITED").count() >= 5, "{reasons:?}");
    guarded.call(&issuer.token(&guarded.claims("bob"))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_names_its_key_or_there_is_only_one_that_it_can_mean() {
    let (first, second, third) = (Issuer::ed25519(), Issuer::ed25519(), Issuer::p256());
    let keys = jwks(&[first.jwk("1"), second.jwk("2"), third.jwk("3")]);
    let guarded = Guarded::new("--jwt-jwks", &keys, &[]).await;
    let ann = guarded.claims("ann");
    for token in [first.named("1", &ann), second.named("2", &ann), third.named("3", &ann), third.token(&ann)] {
        guarded.call(&token).await.unwrap();
    }
    for (what, token) in [
        ("an unknown kid", first.named("4", &ann)),
        ("the kid of another key", first.named("2", &ann)),
        ("the kid of a key of another kind", first.named("3", &ann)),
        ("no kid, and two that fit", first.token(&ann)),
        ("a kid that is no text", first.sign(&json!({"alg": "EdDSA", "kid": 1}), &ann)),
    ] {
        assert_eq!(refused(guarded.call(&token).await, &token), unauthenticated("CREDENTIAL_INVALID"), "{what}");
    }
    // One key has no name to go by.
    let guarded = Guarded::by(&first).await;
    guarded.call(&first.named("whatever", &ann)).await.unwrap();
}
