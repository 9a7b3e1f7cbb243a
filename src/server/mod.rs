//! Wiring and lifecycle: how the parts are put together, and in which order they start and stop.

mod accept;
mod arriving;
mod audit;
mod background;
mod calls;
mod conduct;
mod connections;
mod error;
mod frames;
mod framing;
mod health;
mod http1;
mod metrics;
mod process;
mod registry;
mod socket;
mod stall;
mod systemd;
mod tls;
mod turns;
mod wire;

use std::io::Write as _;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::Layer as _;

use self::background::{Background, Retentions};
use self::connections::Bounds;
use self::health::HealthReport;
use self::metrics::Sources;
use self::process::{warn_of_few_descriptors, warn_of_plain_tokens};
use self::registry::{ConnectionBounds, Registry};
use self::tls::{Certificates, Tls};
use crate::clock::{Clock, pause};
use crate::config::{Config, ConfigError, PolicyFile, Span, SupportUrl, TokenFlags};
use crate::domain::{RELEASE, Timestamp};
use crate::engine::{Feed, Reads, TestClock};
use crate::grpc::{
    self, Authenticator, Described, Judged, Origins, Quota, RateBounds, Rates, RpcBounds, RpcLayer, Shared,
    Translations, WebLayer,
};
use crate::repository::{self, Alone, Notifier, Repository, StorageError};
use crate::stderr;
use crate::traces::Tracer;

pub use audit::print_audit;
pub use error::ServeError;
pub use process::{prepare_process, run_to_end, told_to_stop};
pub use tls::TlsFileError;

/// How long streams and commands in flight may take to end; with the following steps, the process exits within 10 s.
const DRAIN: Duration = Duration::from_secs(6);

/// How often a process that must be alone on its database looks whether it still is.
const CLAIM_INTERVAL: Duration = Duration::from_secs(1);

/// How long closing the database may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many RPCs one connection can have in flight, in addition to the event streams of one caller.
const RPCS_PER_CONNECTION: usize = 1_024;

/// Binds the address to listen on; clients that connect wait until the service runs.
pub async fn listen(config: &Config) -> Result<TcpListener, ServeError> {
    let address = config.listen;
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
}

/// The clock that the flags ask for.
pub fn clock(config: &Config) -> Clock {
    let system = Clock::system();
    if !config.clock.is_manual() {
        return system;
    }
    Clock::by_hand(config.clock.start().unwrap_or_else(|| system.now()))
}

/// Binds the address for Prometheus, if there is one.
async fn listen_for_metrics(config: &Config) -> Result<Option<TcpListener>, ServeError> {
    let Some(address) = config.metrics_listen else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    listener.map(Some).map_err(|source| ServeError::ListenForMetrics { address, source })
}

/// Applies the database schema.
pub async fn migrate(config: &Config) -> Result<(), ServeError> {
    let repository = Repository::connect(&config.database_url()?).await?;
    let migrated = repository.migrate().await;
    close(&repository).await;
    Ok(migrated?)
}

/// Copies a SQLite database, even while it is being served; abandons the copy if `stopped` completes first.
pub async fn back_up(config: &Config, file: &Path, stopped: impl Future<Output = ()>) -> Result<(), ServeError> {
    Ok(repository::backup(&config.database_url()?, file, stopped).await?)
}

/// Prints a token for trying things out, valid from now on, alone on stdout.
pub fn print_token(flags: &TokenFlags) -> Result<(), ServeError> {
    let token = grpc::mint_token(flags, &Clock::system())?;
    Ok(writeln!(std::io::stdout(), "{token}")?)
}

/// The inputs that are read before the database is opened.
struct Settings {
    /// How callers authenticate.
    auth: &'static str,
    authenticator: Arc<Authenticator>,
    /// The origins whose pages may call.
    origins: Origins,
    reflection: bool,
    /// With the digest of the file.
    policy: Option<(PolicyFile, String)>,
    translations: Translations,
    certificates: Option<Arc<Certificates>>,
    metrics: Option<TcpListener>,
    tracer: Tracer,
}

