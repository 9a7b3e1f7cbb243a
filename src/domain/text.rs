//! What the parties write: normalised once, on the way in.

use std::ops::RangeInclusive;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// The length of a text that must be there, in Unicode scalar values.
pub const REQUIRED_TEXT: RangeInclusive<usize> = 1..=MESSAGE_MAX_CHARACTERS;
/// The length of a text that may be left out.
pub const OPTIONAL_TEXT: RangeInclusive<usize> = 0..=MESSAGE_MAX_CHARACTERS;
/// The length of a text that must be left out.
pub const NO_TEXT: RangeInclusive<usize> = 0..=0;
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
    /// Nothing that can be seen is left of a required text.
    #[error("must not be empty")]
    Empty,
    /// More characters than allowed.
    #[error("must have at most {max} characters, but has {characters}")]
    TooLong {
        /// The most that is allowed, in Unicode scalar values.
        max: usize,
        /// How many there are after trimming.
        characters: usize,
    },
    /// A control character other than tab and newline.
    #[error("must not contain control characters other than tab and newline")]
    ControlCharacter,
    /// A character that has the text after it read in another direction than it is written.
    #[error("must not contain bidirectional overrides (U+202D, U+202E)")]
    BidirectionalOverride,
}

/// Returns the text with LF as its line end, trimmed; empty if nothing in it can be seen. Fails unless its length and
/// its characters are allowed.
pub fn normalise(raw: &str, length: &RangeInclusive<usize>) -> Result<String, InvalidText> {
    if raw.chars().any(is_override) {
        return Err(InvalidText::BidirectionalOverride);
    }
    let mut text = raw.replace("\r\n", "\n").replace('\r', "\n").trim().to_owned();
    if text.chars().all(is_invisible) {
        text.clear();
    }
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

/// Returns an order's title, normalised. Bidirectional overrides are dropped: the order system cannot change what its
/// seller has written.
pub fn normalise_title(raw: &str) -> Result<String, InvalidText> {
    let readable: String = raw.chars().filter(|c| !is_override(*c)).collect();
    normalise(&readable, &TITLE)
}

/// LEFT-TO-RIGHT OVERRIDE and RIGHT-TO-LEFT OVERRIDE.
fn is_override(c: char) -> bool {
    matches!(c, '\u{202d}' | '\u{202e}')
}

/// Whether nothing is drawn for a character of its own, as Unicode says, or it is drawn as a blank, as no property says.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::Format
        || BLANKS.contains(&c)
}

/// Letters and symbols whose glyph is a blank: BRAILLE PATTERN BLANK, EGYPTIAN HIEROGLYPH FULL BLANK and HALF BLANK,
/// KHITAN SMALL SCRIPT FILLER, MUSICAL SYMBOL NULL NOTEHEAD. The fillers of Hangul are ignorable by default.
const BLANKS: [char; 5] = ['\u{2800}', '\u{13441}', '\u{13442}', '\u{16fe4}', '\u{1d159}'];

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
