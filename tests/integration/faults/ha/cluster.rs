//! Three nodes with etcd and haproxy, as `deploy/patroni` configures them, on loopback.

use std::time::Duration;

use fastrand::Rng;
use sea_orm::QueryResult;
use serde_json::Value;

use super::node::{Cut, Member, Node, PASSWORD, environment};
use super::programs::Programs;
use crate::faults::checker::pause;
use crate::support::cluster::fixed_port;
use crate::support::database;
use crate::support::forwarder::Network;

const NAMES: [&str; 3] = ["one", "two", "three"];
/// How long anything may take that the cluster does by itself.
const TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Whether a commit waits for a standby.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Synchronous,
    Asynchronous,
}

/// A cluster with one database for the service.
pub struct Cluster {
    pub nodes: Vec<Node>,
    mode: Mode,
    /// Where the service finds the primary.
    address: String,
    _etcd: Member,
    _haproxy: Member,
}

impl Cluster {
    /// One that is whole.
    pub async fn start(mode: Mode, rng: &mut Rng) -> Self {
        let programs = Programs::find();
        let client = format!("127.0.0.1:{}", fixed_port(rng));
        let peer = format!("http://127.0.0.1:{}", fixed_port(rng));
        let mut etcd = Member::new(
            &programs.etcd.display().to_string(),
            &environment(
                include_str!("../../../../deploy/patroni/etcd.env"),
                &[
                    ("ETCD_NAME", "one".to_owned()),
                    ("ETCD_DATA_DIR", "data".to_owned()),
                    ("ETCD_LISTEN_CLIENT_URLS", format!("http://{client}")),
                    ("ETCD_ADVERTISE_CLIENT_URLS", format!("http://{client}")),
                    ("ETCD_LISTEN_PEER_URLS", peer.clone()),
                    ("ETCD_INITIAL_ADVERTISE_PEER_URLS", peer.clone()),
                    ("ETCD_INITIAL_CLUSTER", format!("one={peer}")),
                ],
            ),
        );
        etcd.tell("run");
        let mut nodes = Vec::new();
        for name in NAMES {
            let mut node = Node::new(name, &client, &programs, rng).await;
            node.member.tell("run");
            nodes.push(node);
        }
        let address = format!("127.0.0.1:{}", fixed_port(rng));
        let [one, two, three] = [0, 1, 2].map(|node: usize| nodes[node].for_service());
        let mut haproxy = Member::new(
            &format!("{} -db -f haproxy.cfg", programs.haproxy.display()),
            &environment(
                include_str!("../../../../deploy/patroni/haproxy.env"),
                &[
                    ("LISTEN", address.clone()),
                    ("ONE_POSTGRES", one[0].clone()),
                    ("ONE_PATRONI", one[1].clone()),
                    ("TWO_POSTGRES", two[0].clone()),
                    ("TWO_PATRONI", two[1].clone()),
                    ("THREE_POSTGRES", three[0].clone()),
                    ("THREE_PATRONI", three[1].clone()),
                ],
            ),
        );
        let configuration = include_str!("../../../../deploy/patroni/haproxy.cfg");
        // Only root can become somebody else, and nobody is root here.
        let as_we_are = ["    user haproxy\n", "    group haproxy\n", "    chroot /var/lib/haproxy\n"];
        let configuration = as_we_are.iter().fold(configuration.to_owned(), |text, line| text.replace(line, ""));
        std::fs::write(haproxy.folder.join("haproxy.cfg"), configuration).unwrap();
        haproxy.tell("run");
        let cluster = Self { nodes, mode, address, _etcd: etcd, _haproxy: haproxy };
        cluster.prepare().await;
        cluster
    }

    async fn prepare(&self) {
        let primary = self.wait_for_primary(None).await;
        if self.mode == Mode::Asynchronous {
            // And standbys may take over that miss more than seconds of this load: something is to be lost.
            let change = "{\"synchronous_mode\": false, \"maximum_lag_on_failover\": 134217728}";
            let changed = self.nodes[primary].ask("PATCH /config", change).await;
            assert_eq!(changed.map(|(status, _)| status), Some(200));
        }
        self.wait_until_whole().await;
        let maintenance = self.url_of(self.nodes[primary].postgres, "postgres");
        database::execute(&maintenance, &format!("CREATE ROLE disputes LOGIN PASSWORD '{PASSWORD}'")).await;
        database::execute(&maintenance, "CREATE DATABASE disputes OWNER disputes").await;
    }

