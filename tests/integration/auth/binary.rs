//! The real program: the tokens that it makes, and what it logs of those that it refuses.

use std::path::Path;
use std::process::{Command, Stdio};

use dispute_service::clock::real_now;
use tonic::transport::{Channel, Endpoint};

use super::{jwks, read, refused, unauthenticated, write};
use crate::support::binary::{Binary, program};
use crate::support::callers::{Party, facts};
use crate::support::issuer::{AUDIENCE, ISSUER, Issuer};

/// Runs `dispute-service token`. Returns whether it exited with 0, and what it wrote to stdout and stderr.
fn mint(arguments: &[&str]) -> (bool, String, String) {
    let all = ["token", "--issuer", ISSUER, "--audience", AUDIENCE].iter().chain(arguments);
    let output = Command::new(program()).args(all).env("NO_COLOR", "1").stdin(Stdio::null()).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.success(), out, err)
}

/// A token alone on its line.
fn minted(arguments: &[&str]) -> String {
    let (is_well, out, err) = mint(arguments);
    assert!(is_well && err.is_empty(), "{err}");
    let token = out.strip_suffix('\n').unwrap();
    assert!(!token.contains(char::is_whitespace), "{out:?}");
    token.to_owned()
}

fn serve(folder: &Path, flags: &[&str]) -> Binary {
    let database = format!("sqlite://{}?mode=rwc", folder.join("disputes.db").display());
    let jwt = ["--auth", "jwt", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE];
    let base = ["--listen", "127.0.0.1:0", "--database-url", &database];
    let arguments: Vec<_> = base.iter().chain(&jwt).chain(flags).map(|argument| (*argument).to_owned()).collect();
    Binary::launch(&program(), &arguments, "info").unwrap()
}

