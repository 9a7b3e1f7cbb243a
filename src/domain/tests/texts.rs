//! How long each text can be, in Unicode scalar values.

use crate::domain::text::*;

#[test]
fn each_text_can_be_as_long_as_the_rules_say_and_not_one_character_longer() {
    let texts = [
        ("a title", TITLE, 200),
        ("a message that must be there", REQUIRED_TEXT, 2_000),
        ("a message that may be left out", OPTIONAL_TEXT, 2_000),
        ("the detail of a reason", REASON_DETAIL, 500),
        ("what is said of a payment", SETTLEMENT_TEXT, 200),
    ];
    // One, two and four bytes of UTF-8 each; the last one is two UTF-16 units, too.
    for character in ["a", "é", "🙂"] {
        for (name, length, max) in &texts {
            let longest = character.repeat(*max);
            assert_eq!(normalise(&longest, length), Ok(longest.clone()), "{name} of {character}");
            let too_long = InvalidText::TooLong { max: *max, characters: max + 1 };
            assert_eq!(normalise(&format!("{longest}x"), length), Err(too_long), "{name} of {character}");
            let padded = format!(" {longest}\r\n");
            assert_eq!(normalise(&padded, length), Ok(longest), "{name} of {character} is trimmed first");
        }
    }
    let combined = "e\u{301}".repeat(100);
    assert_eq!(normalise(&combined, &TITLE), Ok(combined.clone()), "an accent of its own counts as one");
    let too_long = InvalidText::TooLong { max: 200, characters: 202 };
    assert_eq!(normalise(&format!("{combined}e\u{301}"), &TITLE), Err(too_long));
    let lines = "a\r\n".repeat(99) + "ab";
    assert_eq!(normalise(&lines, &TITLE), Ok("a\n".repeat(99) + "ab"), "a line end of two characters becomes one");
}

#[test]
fn some_texts_must_be_there() {
    for (name, length, expected) in [
        ("a title", TITLE, Ok(String::new())),
        ("a message that must be there", REQUIRED_TEXT, Err(InvalidText::Empty)),
        ("a message that may be left out", OPTIONAL_TEXT, Ok(String::new())),
        ("the detail of a reason", REASON_DETAIL, Err(InvalidText::Empty)),
        ("what is said of a payment", SETTLEMENT_TEXT, Ok(String::new())),
    ] {
        assert_eq!(normalise(" \t\n", &length), expected, "{name}");
    }
}
