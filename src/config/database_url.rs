//! Reads the database URL from a file, so that listings of processes and their environments do not show its password.

use std::fs::File;
use std::path::Path;

use super::small_file::{in_words, read_small};

/// No URL is longer than this.
const MOST_BYTES: u64 = 64 * 1024;

/// Why a file does not contain a URL. Never repeats the file's content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file {path} of --database-url-file (DISPUTES_DATABASE_URL_FILE) {problem}")]
pub struct UrlFileError {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads the single line of a file.
pub(super) fn read(path: &Path) -> Result<String, UrlFileError> {
    let problem = |problem: String| UrlFileError { path: path.display().to_string(), problem };
    let read = File::open(path).and_then(|file| read_small(file, MOST_BYTES));
    let bytes = read.map_err(|error| problem(format!("cannot be read: {}", in_words(&error))))?;
    let bytes = bytes.ok_or_else(|| problem(format!("holds more than {MOST_BYTES} bytes, which is no URL")))?;
    let text = String::from_utf8(bytes).map_err(|_| problem("is not text in UTF-8".to_owned()))?;
    match text.trim() {
        "" => Err(problem("is empty".to_owned())),
        url if url.contains(['\n', '\r']) => Err(problem("holds more than one line".to_owned())),
        url => Ok(url.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_the_one_line_of_its_file_and_nothing_of_it_is_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let read = |bytes: &[u8]| {
            let file = folder.path().join("url");
            std::fs::write(&file, bytes).unwrap();
            read(&file).map_err(|error| error.to_string())
        };
        for text in ["postgres://u:secret@h/d", "postgres://u:secret@h/d\n", "postgres://u:secret@h/d\r\n"] {
            assert_eq!(read(text.as_bytes()).unwrap(), "postgres://u:secret@h/d");
        }
        let long = [b'x'; 65_537];
        for (bytes, why) in [
            (b"" as &[u8], "is empty"),
            (b" \n\n", "is empty"),
            (b"postgres://u:secret@h/d\nsecret\n", "holds more than one line"),
            (b"postgres://u:secret\xff@h/d", "is not text in UTF-8"),
            (&long, "holds more than 65536 bytes"),
        ] {
            let said = read(bytes).unwrap_err();
            assert!(said.contains(why) && !said.contains("secret"), "{said}");
            assert!(said.contains("--database-url-file (DISPUTES_DATABASE_URL_FILE)"), "{said}");
        }
        let said = super::read(folder.path()).unwrap_err().to_string();
        assert!(said.ends_with("cannot be read: Is a directory"), "{said}");
        let said = super::read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(said.ends_with("cannot be read: No such file or directory"), "{said}");
    }
}