async fn connect(server: &Binary) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_verifies_the_tokens_that_it_makes_with_a_key_of_any_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let issuers = [("a", Issuer::ed25519()), ("b", Issuer::p256()), ("c", Issuer::rsa())];
    let keys: Vec<_> = issuers.iter().map(|(kid, issuer)| issuer.jwk(kid)).collect();
    write(&folder.path().join("jwks"), &jwks(&keys));
    let server = serve(folder.path(), &["--jwt-jwks", &path("jwks")]);
    let channel = connect(&server).await;
    let mut tokens = Vec::new();
    for (kid, issuer) in &issuers {
        write(&folder.path().join(kid), &issuer.private_pem());
        let key = path(kid);
        let token = minted(&["--key", &key, "--kid", kid, "--sub", "ann", "--expires-in", "10m"]);
        read(Party::with_token(channel.clone(), &token)).await.unwrap();
        let agent = minted(&["--key", &key, "--sub", "agent", "--scope", "support", "--kid", kid]);
        let mut agent = Party::with_token(channel.clone(), &agent);
        let request = dispute_service::proto::v1::DecideDisputeRequest::default();
        let status = agent.disputes.decide_dispute(request).await.unwrap_err();
        assert_eq!(facts(&status).reason, "INVALID_FIELD", "the scope is there");
        tokens.push(token);
    }
    let foreign = minted(&["--key", &path("a"), "--kid", "b", "--sub", "ann"]);
    for token in [foreign, format!("{}x", tokens[0])] {
        let result = read(Party::with_token(channel.clone(), &token)).await;
        assert_eq!(refused(result, &token), unauthenticated("CREDENTIAL_INVALID"));
        tokens.push(token);
    }
    assert_eq!(facts(&read(Party::with(channel, &[])).await.unwrap_err()).reason, "CREDENTIAL_MISSING");
    let (is_well, log) = server.terminate();
    assert!(is_well, "{log}");
    let failed: Vec<_> = log
        .lines()
        .filter(|line| line.contains("WARN") && line.contains("a caller could not be authenticated"))
        .collect();
    assert_eq!(failed.len(), 3, "{log}");
    for (line, reason) in failed.iter().zip(["CREDENTIAL_INVALID", "CREDENTIAL_INVALID", "CREDENTIAL_MISSING"]) {
        assert!(line.contains(reason) && line.contains("127.0.0.1"), "{line}");
    }
    for part in tokens.iter().flat_map(|token| token.split('.')) {
        assert!(!log.contains(part), "{part} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_signs_what_it_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    write(&secret, "a secret that is long enough for a digest\n");
    let secret = secret.display().to_string();
    let server = serve(folder.path(), &["--jwt-secret", &secret]);
    let token = minted(&["--secret", &secret, "--sub", "ann"]);
    read(Party::with_token(connect(&server).await, &token)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_logins_without_end_do_not_fill_the_log_and_those_left_out_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("jwks"), &jwks(&[Issuer::ed25519().jwk("k")]));
    let file = folder.path().join("jwks").display().to_string();
    let server = serve(folder.path(), &["--jwt-jwks", &file, "--max-failed-logins-per-second", "0"]);
    let channel = connect(&server).await;
    let started = real_now();
    let mut calls = 0;
    while !server.log().contains("suppressed=") {
        assert!(calls < 10_000, "each of them is logged");
        read(Party::with(channel.clone(), &[])).await.unwrap_err();
        calls += 1;
    }
    let seconds = started.elapsed().as_secs();
    let (_, log) = server.terminate();
    let lines = log.lines().filter(|line| line.contains("a caller could not be authenticated")).count() as u64;
    assert!(lines < calls && lines <= 200 + 20 * (seconds + 1), "{lines} lines of {calls} calls in {seconds} s");
    let suppressed = log.split_once("suppressed=").unwrap().1.split(char::is_whitespace).next().unwrap();
    let suppressed: u64 = suppressed.parse().unwrap();
    assert!(suppressed > 0 && lines + suppressed <= calls, "{suppressed} and {lines} of {calls}");
}

#[test]
fn a_token_that_cannot_be_made_is_an_error_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        write(&folder.path().join(name), content);
        folder.path().join(name).display().to_string()
    };
    let issuer = Issuer::ed25519();
    let (key, public, short) =
        (file("key", &issuer.private_pem()), file("public", &issuer.public_pem()), file("short", "short"));
    let set = file("set", &jwks(&[issuer.jwk("k")]));
    for (arguments, why) in [
        (&["--sub", "ann"][..], "--key"),
        (&["--key", &key], "--sub"),
        (&["--key", &key, "--secret", &short, "--sub", "ann"], "cannot be used with"),
        (&["--key", &public, "--sub", "ann"], "contains no private key in PEM and PKCS#8"),
        (&["--secret", &short, "--sub", "ann"], "of --secret (DISPUTES_TOKEN_SECRET) contains a secret of 5 bytes"),
        (&["--secret", &public, "--sub", "ann"], "contains PEM, which is no secret"),
        (&["--secret", &set, "--sub", "ann"], "a JWKS is for --jwt-jwks"),
        (&["--key", &key, "--sub", "ann", "--scope", "admin"], "expected support or platform"),
        (&["--key", &key, "--sub", "ann", "--scope", "Support"], "expected support or platform"),
        (&["--key", &key, "--sub", "ann", "--scope", ""], "expected support or platform"),
        (&["--key", &key, "--sub", "ann", "--scope", "support platform"], "a token has one scope: support or platform"),
        (&["--key", &key, "--sub", "ann smith"], "--sub must be 1 to 128 characters"),
        (&["--key", "/nowhere", "--sub", "ann"], "cannot be read: No such file or directory"),
        (&["--key", &key, "--sub", "ann", "--expires-in", "soon"], "--expires-in"),
    ] {
        let (is_well, out, err) = mint(arguments);
        assert!(!is_well && out.is_empty() && err.contains(why), "{why}: {err}");
    }
}
