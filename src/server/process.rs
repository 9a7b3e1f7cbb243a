//! What the process asks of the machine before it begins: file descriptors, and memory in small pages.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Config;

/// Descriptors for what is neither a connection of a client nor one to PostgreSQL: files of SQLite, the log, the runtime.
const OTHER_DESCRIPTORS: u64 = 64;

/// To be called before the first thread starts.
///
/// The limit of file descriptors is raised to the highest that the process may have. Huge pages are turned off: the
/// allocator asks for them, and then each buffer that is reserved and hardly filled takes 2 MiB.
pub fn prepare_process() {
    let _ = prctl::set_thp_disable(true);
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Warns of bounds that the machine does not let the process reach.
pub(super) fn warn_of_few_descriptors(config: &Config) {
    let Ok((descriptors, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    // Each stream may come on a connection of its own.
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
