//! What operators see: metrics, traces and the log of the real program.

mod canary;
mod logs;
mod metrics;
mod systemd;
mod traces;

use std::path::Path;
use std::time::Duration;

use dispute_service::clock::pause;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

use crate::support::binary::{Binary, program};

/// The program on a SQLite database of its own, with these flags beside it, and the address of its metrics.
async fn serve(folder: &Path, flags: &[&str], rust_log: &str) -> (Binary, String) {
    let database = format!("sqlite://{}?mode=rwc", folder.join("disputes.db").display());
    serve_on(&database, flags, rust_log).await
}

/// The same on this database.
async fn serve_on(database: &str, flags: &[&str], rust_log: &str) -> (Binary, String) {
    let base = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--database-url", database];
    let arguments: Vec<_> = base.iter().chain(flags).map(|argument| (*argument).to_owned()).collect();
    // Spans are sent twenty times a second.
    let environment = [
        ("RUST_LOG", rust_log),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ];
    let server = Binary::launch_with(&program(), &arguments, &environment).unwrap();
    for _ in 0..200 {
        let log = server.log();
        let line = log.lines().find(|line| line.contains("metrics are served"));
        if let Some(at) = line.and_then(|line| line.find("127.0.0.1:").map(|at| (line, at))) {
            let (line, at) = at;
            let address: String = line[at..].chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
            return (server, address);
        }
        pause(Duration::from_millis(10)).await;
    }
    panic!("it does not say where the metrics are: {}", server.log());
}

/// Asks over HTTP/1. Returns the head of the response and its body.
async fn ask(address: &str, request: &str, accept: &str) -> (String, Vec<u8>) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: metrics\r\naccept: {accept}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    socket.read_to_end(&mut response).await.unwrap();
    let end = response.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8(response[..end].to_vec()).unwrap(), response[end + 4..].to_vec())
}

async fn scrape(address: &str, accept: &str) -> (String, String) {
    let (head, body) = ask(address, "GET /metrics", accept).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    (head, String::from_utf8(body).unwrap())
}

async fn connect(server: &Binary) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap()
}
