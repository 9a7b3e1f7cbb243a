//! Frames of HTTP/2 as bytes, as no library sends them.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(20);

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const WINDOW_UPDATE: u8 = 8;
pub const PRIORITY: u8 = 2;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];
pub const CANCEL: [u8; 4] = [0, 0, 0, 8];

pub const LIST_REASONS: &str = "/disputes.v1.DisputeService/ListReasons";
pub const WATCH: &str = "/disputes.v1.DisputeService/WatchDisputes";

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block without compression: each header as a literal.
pub fn block(path: &str, extra: &[(&str, &str)]) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("x-user-id", "ann"),
    ];
    let mut block = Vec::new();
    for (name, value) in headers.iter().chain(extra) {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A connection of HTTP/2 that has begun.
pub struct Frames {
    socket: TcpStream,
    next_stream: u32,
}

impl Frames {
    /// Sends the preface and empty SETTINGS.
    pub async fn connect(address: impl ToSocketAddrs) -> Self {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        Self { socket, next_stream: 1 }
    }

    /// A stream that was not used yet.
    pub fn stream(&mut self) -> u32 {
        self.next_stream += 2;
        self.next_stream - 2
    }

    /// Sends bytes, frames for instance.
    pub async fn send(&mut self, frames: &[u8]) {
        // A server that has ended the connection takes no more.
        let _ = self.socket.write_all(frames).await;
    }

    /// The next frame. `None` at the end of the connection.
    pub async fn receive(&mut self) -> Option<Received> {
        receive_from(&mut self.socket).await
    }

    /// Reads until this kind of frame comes on this stream; fails if the server says goodbye before that.
    pub async fn wait_for(&mut self, kind: u8, stream: u32) {
        loop {
            let (found, _, on, payload) = self.receive().await.expect("the connection goes on");
            assert_ne!(found, GOAWAY, "{payload:?}");
            if (found, on) == (kind, stream) {
                return;
            }
        }
    }

    /// The code of the GOAWAY with which the server ends the connection.
    pub async fn goodbye(&mut self) -> [u8; 4] {
        goodbye_from(&mut self.socket).await.expect("a GOAWAY")
    }

    /// Sends bytes while it reads, until the server ends the connection: the code of its GOAWAY, if there is one.
    pub async fn goodbye_during(&mut self, frames: &[u8]) -> Option<[u8; 4]> {
        let (mut reader, mut writer) = self.socket.split();
        let send = async {
            let _ = writer.write_all(frames).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            code = goodbye_from(&mut reader) => code,
            () = send => None,
        }
    }

    /// Sends bytes while it reads, until the server has looked at all of them. Fails if it ends the connection.
    pub async fn accepted(&mut self, frames: &[u8]) {
        const MARK: [u8; 8] = *b"the mark";
        let (mut reader, mut writer) = self.socket.split();
        let bytes = [frames, &frame(PING, 0, 0, &MARK)].concat();
        let read = async {
            loop {
                let (kind, flags, _, payload) = receive_from(&mut reader).await.expect("the connection goes on");
                assert_ne!(kind, GOAWAY, "{payload:?}");
                if (kind, flags) == (PING, ACK) && payload == MARK {
                    return;
                }
            }
        };
        tokio::join!(async { writer.write_all(&bytes).await.unwrap() }, read);
    }
}

/// A frame: its kind, its flags, its stream, and what is in it.
pub type Received = (u8, u8, u32, Vec<u8>);

async fn receive_from(reader: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut head = [0; 9];
    timeout(TIMEOUT, reader.read_exact(&mut head)).await.expect("a frame comes").ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    timeout(TIMEOUT, reader.read_exact(&mut payload)).await.expect("its rest comes").ok()?;
    Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

async fn goodbye_from(reader: &mut (impl AsyncRead + Unpin)) -> Option<[u8; 4]> {
    while let Some((kind, _, _, payload)) = receive_from(reader).await {
        if kind == GOAWAY {
            return payload[4..8].try_into().ok();
        }
    }
    None
}
