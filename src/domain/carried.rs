//! Values of enums that a newer release may have added to.

use super::code::Code;
use super::kinds::DisputeKind;
use super::order::OrderStatus;

/// A value of an enum, or the number of one that this release does not know: that is carried as it is, and shown as
/// the number that it has in the contract.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Carried<T> {
    /// A value that this release knows.
    Known(T),
    /// The number, above zero, of one that a newer release has added.
    Newer(i16),
}

impl<T> Carried<T> {
    /// The value, if this release knows it.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Newer(_) => None,
        }
    }
}

impl<T: Code> Carried<T> {
    /// The number of the value.
    pub fn code(self) -> i16 {
        match self {
            Self::Known(value) => value.code(),
            Self::Newer(code) => code,
        }
    }
}

impl<T> From<T> for Carried<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: PartialEq> PartialEq<T> for Carried<T> {
    fn eq(&self, value: &T) -> bool {
        matches!(self, Self::Known(known) if known == value)
    }
}

/// An order in a status that this release does not know allows nothing, and ends nothing; what is asked for on it is
/// left to a newer release before that matters.
impl Carried<OrderStatus> {
    /// See [`OrderStatus::is_ended`].
    pub fn is_ended(self) -> bool {
        self.known().is_some_and(OrderStatus::is_ended)
    }

    /// See [`OrderStatus::is_delivered`].
    pub fn is_delivered(self) -> bool {
        self.known().is_some_and(OrderStatus::is_delivered)
    }

    /// See [`OrderStatus::allows`].
    pub fn allows(self, kind: DisputeKind) -> bool {
        self.known().is_some_and(|status| status.allows(kind))
    }
}
