//! Two PostgreSQL servers, one of which follows the other by asynchronous streaming replication, behind one address.

use std::time::Duration;

use dispute_service::clock::pause;
use fastrand::Rng;
use tokio::task::spawn_blocking;

use super::database;
use super::forwarder::Forwarder;
use super::server::Postgres;

/// A primary, its standby, and the address at which the service finds the database. What is done here to the servers
/// leaves the address where it leads: [`Replicated::lead_to_primary`] does that, at once or later.
pub struct Replicated {
    pub primary: Postgres,
    pub standby: Postgres,
    pub forwarder: Forwarder,
}

impl Replicated {
    /// Both, running, if there is a PostgreSQL here that can be stopped.
    pub async fn start(rng: &mut Rng) -> Option<Self> {
        let mut rng = rng.fork();
        let servers = spawn_blocking(move || Postgres::start_with_standby(&mut rng));
        let (primary, standby) = servers.await.unwrap()?;
        let forwarder = Forwarder::to(&primary.address()).await;
        Some(Self { primary, standby, forwarder })
    }

    /// The URL of the one database, at the address.
    pub fn database_url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.forwarder.address)
    }

    /// Waits until the standby has everything that was committed until now.
    pub async fn wait_for_standby(&self) {
        let number = async |server: &Postgres, sql| database::number(&server.database_url(), sql).await;
        let written = number(&self.primary, "SELECT (pg_current_wal_lsn() - '0/0')::bigint").await;
        let replayed = "SELECT (pg_last_wal_replay_lsn() - '0/0')::bigint";
        for _ in 0..2_000 {
            if number(&self.standby, replayed).await >= written {
                return;
            }
            pause(Duration::from_millis(10)).await;
        }
        panic!("the standby does not follow:\n{}", self.standby.log());
    }

    /// The standby does not hear of what is committed from now on: it is lost with the next failover.
    pub fn disconnect(&mut self) {
        self.standby.disconnect();
    }

    /// The primary loses its power, and the standby takes its place with what it has.
    pub fn fail_over(&mut self) {
        self.primary.stop();
        self.standby.promote();
        std::mem::swap(&mut self.primary, &mut self.standby);
    }

    /// Both change places, and nothing is lost. The old primary comes back as a standby, at its old port.
    pub fn switch_over(&mut self) {
        self.primary.finish();
        self.standby.promote();
        std::mem::swap(&mut self.primary, &mut self.standby);
        self.standby.follow(&self.primary);
    }

    /// After a failover the old primary begins again as a standby of the new one.
    pub fn rebuild_standby(&mut self) {
        self.standby.copy(&self.primary);
    }

    /// The address leads to the primary from now on. Connections to the other server stay where they are.
    pub fn lead_to_primary(&self) {
        self.forwarder.lead_to(&self.primary.address());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn add(pair: &Replicated, number: i32) {
        database::execute(&pair.database_url(), &format!("INSERT INTO numbers VALUES ({number})")).await;
    }

    async fn sum(pair: &Replicated) -> i64 {
        database::number(&pair.database_url(), "SELECT sum(number) FROM numbers").await
    }

    async fn is_in_recovery(pair: &Replicated) -> bool {
        database::number(&pair.database_url(), "SELECT pg_is_in_recovery()::int::bigint").await == 1
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_failover_loses_what_the_standby_did_not_hear_of_and_a_switchover_nothing() {
        let Some(mut pair) = Replicated::start(&mut Rng::new()).await else { return };
        database::execute(&pair.database_url(), "CREATE TABLE numbers (number int)").await;
        add(&pair, 1).await;
        pair.wait_for_standby().await;
        pair.disconnect();
        add(&pair, 2).await;
        assert_eq!(sum(&pair).await, 3);
        pair.fail_over();
        pair.lead_to_primary();
        assert_eq!(sum(&pair).await, 1);
        pair.rebuild_standby();
        add(&pair, 4).await;
        pair.switch_over();
        assert!(is_in_recovery(&pair).await, "the address leads to the old primary");
        pair.lead_to_primary();
        assert!(!is_in_recovery(&pair).await);
        add(&pair, 8).await;
        assert_eq!(sum(&pair).await, 13);
    }
}