/// The services of the port, called within this process. Each call is judged as if it had come over a connection.
pub type InProcess = Judged<Routes>;

/// Runs the service on `listener` until `shutdown` completes, then drains: health turns NOT_SERVING, streams end,
/// commands in flight finish, and the database is closed cleanly.
pub async fn run(
    config: &Config,
    listener: TcpListener,
    clock: Clock,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    run_prepared(config, listener, clock, shutdown, async |_| Ok(String::new())).await
}

/// The same, but first calls the service by `prepare`, while nobody else can: clients that connect wait. The text that it returns
/// is said once the service listens, unless it is empty.
pub async fn run_prepared(
    config: &Config,
    listener: TcpListener,
    clock: Clock,
    shutdown: impl Future<Output = ()>,
    prepare: impl AsyncFnOnce(InProcess) -> Result<String, ServeError>,
) -> Result<(), ServeError> {
    let authentication = config.authentication()?;
    let origins = Origins::new(&config.web_origins);
    let settings = Settings {
        auth: authentication.name(),
        reflection: config.auth.has_reflection(&authentication),
        authenticator: Arc::new(Authenticator::new(authentication, origins.clone(), clock.clone())?),
        origins,
        policy: config.policy.as_deref().map(PolicyFile::load).transpose()?,
        translations: Translations::load()?,
        certificates: Certificates::load(&config.tls, &clock)?,
        metrics: listen_for_metrics(config).await?,
        tracer: tracer(config)?,
    };
    let tracer = settings.tracer.clone();
    let mut shutdown = pin!(shutdown);
    let alone =
        if config.clock.is_manual() { Some(Alone::before_opening(&config.database_url()?).await?) } else { None };
    let repository = tokio::select! {
        opened = open(config) => Arc::new(opened?),
        () = &mut shutdown => return Ok(()),
    };
    let served = serve(config, listener, clock, shutdown, settings, (repository.clone(), alone), prepare).await;
    tokio::join!(close(&repository), tracer.finish());
    served
}

/// Makes spans for the collector, if there is one.
fn tracer(config: &Config) -> Result<Tracer, ServeError> {
    let settings = config.traces.settings().map_err(ConfigError::from)?;
    Ok(settings.map(Tracer::to_collector).transpose()?.unwrap_or_default())
}

/// Opens the database for serving.
async fn open(config: &Config) -> Result<Repository, ServeError> {
    let database_url = config.database_url()?;
    let read_wait = Some(config.read_wait.0).filter(|wait| !wait.is_zero());
    Ok(Repository::open(&database_url, config.database_connections, config.notify, read_wait).await?)
}

/// Closes the database cleanly.
async fn close(repository: &Repository) {
    if tokio::time::timeout(CLOSE_TIMEOUT, repository.close()).await.is_err() {
        tracing::warn!("the database was not closed in time: start and stop the service once before copying it");
    }
}

