//! Tables and lists of fields for a terminal. Every cell is made visible here, whoever wrote it.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::stderr::visible;

/// The widest cell: the id of a dispute fits, and an order's id of up to 128 characters does not push the rest away.
const WIDEST: usize = 40;

/// Between columns.
const GAP: &str = "  ";

/// Prints rows under their headings, without the columns in which nothing stands.
pub(super) fn print<const N: usize>(out: &mut impl Write, headings: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| shortened(&one_line(cell), WIDEST))).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let is_used = widths.map(|width| width > 0);
    for (width, heading) in widths.iter_mut().zip(headings) {
        *width = (*width).max(heading.width());
    }
    for row in std::iter::once(headings.map(str::to_owned)).chain(rows) {
        let cells = row.iter().zip(widths).zip(is_used).filter(|(_, is_used)| *is_used);
        let cells: Vec<_> = cells.map(|((cell, width), _)| padded(cell, width)).collect();
        writeln!(out, "{}", cells.join(GAP).trim_end())?;
    }
    Ok(())
}

/// Prints names and what stands for them, without those for which nothing does. Further lines of a text are indented alike.
pub(super) fn print_fields(out: &mut impl Write, fields: &[(&str, String)]) -> io::Result<()> {
    let width = fields.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.width()).max().unwrap_or(0);
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        for (index, line) in lines(value).enumerate() {
            writeln!(out, "{GAP}{}{GAP}{line}", padded(if index == 0 { name } else { "" }, width))?;
        }
    }
    Ok(())
}

/// The lines of a text, each made visible.
pub(super) fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(|line| visible(&line.replace('\t', GAP)).trim_end().to_owned())
}

/// The text on one line, made visible.
pub(super) fn one_line(text: &str) -> String {
    visible(&text.lines().collect::<Vec<_>>().join(" ").replace('\t', " ")).into_owned()
}

/// A visible text, cut where it is wider than `most` columns.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.width() <= most {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut width = 0_usize;
    for character in text.chars() {
        width = width.saturating_add(character.width().unwrap_or(0));
        if width >= most {
            break;
        }
        short.push(character);
    }
    short.push('…');
    short
}

/// A visible text that takes at least so many columns.
pub(super) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed<const N: usize>(headings: [&str; N], rows: &[[&str; N]]) -> String {
        let rows: Vec<_> = rows.iter().map(|row| row.map(str::to_owned)).collect();
        let mut out = Vec::new();
        print(&mut out, headings, &rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_what_is_seen_and_empty_ones_are_left_out() {
        let table = printed(["id", "gone", "title", "end"], &[["1", "", "日本語", "x"], ["1000", "", "é", ""]]);
        assert_eq!(table, "id    title   end\n1     日本語  x\n1000  é\n");
        assert_eq!(printed(["id"], &[]), "\n");
    }

    #[test]
    fn a_wide_cell_is_cut_at_its_columns_not_its_bytes() {
        assert_eq!(shortened("1234567890", 10), "1234567890");
        assert_eq!(shortened("12345678901", 10), "123456789…");
        assert_eq!(shortened("日本語日本語", 10), "日本語日…");
        let long = "x".repeat(128);
        assert_eq!(printed(["id", "b"], &[[&long, "y"]]).lines().nth(1).unwrap(), format!("{}…  y", "x".repeat(39)));
    }

    #[test]
    fn nothing_that_a_stranger_wrote_reaches_the_terminal_raw() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}b\u{7}\r\nc\td\u{200b}";
        let table = printed(["id"], &[[hostile]]);
        assert_eq!(table, "id\na\\u001b[2J\\u009b31m\\u202eb\\u0007 c d\\u2…\n");
        let mut out = Vec::new();
        print_fields(&mut out, &[("text", hostile.to_owned()), ("none", String::new()), ("n", "1".to_owned())])
            .unwrap();
        let expected = "  text  a\\u001b[2J\\u009b31m\\u202eb\\u0007\n        c  d\\u200b\n  n     1\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
