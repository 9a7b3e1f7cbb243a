//! HTTP/2 by hand: frames as no library sends them, on a socket that is read only if its owner wants to.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::hpack;
use crate::tally::Tally;
use crate::wire::Wire;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// Codes of HTTP/2.
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// Settings of HTTP/2.
const HEADER_TABLE_SIZE: u16 = 1;
pub const INITIAL_WINDOW_SIZE: u16 = 4;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest payload that a server has to take.
const FRAME_BYTES: usize = 16_384;

/// How long a connection waits when there is nothing to write and nothing to read.
const TICK: Duration = Duration::from_micros(300);

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// SETTINGS with these values.
pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        values.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// A message of gRPC.
pub fn message(bytes: &[u8]) -> Vec<u8> {
    [&announced(u32::try_from(bytes.len()).unwrap()), bytes].concat()
}

/// The head of a message of so many bytes.
pub fn announced(bytes: u32) -> Vec<u8> {
    [&[0], &bytes.to_be_bytes()[..]].concat()
}

/// A connection of HTTP/2.
pub struct Connection {
    socket: Wire,
    /// Whether what the server sends is read.
    pub reads: bool,
    /// Whether what was read of answers may be sent again.
    pub opens_windows: bool,
    /// Whether the server has ended it.
    pub is_over: bool,
    /// What came of it.
    pub tally: Tally,
    next_stream: u32,
    inbox: Vec<u8>,
    /// Headers of the server that go on in a CONTINUATION.
    partial: Vec<u8>,
    /// How much the server takes, on the connection, on a new stream, and on those that have begun.
    window: i64,
    initial_window: i64,
    windows: HashMap<u32, i64>,
}

impl Connection {
    /// Connects and begins with HTTP/2. `None` if the server cannot be reached.
    pub fn open(address: &str, values: &[(u16, u32)]) -> Option<Self> {
        let mut connection = Self::connect(address)?;
        let values = [&[(HEADER_TABLE_SIZE, 0)], values].concat();
        connection.send(&[PREFACE, &settings(&values)].concat(), Instant::now() + Duration::from_secs(1));
        Some(connection)
    }

    /// Connects and sends nothing.
    pub fn connect(address: &str) -> Option<Self> {
        let address = address.parse().unwrap();
        let socket = Wire::connect(TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?)?;
        Some(Self {
            socket,
            reads: true,
            opens_windows: true,
            is_over: false,
            tally: Tally { connections: 1, ..Tally::default() },
            next_stream: 1,
            inbox: Vec::new(),
            partial: Vec::new(),
            window: 65_535,
            initial_window: 65_535,
            windows: HashMap::new(),
        })
    }

    /// The id of the next stream.
    pub fn stream(&mut self) -> u32 {
        self.tally.calls += 1;
        self.next_stream += 2;
        self.next_stream - 2
    }

    /// Begins a call with this header block; its stream.
    pub fn begin(&mut self, block: &[u8], until: Instant) -> u32 {
        let stream = self.stream();
        self.send(&frame(HEADERS, END_HEADERS, stream, block), until);
        stream
    }

    /// Sends a whole call; its stream.
    pub fn call(&mut self, block: &[u8], body: &[u8], until: Instant) -> u32 {
        let stream = self.stream();
        let frames = [frame(HEADERS, END_HEADERS, stream, block), frame(DATA, END_STREAM, stream, body)];
        self.send(&frames.concat(), until);
        stream
    }

    /// Sends bytes, whatever they are; reads meanwhile. False if they could not be sent in time.
    pub fn send(&mut self, mut bytes: &[u8], until: Instant) -> bool {
        while !bytes.is_empty() && !self.is_over {
            match self.socket.write(bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if Instant::now() >= until {
                        return false;
                    }
                    if !self.read() {
                        std::thread::sleep(TICK);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    // What the server said before it went.
                    self.read();
                    self.end();
                }
            }
        }
        !self.is_over
    }