/// Runs the service on an open database: starts the background tasks, prepares what is to be served, serves until it is
/// told to stop or cannot continue, and drains.
async fn serve(
    config: &Config,
    listener: TcpListener,
    clock: Clock,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
    settings: Settings,
    (repository, alone): (Arc<Repository>, Option<Alone>),
    prepare: impl AsyncFnOnce(InProcess) -> Result<String, ServeError>,
) -> Result<(), ServeError> {
    repository.claim(alone.is_some()).await?;
    let (notifier, feed) = tokio::select! {
        prepared = prepare_database(repository.clone()) => prepared?,
        // Another process may be migrating for a long time.
        () = &mut shutdown => return Ok(()),
    };
    let hands = clock.hands().filter(|_| alone.is_some());
    if let Some(hands) = &hands {
        // Time never runs back in what is stored.
        hands.advance_to(repository.last_stored_time().await?.unwrap_or(Timestamp::MIN));
    }
    let Settings { auth, authenticator, origins, reflection, policy, translations, certificates, metrics, tracer } =
        settings;
    let (policy, digest) = policy.unzip();
    let database = tell_of_start(config, auth, &repository, digest.as_deref()).await?;
    let PolicyFile {
        rules,
        event_retention: Span(events),
        audit_retention: Span(audit),
        support_url: SupportUrl(support_url),
    } = policy.unwrap_or_default();
    let retentions = Retentions { events, audit };
    let policy = Arc::new(rules);
    let mut background =
        Background::start(&repository, &clock, &policy, retentions, &feed, notifier, tracer.clone()).await?;
    let tls = certificates.clone().map(|certificates| {
        background.run(certificates.clone().watch());
        Tls::new(certificates, config.tls.mtls_scope.clone(), clock.clone())
    });
    // From here on every call gets a response.
    let health = HealthReport::start(background.is_serving()).await;
    let drain = CancellationToken::new();
    let committer = background.committer();
    let test_clock = hands.map(|hands| TestClock::new(hands, repository.clone(), committer.clone()));
    if let Some(alone) = alone {
        background.run(hold(alone));
    }
    let rates = Arc::new(Rates::new(rate_bounds(config)));
    background.run(authenticator.clone().follow_keys());
    let connections = &config.connections;
    let registry = Registry::new(ConnectionBounds {
        all: connections.max_connections,
        per_address: connections.max_connections_per_address,
    });
    let quota = Arc::new(Quota::new(config.max_streams.get(), config.max_streams_per_caller.get()));
    if let Some(listener) = metrics {
        let sources = Sources {
            repository: repository.clone(),
            database,
            committer: committer.clone(),
            feed: feed.clone(),
            quota: quota.clone(),
            connections: registry.clone(),
            clock: clock.clone(),
            is_serving: background.is_serving(),
            drain: drain.clone(),
            certificates,
            started: clock.now(),
            counted: Mutex::default(),
        };
        tracing::info!(address = %listener.local_addr()?, "metrics are served");
        background.run(metrics::serve(listener, sources));
    }
    let shared = Arc::new(Shared {
        committer,
        reads: Reads::new(repository, clock.clone(), policy.clone()),
        feed,
        clock,
        policy,
        support_url,
        translations,
        quota,
        rates: rates.clone(),
        test_clock,
        max_stream_age: config.max_stream_age.0,
        tracer: tracer.clone(),
        drain: drain.clone(),
    });
    let bounds = RpcBounds { test_clock: shared.test_clock.is_some(), ..rpc_bounds(config, reflection) };
    let judged = RpcLayer::new(authenticator, bounds, rates, drain.clone(), tracer).layer(routes(shared, &health)?);
    let service = WebLayer::new(origins).layer(judged.clone());
    warn_of_few_descriptors(config);
    warn_of_plain_tokens(config);
    let address = listener.local_addr()?;
    let prepared = tokio::select! {
        prepared = prepare(judged) => prepared.map(Some),
        failed = background.failed() => return Err(failed),
        () = &mut shutdown => Ok(None),
    };
    let Ok(Some(said)) = prepared else {
        background.stop().await;
        return prepared.map(drop);
    };
    let bounds = connection_bounds(config);
    let mut connections = pin!(connections::serve(listener, tls, service, bounds, registry, drain.clone()));
    // Plainly, whatever the log settings: scripts wait for it.
    stderr::say(&format!("listening on {address}"));
    stderr::say(&said);
    background.run(systemd::report(background.is_serving()));
    let ended = tokio::select! {
        () = &mut connections => Err(ServeError::Background),
        failed = background.failed() => Err(failed),
        () = &mut shutdown => Ok(()),
    };
    systemd::report_stop();
    // Before health streams end.
    health.stop().await;
    drain.cancel();
    if let Err(ServeError::Background) = ended {
        return ended;
    }
    if tokio::time::timeout(DRAIN, connections).await.is_err() {
        tracing::warn!("some clients did not disconnect in time: closing their connections");
    }
    background.stop().await;
    ended
}

