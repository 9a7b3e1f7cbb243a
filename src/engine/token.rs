//! Resume tokens: a place in the log of one database, that can be recognised again.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::domain::EventId;

/// A place in the log: just after the event at `seq`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The number of the last event before it; 0 is the beginning.
    pub seq: i64,
    /// A check of that event, by which another past of the same log is recognised; 0 if there is none.
    pub check: u64,
}

impl Position {
    /// Just after an event.
    pub fn after(seq: i64, event: EventId) -> Self {
        // The second half of a UUIDv7 is random.
        let (_, check) = event.0.as_u64_pair();
        Self { seq, check }
    }

    /// The beginning of the kept history, of which no event is left to check.
    pub fn beginning(floor: i64) -> Self {
        Self { seq: floor, check: 0 }
    }
}

/// What a client keeps to go on from where it was. Opaque; grants no rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResumeToken {
    /// The log, by the random id that it was given when it was made.
    pub epoch: Uuid,
    /// The place in it.
    pub position: Position,
    /// Whether it is of a snapshot that was not complete: resuming a stream from it repeats the snapshot.
    pub in_snapshot: bool,
}

/// A text that is no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is not a resume token")]
pub struct InvalidToken;

/// The first byte of a token: its layout, and what it is of.
const LIVE: u8 = 1;
const IN_SNAPSHOT: u8 = 2;

impl ResumeToken {
    /// The token as text.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(33);
        bytes.push(if self.in_snapshot { IN_SNAPSHOT } else { LIVE });
        bytes.extend(self.epoch.as_bytes());
        bytes.extend(self.position.seq.to_be_bytes());
        bytes.extend(self.position.check.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token.
    pub fn decode(text: &str) -> Result<Self, InvalidToken> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidToken)?;
        let (version, rest) = bytes.split_first_chunk::<1>().ok_or(InvalidToken)?;
        let (epoch, rest) = rest.split_first_chunk::<16>().ok_or(InvalidToken)?;
        let (seq, rest) = rest.split_first_chunk::<8>().ok_or(InvalidToken)?;
        let check = <[u8; 8]>::try_from(rest).map_err(|_| InvalidToken)?;
        let seq = i64::from_be_bytes(*seq);
        let in_snapshot = match *version {
            [LIVE] => false,
            [IN_SNAPSHOT] => true,
            _ => return Err(InvalidToken),
        };
        if seq < 0 {
            return Err(InvalidToken);
        }
        let position = Position { seq, check: u64::from_be_bytes(check) };
        Ok(Self { epoch: Uuid::from_bytes(*epoch), position, in_snapshot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        for in_snapshot in [false, true] {
            let position = Position { seq: i64::MAX, check: u64::MAX };
            let token = ResumeToken { epoch: Uuid::from_u128(7), position, in_snapshot };
            assert_eq!(ResumeToken::decode(&token.encode()), Ok(token));
        }
    }

    #[test]
    fn anything_else_is_no_token() {
        let at = |seq| {
            let position = Position { seq, check: 2 };
            ResumeToken { epoch: Uuid::from_u128(7), position, in_snapshot: false }.encode()
        };
        let (token, negative) = (at(1), at(-1));
        let longer = format!("{token}AAAA");
        for text in ["", "x", "nonsense", "ÿ", &token[1..], &token[..40], &longer, &negative] {
            assert_eq!(ResumeToken::decode(text), Err(InvalidToken), "{text}");
        }
    }
}
