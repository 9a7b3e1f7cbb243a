//! systemd hears from a service that it has started: when it is ready, that it is alive, whether it works, and when it
//! stops.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::binary::{Binary, program};

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

    /// Starts the service as systemd would, with what its watchdog is told.
    fn start(&self, watchdog: &[(&str, &str)]) -> Binary {
        let socket = self.folder.path().join("notify");
        let database = format!("sqlite://{}?mode=rwc", self.folder.path().join("disputes.db").display());
        let arguments = ["--listen", "127.0.0.1:0", "--database-url", &database].map(str::to_owned);
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

#[test]
fn a_service_whose_threads_do_not_run_is_not_alive() {
    let systemd = Systemd::new();
    let service = systemd.start(&[("WATCHDOG_USEC", "300000")]);
    assert_eq!(systemd.hears(), "READY=1\nSTATUS=serving\n");
    service.signal("STOP");
    systemd.socket.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
    let mut message = [0; 512];
    // What it had sent before may be on its way.
    while systemd.socket.recv(&mut message).is_ok() {}
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

/// With what status the program ends that is started with these flags and this file of policy.
fn status_with(flags: &[&str], policy: &str) -> Option<i32> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, policy).unwrap();
    let database = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let base = ["--listen", "127.0.0.1:0", "--database-url", &database, "--policy", file.to_str().unwrap()];
    Command::new(program()).args(base).args(flags).stderr(Stdio::null()).status().unwrap().code()
}

#[test]
fn what_no_restart_can_mend_ends_with_2_and_anything_else_with_1() {
    for (name, flags, policy, status) in [
        ("a flag that there is not", &["--no-such-flag"][..], "", 2),
        ("flags that do not go together", &["--auth", "jwt"], "", 2),
        ("a policy that cannot be", &[], "response_window = \"-1h\"", 2),
        ("an address that this machine does not have yet", &["--metrics-listen", "192.0.2.1:1"], "", 1),
        ("a certificate that is not there yet", &["--tls-cert", "/nowhere.pem", "--tls-key", "/nowhere.key"], "", 1),
    ] {
        assert_eq!(status_with(flags, policy), Some(status), "{name}");
    }
}
