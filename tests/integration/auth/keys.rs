//! The keys of tokens: replaced under a running service, and files that hold none.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use dispute_service::clock::{pause, real_now};
use dispute_service::proto::v1;

use super::{Guarded, jwks, refused, unauthenticated, write};
use crate::support::binary::run;
use crate::support::callers::facts;
use crate::support::issuer::Issuer;

/// The file is read every two seconds; the rest is for a busy machine.
const RELOADED_WITHIN: Duration = Duration::from_secs(8);

/// Calls with this token until it is accepted, or no longer.
async fn until(guarded: &Guarded, token: &str, is_accepted: bool) {
    let started = real_now();
    while guarded.call(token).await.is_ok() != is_accepted {
        assert!(started.elapsed() < RELOADED_WITHIN, "the keys were not read again");
        pause(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_without_one_failed_call_and_streams_of_a_withdrawn_key_end() {
    let (old, new) = (Issuer::ed25519(), Issuer::p256());
    let flags = ["--max-failed-logins-per-second", "0"];
    let guarded = Guarded::new("--jwt-jwks", &jwks(&[old.jwk("old")]), &flags).await;
    let (by_old, by_new) = (old.named("old", &guarded.claims("ann")), new.named("new", &guarded.claims("ann")));
    let mut watch = guarded.party(&by_old).watch(v1::WatchDisputesRequest::default()).await;
    let caller = tokio::spawn({
        let (party, token) = (guarded.party(&by_old), by_old.clone());
        async move {
            let mut calls = 0;
            loop {
                if let Err(status) = super::read(party.clone()).await {
                    return (calls, facts(&status), token);
                }
                calls += 1;
            }
        }
    });

    // A file with a key that is malformed changes nothing: the new one does not count, nor is the old one withdrawn.
    let mut cut = new.jwk("new");
    cut["x"] = "AA".into();
    write(&guarded.file, &jwks(&[cut]));
    pause(Duration::from_millis(2_500)).await;
    guarded.call(&by_old).await.unwrap();
    // The new key is beside the old one first, then alone.
    let token = new.named("new", &guarded.claims("ann"));
    assert_eq!(refused(guarded.call(&by_new).await, &token), unauthenticated("CREDENTIAL_INVALID"));
    write(&guarded.file, &jwks(&[old.jwk("old"), new.jwk("new")]));
    until(&guarded, &by_new, true).await;
    assert!(!caller.is_finished(), "the old key still counts");
    let mut by_new_watch = guarded.party(&by_new).watch(v1::WatchDisputesRequest::default()).await;
    write(&guarded.file, &jwks(&[new.jwk("new")]));
    until(&guarded, &by_old, false).await;
    let (calls, facts_of_call, _) = caller.await.unwrap();
    assert!(calls > 10, "{calls}");
    assert_eq!(facts_of_call, unauthenticated("CREDENTIAL_INVALID"), "also of a token that was remembered");

    let last = watch.message().await.unwrap();
    assert!(last.events.is_empty() && last.checkpoint.is_some());
    let (_, status) = watch.rest().await;
    assert_eq!(facts(&status), unauthenticated("CREDENTIAL_INVALID"));
    guarded.party(&by_new).watch_from(&last.resume_token).await;
    by_new_watch.beat(&guarded.service.clock, Duration::from_secs(30)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_broken_or_gone_changes_nothing_and_links_are_followed() {
    let (old, new) = (Issuer::rsa(), Issuer::ed25519());
    let guarded = Guarded::by(&old).await;
    let (by_old, by_new) = (old.token(&guarded.claims("ann")), new.token(&guarded.claims("ann")));
    // As Kubernetes mounts it: a link to a file in a folder that is itself a link.
    let folder = guarded.file.parent().unwrap();
    let mount = |name: &str, content: &str| {
        fs::create_dir(folder.join(name)).unwrap();
        write(&folder.join(name).join("key.pem"), content);
        symlink(name, folder.join("next")).unwrap();
        fs::rename(folder.join("next"), folder.join("..data")).unwrap();
    };
    let mut watch = guarded.party(&by_old).watch(v1::WatchDisputesRequest::default()).await;
    mount("first", &old.public_pem());
    fs::remove_file(&guarded.file).unwrap();
    pause(Duration::from_millis(2_500)).await;
    guarded.call(&by_old).await.unwrap();
    symlink("..data/key.pem", &guarded.file).unwrap();
    mount("broken", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    pause(Duration::from_millis(2_500)).await;
    guarded.call(&by_old).await.unwrap();
    watch.beat(&guarded.service.clock, Duration::from_secs(30)).await;
    mount("second", &new.public_pem());
    until(&guarded, &by_new, true).await;
    assert_eq!(refused(guarded.call(&by_old).await, &by_old), unauthenticated("CREDENTIAL_INVALID"));
}

/// What the program says when it is to serve with this flag and these bytes in its file.
fn said(flag: &str, bytes: &[u8], mode: u32) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, bytes).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    said_of(flag, &file)
}

fn said_of(flag: &str, file: &Path) -> String {
    let nowhere = format!("sqlite://{}?mode=rwc", file.with_extension("db").display());
    let file = file.to_str().unwrap();
    let arguments = ["--auth", "jwt", "--jwt-issuer", "i", "--jwt-audience", "a", flag, file];
    let (is_well, said) = run(
        env!("CARGO_BIN_EXE_dispute-service"),
        &[&["--listen", "127.0.0.1:0", "--database-url", &nowhere][..], &arguments].concat(),
    );
    assert!(!is_well && said.contains(&format!("the file {file} of {flag} (DISPUTES_")), "{said}");
    said
}

#[test]
fn a_file_without_a_key_that_can_be_trusted_is_refused_at_start_in_words() {
    let secret = b"0123456789abcdef0123456789abcdef";
    let rsa = Issuer::rsa();
    let broken = serde_json::json!({"kty": "RSA", "kid": "other", "e": "AQAB"});
    for (flag, bytes, mode, why) in [
        ("--jwt-secret", &secret[..31], 0o600, "contains a secret of 31 bytes; at least 32 are needed"),
        ("--jwt-secret", &[&secret[..31], b"\n"].concat()[..], 0o600, "31 bytes"),
        ("--jwt-secret", &secret[..], 0o644, "is readable by everybody on this machine"),
        ("--jwt-secret", &secret[..], 0o604, "is readable by everybody on this machine"),
        ("--jwt-secret", rsa.public_pem().as_bytes(), 0o600, "a public key is for --jwt-public-key"),
        ("--jwt-secret", jwks(&[rsa.jwk("k")]).as_bytes(), 0o600, "a JWKS is for --jwt-jwks"),
        ("--jwt-public-key", b"", 0o600, "contains no public key in PEM"),
        ("--jwt-public-key", rsa.private_pem().as_bytes(), 0o600, "contains no public key in PEM"),
        (
            "--jwt-public-key",
            format!("{}{}", rsa.public_pem(), Issuer::p256().public_pem()).as_bytes(),
            0o600,
            "contains more than one key",
        ),
        ("--jwt-jwks", b"{}", 0o600, "is not a JWKS"),
        ("--jwt-jwks", b"{\"keys\": []}", 0o600, "contains no usable key"),
        (
            "--jwt-jwks",
            jwks(&[rsa.jwk("k"), rsa.jwk("k")]).as_bytes(),
            0o600,
            "key 2 repeats the kid of an earlier key",
        ),
        (
            "--jwt-jwks",
            jwks(&[rsa.jwk("k"), broken]).as_bytes(),
            0o600,
            "key 2 lacks a part, or a part is not base64url",
        ),
    ] {
        let said = said(flag, bytes, mode);
        assert!(said.contains(why), "{said}");
        assert!(!said.contains("0123456789abcdef"), "{said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let said = said_of("--jwt-jwks", &folder.path().join("none"));
    assert!(said.ends_with("cannot be read: No such file or directory"), "{said}");
}
