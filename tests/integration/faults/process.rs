//! The process and its surroundings: a log that nobody reads, signals, the environment, an address that is taken.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use clap::CommandFactory as _;
use dispute_service::clock::pause;
use dispute_service::config::CommandLine;
use dispute_service::proto::v1;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::support::binary::Binary;
use crate::support::callers::Party;
use crate::support::messages::*;

const PROGRAM: &str = env!("CARGO_BIN_EXE_dispute-service");

/// A free port; another process may take it meanwhile, which is unlikely.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program that nobody reads a word of, on a port known before.
struct Unread {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Unread {
    fn start(stderr: Stdio, rust_log: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
        let child = Command::new(PROGRAM)
            .args(["--listen", &address, "--database-url", &url])
            .env("RUST_LOG", rust_log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Self { child, address, _folder: folder }
    }

    /// A connection, once it listens.
    async fn connect(&mut self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        for _ in 0..1_000 {
            if let Ok(channel) = endpoint.connect().await {
                return channel;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended: {status}");
            }
            pause(Duration::from_millis(20)).await;
        }
        panic!("it does not listen");
    }

    /// Works for a while, then ends as it should.
    async fn works_and_ends(mut self) {
        let channel = self.connect().await;
        works(&channel).await;
        drop(channel);
        signal(&self.child, "TERM");
        let status = ended(&mut self.child).await;
        assert!(status.success(), "{status}");
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap().success());
}

/// Waits for the end, far longer than it is promised to take.
async fn ended(child: &mut Child) -> ExitStatus {
    for _ in 0..1_000 {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        pause(Duration::from_millis(20)).await;
    }
    panic!("it does not end");
}

/// Commands, reads, health and a stream, each within a time that a blocked server would not keep.
async fn works(channel: &Channel) {
    let work = async {
        let mut platform = Party::new(channel.clone(), "shop", Some("platform"));
        let mut ann = Party::new(channel.clone(), "ann", None);
        let mut watch = ann.watch(v1::WatchDisputesRequest::default()).await;
        for number in 0..300 {
            let id = format!("o{number}");
            platform.upsert(order(&id)).await;
            let opened = ann.ask(update(&id)).await.unwrap();
            assert_eq!(ann.dispute(&opened.dispute_id).await.order_id, id);
        }
        assert_eq!(watch.take(300).await.len(), 300);
        let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
        let answer = health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
        assert_eq!(answer.into_inner().status, 1);
    };
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it goes on");
}

/// So much is logged that every pipe is soon full.
const LOUD: &str = "debug";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_on_a_full_disk_harms_nobody() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    Unread::start(full.into(), LOUD).works_and_ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_reader_has_gone_harms_nobody() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    Unread::start(writer.into(), LOUD).works_and_ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_reader_goes_amid_harms_nobody() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut program = Unread::start(writer.into(), LOUD);
    let channel = program.connect().await;
    let mut lines = BufReader::new(reader).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line == format!("listening on {}", program.address)));
    drop(lines);
    works(&channel).await;
    drop(channel);
    signal(&program.child, "TERM");
    assert!(ended(&mut program.child).await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_harms_nobody() {
    let (reader, writer) = std::io::pipe().unwrap();
    // Full from the beginning: not even the first line finds room.
    let filler = writer.try_clone().unwrap();
    std::thread::spawn(move || drop(std::io::Write::write_all(&mut &filler, &vec![b'x'; 1024 * 1024])));
    Unread::start(writer.into(), LOUD).works_and_ends().await;
    drop(reader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_without_stderr_works_and_ends() {
    // A shell closes it: the program begins without one.
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let child = Command::new("sh")
        .args(["-c", "exec \"$0\" --listen \"$1\" --database-url \"$2\" 2>&-", PROGRAM, &address, &url])
        .env("RUST_LOG", LOUD)
        .spawn()
        .unwrap();
    Unread { child, address, _folder: folder }.works_and_ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_lines_are_counted_and_told_once_there_is_room_again() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut program = Unread::start(writer.into(), "trace,h2=trace");
    let channel = program.connect().await;
    // Far more than there is room for.
    let mut ann = Party::new(channel.clone(), "ann", None);
    for _ in 0..1_000 {
        ann.disputes.list_reasons(v1::ListReasonsRequest::default()).await.unwrap();
    }
    let log = tokio::task::spawn_blocking(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).unwrap();
        log
    });
    works(&channel).await;
    drop(channel);
    signal(&program.child, "TERM");
    assert!(ended(&mut program.child).await.success());
    let log = log.await.unwrap();
    let told: Vec<_> = log.lines().filter(|line| line.contains("log lines were lost")).collect();
    assert!(!told.is_empty());
    assert!(told.iter().all(|line| line.contains("WARN") && line.contains("lines=")), "{told:?}");
    assert!(log.lines().any(|line| line.starts_with("listening on ")));
    assert!(log.lines().last().unwrap().contains("stopped"));
}

/// What a program that ends by itself says, and with which code it ends.
fn run(flags: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let environment = environment.iter().copied();
    let output = Command::new(PROGRAM).args(flags).envs(environment).stdin(Stdio::null()).output().unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn an_error_is_told_also_where_nobody_reads_it() {
    for flags in [&["--nonsense"][..], &["--listen", "127.0.0.1:0", "--policy", "/nonexistent"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let code = Command::new(PROGRAM).args(flags).stderr(full).status().unwrap().code();
        assert_eq!(code, run(flags, &[]).0, "{flags:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(Command::new(PROGRAM).args(flags).stderr(writer).status().unwrap().code(), code, "{flags:?}");
    }
    assert_eq!(run(&["--nonsense"], &[]).0, Some(2));
    assert!(run(&["--nonsense"], &[]).1.starts_with("error: unexpected argument '--nonsense'"));
    let help = Command::new(PROGRAM).arg("--help").output().unwrap();
    assert!(help.status.success() && help.stderr.is_empty());
    assert!(String::from_utf8(help.stdout).unwrap().contains("DISPUTES_LISTEN"));
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let flags = ["--listen", "127.0.0.1:0", "--database-url", &url].map(str::to_owned);
    let command = CommandLine::command();
    let twins: Vec<_> = command.get_arguments().filter_map(|flag| flag.get_env()).collect();
    assert!(twins.len() >= 12, "{twins:?}");
    let empty = twins.iter().map(|name| (name.to_str().unwrap(), "")).chain([("RUST_LOG", "")]);
    let server = Binary::launch_with(PROGRAM, &flags, &empty.collect::<Vec<_>>()).unwrap();
    let (is_success, log) = server.terminate();
    // RUST_LOG too: what is logged without it is logged.
    assert!(is_success && log.contains("stopped"), "{log}");
}

#[test]
fn an_error_about_the_environment_names_the_flag_and_the_variable() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let require_named = |flag: &str, variable: &str, value: &str, expected| {
        let elsewhere = if flag == "--listen" { &[][..] } else { &["--listen", "127.0.0.1:0"] };
        let (code, text) = run(elsewhere, &[(variable, value)]);
        assert_eq!(code, Some(expected), "{text}");
        assert!(text.contains(flag) && text.contains(variable) && !text.contains("a-secret"), "{text}");
    };
    for (flag, variable, value) in [
        ("--listen", "DISPUTES_LISTEN", "nonsense"),
        ("--auth", "DISPUTES_AUTH", "nonsense"),
        ("--notify", "DISPUTES_NOTIFY", "perhaps"),
        ("--max-streams", "DISPUTES_MAX_STREAMS", "0"),
        ("--max-header-bytes", "DISPUTES_MAX_HEADER_BYTES", "70000"),
        ("--keepalive", "DISPUTES_KEEPALIVE", "0s"),
        ("--preface-timeout", "DISPUTES_PREFACE_TIMEOUT", "soon"),
        ("--log-format", "DISPUTES_LOG_FORMAT", "xml"),
    ] {
        require_named(flag, variable, value, 2);
        // The flag goes first, so the variable is not to blame.
        let (code, text) = run(&[flag, value], &[]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(flag) && !text.contains(variable), "{text}");
    }
    // What shows only later.
    for (flag, variable, value, expected) in [
        ("--listen", "DISPUTES_LISTEN", taken.as_str(), 1),
        ("--listen", "DISPUTES_LISTEN", "0.0.0.0:0", 2),
        ("--policy", "DISPUTES_POLICY", "/nonexistent", 1),
        ("--otlp-endpoint", "DISPUTES_OTLP_ENDPOINT", "http://me:a-secret@collector:4317", 2),
    ] {
        require_named(flag, variable, value, expected);
    }
}

#[test]
fn an_address_that_cannot_be_had_is_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, text) = run(&["--listen", &address], &[]);
    assert_eq!(code, Some(1));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(&address) && text.contains("the port is in use"), "{text}");
    // An address for documentation, which no machine has. With authentication it would be one to serve on.
    let (code, text) = run(&["--listen", "[100::1]:0"], &[]);
    assert_eq!((code, text.lines().count()), (Some(1), 1), "{text}");
    assert!(text.contains("[100::1]:0"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_is_noted_and_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let server = Binary::start(PROGRAM, &url, "info");
    let channel = Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
    let mut watch = Party::new(channel.clone(), "ann", None).watch(v1::WatchDisputesRequest::default()).await;
    for _ in 0..3 {
        server.signal("HUP");
    }
    for _ in 0..500 {
        if server.log().contains("SIGHUP") {
            break;
        }
        pause(Duration::from_millis(10)).await;
    }
    works(&channel).await;
    assert_eq!(watch.take(300).await.len(), 300, "its stream goes on");
    // While it drains: somebody who does not read holds it up.
    let narrow = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let narrow = narrow.initial_stream_window_size(1_024).connect().await.unwrap();
    let parked = Party::new(narrow, "shop", Some("platform")).watch(from_beginning()).await;
    server.signal("TERM");
    assert_eq!(crate::support::callers::facts(&watch.rest().await.1).reason, "SERVER_DRAINING");
    server.signal("HUP");
    drop(parked);
    let (is_success, log) = server.terminate();
    assert!(is_success && log.contains("stopped"), "{log}");
    assert!(log.matches("SIGHUP").count() >= 2, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_while_it_starts_is_noted_and_nothing_more() {
    // A database that accepts connections and never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://nobody@{}/nothing", silent.local_addr().unwrap());
    let mut child = Command::new(PROGRAM)
        .args(["--listen", "127.0.0.1:0", "--database-url", &url])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _connection = silent.accept().await.unwrap();
    signal(&child, "HUP");
    signal(&child, "HUP");
    let mut line = String::new();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    while !line.contains("SIGHUP") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
    }
    assert!(child.try_wait().unwrap().is_none());
    signal(&child, "TERM");
    assert!(ended(&mut child).await.success());
}
