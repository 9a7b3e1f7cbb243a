//! The files of a SQLite database, as an operator treats them: with the real program.

mod backup;
mod full;
mod start;
mod stop;
mod tampering;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tonic::transport::{Channel, Endpoint};

use crate::support::binary::Binary;
use crate::support::callers::{Facts, Party};
use crate::support::disk::Tmpfs;
use crate::support::messages::*;
use crate::support::postgres::skip;

const PROGRAM: &str = env!("CARGO_BIN_EXE_dispute-service");

/// The service on `disputes.db` in a folder, made if it is not there.
fn url(folder: &Path) -> String {
    format!("sqlite://{}?mode=rwc", folder.join("disputes.db").display())
}

async fn connect(server: &Binary) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap()
}

async fn serve(folder: &Path) -> (Binary, Channel) {
    let server = Binary::start(PROGRAM, &url(folder), "info");
    let channel = connect(&server).await;
    (server, channel)
}

fn stop(server: Binary) {
    let (is_well, log) = server.terminate();
    assert!(is_well, "{log}");
}

/// Opens a dispute on a new order. Answers its id.
async fn open(channel: &Channel, order_id: &str) -> Result<String, Facts> {
    let platform = Party::new(channel.clone(), "shop", Some("platform")).orders;
    let request = dispute_service::proto::v1::UpsertOrderRequest { order: Some(order(order_id)) };
    let mut platform = platform;
    platform.upsert_order(request).await.map_err(|status| crate::support::callers::facts(&status))?;
    Ok(Party::new(channel.clone(), "ann", None).ask(update(order_id)).await?.dispute_id)
}

/// Opens so many disputes. Answers their ids.
async fn open_many(channel: &Channel, name: &str, count: usize) -> Vec<String> {
    let mut opened = Vec::new();
    for number in 0..count {
        opened.push(open(channel, &format!("{name}{number}")).await.unwrap());
    }
    opened
}

/// The ids of all disputes that a service on this folder has, each of which reads well.
async fn disputes_in(folder: &Path) -> Vec<String> {
    let (server, channel) = serve(folder).await;
    let events = Party::new(channel.clone(), "shop", Some("platform")).events().await;
    let opened: Vec<_> = events.into_iter().map(|event| event.dispute.unwrap().dispute_id).collect();
    for dispute in &opened {
        Party::new(channel.clone(), "ann", None).dispute(dispute).await;
    }
    stop(server);
    opened
}

/// What is in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

fn set_mode(file: &Path, mode: u32) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}
