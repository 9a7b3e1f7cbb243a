//! The trace of an event: always a span of ours, never what a caller sent.

use std::sync::Arc;

use crate::chance::{mint_span_id, mint_trace_id};
use crate::domain::Caller;

/// A trace context in the format of the W3C header `traceparent`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceParent(Arc<str>);

/// The length of each part in lower-case hexadecimal digits: version, trace, span, flags.
const PARTS: [usize; 4] = [2, 32, 16, 2];

/// The flag for a sampled trace.
const SAMPLED: u8 = 1;

impl TraceParent {
    /// Parses a header. `None` if the standard does not allow it: it then counts as no trace.
    pub fn parse(header: &str) -> Option<Self> {
        let parts: Vec<&str> = header.split('-').collect();
        let is_hexadecimal = |part: &str| part.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let is_well_formed =
            parts.iter().map(|part| part.len()).eq(PARTS) && parts.iter().all(|part| is_hexadecimal(part));
        let is_something = |part: &&str| part.bytes().any(|digit| digit != b'0');
        let names_a_span = parts.iter().skip(1).take(2).all(is_something);
        let is_known = !header.starts_with("ff");
        (is_well_formed && names_a_span && is_known).then(|| Self(header.into()))
    }

    /// A span of ours for a command of this caller with this header. For a caller with a scope, the span is within the
    /// caller's trace, and sampled if that is. For a party, the event would carry the trace to the other party: so the
    /// trace is one of our own, over which the party has no influence.
    pub fn span_for(&self, caller: &Caller) -> Self {
        let theirs = caller.scope.and_then(|_| {
            let mut parts = self.0.split('-').skip(1);
            let trace = u128::from_str_radix(parts.next()?, 16).ok()?;
            Some((trace, u8::from_str_radix(parts.nth(1)?, 16).ok()? & SAMPLED))
        });
        let (trace, flags) = theirs.unwrap_or_else(|| (mint_trace_id(), 0));
        Self(format!("00-{trace:032x}-{:016x}-{flags:02x}", mint_span_id()).into())
    }

    /// The id of the trace.
    pub fn trace_id(&self) -> &str {
        self.0.split('-').nth(1).unwrap_or_default()
    }

    /// As written in a header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Scope, UserId};

    #[test]
    fn a_trace_is_what_the_standard_says() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceParent::parse(good).unwrap().as_str(), good);
        let bad = [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-02",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bé-01",
        ];
        for header in bad {
            assert_eq!(TraceParent::parse(header), None, "{header:?}");
        }
    }

    #[test]
    fn the_span_is_ours_within_the_trace_of_the_house_and_in_its_own_for_a_party() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let span_for = |scope, flags: &str| {
            let caller = Caller { user: UserId::parse("u").unwrap(), scope };
            let header = format!("00-{trace}-00f067aa0ba902b7-{flags}");
            let span = TraceParent::parse(&header).unwrap().span_for(&caller);
            assert_eq!(TraceParent::parse(span.as_str()).as_ref(), Some(&span), "it is one that the standard knows");
            assert!(!span.as_str().contains("00f067aa0ba902b7"));
            span.as_str().to_owned()
        };
        for (flags, kept) in [("01", "-01"), ("00", "-00"), ("ff", "-01"), ("fe", "-00")] {
            for scope in [Scope::Support, Scope::Platform] {
                let span = span_for(Some(scope), flags);
                assert!(span.starts_with(&format!("00-{trace}-")) && span.ends_with(kept), "{span}");
            }
            let [one, other] = [(); 2].map(|()| span_for(None, flags));
            assert!(!one.contains(trace) && one.ends_with("-00"), "{one}");
            assert_ne!(one.get(..36), other.get(..36), "each has a trace of its own");
        }
    }
}
