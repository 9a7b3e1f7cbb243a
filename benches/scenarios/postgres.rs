//! A throwaway PostgreSQL that keeps its promises: every commit is on disk.

use super::launcher::{Cluster, Options};

/// Checkpoints are rare, so that they do not fall into the turn of one side; everything else that matters is as it comes.
const SETTINGS: [&str; 6] = [
    "fsync=on",
    "synchronous_commit=on",
    "max_connections=100",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "log_lock_waits=on",
];

/// One with two databases, `one` and `two`; `None` if there is no PostgreSQL here.
pub(crate) fn start() -> Option<Cluster> {
    let sql = "CREATE DATABASE one;\nCREATE DATABASE two;";
    Cluster::start(&Options { sql, settings: &SETTINGS, ..Options::default() })
}
