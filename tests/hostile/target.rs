//! What is attacked: the real program on a database of its own, in which an attacker has many disputes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dispute_service::proto::{Money, v1};
use tonic::transport::Channel;
use v1::dispute_service_client::DisputeServiceClient;
use v1::order_service_client::OrderServiceClient;

use crate::binary::Binary;
use crate::good_caller::from;
use crate::wire::{self, endpoint};

/// So many orders has the attacker, each with a dispute that a list shows with 4 KB.
pub const ORDERS: usize = 500;

/// A party that means no good.
pub const MALLORY: &str = "mallory";

/// The program that figures are taken of.
pub fn release() -> Option<String> {
    std::env::var("HOSTILE_BINARY").ok().filter(|program| !program.is_empty())
}

/// A running service.
pub struct Target {
    binary: Binary,
    _folder: tempfile::TempDir,
}

impl Target {
    /// Starts the program with these flags, and with so many descriptors if that is given.
    pub fn start(flags: &[&str], descriptors: Option<u32>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disputes.db");
        fs::copy(&seed().file, &file).unwrap();
        Self { binary: launch(&file, flags, descriptors), _folder: folder }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.binary.address
    }

    /// Resident memory now and at its highest, in MiB. The latter only if the system says so.
    pub fn resident(&self) -> (f64, Option<f64>) {
        let Ok(status) = fs::read_to_string(format!("/proc/{}/status", self.binary.child.id())) else {
            return (f64::INFINITY, None);
        };
        let find = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
            Some(kib / 1024.0)
        };
        // A process that has ended has no memory.
        (find("VmRSS:").unwrap_or(f64::INFINITY), find("VmHWM:"))
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.binary.log()
    }
}

fn launch(file: &Path, flags: &[&str], descriptors: Option<u32>) -> Binary {
    let program = release().unwrap_or_else(|| env!("CARGO_BIN_EXE_dispute-service").to_owned());
    let url = format!("sqlite://{}?mode=rwc", file.display());
    let mut arguments = ["--listen", "127.0.0.1:0", "--database-url", &url].map(str::to_owned).to_vec();
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()).chain(wire::flags()));
    let started = match descriptors {
        None => Binary::launch(&program, &arguments, "warn"),
        Some(descriptors) => {
            let limited = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
            arguments.splice(..0, ["-c".to_owned(), limited, program]);
            Binary::launch("sh", &arguments, "warn")
        }
    };
    started.unwrap_or_else(|log| panic!("the program ended without listening:\n{log}"))
}

/// A database as every target has it.
pub struct Seed {
    file: PathBuf,
    /// A dispute of Ann's and Bob's.
    pub dispute_id: String,
}

/// Made once per run.
pub fn seed() -> &'static Seed {
    static SEED: OnceLock<(Seed, tempfile::TempDir)> = OnceLock::new();
    let (seed, _) = SEED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("seed.db");
        let binary = launch(&file, &[], None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dispute_id = runtime.block_on(fill(&binary.address));
        let (is_success, log) = binary.terminate();
        assert!(is_success, "{log}");
        (Seed { file, dispute_id }, folder)
    });
    seed
}

async fn fill(address: &str) -> String {
    let channel = endpoint(address).connect().await.unwrap();
    let mut orders = OrderServiceClient::new(channel.clone());
    let order = |order_id: String, buyer: &str| v1::Order { order_id, ..order(buyer) };
    let theirs = (0..ORDERS).map(|index| order(format!("m{index}"), MALLORY)).collect();
    let batches: [Vec<v1::Order>; 2] = [theirs, (0..100).map(|index| order(format!("o{index}"), "ann")).collect()];
    for batch in batches {
        let request = v1::BatchUpsertOrdersRequest { orders: batch };
        orders.batch_upsert_orders(from("shop", Some("platform"), request)).await.unwrap();
    }
    let asking = (0..ORDERS).map(|index| ask(channel.clone(), MALLORY, format!("m{index}")));
    futures_util::future::join_all(asking).await;
    ask(channel, "ann", "o0".to_owned()).await
}

async fn ask(channel: Channel, buyer: &str, order_id: String) -> String {
    let request = v1::RequestOrderUpdateRequest { order_id, message: "ä".repeat(2_000), ..Default::default() };
    let mut disputes = DisputeServiceClient::new(channel);
    let asked = disputes.request_order_update(from(buyer, None, request)).await.unwrap();
    asked.into_inner().dispute.unwrap().dispute_id
}

/// An order that Bob sells to this buyer.
pub fn order(buyer: &str) -> v1::Order {
    v1::Order {
        order_id: "o0".to_owned(),
        buyer_id: buyer.to_owned(),
        seller_id: "bob".to_owned(),
        title: "A logo".to_owned(),
        price: Some(Money { currency_code: "USD".to_owned(), units: 100, nanos: 0 }),
        status: v1::OrderStatus::InProgress.into(),
        source_version: 1,
        ..Default::default()
    }
}
