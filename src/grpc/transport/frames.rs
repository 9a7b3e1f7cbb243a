//! How messages are framed: a byte that says whether a message is compressed, four that say how long it is, then itself.

use crate::grpc::compression::{Encoding, OVERHEAD_BYTES};
use crate::grpc::status::Failure;

/// The bytes before each message.
pub(super) const PREFIX_BYTES: usize = 5;

/// Follows the frames of a body, so that what is wrong with one is known as soon as it shows.
#[derive(Debug)]
pub(super) struct Frames {
    /// The longest message, in bytes.
    limit: usize,
    /// How many messages there can be.
    most: usize,
    complete: usize,
    /// Whether messages may be compressed, and whether the last one that has begun is.
    may_be_compressed: bool,
    is_compressed: bool,
    /// How much of the prefix of the message at hand is there.
    prefix: usize,
    /// How long the message at hand is, as far as the prefix has said; behind the prefix, how much of it is missing.
    left: usize,
}

impl Frames {
    /// At most `most` messages of `limit` bytes, which may be compressed if the headers say how.
    pub(super) fn new(limit: usize, most: usize, encoding: Option<Encoding>) -> Self {
        Self {
            limit,
            most,
            complete: 0,
            may_be_compressed: encoding.is_some(),
            is_compressed: false,
            prefix: 0,
            left: 0,
        }
    }

    /// How long a body with one message may be, compressed or not.
    pub(super) fn longest_body(&self) -> usize {
        self.longest(self.may_be_compressed).saturating_add(PREFIX_BYTES)
    }

    /// How long a message may be as it arrives. Compression makes incompressible messages a little longer; what they
    /// decompress to is limited later.
    fn longest(&self, is_compressed: bool) -> usize {
        if is_compressed { self.limit.saturating_add(OVERHEAD_BYTES) } else { self.limit }
    }

    /// Takes note of more of the body. Returns whether a message is complete that was not before.
    pub(super) fn advance(&mut self, mut bytes: &[u8]) -> Result<bool, Failure> {
        let before = self.complete;
        while let Some((first, rest)) = bytes.split_first() {
            if self.prefix < PREFIX_BYTES {
                // A message that nobody asked for, or compressed in a way that no header told.
                let most_flag = u8::from(self.may_be_compressed);
                if self.complete == self.most || (self.prefix == 0 && *first > most_flag) {
                    return Err(Failure::message_malformed());
                }
                if self.prefix == 0 {
                    self.is_compressed = *first == 1;
                } else {
                    self.left = (self.left << 8) | usize::from(*first);
                }
                self.prefix = self.prefix.saturating_add(1);
                bytes = rest;
                if self.prefix == PREFIX_BYTES && self.left > self.longest(self.is_compressed) {
                    return Err(Failure::message_too_large(self.limit));
                }
            } else {
                let part = self.left.min(bytes.len());
                self.left = self.left.saturating_sub(part);
                bytes = bytes.get(part..).unwrap_or_default();
            }
            if self.prefix == PREFIX_BYTES && self.left == 0 {
                self.complete = self.complete.saturating_add(1);
                self.prefix = 0;
            }
        }
        Ok(self.complete > before)
    }

    /// Whether a message has begun that is not complete.
    pub(super) fn is_within(&self) -> bool {
        self.prefix > 0
    }

    /// Whether the last message that has begun is compressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// How many messages are complete.
    pub(super) fn complete(&self) -> usize {
        self.complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What became of the body, in pieces of every size: `None` for an error.
    fn followed(limit: usize, most: usize, body: &[u8]) -> Option<(usize, bool)> {
        let read = |piece: usize| {
            let mut frames = Frames::new(limit, most, None);
            body.chunks(piece).try_for_each(|bytes| frames.advance(bytes).map(|_| ())).ok()?;
            Some((frames.complete(), frames.is_within()))
        };
        let whole = read(body.len().max(1));
        assert!((1..=body.len()).all(|piece| read(piece) == whole), "{body:?}");
        whole
    }

    #[test]
    fn messages_are_counted_and_what_is_wrong_is_found_wherever_it_is_cut() {
        assert_eq!(followed(3, 1, b""), Some((0, false)));
        assert_eq!(followed(3, 1, b"\0\0\0\0"), Some((0, true)));
        assert_eq!(followed(3, 1, b"\0\0\0\0\0"), Some((1, false)));
        assert_eq!(followed(3, 1, b"\0\0\0\0\x03ab"), Some((0, true)));
        assert_eq!(followed(3, 1, b"\0\0\0\0\x03abc"), Some((1, false)));
        assert_eq!(followed(3, 1, b"\0\0\0\0\x04"), None, "too large as soon as it is announced");
        assert_eq!(followed(usize::MAX, 1, b"\0\xff\xff\xff\xff"), Some((0, true)));
        assert_eq!(followed(3, 1, b"\x01"), None);
        assert_eq!(followed(3, 1, b"\0\0\0\0\x01a\0"), None, "one is all");
        assert_eq!(followed(3, 2, b"\0\0\0\0\x01a\0\0\0\0\x02bc"), Some((2, false)));
        assert_eq!(followed(3, 9, b"\0\0\0\0\x01a\0\0\0\0\0\0"), Some((2, true)));
        assert_eq!(followed(3, 9, b"\0\0\0\0\x01a\x02"), None);
    }
}
