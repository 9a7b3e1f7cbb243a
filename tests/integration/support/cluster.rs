//! Processes that a test stops, kills, freezes and starts again: replicas of the service.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

use super::binary::Binary;

/// A port that nobody else takes while its process is away: outside of those that the system hands out by itself, and none
/// that was given before.
pub fn fixed_port(rng: &mut Rng) -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = rng.u16(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// A process of the service that comes back at the same address.
pub struct Replica {
    pub address: String,
    program: String,
    arguments: Vec<String>,
    process: Option<Binary>,
    /// What its processes logged, but the one that runs.
    log: String,
}

impl Replica {
    /// One that is not started yet, and that hears of others' commits by NOTIFY or looks for them.
    pub fn new(address: String, database_url: &str, policy: &str, notify: bool) -> Self {
        let notify = if notify { "true" } else { "false" };
        let flags =
            [("--listen", &*address), ("--database-url", database_url), ("--policy", policy), ("--notify", notify)];
        let arguments = flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect();
        let program = env!("CARGO_BIN_EXE_dispute-service").to_owned();
        Self { address, program, arguments, process: None, log: String::new() }
    }

    /// The same of another build, such as a release.
    pub fn of(self, program: String) -> Self {
        Self { program, ..self }
    }

    /// Starts it, over and over while it cannot start: without its database it ends at once.
    pub fn start(&mut self) {
        for _ in 0..200 {
            match Binary::launch(&self.program, &self.arguments, "warn") {
                Ok(process) => {
                    self.process = Some(process);
                    return;
                }
                Err(log) => self.log.push_str(&log),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{} does not start:\n{}", self.address, self.log);
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) {
        let log = self.process.take().map(Binary::kill);
        self.log.push_str(&log.unwrap_or_default());
    }

    /// Asks it to drain, and waits for it. Answers whether it exited with 0.
    pub fn terminate(&mut self) -> bool {
        let (is_well, log) = self.process.take().map(Binary::terminate).unwrap_or_default();
        self.log.push_str(&log);
        is_well
    }

    /// Stands still until it is thawed.
    pub fn freeze(&self) {
        self.process.iter().for_each(|process| process.signal("STOP"));
    }

    pub fn thaw(&self) {
        self.process.iter().for_each(|process| process.signal("CONT"));
    }

    /// What its processes logged.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// What of it no fault excuses.
    pub fn complaints(&self) -> impl Iterator<Item = String> {
        let of_note = self.log.lines().filter(|line| line.contains(" ERROR ") || line.contains("panicked"));
        of_note.map(|line| format!("a replica logged: {line}"))
    }
}

/// Runs what blocks, on something that nobody else uses meanwhile.
pub async fn blocking<T: Send + 'static, R: Send + 'static>(
    held: tokio::sync::OwnedMutexGuard<T>,
    act: impl FnOnce(&mut T) -> R + Send + 'static,
) -> (tokio::sync::OwnedMutexGuard<T>, R) {
    let mut held = held;
    tokio::task::spawn_blocking(move || {
        let result = act(&mut held);
        (held, result)
    })
    .await
    .unwrap()
}

/// Something that faults happen to, one after the other.
pub type Shared<T> = Arc<tokio::sync::Mutex<T>>;
