//! Subscribers that cost little: HTTP/2 and the frames of gRPC, of each event its id alone, and nothing is decoded.

use bytes::{Buf as _, Bytes, BytesMut};
use dispute_service::proto::v1::WatchDisputesRequest;
use h2::RecvStream;
use h2::client::SendRequest;
use prost::Message as _;
use tokio::net::TcpStream;

use super::subscribers::Trail;

/// One connection. Its streams end with the process, or when they are dropped.
pub(crate) struct RawConnection {
    requests: SendRequest<Bytes>,
    authority: String,
}

/// One stream of events.
pub(crate) struct RawStream {
    body: RecvStream,
    held: BytesMut,
    /// What it has seen.
    pub(crate) trail: Trail,
    pub(crate) messages: usize,
}

impl RawConnection {
    /// Lets the server send so many bytes ahead on each stream, and so many on all of them.
    pub(crate) async fn open(address: &str, stream_window: u32, window: u32) -> Self {
        let socket = TcpStream::connect(address).await.expect("a connection");
        socket.set_nodelay(true).expect("an option");
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(stream_window).initial_connection_window_size(window).max_frame_size(65_536);
        let (requests, connection) = builder.handshake(socket).await.expect("a connection");
        tokio::spawn(async move { drop(connection.await) });
        Self { requests, authority: address.to_owned() }
    }

    /// Watches as another service.
    pub(crate) async fn watch(&mut self, request: &WatchDisputesRequest) -> RawStream {
        let head = http::Request::post(format!("http://{}/disputes.v1.DisputeService/WatchDisputes", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-user-id", "shop")
            .header("x-scope", "platform")
            .body(())
            .expect("a request");
        let mut framed = vec![0; 5];
        request.encode(&mut framed).expect("there is room");
        let length = u32::try_from(framed.len() - 5).expect("it is short");
        framed[1..5].copy_from_slice(&length.to_be_bytes());
        let mut requests = self.requests.clone().ready().await.expect("the server takes streams");
        let (response, mut body) = requests.send_request(head, false).expect("a stream");
        body.send_data(framed.into(), true).expect("it is short");
        let response = response.await.expect("a response");
        assert!(response.headers().get("grpc-status").is_none(), "refused: {response:?}");
        let (held, trail) = (BytesMut::new(), Trail::default());
        RawStream { body: response.into_body(), held, trail, messages: 0 }
    }
}

impl RawStream {
    /// Takes what comes next. Returns whether anything came.
    pub(crate) async fn advance(&mut self) -> bool {
        let Some(Ok(data)) = self.body.data().await else { return false };
        self.body.flow_control().release_capacity(data.len()).expect("it was sent");
        self.held.extend_from_slice(&data);
        while let [_, a, b, c, d, rest @ ..] = &self.held[..] {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            if rest.len() < length {
                break;
            }
            self.held.advance(5);
            let message = self.held.split_to(length);
            self.messages += 1;
            self.count(&message);
        }
        true
    }

    /// Reads on until it has seen so many events.
    pub(crate) async fn until(&mut self, events: usize) {
        while self.trail.events < events && self.advance().await {}
    }

    /// The events of a `WatchDisputesResponse`: each is a field 1, and begins with its id, which is its field 1.
    fn count(&mut self, mut message: &[u8]) {
        while let [tag, rest @ ..] = message {
            let (length, rest) = varint(rest);
            let (field, rest) = rest.split_at(length);
            if *tag == 0x0a {
                let [0x0a, inner @ ..] = field else { panic!("an event begins with its id") };
                let (length, inner) = varint(inner);
                self.trail.add_id(&inner[..length]);
            }
            message = rest;
        }
    }
}

/// A length, and what follows it. All fields of the message have one.
fn varint(bytes: &[u8]) -> (usize, &[u8]) {
    let mut length = 0;
    for (index, byte) in bytes.iter().enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return (length, &bytes[index + 1..]);
        }
    }
    panic!("a length without an end")
}
