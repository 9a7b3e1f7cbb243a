//! High availability, tried: two replicas of the service on a Patroni cluster behind one address, whose primary is killed,
//! switched over, cut off and left without its Patroni under load. What every client was told and what every subscriber saw
//! is judged. `HA_SEED` runs a schedule again, `HA_SECONDS` one of another length, `HA_BINARY` another build.

mod cluster;
mod node;
mod programs;
mod report;
mod rest;

use std::sync::Arc;
use std::time::Duration;

use dispute_service::proto::v1;
use fastrand::Rng;
use prost::Message as _;
use tokio::task::block_in_place;

use self::cluster::{Cluster, Mode};
use self::node::Cut;
use self::report::Seen;
use crate::faults::checker::clients::Clients;
use crate::faults::checker::following::Failing;
use crate::faults::checker::history::{Event, Failover};
use crate::faults::checker::{moment, now, pause};
use crate::support::cluster::{Replica, fixed_port};
use crate::support::forwarder::Network;

/// Short enough that deadlines pass all the time, and some while there is no primary.
const POLICY: &str = "response_window = \"3s\"\nreminders = [\"1s\"]\n[order_update]\nresponse_window = \"10s\"\n\
    [partial_refund]\nmax_counter_offers = 5\n";
/// How long faults go on by default.
const SECONDS: u64 = 300;
/// How long after a new primary every replica acknowledges commands again: the promise that is tried.
const PROMISE: Duration = Duration::from_secs(15);
/// How long it is waited for, to see how far the promise was missed.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// A watchdog restarts the machine so long after Patroni last wrote to it: `ttl` less `safety_margin`. Here nothing is
/// restarted but the node.
const WATCHDOG: Duration = Duration::from_secs(15);
/// Within this most of those begin who want a snapshot.
const BEGINNING: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes, and needs patroni, etcd and haproxy: `just ha`"]
async fn a_synchronous_cluster_loses_nothing_that_was_acknowledged_and_every_stream_stays_open() {
    Trial::start(Mode::Synchronous).await.run().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes, and needs patroni, etcd and haproxy: `just ha`"]
async fn whoever_knows_what_an_asynchronous_cluster_loses_is_told() {
    Trial::start(Mode::Asynchronous).await.run().await;
}

/// What happens to the primary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// The node loses its power: `kill -9` of Patroni and of PostgreSQL.
    Kill,
    /// An operator makes another node the primary.
    SwitchOver,
    CutOff(Cut),
    /// Patroni stands still, and PostgreSQL goes on as a primary whose lease runs out, until the watchdog ends both.
    FreezePatroni,
}

impl Fault {
    const ALL: [Self; 5] =
        [Self::Kill, Self::SwitchOver, Self::CutOff(Cut::Everything), Self::CutOff(Cut::Cluster), Self::FreezePatroni];
}

struct Trial {
    mode: Mode,
    seed: u64,
    rng: Rng,
    cluster: Cluster,
    replicas: Vec<Replica>,
    clients: Clients,
    failovers: Vec<Failover>,
    seen: Vec<Seen>,
    _policy: tempfile::NamedTempFile,
}

