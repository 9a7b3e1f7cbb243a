//! What the trial needs beside this repository.

use std::path::{Path, PathBuf};

use crate::support::postgres::programs_for;

/// Where the programs are.
pub struct Programs {
    pub patroni: PathBuf,
    pub etcd: PathBuf,
    pub haproxy: PathBuf,
    /// The folder of those of PostgreSQL.
    pub postgres: PathBuf,
}

impl Programs {
    /// Fails if one is missing, and says how to get it: whoever asks for this trial wants it.
    pub fn find() -> Self {
        for needed in ["setsid", "pkill"] {
            find(needed);
        }
        let of_postgres = ["initdb", "pg_ctl", "pg_basebackup", "pg_rewind", "pg_controldata"];
        let postgres = programs_for("the trial of high availability", &of_postgres);
        Self {
            patroni: find("patroni"),
            etcd: find("etcd"),
            haproxy: find("haproxy"),
            postgres: postgres.expect("the trial of high availability needs PostgreSQL: apt install postgresql"),
        }
    }
}

/// A program on the PATH, or where Debian has those of daemons.
fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(|folder| Path::new(folder).to_owned()));
    let found = folders.map(|folder| folder.join(program)).find(|program| program.exists());
    found.unwrap_or_else(|| {
        panic!(
            "the trial of high availability needs {program}, which is not here. On Debian: \
             apt install patroni etcd-server haproxy postgresql procps"
        )
    })
}
