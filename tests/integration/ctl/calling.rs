//! How the service is called: over TLS, over servers that are killed, with flags from everywhere; and what happens if it is away.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use dispute_service::clock::Clock;
use serde_json::{Value, json};

use super::{Printed, Tail, command, party, run, serve, url};
use crate::support::authority::Authority;
use crate::support::binary::program;
use crate::support::issuer::{AUDIENCE, ISSUER, Issuer, claims, with};
use crate::support::messages::*;
use crate::support::service::Service;
use crate::support::tls::Secured;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_goes_on_over_a_server_that_is_killed_and_ends_with_the_token_to_go_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let server = serve(&database, "127.0.0.1:0");
    let (address, url) = (server.address.clone(), format!("http://{}", server.address));
    for id in ["o1", "o2", "o3"] {
        party(&server, "shop", Some("platform")).await.upsert(order(id)).await;
    }
    party(&server, "ann", None).await.ask(update("o1")).await.unwrap();
    let mut tail = Tail::start(&url, &["--from-beginning", "--kind", "order-update"]);
    assert!(tail.next().contains("opened                "), "the first one is there");
    server.kill();
    let server = serve(&database, &address);
    party(&server, "bob", None).await.offer(offer("o1", 500)).await.unwrap();
    let dispute = party(&server, "ann", None).await.ask(update("o2")).await.unwrap().dispute_id;
    let line = tail.next();
    assert!(line.contains(&dispute) && line.contains("  order update        by buyer ann  “"), "{line}");
    let (code, said) = tail.interrupt();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the watch was interrupted: reconnecting"), "{said}");
    let token = said.lines().last().unwrap().strip_prefix("To go on from here: --resume-token ").unwrap();

    let next = party(&server, "ann", None).await.ask(update("o3")).await.unwrap().dispute_id;
    let line = Tail::start(&url, &["--resume-token", token, "--json"]).until("eventId");
    let batch: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(batch["events"].as_array().unwrap().len(), 1, "{line}");
    assert_eq!(batch["events"][0]["dispute"]["disputeId"], *next);
    assert!(batch["resumeToken"].as_str().is_some_and(|token| !token.is_empty()));
    let said = run(&url, &["tail", "--resume-token", "nonsense"]).failed(1);
    assert!(said.contains("RESUME_TOKEN_MALFORMED"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_sent_over_tls_to_a_service_that_the_authority_vouches_for() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, token) = (folder.path().join("jwks"), folder.path().join("token"));
    let issuer = Issuer::ed25519();
    std::fs::write(&keys, json!({"keys": [issuer.jwk("a")]}).to_string()).unwrap();
    let jwt = ["--auth", "jwt", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE, "--jwt-jwks"];
    let service = Secured::start(&[&jwt[..], &[&keys.display().to_string()]].concat());
    let url = format!("https://localhost:{}", service.address().port());
    let ca = service.folder().join("ca.pem").display().to_string();
    let token_file = token.display().to_string();
    let list = |flags: &[&str]| run(&url, &[&["list", "--json", "--ca", &ca], flags].concat());
    let with_token = || list(&["--token-file", &token_file]);

    let claims = claims("sam", Clock::system().now());
    std::fs::write(&token, format!("{}\n", issuer.named("a", &with(claims.clone(), "scope", "support")))).unwrap();
    assert_eq!(with_token().fine(), "");
    std::fs::write(&token, issuer.named("a", &with(claims, "exp", 1))).unwrap();
    let said = with_token().failed(1);
    assert!(said.contains(r#""code":"UNAUTHENTICATED""#) && said.contains("CREDENTIAL_EXPIRED"), "{said}");
    assert!(list(&[]).failed(1).contains("CREDENTIAL_"), "ids are for --auth dev");
    std::fs::write(&token, " \n").unwrap();
    assert!(with_token().failed(2).contains("is empty"));
    std::fs::remove_file(&token).unwrap();
    assert!(with_token().failed(2).contains("--token-file (DISPUTES_TOKEN_FILE)"));

    // Nobody vouches for it but its own authority.
    assert!(run(&url, &["list", "--timeout", "2s"]).failed(3).contains("no answer from https://localhost"));
    let other = folder.path().join("other.pem");
    std::fs::write(&other, Authority::new("Other").pem()).unwrap();
    let said = run(&url, &["list", "--timeout", "2s", "--ca", &other.display().to_string()]).failed(3);
    assert!(said.contains("certificate"), "{said}");
    let said = run(&url, &["list", "--ca", &keys.display().to_string()]).failed(2);
    assert!(said.contains("contains no certificate in PEM"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_away_or_silent_is_no_refusal() {
    let away = run("http://127.0.0.1:1", &["list", "--timeout", "1s"]).failed(3);
    assert!(
        away.starts_with("dispute-service: no answer from http://127.0.0.1:1: ") && away.contains("refused"),
        "{away}"
    );
    let away = run("http://127.0.0.1:1", &["list", "--timeout", "1s", "--json"]).failed(3);
    let error: Value = serde_json::from_str(&away).unwrap();
    assert_eq!((&error["code"], &error["reason"]), (&json!("UNAVAILABLE"), &json!("")));
    // It accepts connections, and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let said = run(&silent, &["list", "--timeout", "1s"]).failed(3);
    assert!(said.contains("no answer from") && said.contains("within 1s"), "{said}");
    assert!(!said.contains("It is not known"), "a read changes nothing: {said}");
}

#[test]
fn usage_is_refused_before_anything_is_called() {
    let nowhere = "http://127.0.0.1:1";
    for (arguments, why) in [
        (&["list", "--policy", "p.toml"][..], "--policy is for the service"),
        (&["decide", "d1", "--message", "m"], "--no-action|--refund <AMOUNT>|--cancel-order"),
        (&["decide", "d1", "--message", "m", "--refund", "1,5"], "expected an amount such as 12.50"),
        (&["list", "--status", "open"], "possible values: pending"),
        (&["list", "--ca", "ca.pem"], "--ca (DISPUTES_CA) is for TLS"),
        (&["list", "--token-file", "/nowhere"], "No such file or directory"),
    ] {
        let said = run(nowhere, arguments).failed(2);
        assert!(said.contains(why), "{why}: {said}");
    }
    let said = run("http://disputes.example:1", &["list", "--token-file", "t"]).failed(2);
    assert!(said.contains("would cross the network in the clear"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_come_from_the_environment_too_and_an_empty_variable_is_unset() {
    let service = Service::on_sqlite().await;
    service.order_with_update("o1", "ann").await;
    let with = |variables: &[(&str, &str)]| {
        let output = Command::new(program()).args(["ctl", "list"]).envs(variables.iter().copied()).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        Printed { code: output.status.code().unwrap(), out, err }
    };
    let url = url(&service);
    assert_eq!(with(&[("DISPUTES_URL", &url), ("DISPUTES_JSON", "true"), ("DISPUTES_CA", "")]).objects().len(), 1);
    let said = with(&[("DISPUTES_URL", &url), ("DISPUTES_USER_ID", "ann smith")]).failed(1);
    assert!(said.contains("CREDENTIAL_INVALID"), "{said}");
    let said = with(&[("DISPUTES_TIMEOUT", "soon")]).failed(2);
    assert!(said.contains("--timeout, set by the environment variable DISPUTES_TIMEOUT"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_has_read_enough_is_no_failure() {
    let service = Service::on_sqlite().await;
    service.many_orders_with_updates("o", 0..400, "ann").await;
    let mut list = command(&url(&service), &["list", "--limit", "1000", "--json"]);
    let mut list = list.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Less than there is, and more than a pipe holds is left.
    let first = BufReader::with_capacity(1, list.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(first.starts_with('{'));
    let output = list.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_answer_cannot_be_written_has_taken_effect_and_its_exit_code_says_so() {
    let service = Service::on_sqlite().await;
    let dispute = super::escalated(&service, "o1").await;
    let mut decide = command(&url(&service), &["decide", &dispute, "--no-action", "--message=-20% was agreed"]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = decide.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8(output.stderr).unwrap().contains("the output cannot be written"));
    assert_eq!(service.support().dispute(&dispute).await.decision_message, "-20% was agreed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_nobody_reads_ends_when_it_is_told_to() {
    let service = Service::on_sqlite().await;
    service.many_orders_with_updates("o", 0..400, "ann").await;
    let mut tail = command(&url(&service), &["tail", "--from-beginning", "--json"]);
    let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // More than a pipe holds: when the first line is there, it writes, or waits for a reader.
    let mut lines = BufReader::with_capacity(1, tail.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with('{'));
    assert!(Command::new("kill").args(["-TERM", &tail.id().to_string()]).status().unwrap().success());
    let code = tokio::task::spawn_blocking(move || tail.wait().unwrap().code());
    let code = tokio::time::timeout(std::time::Duration::from_secs(60), code).await.expect("it does not end").unwrap();
    assert!(matches!(code, Some(0 | 4)), "{code:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_made_again_while_the_service_is_only_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let server = serve(&database, "127.0.0.1:0");
    let address = server.address.clone();
    server.kill();
    let away = std::net::TcpListener::bind(&address).unwrap();
    let mut list = command(&format!("http://{address}"), &["list", "--timeout", "60s"]);
    let list = list.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It finds nobody at first.
    drop(away.accept().unwrap());
    drop(away);
    let _server = serve(&database, &address);
    let output = list.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"No such disputes.\n"[..]), "{output:?}");
}
