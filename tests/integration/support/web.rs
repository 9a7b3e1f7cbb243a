//! Callers by gRPC-Web: the bare messages, over HTTP/1.1 and over HTTP/2.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tonic::Status;

use super::h2_client::H2Client;

/// The flag of the frame that holds the trailers.
const TRAILERS: u8 = 0x80;

/// One connection of HTTP/1.1, for one request.
pub struct WebClient<S = TcpStream> {
    stream: BufReader<S>,
}

/// What came of a request.
#[derive(Debug)]
pub struct WebResponse {
    pub status: u16,
    pub headers: HeaderMap,
    /// All of it, if it is not of a stream.
    pub body: Vec<u8>,
}

impl WebClient {
    /// Connects to `host:port`.
    pub async fn connect(address: impl ToString) -> Self {
        Self::over(TcpStream::connect(address.to_string()).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebClient<S> {
    /// A client on this connection.
    pub fn over(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// A request for `localhost` as it stands on the wire.
    pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        [head.as_bytes(), b"\r\n", body].concat()
    }

    /// Sends a request and reads all of its response.
    pub async fn ask(mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> WebResponse {
        self.send(&Self::request(method, path, headers, body)).await;
        self.response(method).await
    }

    /// Makes a call in the binary form.
    pub async fn call(self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> WebResponse {
        self.ask("POST", path, &[&[("content-type", "application/grpc-web+proto")], headers].concat(), body).await
    }

    /// Reads a response to a request of this method.
    pub async fn response(&mut self, method: &str) -> WebResponse {
        let mut response = self.head().await;
        assert_eq!(response.headers.get("connection").unwrap(), "close", "a connection has one request");
        if response.headers.contains_key("transfer-encoding") {
            while let Some(chunk) = self.chunk().await {
                response.body.extend(chunk);
            }
        } else if method != "HEAD" {
            let length = response.headers.get("content-length").map_or("0", |length| length.to_str().unwrap());
            response.body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut response.body).await.unwrap();
        }
        response
    }

    /// Reads the head of a response.
    pub async fn head(&mut self) -> WebResponse {
        let line = self.line().await;
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no status: {line:?}")).parse().unwrap();
        let mut headers = HeaderMap::new();
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        WebResponse { status, headers, body: Vec::new() }
    }

    /// The same, unless the server closes the connection before.
    pub async fn try_head(mut self) -> Option<WebResponse> {
        self.stream.fill_buf().await.is_ok_and(|bytes| !bytes.is_empty()).then_some(())?;
        Some(self.head().await)
    }

    /// The next chunk of a body; `None` at its end.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(&self.line().await, 16).unwrap();
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(self.line().await, "");
        (length > 0).then_some(bytes)
    }

    /// Returns once the server has closed the connection, with what it sent before.
    pub async fn closed(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end too.
        let _ = self.stream.read_to_end(&mut bytes).await;
        bytes
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.trim_end_matches("\r\n").to_owned()
    }
}

impl WebResponse {
    /// The messages, and the status; its body may be in base64.
    pub fn answer(&self) -> (Vec<Vec<u8>>, Status) {
        let content_type = self.headers.get("content-type").unwrap().to_str().unwrap();
        let body = match content_type {
            "application/grpc-web-text+proto" => decode_text(&self.body),
            "application/grpc-web+proto" => self.body.clone(),
            other => panic!("{other} is not gRPC-Web"),
        };
        let (messages, trailers) = frames(&body);
        let status = Status::from_header_map(trailers.as_ref().unwrap_or(&self.headers));
        (messages, status.unwrap_or_else(|| panic!("no status of gRPC: {self:?}")))
    }

    /// The status.
    pub fn grpc_status(&self) -> Status {
        self.answer().1
    }

    /// A header, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Pieces of base64, each of which may end with `=`.
fn decode_text(body: &[u8]) -> Vec<u8> {
    body.chunks(4).flat_map(|piece| STANDARD.decode(piece).unwrap()).collect()
}

/// The messages in a body, and the trailers if they are there.
pub fn frames(mut body: &[u8]) -> (Vec<Vec<u8>>, Option<HeaderMap>) {
    let (mut messages, mut trailers) = (Vec::new(), None);
    while let [flag, a, b, c, d, rest @ ..] = body {
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap();
        let (frame, rest) = rest.split_at(length);
        assert!(trailers.is_none(), "nothing follows the trailers");
        if *flag == TRAILERS {
            trailers = Some(read_trailers(frame));
        } else {
            messages.push(frame.to_vec());
        }
        body = rest;
    }
    assert!(body.is_empty(), "a frame is not complete: {body:?}");
    (messages, trailers)
}

fn read_trailers(frame: &[u8]) -> HeaderMap {
    let lines = std::str::from_utf8(frame).unwrap().split_terminator("\r\n");
    let fields = lines.map(|line| line.split_once(':').unwrap());
    fields
        .map(|(name, value)| (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value.trim()).unwrap()))
        .collect()
}

/// A request over HTTP/2.
pub async fn ask_over_http2(
    client: &H2Client,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> WebResponse {
    let response = client.request(method, path, headers, body).send().await;
    assert!(response.trailers.is_empty(), "a browser does not see them");
    let head = response.head;
    WebResponse { status: head.status().as_u16(), headers: head.headers().clone(), body: response.body }
}

/// A message in its frame.
pub fn framed(message: &impl prost::Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    [&[0][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), &bytes].concat()
}

/// The same in base64.
pub fn in_text(body: &[u8]) -> Vec<u8> {
    STANDARD.encode(body).into_bytes()
}
