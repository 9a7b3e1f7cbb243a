//! Resume tokens: a place in the log of one database, that can be recognised again.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::domain::{DisputeId, EventId, Timestamp};

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

    /// This place, or another one of the same past if that is further.
    pub fn or_further(self, other: Self) -> Self {
        if other.seq > self.seq { other } else { self }
    }

    /// Just after the event at `seq`, if there is one; the beginning of all has none before it.
    pub fn at(seq: i64, event: Option<EventId>) -> Self {
        event.map_or(Self { seq, check: 0 }, |event| Self::after(seq, event))
    }
}

/// What a client keeps to go on from where it was. Opaque; grants no rights.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResumeToken {
    /// The log, by the random id that it was given when it was made.
    pub epoch: Uuid,
    /// The place in it.
    pub position: Position,
    /// The furthest place that whoever was given this token was told of: beyond `position` if a snapshot, which is read
    /// later than where its stream goes on, has shown what is there. If that is lost, it is not true what was told.
    pub told: Position,
    /// The snapshot that the stream began with, as far as it still matters.
    pub snapshot: SnapshotState,
}

/// What a stream has still to remember of the snapshot that it began with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SnapshotState {
    /// Nothing.
    Over,
    /// It is not complete: who resumes here is shown it again.
    Incomplete,
    /// It is complete, and shows some of the events that follow.
    Shown(Shown),
}

/// What a snapshot has shown, for who resumes before everything has gone by that is in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// To whom and of what, digested: to another it has shown something else.
    pub of: Uuid,
    /// The pages, in order; at least one.
    pub pages: Vec<ShownPage>,
}

/// A page of a snapshot: disputes in the order of their keys, as they were when the log had this head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShownPage {
    /// The key of the last dispute: when it was created, and its id.
    pub up_to: (Timestamp, DisputeId),
    /// The number of the last event that is behind what the page shows.
    pub head: i64,
}

/// A text that is no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is not a resume token")]
pub struct InvalidToken;

/// The first byte of a token: its layout, and what it is of.
const LIVE: u8 = 1;
const IN_SNAPSHOT: u8 = 2;
const AFTER_SNAPSHOT: u8 = 3;
const TOLD_OF_MORE: u8 = 4;

/// How many pages a token can tell of. Of more there is no token: who resumes there is shown the snapshot again.
pub const TOKEN_PAGES: usize = 64;

impl ResumeToken {
    /// The token of a place, for whoever was told of nothing that lies beyond.
    pub fn of(epoch: Uuid, position: Position) -> Self {
        Self { epoch, position, told: position, snapshot: SnapshotState::Over }
    }

    /// The token of a later place.
    pub fn moved_to(self, position: Position) -> Self {
        Self { position, told: position.or_further(self.told), ..self }
    }

    /// The token as text.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(33);
        bytes.push(match &self.snapshot {
            SnapshotState::Over if self.told == self.position => LIVE,
            SnapshotState::Over => TOLD_OF_MORE,
            SnapshotState::Incomplete => IN_SNAPSHOT,
            SnapshotState::Shown(_) => AFTER_SNAPSHOT,
        });
        bytes.extend(self.epoch.as_bytes());
        bytes.extend(self.position.seq.to_be_bytes());
        bytes.extend(self.position.check.to_be_bytes());
        if bytes.first() != Some(&LIVE) {
            bytes.extend(self.told.seq.to_be_bytes());
            bytes.extend(self.told.check.to_be_bytes());
        }
        if let SnapshotState::Shown(shown) = &self.snapshot {
            bytes.extend(shown.of.as_bytes());
            for ShownPage { up_to: (time, id), head } in &shown.pages {
                bytes.extend(time.micros().to_be_bytes());
                bytes.extend(id.0.as_bytes());
                bytes.extend(head.to_be_bytes());
            }
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token.
    pub fn decode(text: &str) -> Result<Self, InvalidToken> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidToken)?;
        let (version, rest) = bytes.split_first_chunk::<1>().ok_or(InvalidToken)?;
        let (epoch, rest) = rest.split_first_chunk::<16>().ok_or(InvalidToken)?;
        let (position, rest) = decode_position(rest).ok_or(InvalidToken)?;
        let (told, rest) = match *version {
            [LIVE] => (position, rest),
            _ => decode_position(rest).ok_or(InvalidToken)?,
        };
        let snapshot = match *version {
            [LIVE | TOLD_OF_MORE] if rest.is_empty() => SnapshotState::Over,
            [IN_SNAPSHOT] if rest.is_empty() => SnapshotState::Incomplete,
            [AFTER_SNAPSHOT] => SnapshotState::Shown(decode_shown(rest).ok_or(InvalidToken)?),
            _ => return Err(InvalidToken),
        };
        if position.seq < 0 || told.seq < position.seq {
            return Err(InvalidToken);
        }
        Ok(Self { epoch: Uuid::from_bytes(*epoch), position, told, snapshot })
    }
}

