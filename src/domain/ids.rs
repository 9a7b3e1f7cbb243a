//! The names of things: orders, users, disputes and events.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// The longest id of an order or a user, in characters.
pub const ID_MAX_CHARACTERS: usize = 128;

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 128 characters of A-Z a-z 0-9 . _ : -")]
pub struct InvalidId;

/// Checks the grammar that the ids of orders and users share.
fn check(id: &str) -> Result<(), InvalidId> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if (1..=ID_MAX_CHARACTERS).contains(&id.len()) && id.bytes().all(allowed) { Ok(()) } else { Err(InvalidId) }
}

/// The id of an order, given by the order system: 1 to 128 characters of `A-Za-z0-9._:-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OrderId(Arc<str>);

/// The id of a user: a buyer, a seller, an agent or another service. The same grammar as [`OrderId`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UserId(Arc<str>);

impl OrderId {
    /// An id as it is stored, also one that is none: nobody can name that.
    pub fn stored(id: &str) -> Self {
        Self(id.into())
    }

    /// Reads an id, or says why it is none.
    pub fn parse(id: &str) -> Result<Self, InvalidId> {
        check(id).map(|()| Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl UserId {
    /// An id as it is stored, also one that is none: nobody can have that.
    pub fn stored(id: &str) -> Self {
        Self(id.into())
    }

    /// Reads an id, or says why it is none.
    pub fn parse(id: &str) -> Result<Self, InvalidId> {
        check(id).map(|()| Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a dispute: a UUIDv7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DisputeId(pub Uuid);

impl fmt::Display for DisputeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of an event: a UUIDv7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventId(pub Uuid);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_1_to_128_characters_of_its_grammar() {
        for id in ["a", "A.b_c:d-9", "x".repeat(128).as_str()] {
            assert_eq!(OrderId::parse(id).map(|id| id.to_string()), Ok(id.to_owned()));
        }
        for id in ["", " ", "a b", "é", "a/b", "a\n", "x".repeat(129).as_str()] {
            assert_eq!(OrderId::parse(id), Err(InvalidId), "{id:?}");
        }
    }
}
