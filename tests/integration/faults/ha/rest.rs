//! Patroni's REST API.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long an answer may take; a switchover takes longer, and needs none.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the Patroni at this port, as the user `patroni` with the password `secret`. Returns the status and the JSON, if
/// there is any; `None` if nobody answers.
pub async fn ask(port: u16, request: &str, body: &str) -> Option<(u16, Value)> {
    let length = body.len();
    let request = format!(
        "{request} HTTP/1.1\r\nhost: patroni\r\nconnection: close\r\nauthorization: Basic cGF0cm9uaTpzZWNyZXQ=\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    let answer = async {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(TIMEOUT, answer).await.ok()?.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or_default()))
}