fn decode_position(bytes: &[u8]) -> Option<(Position, &[u8])> {
    let (seq, rest) = bytes.split_first_chunk::<8>()?;
    let (check, rest) = rest.split_first_chunk::<8>()?;
    Some((Position { seq: i64::from_be_bytes(*seq), check: u64::from_be_bytes(*check) }, rest))
}

fn decode_shown(bytes: &[u8]) -> Option<Shown> {
    let (of, mut bytes) = bytes.split_first_chunk::<16>()?;
    let mut pages = Vec::new();
    while !bytes.is_empty() {
        let (time, rest) = bytes.split_first_chunk::<8>()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (head, rest) = rest.split_first_chunk::<8>()?;
        let up_to = (Timestamp::from_micros(i64::from_be_bytes(*time))?, DisputeId(Uuid::from_bytes(*id)));
        pages.push(ShownPage { up_to, head: i64::from_be_bytes(*head) });
        bytes = rest;
    }
    let is_ours = (1..=TOKEN_PAGES).contains(&pages.len())
        && pages.is_sorted_by_key(|page| page.up_to)
        && pages.is_sorted_by_key(|page| page.head);
    is_ours.then_some(Shown { of: Uuid::from_bytes(*of), pages })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(snapshot: SnapshotState) -> ResumeToken {
        let position = Position { seq: i64::MAX - 1, check: u64::MAX };
        let told = Position { seq: i64::MAX, check: u64::MAX - 1 };
        ResumeToken { epoch: Uuid::from_u128(7), position, told, snapshot }
    }

    fn page(number: i64) -> ShownPage {
        let id = DisputeId(Uuid::from_u128(number.unsigned_abs().into()));
        ShownPage { up_to: (Timestamp::from_micros(number / 2).unwrap(), id), head: number * 10 }
    }

    fn shown(pages: impl IntoIterator<Item = i64>) -> SnapshotState {
        let pages = pages.into_iter().map(page).collect();
        SnapshotState::Shown(Shown { of: Uuid::from_u128(9), pages })
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        for snapshot in [SnapshotState::Over, SnapshotState::Incomplete, shown(1..=1), shown(1..=2), shown(1..=64)] {
            let token = token(snapshot);
            assert_eq!(ResumeToken::decode(&token.encode()), Ok(token));
        }
        let live = ResumeToken::of(Uuid::from_u128(7), Position { seq: 3, check: 9 });
        assert_eq!(ResumeToken::decode(&live.encode()), Ok(live));
    }

    #[test]
    fn anything_else_is_no_token() {
        let at = |seq| ResumeToken::of(Uuid::from_u128(7), Position { seq, check: 2 });
        let (live, negative) = (at(1).encode(), at(-1).encode());
        let told_of_less = ResumeToken { told: at(1).position, ..at(2) }.encode();
        let longer = format!("{live}AAAA");
        let [unsorted, many, none, one] =
            [shown([9, 1]), shown(1..=65), shown([]), shown([1])].map(|s| token(s).encode());
        let cut = &one[..80];
        let texts = [
            "",
            "x",
            "nonsense",
            "ÿ",
            &live[1..],
            &live[..40],
            &longer,
            &negative,
            &told_of_less,
            &unsorted,
            &many,
            cut,
            &none,
        ];
        for text in texts {
            assert_eq!(ResumeToken::decode(text), Err(InvalidToken), "{text}");
        }
    }
}
