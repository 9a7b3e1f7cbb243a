//! Prepares the process before it starts: file descriptors, and small memory pages.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Config;

/// Descriptors for everything except client and PostgreSQL connections: SQLite files, the log, the runtime.
const OTHER_DESCRIPTORS: u64 = 64;

/// To be called before the first thread starts.
///
/// Raises the limit of file descriptors to the process's maximum. Turns off huge pages: the allocator requests them,
/// and then each buffer that is reserved but hardly filled takes 2 MiB.
pub fn prepare_process() {
    let _ = prctl::set_thp_disable(true);
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Warns of flags that exceed what the machine allows the process.
pub(super) fn warn_of_few_descriptors(config: &Config) {
    let Ok((descriptors, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    // Each stream may use its own connection.
    let connections = match config.connections.max_connections {
        0 => config.max_streams.get(),
        most => most,
    };
    let connections = u64::try_from(connections).unwrap_or(u64::MAX);
    let others = u64::from(config.database_connections).saturating_add(OTHER_DESCRIPTORS);
    if connections.saturating_add(others) > descriptors {
        tracing::warn!(
            descriptors,
            connections,
            others,
            "the limit of file descriptors (ulimit -n) is too low for --max-connections and --max-streams, plus \
             connections to the database and files: when it is reached, new clients have to wait"
        );
    }
}
