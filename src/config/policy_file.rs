//! The policy file: TOML over the defaults. Unknown keys and impossible values are errors that name the line.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use sha2::{Digest as _, Sha256};

use crate::domain::{Policy, Span, settings};

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// The file cannot be read.
    #[error("the policy file {} (--policy, DISPUTES_POLICY) cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a policy. The text names the line.
    #[error("the policy file {} (--policy, DISPUTES_POLICY) is not valid: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why, and in which line.
        source: Box<toml::de::Error>,
    },
}

settings! {
    /// What an operator can set in the file: the policy of the rules, and what the rules do not know.
    pub struct PolicyFile with rules: Policy {
        /// How long events are kept; 0s for ever; the last one is always kept
        event_retention: Span = Span::default(),
        /// How long entries of the audit are kept; 0s for ever
        audit_retention: Span = Span::default(),
        /// Where customer support is reached, shown with the options; https://, http:// or mailto:
        support_url: SupportUrl = SupportUrl::default(),
    }
}

impl PolicyFile {
    /// Reads a policy file. Returns the SHA-256 of its content too, as `sha256sum` prints it.
    pub fn load(path: &Path) -> Result<(Self, String), PolicyFileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| PolicyFileError::Unreadable { path: path.to_owned(), source })?;
        let policy = Self::parse(&text)
            .map_err(|source| PolicyFileError::Invalid { path: path.to_owned(), source: Box::new(source) })?;
        Ok((policy, Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Reads the text of a policy file.
    pub(crate) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

/// Where customer support is reached: nothing, or a URL that a front end can make a link of.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct SupportUrl(pub String);

impl<'de> Deserialize<'de> for SupportUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let url = String::deserialize(deserializer)?;
        let is_link = ["https://", "http://", "mailto:"].iter().any(|scheme| url.starts_with(scheme));
        if (url.is_empty() || is_link) && url.chars().all(|character| character.is_ascii_graphic()) {
            Ok(Self(url))
        } else {
            Err(D::Error::custom("expected a URL that begins with https://, http:// or mailto:"))
        }
    }
}

#[cfg(test)]
mod tests;
