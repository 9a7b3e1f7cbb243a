//! The database that faults happen to, and the failover that loses what its standby was not told.

use std::sync::Arc;
use std::time::Duration;

use dispute_service::proto::v1;
use prost::Message as _;
use tokio::sync::OwnedMutexGuard;

use crate::faults::checker::history::{Event, Failover};
use crate::faults::checker::{Moment, moment, now, pause};
use crate::support::cluster::blocking;
use crate::support::database;
use crate::support::replication::Replicated;
use crate::support::server::Postgres;

/// Nothing else happens to it meanwhile.
pub type Held = OwnedMutexGuard<Database>;

/// A PostgreSQL that can be stopped.
pub enum Database {
    /// It keeps what it acknowledged.
    Alone(Postgres),
    /// Its standby takes its place, and has not heard of everything.
    Replicated(Replicated),
}

impl Database {
    /// Where the service finds it.
    pub fn url(&self) -> String {
        match self {
            Self::Alone(server) => server.database_url(),
            Self::Replicated(pair) => pair.database_url(),
        }
    }

    /// Whether it has a standby.
    pub fn is_replicated(&self) -> bool {
        matches!(self, Self::Replicated(_))
    }

    /// The server that commits.
    pub fn primary(&mut self) -> &mut Postgres {
        match self {
            Self::Alone(server) => server,
            Self::Replicated(pair) => &mut pair.primary,
        }
    }

    /// What its servers logged.
    pub fn log(&self) -> String {
        match self {
            Self::Alone(server) => server.log(),
            Self::Replicated(pair) => pair.primary.log() + &pair.standby.log(),
        }
    }

    fn pair(&mut self) -> &mut Replicated {
        match self {
            Self::Alone(_) => panic!("a server that is alone cannot fail over"),
            Self::Replicated(pair) => pair,
        }
    }
}

/// Cuts the standby off and lets commits be lost for so long. Answers since when.
pub async fn lose(mut held: Held, losing: Duration) -> (Held, Moment) {
    let cut = moment();
    // What was acknowledged up to then the standby has.
    held.pair().wait_for_standby().await;
    let (held, ()) = blocking(held, |database| database.pair().disconnect()).await;
    pause(losing).await;
    (held, cut)
}

/// The primary dies, and the standby takes its place. What is lost is not known yet.
pub async fn fail_over(held: Held, cut: Moment) -> (Held, Failover) {
    let (mut held, ()) = blocking(held, |database| database.pair().fail_over()).await;
    let killed = moment();
    // Before the service finds it.
    let kept = database::number(&held.primary().database_url(), "SELECT head FROM event_log").await;
    held.pair().lead_to_primary();
    (held, Failover { cut, killed, over: now(), kept: usize::try_from(kept).unwrap(), lost: Vec::new() })
}

/// Asks the old primary for what nobody else knows any more, then makes a new standby of it.
pub async fn rebuild(held: Held, failover: Failover) -> Failover {
    let (mut held, ()) = blocking(held, |database| database.pair().standby.start()).await;
    let sql = format!("SELECT payload FROM events WHERE seq > {} ORDER BY seq", failover.kept);
    let rows = database::rows(&held.pair().standby.database_url(), &sql).await;
    let payloads = rows.iter().map(|row| row.try_get_by_index::<Vec<u8>>(0).unwrap());
    let lost = payloads.map(|payload| v1::DisputeEvent::decode(&*payload).unwrap());
    let lost = lost.map(|event| Arc::new(Event::of(&event))).collect();
    let rebuild = |database: &mut Database| {
        database.pair().standby.stop();
        database.pair().rebuild_standby();
    };
    blocking(held, rebuild).await;
    Failover { lost, ..failover }
}
