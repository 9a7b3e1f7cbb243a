//! A running service, and what the system says of its process.

use std::path::{Path, PathBuf};

use super::binary::Binary;
use super::cpu::Usage;

/// The program that was built with the scenarios.
const BUILT: &str = env!("CARGO_BIN_EXE_dispute-service");

pub(crate) struct Server {
    binary: Binary,
}

impl Server {
    pub(crate) fn start(database_url: &str) -> Self {
        Self { binary: Binary::start(&program().to_string_lossy(), database_url, "info") }
    }

    /// With more flags.
    pub(crate) fn with_flags(database_url: &str, flags: &[&str]) -> Self {
        let common = ["--listen", "127.0.0.1:0", "--database-url", database_url];
        let arguments: Vec<String> = common.iter().chain(flags).map(|flag| (*flag).to_owned()).collect();
        let binary = Binary::launch(&program().to_string_lossy(), &arguments, "info");
        Self { binary: binary.unwrap_or_else(|log| panic!("the program ended without listening:\n{log}")) }
    }

    /// Without a line of the log that is not a warning.
    pub(crate) fn that_is_silent(database_url: &str) -> Self {
        Self { binary: Binary::start(&program().to_string_lossy(), database_url, "warn") }
    }

    /// Where the metrics are, as its log says.
    pub(crate) fn metrics(&self) -> String {
        let log = self.binary.log();
        let line = log.lines().find(|line| line.contains("metrics are served")).expect("it says where they are");
        let (_, address) = line.rsplit_once("address=").expect("there is the address");
        address.to_owned()
    }

    /// On a SQLite file of this name.
    pub(crate) fn on_sqlite(folder: &Path, name: &str) -> Self {
        Self::on_file(&folder.join(name))
    }

    /// On this SQLite file.
    pub(crate) fn on_file(file: &Path) -> Self {
        Self::start(&sqlite_url(file))
    }

    pub(crate) fn address(&self) -> &str {
        &self.binary.address
    }

    /// Sends it a signal, `STOP` or `CONT` for instance.
    pub(crate) fn signal(&self, signal: &str) {
        self.binary.signal(signal);
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the process has memory");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        kib * 1024.0
    }

    /// Processor time so far.
    pub(crate) fn usage(&self) -> Usage {
        Usage::of(self.id())
    }

    /// How many files and sockets are open.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("the process runs").count()
    }

    /// Drains, and answers what was logged.
    pub(crate) fn stop(self) -> String {
        let (ended, log) = self.binary.terminate();
        assert!(ended, "{log}");
        log
    }

    fn id(&self) -> u32 {
        self.binary.child.id()
    }
}

/// The program's file: of this build, or of another one that is compared with it.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("SCENARIO_SERVER").map_or_else(|| BUILT.into(), PathBuf::from)
}

pub(crate) fn sqlite_url(file: &Path) -> String {
    format!("sqlite://{}?mode=rwc", file.display())
}

/// How many commands were in a transaction, by the last line of a service's log. Each batch of orders that it took in had a
/// transaction of its own.
pub(crate) fn commands_per_commit(log: &str, commands: usize) -> f64 {
    let imports = counted(log, "submissions=") - commands as f64;
    commands as f64 / (counted(log, "batches=") - imports)
}

/// The number after `key` in the last line of the log that has it.
fn counted(log: &str, key: &str) -> f64 {
    let number = log.lines().rev().find_map(|line| line.split(key).nth(1)).expect("the program counts");
    let digits = number.split(|character: char| !character.is_ascii_digit()).next().expect("there is a first part");
    digits.parse().expect("a number")
}
