//! A client of bare HTTP/2: what no gRPC library would send.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::Status;

/// One connection.
pub struct H2Client {
    address: String,
    requests: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

/// A call that is being sent.
pub struct H2Call {
    request: Request<()>,
    requests: SendRequest<Bytes>,
    body: Bytes,
}

/// A call of which more will be sent.
pub struct H2Upload {
    body: SendStream<Bytes>,
    response: ResponseFuture,
}

/// What came of a call.
pub struct H2Response {
    /// The status and the headers.
    pub head: Response<()>,
    /// The data.
    pub body: Vec<u8>,
    /// The trailers; empty if there were none.
    pub trailers: HeaderMap,
}

impl H2Client {
    /// Connects to `host:port`.
    pub async fn connect(address: &str) -> Self {
        Self::try_connect(address).await.unwrap()
    }

    /// The same, taking nothing of any answer: it opens no window.
    pub async fn connect_without_window(address: &str) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        let (requests, connection) = h2::client::Builder::new().initial_window_size(0).handshake(socket).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        Self { address: address.to_owned(), requests, connection }
    }

    /// The same, if that is possible. A server that has no room may end the connection just afterwards.
    pub async fn try_connect(address: &str) -> Option<Self> {
        let socket = TcpStream::connect(address).await.ok()?;
        let (requests, connection) = h2::client::handshake(socket).await.ok()?;
        let connection = tokio::spawn(async move { drop(connection.await) });
        Some(Self { address: address.to_owned(), requests, connection })
    }

    /// A POST as gRPC sends it, with these headers beside, or instead; those with an empty name are left out.
    pub fn call(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> H2Call {
        self.request(
            "POST",
            path,
            &[&[("content-type", "application/grpc"), ("te", "trailers")], headers].concat(),
            body,
        )
    }

    /// Any request.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> H2Call {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let body = Bytes::copy_from_slice(body);
        H2Call { request: request.body(()).unwrap(), requests: self.requests.clone(), body }
    }
}

impl Drop for H2Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl H2Call {
    /// Sends all of it.
    pub async fn send(self) -> H2Response {
        self.sent(true).await
    }

    /// Sends it without its end. Answers the status that comes nevertheless.
    pub async fn unfinished(self) -> Status {
        self.sent(false).await.status()
    }

    /// Sends all of it, and waits for the headers of the response alone.
    pub async fn head(self) -> Response<RecvStream> {
        let mut requests = self.requests.ready().await.unwrap();
        let (response, mut body) = requests.send_request(self.request, false).unwrap();
        body.send_data(self.body, true).unwrap();
        response.await.unwrap()
    }

    /// Sends it without its end.
    pub async fn begin(self) -> H2Upload {
        self.begun(false).await
    }

    /// Sends all of it, for a response that goes on.
    pub async fn begin_stream(self) -> H2Upload {
        self.begun(true).await
    }

    async fn sent(self, is_whole: bool) -> H2Response {
        self.begun(is_whole).await.response().await
    }

    async fn begun(self, is_whole: bool) -> H2Upload {
        let mut requests = self.requests.ready().await.unwrap();
        let (response, mut body) = requests.send_request(self.request, false).unwrap();
        // A server that has answered already takes no more.
        let _ = body.send_data(self.body, is_whole);
        H2Upload { body, response }
    }
}

impl H2Upload {
    /// Sends more of it, if the server takes more.
    pub fn push(&mut self, bytes: &[u8], is_end: bool) {
        let _ = self.body.send_data(Bytes::copy_from_slice(bytes), is_end);
    }

    /// Waits for what comes of it; nothing more is sent meanwhile.
    pub async fn response(self) -> H2Response {
        let (head, mut stream) = self.response.await.unwrap().into_parts();
        let mut data = Vec::new();
        while let Some(Ok(bytes)) = stream.data().await {
            let _ = stream.flow_control().release_capacity(bytes.len());
            data.extend(bytes);
        }
        let trailers = stream.trailers().await.ok().flatten().unwrap_or_default();
        H2Response { head: Response::from_parts(head, ()), body: data, trailers }
    }

    /// Waits for the beginning of a stream, which goes on for as long as the result is held.
    pub async fn stream(self) -> (SendStream<Bytes>, Response<RecvStream>) {
        (self.body, self.response.await.unwrap())
    }
}

impl H2Response {
    /// The status of gRPC.
    pub fn status(&self) -> Status {
        Status::from_header_map(self.head.headers())
            .or_else(|| Status::from_header_map(&self.trailers))
            .unwrap_or_else(|| panic!("no status of gRPC: {:?}", self.head))
    }
}
