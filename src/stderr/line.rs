//! Makes a line safe to read, whatever it contains: paths, header values, database messages, file names.
//!
//! The result is one line of bounded length, with control characters, bidirectional marks and invisible characters
//! escaped. Doing it here covers everything, including what dependencies log.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::IsTerminal as _;

/// The longest line in bytes: far longer than any of ours, and shorter than where log collectors cut.
const LINE: usize = 16 * 1024;

/// How much of each text is kept in a JSON line that is longer: no line has so many texts that these are still too
/// long.
const TEXT: usize = 512;

/// The format of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Text without colours.
    Plain,
    /// Text for a terminal, with the escape sequences of colours, and no others: the log's formatter does not escape all of
    /// those in foreign text.
    Coloured,
    /// A JSON object.
    Json,
}

impl Format {
    /// Text, with colours if stderr is a terminal.
    pub fn for_people() -> Self {
        if std::io::stderr().is_terminal() { Self::Coloured } else { Self::Plain }
    }
}

/// Returns the line, without its end, as it can be written.
pub(super) fn safe(line: &str, format: Format) -> Cow<'_, str> {
    let escaped = escaped(line, format);
    if escaped.len() <= LINE { escaped } else { Cow::Owned(shortened(&escaped, format)) }
}

/// The line with everything escaped that cannot be seen.
pub(super) fn escaped(line: &str, format: Format) -> Cow<'_, str> {
    if line.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(line);
    }
    let mut escaped = String::with_capacity(line.len());
    for (index, character) in line.char_indices() {
        let is_colour = || format == Format::Coloured && line.get(index..).is_some_and(begins_with_colour);
        if !is_hidden(character) || is_colour() {
            escaped.push(character);
            continue;
        }
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            // In JSON it means the same character.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    Cow::Owned(escaped)
}

/// Whether a text begins with the escape sequence of a colour: `ESC [ 1 ; 3 1 m`, say.
fn begins_with_colour(text: &str) -> bool {
    let parameters =
        text.strip_prefix("\u{1b}[").map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
    parameters.is_some_and(|rest| rest.starts_with('m'))
}

/// Whether a character is a control, a bidirectional mark, a line separator, or invisible.
fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

