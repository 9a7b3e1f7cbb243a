//! Wiring and lifecycle: what is made of what, in which order it starts, and in which order it stops.

mod accept;
mod calls;
mod conduct;
mod connections;
mod frames;
mod health;
mod process;
mod registry;
mod socket;
mod turns;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;
use tower::Layer as _;

use self::connections::Bounds;
use self::process::warn_of_few_descriptors;
use self::registry::ConnectionBounds;
use crate::clock::Clock;
use crate::config::{self, AuthMode, Config, ConfigError, PolicyFileError};
use crate::domain::Policy;
use crate::engine::{Committer, Deadlines, Feed, Health, compare_with_log, prune_events, prune_requests, run_listener};
use crate::grpc::{self, Described, Quota, RateBounds, Rates, RpcBounds, RpcLayer, Shared, Translations};
use crate::repository::{
    self, BackupError, ConnectError, Notifier, Repository, SchemaError, StorageError, corrupt_rows,
};
use crate::stderr;

pub use process::prepare_process;

/// How long streams and commands in flight have to end; with what follows, the process is gone within 10 s.
const DRAIN: Duration = Duration::from_secs(6);

/// How long the committer has for what is still in its queue.
const COMMIT_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long it may take to leave the database in order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many RPCs one connection can have in flight, beside as many streams of events as one caller can have.
const RPCS_PER_CONNECTION: usize = 1_024;

