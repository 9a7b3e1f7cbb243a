//! systemd hears from a service that it has started: when it is ready, that it is alive, whether it works, and when it
//! stops.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::binary::{Binary, program};
use crate::support::{database, postgres};

/// The socket that systemd would listen on.
struct Systemd {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Systemd {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { folder, socket }
    }

    /// Starts the service on SQLite as systemd would, with what its watchdog is told.
    fn start(&self, watchdog: &[(&str, &str)]) -> Binary {
        let database = format!("sqlite://{}?mode=rwc", self.folder.path().join("disputes.db").display());
        self.start_on(&database, watchdog)
    }

    fn start_on(&self, database: &str, watchdog: &[(&str, &str)]) -> Binary {
        let socket = self.folder.path().join("notify");
        let arguments = ["--listen", "127.0.0.1:0", "--database-url", database].map(str::to_owned);
        let notify = [("RUST_LOG", "info"), ("NOTIFY_SOCKET", socket.to_str().unwrap())];
        Binary::launch_with(&program(), &arguments, &[&notify, watchdog].concat()).unwrap()
    }

    /// The next message.
    fn hears(&self) -> String {
        let mut message = [0; 512];
        let length = self.socket.recv(&mut message).expect("systemd hears something");
        String::from_utf8(message[..length].to_vec()).unwrap()
    }
}

#[test]
fn a_service_is_ready_once_it_listens_then_alive_and_says_that_it_stops() {
    let systemd = Systemd::new();
    let service = systemd.start(&[("WATCHDOG_USEC", "300000")]);
    assert_eq!(systemd.hears(), "READY=1\nSTATUS=serving\n");
    for _ in 0..3 {
        assert_eq!(systemd.hears(), "WATCHDOG=1\n");
    }
    service.signal("TERM");
    let last = std::iter::repeat_with(|| systemd.hears()).find(|message| message != "WATCHDOG=1\n");
    assert_eq!(last.as_deref(), Some("STOPPING=1\nSTATUS=draining\n"));
    let (is_well, log) = service.terminate();
    assert!(is_well, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_whose_database_comes_and_goes_is_alive() {
    let Some(url) = postgres::new_database().await else { return };
    let systemd = Systemd::new();
    // It tells that it is alive every three seconds, and its health changes more often than that.
    let service = systemd.start_on(&url, &[("WATCHDOG_USEC", "9000000")]);
    assert_eq!(systemd.hears(), "READY=1\nSTATUS=serving\n");
    let mut pings = 0;
    for change in 0..40 {
        if pings >= 2 {
            break;
        }
        let status = ["STATUS=not serving; its log says why\n", "STATUS=serving\n"][change % 2];
        database::set_read_only(&url, change % 2 == 0).await;
        let before = std::iter::repeat_with(|| systemd.hears()).take_while(|message| message != status);
        pings += before.inspect(|message| assert_eq!(message, "WATCHDOG=1\n")).count();
    }
    assert!(pings >= 2, "what changes puts off that it is alive");
    service.kill();
}

#[test]
fn without_a_watchdog_or_with_that_of_another_process_a_service_says_only_what_changes() {
    for watchdog in [&[][..], &[("WATCHDOG_USEC", "3000"), ("WATCHDOG_PID", "1")]] {
        let systemd = Systemd::new();
        let service = systemd.start(watchdog);
        assert_eq!(systemd.hears(), "READY=1\nSTATUS=serving\n");
        let (is_well, log) = service.terminate();
        assert!(is_well, "{log}");
        assert_eq!(systemd.hears(), "STOPPING=1\nSTATUS=draining\n");
    }
}

#[test]
fn a_socket_that_nobody_listens_on_does_not_keep_a_service_from_its_work() {
    let systemd = Systemd::new();
    std::fs::remove_file(systemd.folder.path().join("notify")).unwrap();
    let (is_well, log) = systemd.start(&[]).terminate();
    assert!(is_well && log.contains("systemd could not be notified"), "{log}");
}

/// With what status a program ends that cannot start with these flags. One that starts all the same is ended.
fn status_with(flags: &[&str]) -> Option<i32> {
    let listen = ["20", &program(), "--listen", "127.0.0.1:0"].map(str::to_owned);
    Command::new("timeout").args(listen).args(flags).stderr(Stdio::null()).status().unwrap().code()
}

#[test]
fn what_no_retry_can_mend_ends_with_2_and_anything_else_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, "response_window = \"-1h\"").unwrap();
    let policy = policy.to_str().unwrap();
    let database = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let on_it = ["--database-url", &database];
    for (name, flags, status) in [
        ("a flag that does not exist", &["--no-such-flag"][..], 2),
        ("flags that contradict each other", &["--auth", "jwt"], 2),
        ("a URL of something else", &["--database-url", "mysql://localhost/disputes"], 2),
        ("a URL of a standby", &["--database-url", "postgres://a,b/disputes?target_session_attrs=standby"], 2),
        ("a policy that is not valid", &["--policy", policy], 2),
        ("a policy that is not there yet", &["--policy", "/nowhere.toml"], 1),
        ("a URL that is not there yet", &["--database-url-file", "/nowhere"], 1),
        ("a database that is not there", &["--database-url", "sqlite:///nowhere/disputes.db?mode=rw"], 1),
        ("a certificate that is not there yet", &["--tls-cert", "/nowhere.pem", "--tls-key", "/nowhere.key"], 1),
        ("an address that this machine does not have yet", &["--metrics-listen", "192.0.2.1:1"], 1),
    ] {
        let database = if flags[0].starts_with("--database") { &[][..] } else { &on_it };
        assert_eq!(status_with(&[flags, database].concat()), Some(status), "{name}");
    }
}
