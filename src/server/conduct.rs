//! What one connection may do besides calls: cancel some, make errors, and send frames that belong to no call.
//!
//! Each of these is cheap for the client and costs the server work, and none counts as a call in flight, so HTTP/2's
//! limit on concurrent calls does not bound them. The transport limits some of them itself; these limits cover all, and
//! count what passes over the wire.

use std::time::Duration;

use super::frames::{CONTINUATION, DATA, END_STREAM, Frame, HEADERS, RST_STREAM};
use crate::clock::{RealInstant, real_now};

/// How many calls a client may cancel at once. A hundred together are innocent, and a proxy carries many clients.
const CANCELLED_AT_ONCE: u32 = 5_000;

/// How many it may cancel per second in the long run: a client that hedges cancels every other call.
const CANCELLED_PER_SECOND: u32 = 500;

/// How many frames outside calls a client may send at once: SETTINGS, PING, WINDOW_UPDATE, PRIORITY, empty DATA.
const IDLE_AT_ONCE: u32 = 10_000;

/// How many such frames it may send per second in the long run.
const IDLE_PER_SECOND: u32 = 1_000;

/// How many more it may send for each frame of a response: two window updates, and a ping that measures the round trip.
const IDLE_PER_ANSWER: u32 = 4;

/// The error codes of a reset that are not the client's error: none, refused, cancelled.
const INNOCENT: [u32; 3] = [ANSWERED_EARLY, 7, 8];

/// The error code of a stream that was answered before its message was read.
const ANSWERED_EARLY: u32 = 0;

/// The error code with which DATA on an ended stream is refused.
const STREAM_CLOSED: u32 = 5;

/// How many DATA frames may be in transit on a stream that is answered early: a window of 1 MiB.
const UNDER_WAY: u32 = 64;

/// On at most this many such streams together.
const ANSWERED_EARLY_AT_ONCE: u32 = 100;

/// Why a connection has to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Misconduct {
    /// Too many calls were cancelled.
    Cancelled,
    /// Too many streams had to be reset because of the client's errors.
    Errors,
    /// Too many frames that belong to no call.
    Idle,
}

impl Misconduct {
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Cancelled => "it cancelled too many calls",
            Self::Errors => "it caused too many errors",
            Self::Idle => "it sent too many frames that belong to no call",
        }
    }
}

/// The counters of one connection.
#[derive(Debug)]
pub(super) struct Conduct {
    cancelled: Bucket,
    idle: Bucket,
    /// How many more errors are tolerated; `None` for no limit.
    errors_left: Option<u32>,
    /// How many DATA frames may be in transit on streams that have ended.
    under_way: u32,
}

impl Conduct {
    /// A client whose errors may reset this many streams; 0 for no limit.
    pub(super) fn new(max_errors: u32) -> Self {
        Self {
            cancelled: Bucket::new(CANCELLED_AT_ONCE, CANCELLED_PER_SECOND),
            idle: Bucket::new(IDLE_AT_ONCE, IDLE_PER_SECOND),
            errors_left: (max_errors > 0).then_some(max_errors),
            under_way: 0,
        }
    }

    /// How many more errors are tolerated; `None` for no limit.
    pub(super) fn errors_left(&self) -> Option<u32> {
        self.errors_left
    }

    /// Records a frame that the client sent.
    pub(super) fn received(&mut self, frame: &Frame) -> Result<(), Misconduct> {
        match frame.kind {
            RST_STREAM => self.cancelled.take().ok_or(Misconduct::Cancelled),
            // The transport limits what follows HEADERS, and how small DATA may be.
            HEADERS | CONTINUATION => Ok(()),
            DATA if frame.length > 0 || frame.flags & END_STREAM != 0 => Ok(()),
            _ => self.idle.take().ok_or(Misconduct::Idle),
        }
    }