/// Logs what runs here, in one line. Returns the kind of the database.
async fn tell_of_start(
    config: &Config,
    auth: &str,
    repository: &Repository,
    policy_sha256: Option<&str>,
) -> Result<&'static str, StorageError> {
    let (kind, version) = repository.kind_and_version().await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        release = RELEASE,
        database = format_args!("{kind} {version}"),
        auth,
        tls = config.tls.tls_cert.is_some(),
        policy = %config.policy.as_deref().map_or_else(|| "defaults".into(), Path::to_string_lossy),
        policy_sha256,
        replicas = match (repository.is_remote(), repository.notifier().is_some()) {
            (false, _) => "one",
            (true, true) => "notified",
            (true, false) => "polling",
        },
        "starting"
    );
    Ok(kind)
}

/// Returns once this process has no claim to be alone any more.
async fn hold(alone: Alone) {
    while alone.stands().await {
        pause(CLAIM_INTERVAL).await;
    }
    tracing::error!("the claim on the database was lost: with --clock manual no other process may use it");
}

/// All services on the port. The clock for tests is among them; whether it is there, the transport says.
fn routes(shared: Arc<Shared>, health: &HealthReport) -> Result<Routes, ServeError> {
    let described = Described::new(shared.test_clock.is_some())?;
    let routes = Routes::new(grpc::order_service(shared.clone()))
        .add_service(grpc::test_clock_service(shared.clone()))
        .add_service(grpc::dispute_service(shared))
        .add_service(health.service())
        .add_service(grpc::reflection_v1(described.clone()))
        .add_service(grpc::reflection_v1alpha(described));
    Ok(routes.prepare())
}

/// Brings the database to the schema of this version, and starts reading its log.
async fn prepare_database(repository: Arc<Repository>) -> Result<(Option<Notifier>, Arc<Feed>), ServeError> {
    repository.migrate().await?;
    let notifier = repository.notifier();
    Ok((notifier, Arc::new(Feed::new(repository).await?)))
}

/// The limits of each connection, from the flags.
fn connection_bounds(config: &Config) -> Bounds {
    let flags = &config.connections;
    let calls = RPCS_PER_CONNECTION.saturating_add(config.max_streams_per_caller.get());
    Bounds {
        error_resets: flags.max_error_resets,
        answer_bytes: flags.max_answer_bytes,
        answer_timeout: flags.answer_timeout.0,
        preface_timeout: config.preface_timeout.0,
        keepalive: config.keepalive.0,
        calls: u32::try_from(calls).unwrap_or(u32::MAX),
        header_bytes: grpc::HEADER_BYTES_READ,
    }
}

/// The rate limits, from the flags.
fn rate_bounds(config: &Config) -> RateBounds {
    let flags = &config.rates;
    RateBounds {
        commands: flags.max_commands_per_second,
        reads: flags.max_reads_per_second,
        failed_logins: flags.max_failed_logins_per_second,
    }
}

/// The limits of each call, from the flags.
fn rpc_bounds(config: &Config, reflection: bool) -> RpcBounds {
    let requests = &config.requests;
    RpcBounds {
        header_bytes: config.max_header_bytes,
        probe_bytes: requests.max_probe_bytes,
        message_bytes: requests.max_message_bytes,
        batch_bytes: requests.max_batch_bytes,
        request_timeout: requests.request_timeout.0,
        call_timeout: requests.call_timeout.0,
        bytes_in_flight: requests.max_bytes_in_flight,
        open_streams: requests.max_open_streams,
        reflection_idle: requests.reflection_idle.0,
        reflection,
        test_clock: false,
    }
}
