//! Resume tokens: a place in the log of one database, that can be recognised again.

use uuid::Uuid;

use super::sealing::{Purpose, Sealer};
use crate::domain::{DisputeId, EventId, Timestamp};
use crate::repository::LogId;

/// A place in the log: just after the event at `seq`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The number of the last event before it; 0 is the beginning.
    pub seq: i64,
    /// A check of that event, by which a rollback of the same log is recognised; 0 if there is none.
    pub check: u64,
}

impl Position {
    /// Just after an event.
    pub fn after(seq: i64, event: EventId) -> Self {
        // The second half of a UUIDv7 is random.
        let (_, check) = event.0.as_u64_pair();
        Self { seq, check }
    }

    /// This place, or another one of the same generation if that is further.
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
    /// The log.
    pub log: LogId,
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

/// A page of a snapshot: disputes in the order of their keys, as they were when the log had this last event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShownPage {
    /// The key of the last dispute: when it was created, and its id.
    pub up_to: (Timestamp, DisputeId),
    /// The number of the last event that is behind what the page shows.
    pub last_seq: i64,
}

/// Why a text is not a token of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    /// No service has made it, or it was changed since.
    #[error("is not a token")]
    Malformed,
    /// It looks like a token of another log, whose key is not known.
    #[error("is a token of another log")]
    OtherLog,
}

/// The first word of a token: what follows.
const OVER: u64 = 0;
const INCOMPLETE: u64 = 1;
const SHOWN: u64 = 2;

/// How many pages a token can tell of. Of more there is no token: who resumes there is shown the snapshot again.
pub(super) const TOKEN_PAGES: usize = 64;

impl ResumeToken {
    /// The token of a place, for whoever was told of nothing that lies beyond.
    pub fn of(log: LogId, position: Position) -> Self {
        Self { log, position, told: position, snapshot: SnapshotState::Over }
    }

    /// The token of a later place.
    pub fn moved_to(self, position: Position) -> Self {
        Self { position, told: position.or_further(self.told), ..self }
    }

    /// The token as text: sealed, and bound to nobody. All are of one length, but for those that tell of pages: these are
    /// of a few lengths, and tell their number to within a factor of two.
    pub fn encode(&self) -> String {
        let [at, told] = [self.position, self.told].map(|place| [place.seq.cast_unsigned(), place.check]);
        let start = |what: u64| [what, at[0], at[1], told[0], told[1]].map(u64::to_be_bytes);
        let seal =
            |words: &mut [[u8; 8]]| Sealer::new(self.log).seal(Purpose::Resume, Uuid::nil(), words.as_flattened_mut());
        match &self.snapshot {
            SnapshotState::Over => seal(&mut start(OVER)),
            SnapshotState::Incomplete => seal(&mut start(INCOMPLETE)),
            SnapshotState::Shown(Shown { of, pages }) => {
                let (high, low) = of.as_u64_pair();
                let mut words = start(SHOWN).to_vec();
                words.extend([high, low, u64::try_from(pages.len()).unwrap_or(u64::MAX)].map(u64::to_be_bytes));
                words.extend(pages.iter().flat_map(|page| page.words()).map(u64::to_be_bytes));
                let missing = pages.len().next_power_of_two().saturating_sub(pages.len());
                words.resize(words.len().saturating_add(missing.saturating_mul(PAGE_WORDS)), [0; 8]);
                seal(&mut words)
            }
        }
    }

    /// Reads a token of this log.
    pub fn decode(text: &str, log: LogId) -> Result<Self, TokenError> {
        let plain = Sealer::new(log).open(Purpose::Resume, Uuid::nil(), text)?;
        Self::read(&plain, log).ok_or(TokenError::Malformed)
    }

    /// What is in a token that was opened; `None` if no release has written it.
    fn read(plain: &[u8], log: LogId) -> Option<Self> {
        let words: Vec<u64> = plain.as_chunks().0.iter().map(|word| u64::from_be_bytes(*word)).collect();
        let (&[what, seq, check, told_seq, told_check], rest) = words.split_first_chunk()?;
        let position = Position { seq: seq.cast_signed(), check };
        let told = Position { seq: told_seq.cast_signed(), check: told_check };
        let snapshot = match what {
            OVER if rest.is_empty() => SnapshotState::Over,
            INCOMPLETE if rest.is_empty() => SnapshotState::Incomplete,
            SHOWN => SnapshotState::Shown(Shown::read(rest)?),
            _ => return None,
        };
        (position.seq >= 0 && told.seq >= position.seq).then_some(Self { log, position, told, snapshot })
    }
}