    /// Records a frame that the server sent.
    pub(super) fn sent(&mut self, frame: &Frame) -> Result<(), Misconduct> {
        match frame.kind {
            DATA | HEADERS => self.idle.add(IDLE_PER_ANSWER),
            RST_STREAM if frame.code == ANSWERED_EARLY => {
                let most = UNDER_WAY.saturating_mul(ANSWERED_EARLY_AT_ONCE);
                self.under_way = self.under_way.saturating_add(UNDER_WAY).min(most);
            }
            RST_STREAM if frame.code == STREAM_CLOSED && self.under_way > 0 => {
                self.under_way = self.under_way.saturating_sub(1);
            }
            RST_STREAM if !INNOCENT.contains(&frame.code) => {
                if let Some(left) = &mut self.errors_left {
                    *left = left.checked_sub(1).ok_or(Misconduct::Errors)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A token bucket. The clock is read only when it is empty.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    most: u32,
    per_second: u32,
    filled: RealInstant,
}

impl Bucket {
    fn new(most: u32, per_second: u32) -> Self {
        Self { tokens: most, most, per_second, filled: real_now() }
    }

    fn take(&mut self) -> Option<()> {
        if self.tokens == 0 {
            let now = real_now();
            self.fill(now.saturating_duration_since(self.filled));
            self.filled = now;
        }
        self.tokens = self.tokens.checked_sub(1)?;
        Some(())
    }

    fn fill(&mut self, passed: Duration) {
        let tokens = passed.as_millis().saturating_mul(u128::from(self.per_second)) / 1_000;
        self.add(u32::try_from(tokens).unwrap_or(u32::MAX));
    }

    fn add(&mut self, tokens: u32) {
        self.tokens = self.tokens.saturating_add(tokens).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, code: u32) -> Frame {
        Frame { length: 4, kind, flags: 0, stream: 1, code }
    }

    #[test]
    fn a_burst_is_innocent_and_what_follows_it_has_a_rate() {
        let mut bucket = Bucket::new(3, 10);
        assert_eq!([bucket.take(), bucket.take(), bucket.take()], [Some(()); 3]);
        bucket.filled = real_now();
        assert_eq!(bucket.take(), None);
        bucket.fill(Duration::from_millis(200));
        assert_eq!([bucket.take(), bucket.take()], [Some(()); 2]);
        bucket.filled = real_now();
        assert_eq!(bucket.take(), None);
        bucket.fill(Duration::from_secs(3_600));
        assert_eq!(bucket.tokens, 3);
    }

    #[test]
    fn answers_earn_what_a_client_sends_to_take_them() {
        let mut conduct = Conduct::new(0);
        for _ in 0..IDLE_AT_ONCE {
            conduct.received(&frame(PING, 0)).unwrap();
            conduct.received(&frame(PING, 0)).unwrap();
            conduct.sent(&frame(DATA, 0)).unwrap();
        }
        assert_eq!(conduct.idle.tokens, IDLE_AT_ONCE);
    }

    #[test]
    fn errors_are_counted_and_what_is_none_is_not() {
        let mut conduct = Conduct::new(2);
        for code in [INNOCENT.as_slice(), &[1, 3]].concat() {
            conduct.sent(&frame(RST_STREAM, code)).unwrap();
        }
        assert_eq!(conduct.sent(&frame(RST_STREAM, 1)), Err(Misconduct::Errors));
        let mut conduct = Conduct::new(1);
        conduct.sent(&frame(RST_STREAM, ANSWERED_EARLY)).unwrap();
        for _ in 0..UNDER_WAY + 1 {
            conduct.sent(&frame(RST_STREAM, STREAM_CLOSED)).unwrap();
        }
        assert_eq!(conduct.sent(&frame(RST_STREAM, STREAM_CLOSED)), Err(Misconduct::Errors));
        let mut conduct = Conduct::new(0);
        assert!((0..10_000).all(|_| conduct.sent(&frame(RST_STREAM, 1)).is_ok()));
    }
}
