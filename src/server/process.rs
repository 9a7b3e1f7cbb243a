//! The process: prepares it before it starts (file descriptors, small memory pages), runs its threads, and receives its
//! signals.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::fs::Mode;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::error::ServeError;
use super::tls::install_crypto;
use crate::config::{AuthMode, Config};

/// Descriptors for everything except client and PostgreSQL connections: SQLite files, the log, the runtime.
const OTHER_DESCRIPTORS: u64 = 64;

/// How often a runtime thread checks tasks woken from outside the runtime: every other time. Calls that wait for SQLite
/// are woken so, several times each, and must not wait behind everything that strangers send, nor the other way round.
const TURNS_OF_OWN: u32 = 2;

/// How many turns a thread takes before it checks the network and timers.
const TURNS_BEFORE_EVENTS: u32 = 16;

/// To be called before the first thread starts.
///
/// Sets the cryptography provider. Makes files that this process creates accessible to their owner only, whoever started
/// it. Raises the limit of file descriptors to the process's maximum. Turns off huge pages: the allocator requests them,
/// and then each buffer that is reserved but hardly filled takes 2 MiB.
pub fn prepare_process() {
    install_crypto();
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let _ = prctl::set_thp_disable(true);
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// Runs the work of this process on a runtime with several threads.
pub fn run_to_end(work: impl Future<Output = Result<(), ServeError>>) -> Result<(), ServeError> {
    let mut threads = runtime::Builder::new_multi_thread();
    threads.enable_all().global_queue_interval(TURNS_OF_OWN).event_interval(TURNS_BEFORE_EVENTS);
    let runtime = threads.build()?;
    let result = runtime.block_on(async {
        note_hangups()?;
        work.await
    });
    // Does not wait for DNS lookups of an unavailable database.
    runtime.shutdown_background();
    result
}

/// Catches SIGTERM and SIGINT from here on; the future completes when one arrives.
pub fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Ignores SIGHUP: neither a closed terminal nor a request to reload ends the program.
fn note_hangups() -> std::io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            tracing::info!("SIGHUP is noted and changes nothing");
        }
    });
    Ok(())
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

/// Warns if tokens cross a network that others may read.
pub(super) fn warn_of_plain_tokens(config: &Config) {
    let listen = config.listen;
    if config.auth.auth == Some(AuthMode::Jwt) && !listen.ip().is_loopback() && config.tls.tls_cert.is_none() {
        tracing::warn!(
            %listen,
            "tokens cross the network in the clear, unless a proxy in front of this service ends TLS: give --tls-cert and \
             --tls-key"
        );
    }
}
