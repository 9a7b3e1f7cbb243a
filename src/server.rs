//! Wiring and lifecycle: what is made of what, in which order it starts, and in which order it stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch::Receiver;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::clock::Clock;
use crate::config::{self, Config, ConfigError, PolicyFileError};
use crate::domain::Policy;
use crate::engine::{Committer, Deadlines, Feed, forget_requests};
use crate::grpc::{self, RpcLayer, Shared, Translations};
use crate::proto::DESCRIPTOR_SET;
use crate::repository::{ConnectError, Repository, StorageError};

/// How long streams and commands in flight have to end; with what follows, the process is gone within 10 s.
const DRAIN: Duration = Duration::from_secs(8);

/// How long the committer has for what is still in its queue.
const LAST_COMMITS: Duration = Duration::from_secs(1);

/// How many RPCs one connection can have in flight.
const STREAMS_PER_CONNECTION: u32 = 1_024;

/// A connection that is silent for so long is asked for a sign of life …
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// … and closed if none comes within this.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The services, by the names under which their health is asked for; the empty one is the whole server.
const HEALTH_NAMES: [&str; 3] = ["", "disputes.v1.DisputeService", "disputes.v1.OrderService"];

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
    /// The database cannot be read or migrated.
    #[error("the database: {0}")]
    Storage(#[from] StorageError),
    /// The reflection service cannot read the description of the API.
    #[error("the API's description: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The socket, or the signals.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The transport ended.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
}

/// Applies the database schema.
pub async fn migrate(config: &Config) -> Result<(), ServeError> {
    let repository = Repository::connect(&config.database_url).await?;
    Ok(repository.migrate().await?)
}

/// Runs the service on `listener` until `shutdown` completes, then drains: health turns NOT_SERVING,
/// streams end, commands in flight finish.
pub async fn run(
    config: &Config,
    listener: TcpListener,
    clock: Clock,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let auth = config.auth_mode()?;
    let policy = Arc::new(config.policy.as_deref().map_or_else(|| Ok(Policy::default()), config::load_policy)?);
    let translations = Translations::load()?;
    let repository = Arc::new(Repository::connect(&config.database_url).await?);
    repository.migrate().await?;

    let feed = Arc::new(Feed::new(repository.clone()).await?);
    let deadlines = Arc::<Deadlines>::default();
    let (committer, totals, commits) = Committer::new(
        repository.clone(),
        clock.clone(),
        policy.clone(),
        grpc::encode_event,
        feed.clone(),
        deadlines.clone(),
    );
    let commits = tokio::spawn(commits);
    let background = CancellationToken::new();
    let in_background = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        tokio::spawn(background.clone().run_until_cancelled_owned(task))
    };
    in_background(Box::pin(feed.clone().run()));
    in_background(Box::pin(deadlines.run(repository.clone(), clock.clone(), committer.clone())));
    in_background(Box::pin(forget_requests(clock.clone(), committer.clone())));

    let drain = CancellationToken::new();
    let (health, health_service) = tonic_health::server::health_reporter();
    let reachable = feed.reachable();
    // Whoever asks as soon as we listen is answered.
    let is_serving = *reachable.borrow();
    report_health(&health, is_serving).await;
    in_background(Box::pin(keep_health_true(health, reachable, drain.clone())));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let shared = Arc::new(Shared { committer, repository, feed, clock, policy, translations, drain: drain.clone() });
    let address = listener.local_addr()?;
    let server = tonic::transport::Server::builder()
        .layer(RpcLayer::new(auth))
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(grpc::order_service(shared.clone()))
        .add_service(grpc::dispute_service(shared))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            drain.clone().cancelled_owned(),
        );
    let mut server = std::pin::pin!(server);
    // Plainly, whatever the log settings: scripts wait for it.
    eprintln!("listening on {address}");
    let ended = tokio::select! {
        ended = &mut server => Some(ended),
        () = shutdown => None,
    };
    drain.cancel();
    match ended {
        Some(ended) => ended?,
        None => match tokio::time::timeout(DRAIN, server).await {
            Ok(ended) => ended?,
            Err(_) => tracing::warn!("some clients did not leave in time, their connections are cut"),
        },
    }
    background.cancel();
    // With the last handle gone the committer finishes what is in its queue and ends.
    if tokio::time::timeout(LAST_COMMITS, commits).await.is_err() {
        tracing::warn!("the last commands were not committed in time");
    }
    let (commands, batches) = totals.commands_and_batches();
    tracing::info!(commands, batches, "stopped");
    Ok(())
}

/// Keeps the health service true: serving while the database can be read and the server does not drain.
async fn keep_health_true(health: HealthReporter, mut reachable: Receiver<bool>, drain: CancellationToken) {
    loop {
        tokio::select! {
            changed = reachable.changed() => if changed.is_err() { return },
            () = drain.cancelled() => return report_health(&health, false).await,
        }
        let is_serving = *reachable.borrow_and_update();
        report_health(&health, is_serving).await;
    }
}

async fn report_health(health: &HealthReporter, is_serving: bool) {
    let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    for name in HEALTH_NAMES {
        health.set_service_status(name, status).await;
    }
}
