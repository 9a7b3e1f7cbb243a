//! A node of the cluster: a Patroni with its PostgreSQL, behind stretches of network that can be cut, each in a folder of
//! its own.

use std::path::PathBuf;

use fastrand::Rng;
use serde_json::Value;
use tokio::task::block_in_place;

use super::programs::Programs;
use super::rest;
use crate::support::cluster::fixed_port;
use crate::support::forwarder::{Forwarder, Network};
use crate::support::launcher::Script;

/// What is the trial's own: no machine is restarted because a Patroni is killed, and nothing is outside of the folder.
const OWN: &str = "watchdog:\n  mode: 'off'\n\
    postgresql:\n  pgpass: FOLDER/pgpass\n  parameters:\n    unix_socket_directories: '..'\n";
/// Of every user of the database, and of the REST API.
pub const PASSWORD: &str = "secret";

/// A process that runs in a folder of its own, as PostgreSQL's user if we are root. Both go when it is dropped.
pub struct Member {
    script: Script,
    pub folder: PathBuf,
}

impl Member {
    /// One that is not running yet.
    pub fn new(command: &str, variables: &[(String, String)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let variables: Vec<_> = variables.chain([("COMMAND", command)]).collect();
        let mut script = Script::start(include_str!("member.sh"), &variables);
        let folder = PathBuf::from(script.line());
        assert!(folder.is_absolute(), "the script did not start: {}", folder.display());
        Self { script, folder }
    }

    /// Has it do something, see `member.sh`, and waits until that is done.
    pub fn tell(&mut self, order: &str) {
        block_in_place(|| {
            self.script.send(order);
            assert_eq!(self.script.line(), format!("{order}: done"), "{}", self.log());
        });
    }

    /// The end of what it logged.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// The variables of an example in `deploy/patroni`, with the values that they have here. Fails if one has none, or if there
/// is one that the example does not tell of.
pub fn environment(example: &str, values: &[(&str, String)]) -> Vec<(String, String)> {
    let lines = example.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<_> = lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert_eq!(names, values.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "the example and the trial differ");
    values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// Whom a node is cut off from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cut {
    /// From etcd, from the other nodes, and from the service.
    Everything,
    /// From etcd and the other nodes: the service still reaches it.
    Cluster,
}

/// One of three.
pub struct Node {
    pub member: Member,
    /// Where PostgreSQL and Patroni listen, and where PostgreSQL does when it runs alone.
    pub postgres: u16,
    patroni: u16,
    pub alone: u16,
    to_etcd: Forwarder,
    /// To PostgreSQL and to Patroni: what the other nodes know of this one.
    from_nodes: [Forwarder; 2],
    /// The same for haproxy.
    from_service: [Forwarder; 2],
}

impl Node {
    /// One that does not run yet.
    pub async fn new(name: &str, etcd: &str, programs: &Programs, rng: &mut Rng) -> Self {
        let [postgres, patroni, alone] = [(); 3].map(|()| fixed_port(rng));
        let [sql, rest] = [postgres, patroni].map(|port| format!("127.0.0.1:{port}"));
        let to_etcd = Forwarder::to(etcd).await;
        let from_nodes = [Forwarder::to(&sql).await, Forwarder::to(&rest).await];
        let from_service = [Forwarder::to(&sql).await, Forwarder::to(&rest).await];
        let bin = programs.postgres.display().to_string();
        let mut variables = environment(
            include_str!("../../../../deploy/patroni/node.env"),
            &[
                ("PATRONI_NAME", name.to_owned()),
                ("PATRONI_ETCD3_HOSTS", to_etcd.address.to_string()),
                ("PATRONI_RESTAPI_LISTEN", rest),
                ("PATRONI_RESTAPI_CONNECT_ADDRESS", from_nodes[1].address.to_string()),
                ("PATRONI_RESTAPI_USERNAME", "patroni".to_owned()),
                ("PATRONI_RESTAPI_PASSWORD", PASSWORD.to_owned()),
                ("PATRONI_POSTGRESQL_LISTEN", sql),
                ("PATRONI_POSTGRESQL_CONNECT_ADDRESS", from_nodes[0].address.to_string()),
                ("PATRONI_POSTGRESQL_DATA_DIR", "data".to_owned()),
                ("PATRONI_POSTGRESQL_BIN_DIR", bin.clone()),
                ("PATRONI_SUPERUSER_PASSWORD", PASSWORD.to_owned()),
                ("PATRONI_REPLICATION_PASSWORD", PASSWORD.to_owned()),
            ],
        );
        // Otherwise it would go past the network, to where etcd says that it is.
        let own = [("PATRONI_ETCD3_USE_PROXIES", "true"), ("BIN", &bin), ("PORT", &alone.to_string())];
        variables.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let member = Member::new(&format!("{} settings", programs.patroni.display()), &variables);
        let settings = member.folder.join("settings");
        std::fs::write(settings.join("patroni.yml"), include_str!("../../../../deploy/patroni/patroni.yml")).unwrap();
        std::fs::write(settings.join("trial.yml"), OWN.replace("FOLDER", member.folder.to_str().unwrap())).unwrap();
        Self { member, postgres, patroni, alone, to_etcd, from_nodes, from_service }
    }

    /// Where haproxy finds PostgreSQL and Patroni.
    pub fn for_service(&self) -> [String; 2] {
        [0, 1].map(|which| self.from_service[which].address.to_string())
    }

    /// Whether the other nodes and etcd, and the service, are reached and reach it.
    pub fn connect(&self, cut: Cut, network: Network) {
        self.to_etcd.set(network);
        self.from_nodes.iter().for_each(|forwarder| forwarder.set(network));
        if cut == Cut::Everything {
            self.from_service.iter().for_each(|forwarder| forwarder.set(network));
        }
    }

    /// Whether its standbys hear of what it commits.
    pub fn replicate(&self, network: Network) {
        self.from_nodes[0].set(network);
    }

    /// What Patroni answers, past the network: a status and JSON. `None` if it says nothing.
    pub async fn ask(&self, request: &str, body: &str) -> Option<(u16, Value)> {
        rest::ask(self.patroni, request, body).await
    }

    /// How its PostgreSQL is, if Patroni knows that it is a primary and holds the lease, and if its PostgreSQL says the
    /// same.
    pub async fn as_primary(&self) -> Option<Value> {
        let (status, state) = self.ask("GET /primary", "").await?;
        let is_primary = matches!(state["role"].as_str(), Some("master" | "primary")) && state["state"] == "running";
        (status == 200 && is_primary).then_some(state)
    }

    /// How its PostgreSQL is, if that runs as a standby.
    pub async fn as_standby(&self) -> Option<Value> {
        let (_, state) = self.ask("GET /patroni", "").await?;
        (state["role"] == "replica" && state["state"] == "running").then_some(state)
    }
}
