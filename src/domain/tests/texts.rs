//! How long each text can be, in Unicode scalar values, and what may be in it.

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

#[test]
fn a_text_in_which_nothing_can_be_seen_is_empty() {
    let invisible = [
        ("white space of all kinds", " \t\r\n\u{a0}\u{1680}\u{2003}\u{2028}\u{202f}\u{205f}\u{3000}"),
        ("a soft hyphen", "\u{ad}"),
        ("a grapheme joiner", "\u{34f}"),
        ("marks of direction", "\u{61c}\u{200e}\u{200f}\u{202a}\u{202c}\u{2066}\u{2069}"),
        ("the fillers of Hangul", "\u{115f}\u{1160}\u{3164}\u{ffa0}"),
        ("inherent vowels of Khmer", "\u{17b4}\u{17b5}"),
        ("a Mongolian vowel separator", "\u{180e}"),
        ("joiners and spaces of no width", "\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}"),
        ("invisible operators", "\u{2061}\u{2064}"),
        ("a Braille pattern without dots", "\u{2800}"),
        ("variation selectors", "\u{fe0f}\u{e0100}"),
        ("annotations", "\u{fff9}\u{fffb}"),
        ("hieroglyphs that are blank", "\u{13441}\u{13442}"),
        ("a Khitan filler", "\u{16fe4}"),
        ("musical symbols that are blank", "\u{1d159}\u{1d173}"),
        ("tags", "\u{e0001}\u{e0041}"),
        ("what Unicode keeps for the like", "\u{fff0}\u{e0fff}"),
    ];
    for (name, text) in invisible {
        for text in [text.to_owned(), format!(" {text}\u{200b}\n{text}"), text.repeat(3_000)] {
            assert_eq!(normalise(&text, &REQUIRED_TEXT), Err(InvalidText::Empty), "{name}");
            assert_eq!(normalise(&text, &REASON_DETAIL), Err(InvalidText::Empty), "{name}");
            for length in [OPTIONAL_TEXT, SETTLEMENT_TEXT, NO_TEXT] {
                assert_eq!(normalise(&text, &length), Ok(String::new()), "{name}");
            }
            assert_eq!(normalise_title(&text), Ok(String::new()), "{name}");
        }
        let text = text.trim();
        let seen = format!("a{text}b");
        assert_eq!(normalise(&seen, &REQUIRED_TEXT), Ok(seen.clone()), "{name}: within a text it stays");
        assert_eq!(normalise_title(&seen), Ok(seen), "{name}");
    }
    for visible in ["a", "\u{301}", "·", "…", "-", "\u{3164}.", "한", "⠁", "🙂", "👩\u{200d}💻", "\u{fffd}", "\u{e000}"]
    {
        assert_eq!(normalise(visible, &REQUIRED_TEXT), Ok(visible.to_owned()), "{visible:?}");
    }
    assert_eq!(normalise("\0", &OPTIONAL_TEXT), Err(InvalidText::ControlCharacter), "a control character is no format");
}

#[test]
fn bidirectional_overrides_are_refused_and_dropped_from_titles() {
    for c in ['\u{202d}', '\u{202e}'] {
        for length in [REQUIRED_TEXT, OPTIONAL_TEXT, REASON_DETAIL, SETTLEMENT_TEXT, NO_TEXT] {
            for text in [format!("a{c}b"), format!("{c}a"), format!("a{c}"), c.to_string()] {
                assert_eq!(normalise(&text, &length), Err(InvalidText::BidirectionalOverride), "{text:?}");
            }
        }
        assert_eq!(normalise_title(&format!(" {c}A {c}logo{c} ")), Ok("A logo".to_owned()));
        assert_eq!(normalise_title(&format!("{c} \u{3164}")), Ok(String::new()));
        assert_eq!(normalise_title(&format!("{c}{}", "x".repeat(200))), Ok("x".repeat(200)), "dropped, then counted");
        assert_eq!(normalise_title(&format!("{c}\0")), Err(InvalidText::ControlCharacter), "the rest is judged");
    }
}
