//! What the parties write: normalised once, on the way in.

use std::ops::RangeInclusive;

/// The length of a text that must be there, in Unicode scalar values.
pub const REQUIRED_TEXT: RangeInclusive<usize> = 1..=MESSAGE_MAX_CHARACTERS;
/// The length of a text that may be left out.
pub const OPTIONAL_TEXT: RangeInclusive<usize> = 0..=MESSAGE_MAX_CHARACTERS;
/// The length of a reason's detail where one must be given.
pub const REASON_DETAIL: RangeInclusive<usize> = 1..=500;
/// The length of an order's title.
pub const TITLE: RangeInclusive<usize> = 0..=200;
/// The length of what the platform says of a payment.
pub const SETTLEMENT_TEXT: RangeInclusive<usize> = 0..=200;
/// The longest message, in Unicode scalar values.
pub const MESSAGE_MAX_CHARACTERS: usize = 2_000;

/// Why a text cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Nothing is left of a required text once it is trimmed.
    #[error("must not be empty")]
    Empty,
    /// More characters than allowed.
    #[error("must have at most {max} characters, has {characters}")]
    TooLong {
        /// The most that is allowed, in Unicode scalar values.
        max: usize,
        /// How many there are after trimming.
        characters: usize,
    },
    /// A control character other than tab and newline.
    #[error("must not contain control characters other than tab and newline")]
    ControlCharacter,
}

/// Line ends become LF, then the text is trimmed and its length and characters are checked.
pub fn normalise(raw: &str, length: &RangeInclusive<usize>) -> Result<String, InvalidText> {
    let text = raw.replace("\r\n", "\n").replace('\r', "\n").trim().to_owned();
    let characters = text.chars().count();
    if characters < *length.start() {
        return Err(InvalidText::Empty);
    }
    if characters > *length.end() {
        return Err(InvalidText::TooLong { max: *length.end(), characters });
    }
    if text.chars().any(|c| c.is_control() && c != '\t' && c != '\n') {
        return Err(InvalidText::ControlCharacter);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_normalised_then_judged() {
        let too_long = InvalidText::TooLong { max: 2_000, characters: 2_001 };
        let cases = [
            ("CRLF and CR become LF", "a\r\nb\rc", Ok("a\nb\nc".to_owned())),
            ("the ends are trimmed", " \r\n a b \t", Ok("a b".to_owned())),
            ("tab and newline may stand inside", "a\tb\nc", Ok("a\tb\nc".to_owned())),
            ("only white space is empty", " \r\n ", Err(InvalidText::Empty)),
            ("2,000 characters are the most", &"é".repeat(2_000), Ok("é".repeat(2_000))),
            ("2,001 are too many", &"é".repeat(2_001), Err(too_long)),
            ("NUL is refused", "a\0b", Err(InvalidText::ControlCharacter)),
            ("C1 controls are refused", "a\u{85}b", Err(InvalidText::ControlCharacter)),
        ];
        for (name, raw, expected) in cases {
            assert_eq!(normalise(raw, &REQUIRED_TEXT), expected, "{name}");
        }
        assert_eq!(normalise("", &OPTIONAL_TEXT), Ok(String::new()));
    }
}