/// Why the service cannot start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The flags do not go together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The policy file is not a policy.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// A language that is part of the program cannot be read.
    #[error("a translation is broken: {0}")]
    Translations(#[from] toml::de::Error),
    /// The database cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The schema is not one that this release can run on.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The database cannot be read.
    #[error("the database: {0}")]
    Storage(#[from] StorageError),
    /// The reflection service cannot read the description of the API.
    #[error("the API's description: {0}")]
    Reflection(#[from] prost::DecodeError),
    /// The address to listen on cannot be had.
    #[error("cannot listen on {address} (--listen, DISPUTES_LISTEN): {}", in_words(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The threads, or the signals.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What must go on for as long as the service runs has ended: the log says why.
    #[error("a part of the service has failed, it stops")]
    Background,
    /// The database's files are no longer what was opened.
    #[error("{0}: nothing more is read from it or acknowledged, the service ends")]
    Lost(String),
    /// There is no copy of the database.
    #[error(transparent)]
    Backup(#[from] BackupError),
}

/// Why an address cannot be had.
fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "the port is in use".to_owned(),
        ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        ErrorKind::PermissionDenied => "this user may not listen on that port".to_owned(),
        _ => error.to_string(),
    }
}

/// Takes the address to listen on; clients that connect wait until the service runs.
pub async fn listen(config: &Config) -> Result<TcpListener, ServeError> {
    let address = config.listen;
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
}

/// Applies the database schema.
pub async fn migrate(config: &Config) -> Result<(), ServeError> {
    let repository = Repository::connect(&config.database_url()?).await?;
    let migrated = repository.migrate().await;
    close(&repository).await;
    Ok(migrated?)
}

/// Copies a SQLite database, also while it is served; abandons the copy when `stopped` completes before it is whole.
pub async fn back_up(config: &Config, file: &Path, stopped: impl Future<Output = ()>) -> Result<(), ServeError> {
    Ok(repository::backup(&config.database_url()?, file, stopped).await?)
}

/// What is read before the database is opened.
struct Settings {
    auth: AuthMode,
    policy: Arc<Policy>,
    translations: Translations,
}

/// Runs the service on `listener` until `shutdown` completes, then drains: health turns NOT_SERVING,
/// streams end, commands in flight finish, and the database is left in order.
pub async fn run(
    config: &Config,
    listener: TcpListener,
    clock: Clock,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let settings = Settings {
        auth: config.auth_mode()?,
        policy: Arc::new(config.policy.as_deref().map_or_else(|| Ok(Policy::default()), config::load_policy)?),
        translations: Translations::load()?,
    };
    let mut shutdown = pin!(shutdown);
    let repository = tokio::select! {
        opened = open(config) => Arc::new(opened?),
        () = &mut shutdown => return Ok(()),
    };
    let served = serve(config, listener, clock, shutdown, settings, repository.clone()).await;
    close(&repository).await;
    served
}

/// Opens the database to serve it.
async fn open(config: &Config) -> Result<Repository, ServeError> {
    let database_url = config.database_url()?;
    let read_wait = Some(config.read_wait.0).filter(|wait| !wait.is_zero());
    Ok(Repository::open(&database_url, config.database_connections, config.notify, read_wait).await?)
}

/// Leaves the database in order.
async fn close(repository: &Repository) {
    if tokio::time::timeout(CLOSE_TIMEOUT, repository.close()).await.is_err() {
        tracing::warn!("the database was not closed in time: before it is copied, start and stop the service again");
    }
}

/// Runs the service on a database that is open.
async fn serve(
    config: &Config,
    listener: TcpListener,
    clock: Clock,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
    Settings { auth, policy, translations }: Settings,
    repository: Arc<Repository>,
) -> Result<(), ServeError> {
    let (notifier, feed) = tokio::select! {
        prepared = prepare(repository.clone()) => prepared?,
        // Another process may migrate for a long time.
        () = &mut shutdown => return Ok(()),
    };
    let (health, keep_healthy) = Health::start(repository.clone(), clock.clone(), feed.reachable()).await;
    compare_with_log(&repository, &clock).await?;
    let deadlines = Arc::<Deadlines>::default();
    let (committer, totals, commits) = Committer::new(
        repository.clone(),
        clock.clone(),
        policy.clone(),
        grpc::encode_event,
        feed.clone(),
        deadlines.clone(),
    );
    let mut keep_healthy = tokio::spawn(keep_healthy);
    let mut commits = tokio::spawn(commits);
    // None of these ends by itself.
    let mut background = JoinSet::new();
    background.spawn(feed.clone().run());
    background.spawn(deadlines.run(repository.clone(), clock.clone(), committer.clone()));
    background.spawn(prune_requests(repository.clone(), clock.clone()));
    if !policy.event_retention.is_zero() {
        background.spawn(prune_events(policy.event_retention, repository.clone(), clock.clone()));
    }
    if let Some(notifier) = notifier {
        background.spawn(run_listener(notifier, feed.clone(), feed.commits()));
    }

    let drain = CancellationToken::new();
    let reporter = HealthReporter::new();
    let health_service = health::service(&reporter);
    let is_serving = health.is_serving();
    // Whoever asks as soon as we listen is answered.
    let serves = *is_serving.borrow();
    health::report(&reporter, serves).await;
    let reporting = tokio::spawn(health::keep_true(reporter.clone(), is_serving));
    let described = Described::new()?;
    let rates = Arc::new(Rates::new(RateBounds {
        commands: config.rates.max_commands_per_second,
        reads: config.rates.max_reads_per_second,
        failed_logins: config.rates.max_failed_logins_per_second,
    }));
    let shared = Arc::new(Shared {
        committer: committer.clone(),
        repository,
        feed,
        clock,
        policy,
        translations,
        quota: Arc::new(Quota::new(config.max_streams.get(), config.max_streams_per_caller.get())),
        rates: rates.clone(),
        max_stream_age: config.max_stream_age.0,
        drain: drain.clone(),
    });
    let address = listener.local_addr()?;
    let routes = Routes::new(grpc::order_service(shared.clone()))
        .add_service(grpc::dispute_service(shared))
        .add_service(health_service)
        .add_service(grpc::reflection_v1(described.clone()))
        .add_service(grpc::reflection_v1alpha(described))
        .prepare();
    let calls = RPCS_PER_CONNECTION.saturating_add(config.max_streams_per_caller.get());
    let flags = &config.connections;
    let bounds = Bounds {
        connections: ConnectionBounds { all: flags.max_connections, per_address: flags.max_connections_per_address },
        error_resets: flags.max_error_resets,
        answer_bytes: flags.max_answer_bytes,
        answer_timeout: flags.answer_timeout.0,
        preface_timeout: config.preface_timeout.0,
        keepalive: config.keepalive.0,
        calls: u32::try_from(calls).unwrap_or(u32::MAX),
        header_bytes: grpc::HEADER_BYTES_READ,
    };
    let service = RpcLayer::new(auth, rpc_bounds(config), rates, drain.clone()).layer(routes);
    warn_of_few_descriptors(config);
    let mut connections = pin!(connections::serve(listener, service, bounds, drain.clone()));
    // Plainly, whatever the log settings: scripts wait for it.
    stderr::say(&format!("listening on {address}"));
    let ended = tokio::select! {
        // Without one of them the service would look alive, and would not do what it promises.
        () = &mut connections => Err(ServeError::Background),
        _ = background.join_next() => Err(ServeError::Background),
        _ = &mut commits => Err(ServeError::Background),
        lost = &mut keep_healthy => lost.map_or(Err(ServeError::Background), |what| Err(ServeError::Lost(what))),
        () = &mut shutdown => Ok(()),
    };
    // Before streams of health end.
    reporting.abort();
    let _ = reporting.await;
    health::report(&reporter, false).await;
    drain.cancel();
    if let Err(ServeError::Background) = ended {
        return ended;
    }
    if tokio::time::timeout(DRAIN, connections).await.is_err() {
        tracing::warn!("some clients did not leave in time, their connections are cut");
    }
    background.shutdown().await;
    committer.close();
    if tokio::time::timeout(COMMIT_DRAIN_TIMEOUT, commits).await.is_err() {
        tracing::warn!("the last commands were not committed in time");
    }
    let (commands, batches) = totals.commands_and_batches();
    keep_healthy.abort();
    tracing::info!(commands, batches, corrupt_rows = corrupt_rows(), "stopped");
    ended
}

/// Brings the database to the schema of this version, and begins to read its log.
async fn prepare(repository: Arc<Repository>) -> Result<(Option<Notifier>, Arc<Feed>), ServeError> {
    repository.migrate().await?;
    let notifier = repository.notifier();
    Ok((notifier, Arc::new(Feed::new(repository).await?)))
}

/// What bounds every call, as the flags say.
fn rpc_bounds(config: &Config) -> RpcBounds {
    let requests = &config.requests;
    RpcBounds {
        header_bytes: config.max_header_bytes,
        probe_bytes: requests.max_probe_bytes,
        message_bytes: requests.max_message_bytes,
        batch_bytes: requests.max_batch_bytes,
        request_timeout: requests.request_timeout.0,
        bytes_in_flight: requests.max_bytes_in_flight,
        open_streams: requests.max_open_streams,
        reflection_idle: requests.reflection_idle.0,
    }
}