    /// The URL of the service's database.
    pub fn database_url(&self) -> String {
        format!("postgres://disputes:{PASSWORD}@{}/disputes", self.address)
    }

    /// A database of the server at this port, past the network.
    fn url_of(&self, port: u16, name: &str) -> String {
        format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/{name}")
    }

    /// What the server at this port says of the service's database.
    pub async fn rows(&self, port: u16, sql: &str) -> Vec<QueryResult> {
        database::rows(&self.url_of(port, "disputes"), sql).await
    }

    /// The primary, if all who can tell agree.
    async fn primary(&self) -> Option<(usize, Value)> {
        let [one, two, three] = self.nodes.as_slice() else { panic!("three nodes") };
        let (one, two, three) = tokio::join!(one.as_primary(), two.as_primary(), three.as_primary());
        let mut primaries = [one, two, three].into_iter().enumerate().filter_map(|(node, state)| Some((node, state?)));
        let primary = primaries.next();
        primary.filter(|_| primaries.next().is_none())
    }

    /// Waits for a primary that is another one.
    pub async fn wait_for_primary(&self, old: Option<usize>) -> usize {
        self.wait("a new primary", async || {
            self.primary().await.map(|(node, _)| node).filter(|node| Some(*node) != old)
        })
        .await
    }

    /// Waits until a node that was cut off has found out that it is no primary any more.
    pub async fn wait_for_end_of(&self, old: usize) {
        self.wait("the end of the old primary", async || self.nodes[old].as_standby().await).await;
    }

    /// Waits until each node is a primary, or a standby that follows it. Returns the primary.
    pub async fn wait_until_whole(&self) -> usize {
        let is_whole = async || {
            let (primary, state) = self.primary().await?;
            let standbys: Vec<_> =
                state["replication"].as_array()?.iter().filter(|one| one["state"] == "streaming").collect();
            let is_synchronous = standbys.iter().any(|standby| standby["sync_state"] == "sync");
            let (_, cluster) = self.nodes[primary].ask("GET /cluster", "").await?;
            let members = cluster["members"].as_array()?;
            let runs = |member: &Value| member["state"] == "running" && member["timeline"] == state["timeline"];
            // Only one that etcd knows as synchronous takes over.
            let is_known = members.iter().any(|member| member["role"] == "sync_standby");
            let is_as_it_should = (is_synchronous && is_known) == (self.mode == Mode::Synchronous);
            let is_whole = standbys.len() == 2 && members.len() == 3 && members.iter().all(runs) && is_as_it_should;
            is_whole.then_some(primary)
        };
        self.wait("the cluster to be whole", is_whole).await
    }

    /// Returns how many events there are for certain on every node: what is committed before this call.
    pub async fn wait_for_standbys(&self, primary: usize) -> i64 {
        let database = self.url_of(self.nodes[primary].postgres, "disputes");
        let head = database::number(&database, "SELECT head FROM event_log").await;
        let written = async || self.nodes[primary].as_primary().await?["xlog"]["location"].as_i64();
        let written = self.wait("the primary to say how far it is", written).await;
        for (_, node) in self.nodes.iter().enumerate().filter(|(node, _)| *node != primary) {
            let has_it = async || {
                let replayed = node.as_standby().await?["xlog"]["replayed_location"].as_i64()?;
                (replayed >= written).then_some(())
            };
            self.wait("a standby to catch up", has_it).await;
        }
        head
    }

    /// Asks Patroni to make another node the primary; it takes one that can be.
    pub async fn switch_over(&self, primary: usize) {
        let request = format!("{{\"leader\": \"{}\"}}", NAMES[primary]);
        // The answer comes when it is done; whether it is, the nodes tell.
        let _ = self.nodes[primary].ask("POST /switchover", &request).await;
    }

    /// Restores every connection of a node.
    pub fn heal(&self, node: usize) {
        self.nodes[node].connect(Cut::Everything, Network::Works);
    }

    async fn wait<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let looking = async {
            loop {
                match look().await {
                    Some(seen) => return seen,
                    None => pause(POLL_INTERVAL).await,
                }
            }
        };
        match tokio::time::timeout(TIMEOUT, looking).await {
            Ok(seen) => seen,
            Err(_) => {
                let logs: Vec<_> = self.nodes.iter().map(|node| node.member.log()).collect();
                panic!("waited in vain for {what}. The nodes logged:\n{}", logs.join("\n\n"))
            }
        }
    }
}