/// How many words tell of a page.
const PAGE_WORDS: usize = 4;

impl Shown {
    fn read(words: &[u64]) -> Option<Self> {
        let (&[high, low, count], rest) = words.split_first_chunk()?;
        let count = usize::try_from(count).ok().filter(|count| (1..=TOKEN_PAGES).contains(count))?;
        let (pages, left) = rest.as_chunks().0.split_at_checked(count)?;
        let pages: Vec<_> = pages.iter().map(ShownPage::read).collect::<Option<_>>()?;
        let is_ours = left.iter().flatten().all(|word| *word == 0)
            && pages.is_sorted_by_key(|page| page.up_to)
            && pages.is_sorted_by_key(|page| page.last_seq);
        is_ours.then_some(Self { of: Uuid::from_u64_pair(high, low), pages })
    }
}

impl ShownPage {
    fn words(&self) -> [u64; PAGE_WORDS] {
        let (time, id) = self.up_to;
        let (high, low) = id.0.as_u64_pair();
        [time.micros().cast_unsigned(), high, low, self.last_seq.cast_unsigned()]
    }

    fn read(&[time, high, low, last_seq]: &[u64; PAGE_WORDS]) -> Option<Self> {
        let time = Timestamp::from_micros(time.cast_signed())?;
        Some(Self { up_to: (time, DisputeId(Uuid::from_u64_pair(high, low))), last_seq: last_seq.cast_signed() })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;
    use crate::repository::TokenKey;

    fn log() -> LogId {
        LogId { uuid: Uuid::from_u128(7), token_key: TokenKey::new([7; 32]) }
    }

    fn token(snapshot: SnapshotState) -> ResumeToken {
        let position = Position { seq: i64::MAX - 1, check: u64::MAX };
        let told = Position { seq: i64::MAX, check: u64::MAX - 1 };
        ResumeToken { log: log(), position, told, snapshot }
    }

    fn page(number: i64) -> ShownPage {
        let id = DisputeId(Uuid::from_u128(number.unsigned_abs().into()));
        ShownPage { up_to: (Timestamp::from_micros(number / 2).unwrap(), id), last_seq: number * 10 }
    }

    fn shown(pages: impl IntoIterator<Item = i64>) -> SnapshotState {
        let pages = pages.into_iter().map(page).collect();
        SnapshotState::Shown(Shown { of: Uuid::from_u128(9), pages })
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        for snapshot in [SnapshotState::Over, SnapshotState::Incomplete, shown(1..=1), shown(1..=3), shown(1..=64)] {
            let token = token(snapshot);
            assert_eq!(ResumeToken::decode(&token.encode(), log()), Ok(token));
        }
        let live = ResumeToken::of(log(), Position { seq: 3, check: 9 });
        assert_eq!(ResumeToken::decode(&live.encode(), log()), Ok(live));
    }

    #[test]
    fn a_length_tells_of_no_number_but_roughly_that_of_pages() {
        let at = |seq| ResumeToken::of(log(), Position { seq, check: 2 });
        let lengths = [at(0), at(1), at(i64::MAX), token(SnapshotState::Over), token(SnapshotState::Incomplete)];
        assert_eq!(lengths.map(|token| token.encode().len()), [98; 5]);
        let pages = |count| token(shown(1..=count)).encode().len();
        assert_eq!([pages(1), pages(2), pages(3), pages(4), pages(33), pages(64)], [172, 215, 300, 300, 2_860, 2_860]);
    }

    #[test]
    fn anything_else_is_no_token() {
        let at = |seq| ResumeToken::of(log(), Position { seq, check: 2 });
        let (live, negative) = (at(1).encode(), at(-1).encode());
        let told_of_less = ResumeToken { told: at(1).position, ..at(2) }.encode();
        let longer = format!("{live}AAAA");
        let [unsorted, many, none, one] =
            [shown([9, 1]), shown(1..=65), shown([]), shown([1])].map(|s| token(s).encode());
        let cut = &one[..80];
        let unsealed = URL_SAFE_NO_PAD.encode([&[1][..], log().uuid.as_bytes(), &[0; 16]].concat());
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
            &unsealed,
        ];
        for text in texts {
            assert_eq!(ResumeToken::decode(text, log()), Err(TokenError::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_was_sealed_is_read_as_it_was_written_or_not_at_all(words in prop::collection::vec(0..4_u64, 0..24)) {
            let plain: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            if let Some(token) = ResumeToken::read(&plain, log()) {
                prop_assert_eq!(ResumeToken::decode(&token.encode(), log()), Ok(token));
            }
        }
    }
}