impl Trial {
    async fn start(mode: Mode) -> Self {
        let given = std::env::var("HA_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = given.unwrap_or_else(|| fastrand::u64(..));
        println!("{mode:?}: HA_SEED={seed}");
        let mut rng = Rng::with_seed(seed);
        let cluster = Cluster::start(mode, &mut rng).await;
        let policy = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(policy.path(), POLICY).unwrap();
        let program = std::env::var("HA_BINARY").ok().filter(|program| !program.is_empty());
        let mut replicas = Vec::new();
        for _ in 0..2 {
            let address = format!("127.0.0.1:{}", fixed_port(&mut rng));
            let replica = Replica::new(address, &cluster.database_url(), policy.path().to_str().unwrap(), true);
            let mut replica = match &program {
                Some(program) => replica.of(program.clone()),
                None => replica,
            };
            block_in_place(|| replica.start());
            replicas.push(replica);
        }
        let addresses: Vec<_> = replicas.iter().map(|replica| replica.address.clone()).collect();
        let clients = Clients::new(&addresses, &addresses);
        let (failovers, seen) = (Vec::new(), Vec::new());
        Self { mode, seed, rng, cluster, replicas, clients, failovers, seen, _policy: policy }
    }

    /// Faults in turn, each once the cluster is whole again, for so long and until each has happened.
    async fn run(mut self) {
        let seconds = std::env::var("HA_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
        self.clients.start(self.mode == Mode::Asynchronous, &mut self.rng);
        pause(Duration::from_secs(3)).await;
        let mut faults = Fault::ALL;
        let begun = now();
        let is_over = || now() - begun > i64::try_from(seconds * 1_000_000).unwrap();
        for round in 1.. {
            self.rng.shuffle(&mut faults);
            for fault in faults {
                if round == 1 || !is_over() {
                    self.fail(fault).await;
                    self.pause(1_000..4_000).await;
                }
            }
            if is_over() {
                break;
            }
            self.clients.subscribe_with_snapshot(round, &mut self.rng);
        }
        self.finish().await;
    }

    async fn pause(&mut self, millis: std::ops::Range<u64>) {
        pause(Duration::from_millis(self.rng.u64(millis))).await;
    }

    /// One fault, from a whole cluster to a whole one, and what was seen of it.
    async fn fail(&mut self, fault: Fault) {
        let old = self.cluster.wait_until_whole().await;
        let is_near = self.mode == Mode::Asynchronous && fault != Fault::SwitchOver;
        if is_near {
            self.clients.following.fails_over(Failing::Soon);
            pause(BEGINNING).await;
        }
        let cut = moment();
        let known = self.cluster.wait_for_standbys(old).await;
        if is_near {
            self.clients.following.fails_over(Failing::Losing);
        }
        let at = self.begin(fault, old).await;
        let killed = moment();
        if is_near {
            self.clients.following.fails_over(Failing::Over);
        }
        let new = self.cluster.wait_for_primary(Some(old)).await;
        let over = now();
        // Until then an old primary that was not killed can have acknowledged something.
        let is_killed = matches!(fault, Fault::Kill | Fault::FreezePatroni);
        let killed = if is_killed { killed } else { moment() };
        let mut acknowledged = Vec::new();
        for replica in 0..self.replicas.len() {
            acknowledged.push(self.first_acknowledged(replica, over).await);
        }
        self.clients.following.fails_over(Failing::Not);
        let lost = self.end(fault, old, new, known).await;
        self.cluster.wait_until_whole().await;
        let seen = Seen { fault, primary: over - at, acknowledged, lost: lost.1.len(), whole: now() - over };
        println!("{seen}");
        self.seen.push(seen);
        if self.mode == Mode::Asynchronous {
            let (kept, lost) = lost;
            self.failovers.push(Failover { cut, killed, over, kept, lost });
        }
    }

    /// Begins a fault of the primary. Returns when.
    async fn begin(&mut self, fault: Fault, old: usize) -> i64 {
        if fault == Fault::Kill && self.mode == Mode::Asynchronous {
            // A standby that is on loopback has everything within a millisecond.
            self.cluster.nodes[old].replicate(Network::Cuts);
            self.pause(200..800).await;
        }
        let at = now();
        let node = &mut self.cluster.nodes[old];
        match fault {
            Fault::Kill => {
                node.member.tell("kill");
                node.replicate(Network::Works);
            }
            Fault::SwitchOver => self.cluster.switch_over(old).await,
            Fault::CutOff(cut) => node.connect(cut, Network::Swallows),
            Fault::FreezePatroni => {
                node.member.tell("freeze");
                pause(WATCHDOG).await;
                node.member.tell("kill");
            }
        }
        at
    }

    /// Ends a fault, once it was read from the old primary what it alone has. Returns how many events are kept, and those
    /// that are lost.
    async fn end(&mut self, fault: Fault, old: usize, new: usize, known: i64) -> (usize, Vec<Arc<Event>>) {
        let port = match fault {
            Fault::Kill | Fault::FreezePatroni => {
                self.cluster.nodes[old].member.tell("alone");
                self.cluster.nodes[old].alone
            }
            Fault::SwitchOver => self.cluster.nodes[new].postgres,
            Fault::CutOff(_) => {
                self.cluster.wait_for_end_of(old).await;
                self.cluster.nodes[old].postgres
            }
        };
        let sql = format!("SELECT payload FROM events WHERE seq > {known} ORDER BY seq");
        let payloads = async |port| -> Vec<Vec<u8>> {
            let rows = self.cluster.rows(port, &sql).await;
            rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
        };
        let before = payloads(port).await;
        let after = payloads(self.cluster.nodes[new].postgres).await;
        let shared = before.iter().zip(&after).take_while(|(before, after)| before == after).count();
        match fault {
            Fault::Kill | Fault::FreezePatroni => {
                ["stop", "run"].iter().for_each(|order| self.cluster.nodes[old].member.tell(order));
            }
            Fault::SwitchOver => {}
            Fault::CutOff(_) => self.cluster.heal(old),
        }
        let lost = before[shared..].iter().map(|payload| v1::DisputeEvent::decode(&**payload).unwrap());
        let lost = lost.map(|event| Arc::new(Event::of(&event))).collect();
        (usize::try_from(known).unwrap() + shared, lost)
    }

    /// How long after a moment a replica acknowledges something that was sent after it, in microseconds.
    async fn first_acknowledged(&self, replica: usize, after: i64) -> i64 {
        let first = async {
            loop {
                match self.clients.load.first_acknowledged(replica, after) {
                    Some(at) => return at - after,
                    None => pause(Duration::from_millis(20)).await,
                }
            }
        };
        let first = tokio::time::timeout(COMMAND_TIMEOUT, first).await;
        first.unwrap_or_else(|_| i64::try_from(COMMAND_TIMEOUT.as_micros()).unwrap())
    }
}
