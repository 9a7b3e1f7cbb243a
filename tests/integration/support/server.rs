//! A PostgreSQL of a test's own, which it stops, starts and promotes.

use fastrand::Rng;

use super::cluster::fixed_port;
use super::launcher::{Cluster, Options};
use super::{database, postgres};

/// A PostgreSQL that keeps what it acknowledged when it is stopped at any moment. Ends, and is removed, when dropped or
/// when this process ends. What it is told blocks until it is done.
pub struct Postgres(Cluster);

/// Every commit takes 10 ms longer than the disk, as it does with a standby to wait for: so replicas commit at the same
/// time, and whoever can see the later of two commits first will.
const SETTINGS: [&str; 4] = ["fsync=on", "max_connections=100", "commit_delay=10000", "commit_siblings=0"];

impl Postgres {
    /// A running one, if there is one here that can be stopped.
    pub fn start_cluster(rng: &mut Rng) -> Option<Self> {
        postgres::programs_for("faults with PostgreSQL, as what others use cannot be stopped", &["pg_ctl"])?;
        let mut server = Self::prepare(rng)?;
        server.0.tell("create");
        Some(server)
    }

    /// The same, and a standby that follows it, if there is what a standby needs beside the server.
    pub fn start_with_standby(rng: &mut Rng) -> Option<(Self, Self)> {
        postgres::programs_for("a PostgreSQL with a standby", &["pg_basebackup", "psql"])?;
        let primary = Self::start_cluster(rng)?;
        let mut standby = Self::prepare(rng)?;
        standby.copy(&primary);
        Some((primary, standby))
    }

    fn prepare(rng: &mut Rng) -> Option<Self> {
        let options = Options { port: fixed_port(rng), initdb: "--no-sync", settings: &SETTINGS, ..Options::default() };
        Cluster::prepare(&options).map(Self)
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0.port())
    }

    /// The URL of the one database.
    pub fn database_url(&self) -> String {
        self.0.url("postgres")
    }

    /// Stops it as if the machine lost its power, but for what the disk holds.
    pub fn stop(&mut self) {
        self.0.tell("stop");
    }

    /// Stops it well: what it has committed, its standby has, too.
    pub fn finish(&mut self) {
        self.0.tell("finish");
    }

    pub fn start(&mut self) {
        self.0.tell("start");
    }

    /// Begins again as a copy of another one, which it follows.
    pub fn copy(&mut self, primary: &Self) {
        self.0.tell(&format!("copy {}", primary.0.port()));
    }

    /// Starts, having finished, as the standby of the one that was promoted in its place.
    pub fn follow(&mut self, primary: &Self) {
        self.0.tell(&format!("follow {}", primary.0.port()));
    }

    /// A standby follows its primary no more: what that commits from now on, it does not have.
    pub fn disconnect(&mut self) {
        self.0.tell("disconnect");
    }

    /// A standby becomes a primary.
    pub fn promote(&mut self) {
        self.0.tell("promote");
    }

    /// Ends every `every`-th connection of the service.
    pub async fn cut(&self, every: u32) {
        let cut = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name LIKE 'dispute-service%' AND pid % {every} = 0"
        );
        database::execute(&self.database_url(), &cut).await;
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        self.0.log()
    }
}
