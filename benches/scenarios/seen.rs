//! A1-seen: what it costs to be seen.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::collector::Collector;
use super::load::Load;
use super::server::{Server, sqlite_url};
use super::table::{Table, Target};
use super::writes::in_turns;

pub(crate) const ABOUT: &str = "A1 with metrics that are scraped every second, a tenth of the traces and a line for each command : \
     without all that";

pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = ["seen.db", "unseen.db"].map(|name| folder.path().join(name));
    let collector = Collector::start().await;
    let flags =
        ["--metrics-listen", "127.0.0.1:0", "--otlp-endpoint", &collector.endpoint(), "--trace-sample-ratio", "0.1"];
    let seen = Server::with_flags(&sqlite_url(&files[0]), &flags);
    let scraping = AbortOnDropHandle::new(tokio::spawn(scrape(seen.metrics())));
    let unseen = Server::that_is_silent(&sqlite_url(&files[1]));
    let seen_load = Load::on(&[seen.address()], 8, 256).await;
    let unseen_load = Load::on(&[unseen.address()], 8, 256).await;
    in_turns(table, "A1-seen", [(seen, seen_load), (unseen, unseen_load)], &files, Target::AtLeast(0.95)).await;
    drop(scraping);
    let received = collector.spans().len();
    assert!(received > 0, "the collector was sent spans");
    println!("{received} spans received");
}

/// Scrapes every second, for as long as there is something to scrape.
async fn scrape(address: String) {
    while let Ok(mut socket) = TcpStream::connect(&address).await {
        socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: metrics\r\n\r\n").await.expect("it can be asked");
        let mut response = Vec::new();
        let _ = socket.read_to_end(&mut response).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
