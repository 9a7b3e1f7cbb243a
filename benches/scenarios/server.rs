//! A running service, and what the system says of its process.

use std::path::Path;

use super::binary::Binary;

/// The unit of the times in `/proc`, in seconds.
const TICK: f64 = 0.01;

pub(crate) struct Server {
    binary: Binary,
}

impl Server {
    pub(crate) fn start(database_url: &str) -> Self {
        Self { binary: Binary::start(env!("CARGO_BIN_EXE_dispute-service"), database_url, "info") }
    }

    /// On a SQLite file of this name.
    pub(crate) fn on_sqlite(folder: &Path, name: &str) -> Self {
        Self::start(&format!("sqlite://{}?mode=rwc", folder.join(name).display()))
    }

    pub(crate) fn address(&self) -> &str {
        &self.binary.address
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the process has memory");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        kib * 1024.0
    }

    /// Processor time so far, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = self.proc("stat");
        let fields = stat.rsplit(')').next().expect("the name ends");
        // utime and stime, the 14th and the 15th of all fields.
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("ticks") * TICK).sum()
    }

    /// How many files and sockets are open.
    pub(crate) fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.binary.child.id());
        std::fs::read_dir(folder).expect("the process runs").count()
    }

    /// Drains, and answers what was logged.
    pub(crate) fn stop(self) -> String {
        let (ended, log) = self.binary.terminate();
        assert!(ended, "{log}");
        log
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.binary.child.id())).expect("the process runs")
    }
}
