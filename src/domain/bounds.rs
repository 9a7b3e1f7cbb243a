//! Values that have bounds: what is out of them is refused where it is read.

use std::borrow::Borrow;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::money::Currency;
use super::span::Span;

/// A span above zero, and at most ten years.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window(pub(super) Duration);

impl Window {
    /// So many hours, at least one of them.
    pub(super) const fn hours(hours: u64) -> Self {
        Self(Duration::from_secs(hours * 60 * 60))
    }

    /// So many days, at least one of them.
    pub(super) const fn days(days: u64) -> Self {
        Self::hours(days * 24)
    }

    /// How long it is.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Span(span) = Span::deserialize(deserializer)?;
        if span.is_zero() { Err(D::Error::custom("expected more than nothing")) } else { Ok(Self(span)) }
    }
}

/// A share: 1 to 10,000 basis points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BasisPoints(pub(super) u32);

impl BasisPoints {
    /// How many there are.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for BasisPoints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let points = u32::deserialize(deserializer)?;
        if (1..=10_000).contains(&points) {
            Ok(Self(points))
        } else {
            Err(D::Error::custom("expected 1 to 10000 basis points"))
        }
    }
}

/// The code of a currency of ISO 4217, `USD`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CurrencyCode(pub(super) String);

impl CurrencyCode {
    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Amounts are found by the code of a stored currency too, which the list need not have any more.
impl Borrow<str> for CurrencyCode {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for CurrencyCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        match Currency::from_code(&code) {
            Some(_) => Ok(Self(code)),
            None => Err(D::Error::custom("expected a currency code of ISO 4217, for example USD")),
        }
    }
}

/// How many counter-offers there can be on a dispute: 0 to 20.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rounds(pub(super) u32);

impl Rounds {
    /// How many there are.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Rounds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rounds = u32::deserialize(deserializer)?;
        if rounds <= 20 { Ok(Self(rounds)) } else { Err(D::Error::custom("expected 0 to 20 counter-offers")) }
    }
}

/// A count of minor units, at least 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MinorUnits(pub(super) i64);

impl MinorUnits {
    /// How many there are.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for MinorUnits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let minor = i64::deserialize(deserializer)?;
        if minor < 0 { Err(D::Error::custom("expected at least 0 minor units")) } else { Ok(Self(minor)) }
    }
}
