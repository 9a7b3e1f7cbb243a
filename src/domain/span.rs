//! Spans of time in the notation of flags and the policy file.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// Ten years: longer spans are treated as typing errors.
const LONGEST: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

/// A span: an integer and `s`, `m`, `h` or `d`; at most ten years.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Span(pub Duration);

/// Why a text is not a span.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidSpan {
    /// It has another syntax.
    #[error("expected an integer and s, m, h or d, for example \"48h\"")]
    Malformed,
    /// It is longer than ten years.
    #[error("expected at most 3650d")]
    TooLong,
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let span = parse(text).ok_or(InvalidSpan::Malformed)?;
        if span > LONGEST { Err(InvalidSpan::TooLong) } else { Ok(Self(span)) }
    }
}

fn parse(text: &str) -> Option<Duration> {
    let unit_at = text.len().checked_sub(1)?;
    let (count, unit) = text.split_at_checked(unit_at)?;
    let seconds_per_unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let is_integer = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = is_integer.then(|| count.parse().ok())??;
    Some(Duration::from_secs(count.checked_mul(seconds_per_unit)?))
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
