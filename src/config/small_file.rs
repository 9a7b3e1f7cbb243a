//! Reads the files that flags name: small ones, with errors in words.

use std::fs::File;
use std::io::{self, Read as _};

/// Reads a file; `None` if it contains more than `most` bytes.
pub fn read_small(file: File, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let length = file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(u64::try_from(length).is_ok_and(|length| length <= most).then_some(bytes))
}

/// The system's error message, without its number.
pub fn in_words(error: &io::Error) -> String {
    let said = error.to_string();
    said.split(" (os error").next().unwrap_or(&said).to_owned()
}