fn shortened(line: &str, format: Format) -> String {
    let shortened = match format {
        Format::Plain | Format::Coloured => line.to_owned(),
        Format::Json => with_short_texts(line),
    };
    match (shortened.len(), format) {
        (..=LINE, _) => shortened,
        (length, Format::Json) => format!(r#"{{"level":"WARN","message":"a line of {length} bytes was dropped"}}"#),
        (length, Format::Plain) => format!("{}… ({length} bytes)", beginning(line, LINE)),
        (length, Format::Coloured) => format!("{}\u{1b}[0m… ({length} bytes)", beginning(line, LINE)),
    }
}

/// A JSON object with only the beginning of each text.
fn with_short_texts(json: &str) -> String {
    let mut short = String::with_capacity(LINE);
    // The start of the text whose end is being searched.
    let mut text: Option<usize> = None;
    let mut characters = json.chars();
    while let Some(character) = characters.next() {
        let is_cut = text.is_some_and(|start| short.len().saturating_sub(start) > TEXT);
        match (character, text) {
            ('"', Some(_)) => {
                if is_cut {
                    short.push('…');
                }
                short.push('"');
                text = None;
            }
            ('"', None) => {
                short.push('"');
                text = Some(short.len());
            }
            ('\\', Some(_)) => {
                let mut escape: String = characters.by_ref().take(1).collect();
                if escape == "u" {
                    escape.extend(characters.by_ref().take(4));
                }
                // The first half of a surrogate pair is invalid without the second.
                if escape.starts_with("ud") && matches!(escape.as_bytes().get(2), Some(b'8'..=b'9' | b'a'..=b'b')) {
                    escape.extend(characters.by_ref().take(6));
                }
                if !is_cut {
                    short.push('\\');
                    short.push_str(&escape);
                }
            }
            (character, _) if !is_cut => short.push(character),
            (_, _) => {}
        }
    }
    short
}

/// As many whole characters as fit.
fn beginning(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_seen_is_left_as_it_is() {
        for line in ["", "INFO a line: {\"x\"=1} \\n", "Grüße — 你好 … µs 🙂"] {
            for format in [Format::Plain, Format::Coloured, Format::Json] {
                assert_eq!(safe(line, format), line);
            }
        }
    }

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        let line =
            "a\nb\rc\td\0e\u{1b}[31mf\u{7f}g\u{9b}h\u{202e}i\u{2066}j\u{200f}k\u{2028}l\u{feff}m\u{e0041}n\u{61c}o";
        let expected = "a\\u000ab\\u000dc\\u0009d\\u0000e\\u001b[31mf\\u007fg\\u009bh\\u202ei\\u2066j\\u200fk\\u2028l\\ufeffm\\udb40\\udc41n\\u061co";
        assert_eq!(safe(line, Format::Plain), expected);
        assert_eq!(safe(line, Format::Coloured), expected.replace("\\u001b", "\u{1b}"));
        // Only colours, not what moves the cursor, sets the title, or is cut off.
        for (foreign, escaped) in [
            ("\u{1b}]0;x\u{7}", "\\u001b]0;x\\u0007"),
            ("\u{1b}[2J", "\\u001b[2J"),
            ("\u{1b}[1;31", "\\u001b[1;31"),
            ("\u{1b}c", "\\u001bc"),
            ("\u{1b}", "\\u001b"),
            ("\u{1b}[1;31mred\u{1b}[0m", "\u{1b}[1;31mred\u{1b}[0m"),
        ] {
            assert_eq!(safe(foreign, Format::Coloured), escaped);
        }
        let json = serde_json::json!({ "path": "\u{202e}\u{9b}\n\u{e0041}" }).to_string();
        let escaped = safe(&json, Format::Json);
        assert_eq!(escaped, r#"{"path":"\u202e\u009b\n\udb40\udc41"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap()["path"], "\u{202e}\u{9b}\n\u{e0041}");
    }

    #[test]
    fn a_line_has_a_longest_length() {
        let (longest, longer) = ("é".repeat(LINE / 2), format!("{}é", "é".repeat(LINE / 2)));
        assert_eq!(safe(&longest, Format::Plain), longest);
        assert_eq!(safe(&longer, Format::Plain), format!("{longest}… (16386 bytes)"));
        assert_eq!(
            safe(&longer, Format::Coloured),
            format!("{longest}\\u001b[0m… (16386 bytes)").replace("\\u001b", "\u{1b}")
        );
    }

    #[test]
    fn a_long_line_of_json_stays_json() {
        let json = |text: &str| serde_json::json!({ "a": text, "n": 7, "spans": [{ "method": text }], "z": "end" });
        for text in [
            "é".repeat(9_000),
            "\\\"".repeat(9_000),
            "\u{1}".repeat(9_000),
            "\u{202e}".repeat(9_000),
            "\u{e0041}".repeat(9_000),
        ] {
            let line = json(&text).to_string();
            let short = safe(&line, Format::Json);
            assert!(short.len() <= LINE, "{}", short.len());
            let read: serde_json::Value = serde_json::from_str(&short).unwrap();
            let kept = read["a"].as_str().unwrap().strip_suffix('…').unwrap();
            assert!(text.starts_with(kept) && !kept.is_empty());
            assert_eq!(read, json(read["a"].as_str().unwrap()));
        }
        let many: Vec<String> = (0..100).map(|_| "é".repeat(500)).collect();
        let short = safe(&serde_json::json!(many).to_string(), Format::Json).into_owned();
        assert!(serde_json::from_str::<serde_json::Value>(&short).unwrap()["message"].is_string());
    }
}
