//! The service in this process, with a clock that the test moves.

use std::net::SocketAddr;

use clap::Parser as _;
use dispute_service::clock::{Clock, ManualClock, Shift};
use dispute_service::config::CommandLine;
use dispute_service::domain::Timestamp;
use dispute_service::server;
use sea_orm::DatabaseConnection;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use super::callers::Party;
use super::forwarder::Forwarder;
use super::{database, postgres};

pub use super::messages::BEGINNING;

/// A running service on a database of its own.
pub struct Service {
    /// The database.
    pub url: String,
    /// Moves the service's clock.
    pub clock: ManualClock,
    source: Clock,
    running: Option<Running>,
    /// Where the service listens.
    pub address: SocketAddr,
    channel: Channel,
    policy: Option<String>,
    flags: Vec<String>,
    folder: TempDir,
}

struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Service {
    /// A service on an empty SQLite database.
    pub async fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
        Self::on(folder, url).await
    }

    /// A service on an empty PostgreSQL database, if there is a server.
    pub async fn on_postgres() -> Option<Self> {
        let url = postgres::new_database().await?;
        Some(Self::on(tempfile::tempdir().unwrap(), url).await)
    }

    /// A service on this database, which is empty.
    pub async fn on_database(url: String) -> Self {
        Self::on(tempfile::tempdir().unwrap(), url).await
    }

    /// A service on an empty database, with these flags.
    pub async fn on_database_with(url: &str, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self::on_with_flags(tempfile::tempdir().unwrap(), url.to_owned(), flags).await
    }

    /// The same, behind a network that the test can cut. Its database is reached past that at the URL beside it.
    pub async fn on_postgres_behind_a_network() -> Option<(Self, Forwarder, String)> {
        let url = postgres::new_database().await?;
        let (scheme, rest) = url.split_once("//").unwrap();
        let (host, name) = rest.split_once('/').unwrap();
        let (user, host) = host.rsplit_once('@').unwrap_or(("postgres", host));
        let forwarder = Forwarder::to(host).await;
        let behind = format!("{scheme}//{user}@{}/{name}", forwarder.address);
        Some((Self::on(tempfile::tempdir().unwrap(), behind).await, forwarder, url))
    }

    async fn on(folder: TempDir, url: String) -> Self {
        Self::on_with_flags(folder, url, Vec::new()).await
    }

    async fn on_with_flags(folder: TempDir, url: String, flags: Vec<String>) -> Self {
        let (source, clock) = Clock::manual(Timestamp::from_micros(BEGINNING * 1_000_000).unwrap());
        let nowhere = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        let mut service = Self {
            url,
            clock,
            source,
            running: None,
            address: ([127, 0, 0, 1], 1).into(),
            channel: nowhere,
            policy: None,
            flags,
            folder,
        };
        service.start().await;
        service
    }

    /// Stops the service as SIGTERM does, and waits for it.
    pub async fn stop(&mut self) {
        let Running { stop, ended } = self.running.take().unwrap();
        stop.send(()).unwrap();
        ended.await.unwrap();
    }

    /// Tells the service to stop, and does not wait: what is connected drains.
    pub fn drain(&mut self) -> JoinHandle<()> {
        let Running { stop, ended } = self.running.take().unwrap();
        stop.send(()).unwrap();
        ended
    }

    /// Starts the service again on the same database and clock.
    pub async fn start(&mut self) {
        let mut arguments = vec!["dispute-service".to_owned(), "--database-url".to_owned(), self.url.clone()];
        if let Some(policy) = &self.policy {
            let file = self.folder.path().join("policy.toml");
            std::fs::write(&file, policy).unwrap();
            arguments.extend(["--policy".to_owned(), file.display().to_string()]);
        }
        arguments.extend(self.flags.iter().cloned());
        let config = CommandLine::parse_from(arguments).config;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let clock = self.source.clone();
        let ended = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            server::run(&config, listener, clock, shutdown).await.unwrap();
        });
        self.running = Some(Running { stop, ended });
        self.address = address;
        self.channel = self.connect().await;
    }

    /// A connection of its own to the service.
    pub async fn connect(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// A connection on which the service can send little that is not read: a subscriber that is left alone holds no
    /// more than a hundred events.
    pub async fn connect_narrowly(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.initial_stream_window_size(65_535).connect().await.unwrap()
    }

    /// Starts the service again with another policy.
    pub async fn restart_with_policy(&mut self, policy: &str) {
        self.stop().await;
        self.policy = Some(policy.to_owned());
        self.start().await;
    }

    /// Starts the service again, as a new process would, by the clock of a machine that can be made to jump.
    pub async fn restart_on_a_machine(&mut self, shift: &Shift) {
        self.stop().await;
        self.source = Clock::shifted(shift.clone());
        self.start().await;
    }

    /// Starts the service again with these flags.
    pub async fn restart_with(&mut self, flags: &[&str]) {
        self.stop().await;
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self.start().await;
    }

    /// Stops the service and starts it again.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// A second process, so to speak, on the same database and clock.
    pub async fn replica(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut replica = Self {
            url: self.url.clone(),
            clock: self.clock.clone(),
            source: self.source.clone(),
            running: None,
            address: self.address,
            channel: self.channel.clone(),
            policy: self.policy.clone(),
            flags: self.flags.clone(),
            folder,
        };
        replica.start().await;
        replica
    }

    /// The service's time.
    pub fn now(&self) -> Timestamp {
        self.source.now()
    }

    /// A connection to the service.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A caller without a scope.
    pub fn user(&self, id: &str) -> Party {
        Party::new(self.channel(), id, None)
    }

    /// The order system.
    pub fn platform(&self) -> Party {
        Party::new(self.channel(), "shop", Some("platform"))
    }

    /// An agent of the marketplace.
    pub fn support(&self) -> Party {
        Party::new(self.channel(), "agent", Some("support"))
    }

    /// The buyer and the seller of most orders, and those with a scope: who sees what they do.
    pub fn everybody(&self) -> [Party; 4] {
        [self.user("ann"), self.user("bob"), self.support(), self.platform()]
    }

    /// The database itself, past the service.
    pub async fn database(&self) -> DatabaseConnection {
        database::open(&self.url).await
    }

    /// Changes the database past the service.
    pub async fn execute(&self, sql: &str) {
        database::execute(&self.url, sql).await;
    }

    /// One number out of the database.
    pub async fn number(&self, sql: &str) -> i64 {
        database::number(&self.url, sql).await
    }
}