    /// As much of a stream's body as the server's windows and one frame allow. How much was sent.
    pub fn send_body(&mut self, stream: u32, bytes: &[u8], until: Instant) -> usize {
        let window = self.window.min(*self.windows.entry(stream).or_insert(self.initial_window));
        let length = bytes.len().min(FRAME_BYTES).min(usize::try_from(window).unwrap_or(0));
        if length > 0 && self.send(&frame(DATA, 0, stream, &bytes[..length]), until) {
            let spent = i64::try_from(length).unwrap();
            self.window -= spent;
            self.windows.entry(stream).and_modify(|window| *window -= spent);
        }
        length
    }

    /// Reads until then, or until the server ends the connection.
    pub fn rest(&mut self, until: Instant) {
        self.wait(until, |_| false);
    }

    /// Reads until it is as told, at the latest until then. Whether it is.
    pub fn wait(&mut self, until: Instant, is_met: impl Fn(&Tally) -> bool) -> bool {
        while !is_met(&self.tally) {
            if self.is_over || Instant::now() >= until {
                return false;
            }
            if !self.read() {
                std::thread::sleep(TICK);
            }
        }
        true
    }

    /// Takes what has come. Whether something has.
    pub fn read(&mut self) -> bool {
        if !self.reads || self.is_over {
            return false;
        }
        let mut buffer = [0; 64 * 1024];
        let mut has_read = false;
        // Not for ever: there may be something to send.
        for _ in 0..16 {
            match self.socket.read(&mut buffer) {
                Ok(0) => {
                    self.end();
                    break;
                }
                Ok(count) => {
                    has_read = true;
                    self.inbox.extend(&buffer[..count]);
                    self.take_frames();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    if error.kind() != ErrorKind::WouldBlock {
                        self.end();
                    }
                    break;
                }
            }
        }
        has_read
    }

    fn end(&mut self) {
        if !self.is_over {
            self.is_over = true;
            self.tally.ended += 1;
        }
    }

    fn take_frames(&mut self) {
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = &inbox[..];
        let mut replies = Vec::new();
        while let Some(head) = rest.first_chunk::<9>() {
            let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
            let Some(payload) = rest.get(9..9 + length) else { break };
            let stream = number(&head[5..9]) & 0x7fff_ffff;
            self.take(head[3], head[4], stream, payload, &mut replies);
            rest = &rest[9 + length..];
        }
        self.inbox = rest.to_vec();
        // If there is no room for them, the server may wait.
        let _ = self.socket.write(&replies);
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8], replies: &mut Vec<u8>) {
        match kind {
            DATA => {
                self.tally.bytes += payload.len();
                if self.opens_windows && !payload.is_empty() {
                    let opened = u32::try_from(payload.len()).unwrap().to_be_bytes();
                    replies.extend(frame(WINDOW_UPDATE, 0, 0, &opened));
                    if flags & END_STREAM == 0 {
                        replies.extend(frame(WINDOW_UPDATE, 0, stream, &opened));
                    }
                }
            }
            HEADERS | CONTINUATION => {
                self.partial.extend(payload);
                if flags & END_HEADERS != 0 {
                    let fields = hpack::read(&std::mem::take(&mut self.partial));
                    self.tally.note_headers(fields);
                }
            }
            RST_STREAM => *self.tally.resets.entry(number(payload)).or_default() += 1,
            SETTINGS if flags & ACK == 0 => {
                for value in payload.chunks_exact(6) {
                    if value[..2] == INITIAL_WINDOW_SIZE.to_be_bytes() {
                        let more = i64::from(number(&value[2..])) - self.initial_window;
                        self.initial_window += more;
                        // Also for those that have begun.
                        self.windows.values_mut().for_each(|window| *window += more);
                    }
                }
                replies.extend(frame(SETTINGS, ACK, 0, &[]));
            }
            PING if flags & ACK == 0 => replies.extend(frame(PING, ACK, 0, payload)),
            GOAWAY => *self.tally.goaways.entry(number(&payload[4..8])).or_default() += 1,
            WINDOW_UPDATE if stream == 0 => self.window += i64::from(number(payload)),
            WINDOW_UPDATE => {
                let window = self.windows.entry(stream).or_insert(self.initial_window);
                *window += i64::from(number(payload));
            }
            _ => {}
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}
