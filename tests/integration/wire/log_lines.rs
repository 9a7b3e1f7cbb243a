//! The log of the real program can be read safely, whatever strangers send and files contain.

use crate::support::binary::{Binary, run};
use crate::support::h2_client::H2Client;

const PROGRAM: &str = env!("CARGO_BIN_EXE_dispute-service");

/// Turns the direction of text, ends a line, begins a command of a terminal, cannot be seen.
const HIDDEN: [char; 9] =
    ['\u{202e}', '\u{2066}', '\u{200f}', '\u{61c}', '\u{2028}', '\u{9b}', '\u{85}', '\u{feff}', '\u{e0041}'];

fn assert_safe(log: &str, format: &str) {
    for line in log.lines() {
        let hidden = line.chars().find(|character| character.is_control() || HIDDEN.contains(character));
        assert_eq!(hidden, None, "{format}: {line:?}");
        assert!(line.len() <= 16 * 1024 + 64, "{format}: a line of {} bytes", line.len());
        if format == "json" && !line.starts_with("listening on ") {
            let parsed = serde_json::from_str::<serde_json::Value>(line);
            assert!(parsed.is_ok_and(|line| line.is_object()), "{line}");
        }
    }
}

/// Paths and values as no honest client sends them.
async fn send_nonsense(address: &str) {
    let client = H2Client::connect(address).await;
    let (long, hidden) = ("a".repeat(10_000), HIDDEN.map(String::from).concat());
    let user = ("x-user-id", "eve");
    for path in [
        format!("/disputes.v1.DisputeService/{long}"),
        format!("/disputes.v1.DisputeService/{}", "a".repeat(15_000)),
        format!("/disputes.v1.DisputeService/GetDispute{hidden}"),
        format!("/{}", hidden.repeat(200)),
        "/disputes.v1.DisputeService/GetDispute%0a%0dINFO:%20all%20is%20well".to_owned(),
    ] {
        let _ = client.call(&path, &[user], &[0; 5]).send().await;
    }
    let path = "/disputes.v1.DisputeService/GetDispute";
    for (name, value) in [
        ("user-agent", hidden.as_str()),
        ("traceparent", &hidden),
        ("x-user-id", &hidden),
        ("x-scope", &long),
        ("grpc-timeout", &hidden),
        ("grpc-encoding", &long),
        ("content-type", &format!("application/grpc+{hidden}")),
    ] {
        let _ = client.call(path, &[user, (name, value)], &[0; 5]).send().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_strangers_send_the_log_can_be_read() {
    for format in ["text", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
        let flags = ["--listen", "127.0.0.1:0", "--database-url", &url, "--log-format", format].map(str::to_owned);
        let server = Binary::launch(PROGRAM, &flags, "trace,h2=trace,hyper=trace").unwrap();
        send_nonsense(&server.address).await;
        let (succeeded, log) = server.terminate();
        assert!(succeeded && log.lines().count() > 100, "{log}");
        assert_safe(&log, format);
    }
}

#[test]
fn what_a_broken_policy_says_is_shown_safely() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    let database = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    for text in
        [format!("support_url = \"\u{202e}\u{85}\u{feff}\" {}", "x".repeat(40_000)), "\u{202e}\u{9b} = 7".to_owned()]
    {
        std::fs::write(&policy, text).unwrap();
        let flags = ["--listen", "127.0.0.1:0", "--database-url", &database, "--policy"].map(str::to_owned);
        let flags = [&flags[..], &[policy.display().to_string()]].concat();
        let said = Binary::launch(PROGRAM, &flags, "warn").err().unwrap();
        assert!(said.contains("is not valid") && said.contains("\\u202e"), "{said}");
        assert_safe(&said, "text");
    }
    let (_, said) = run(PROGRAM, &["--database-url", "\u{202e}\u{9b}\u{2028}"]);
    assert_safe(&said, "text");
}
