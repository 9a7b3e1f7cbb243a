//! How long a call may take: as long as its client says, up to a limit of our own.

use std::time::Duration;

use http::HeaderMap;

use crate::clock::{RealInstant, pause_until, real_instant_after};
use crate::grpc::status::Failure;

/// The transport ends an RPC at its deadline with an error that says nothing. We are so much earlier.
const DEADLINE_MARGIN: Duration = Duration::from_millis(2);

/// When the client gives up on an RPC.
#[derive(Clone, Copy, Debug)]
pub(in crate::grpc) struct Deadline(RealInstant);

impl Deadline {
    /// The deadline of a call with these headers that may take at most this long; `None` for none, or one too far ahead to
    /// represent. Fails if there is no time left.
    pub(super) fn of(headers: &HeaderMap, most: Option<Duration>) -> Result<Option<Self>, Failure> {
        let asked = match timeout(headers) {
            Some(timeout) if timeout <= DEADLINE_MARGIN => return Err(Failure::deadline_exceeded()),
            Some(timeout) => Some(timeout.saturating_sub(DEADLINE_MARGIN)),
            None => None,
        };
        let span = asked.into_iter().chain(most).min();
        Ok(span.and_then(real_instant_after).map(Self))
    }

    /// Returns once the deadline has passed.
    pub(in crate::grpc) async fn passes(self) {
        pause_until(self.0).await;
    }
}

/// The header `grpc-timeout`: at most eight digits and a unit.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count.checked_mul(3_600)?)),
        "M" => Some(Duration::from_secs(count.checked_mul(60)?)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_at_most_eight_digits_and_a_unit() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", http::HeaderValue::from_static(text));
            timeout(&headers)
        };
        let cases = [
            ("1S", Some(Duration::from_secs(1))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("7n", Some(Duration::from_nanos(7))),
            ("2M", Some(Duration::from_secs(120))),
            ("999999999S", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("-1S", None),
            ("1s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }
}
