//! A span's place in its trace: as callers send it, as an event carries it, and as the log shows it.

use std::fmt::{Display, Formatter};

use crate::chance::{mint_span_id, mint_trace_id};

/// A span, by its trace, in the format of the W3C header `traceparent`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    is_sampled: bool,
}

/// The length of each part in lower-case hexadecimal digits: version, trace, span, flags.
const PARTS: [usize; 4] = [2, 32, 16, 2];

/// The flag for a sampled trace. What else a caller sends is not passed on.
const SAMPLED: u8 = 1;

impl TraceParent {
    /// Parses a header. `None` if the standard does not allow it: it then counts as no trace.
    pub fn parse(header: &str) -> Option<Self> {
        let parts: Vec<&str> = header.split('-').collect();
        let is_hexadecimal = |part: &&str| part.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let is_well_formed = parts.iter().map(|part| part.len()).eq(PARTS) && parts.iter().all(is_hexadecimal);
        let [version, trace, span, flags] = parts.try_into().ok().filter(|_| is_well_formed)?;
        let trace = u128::from_str_radix(trace, 16).ok()?;
        let span = u64::from_str_radix(span, 16).ok()?;
        let is_sampled = u8::from_str_radix(flags, 16).ok()? & SAMPLED != 0;
        (version != "ff" && trace != 0 && span != 0).then_some(Self { trace, span, is_sampled })
    }

    /// The first span of a new trace, which is sampled if this says so of the trace's id.
    pub(super) fn begin(is_sampled: impl FnOnce(u128) -> bool) -> Self {
        let trace = mint_trace_id();
        Self { trace, span: mint_span_id(), is_sampled: is_sampled(trace) }
    }

    /// Another span of the trace, sampled if this one is.
    pub(super) fn another(self) -> Self {
        Self { span: mint_span_id(), ..self }
    }

    /// The id of the trace.
    pub fn trace(&self) -> u128 {
        self.trace
    }

    /// The id of the span.
    pub fn span(&self) -> u64 {
        self.span
    }

    /// Whether the trace is recorded, as whoever began it has decided.
    pub fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// The id of the trace as it is written.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl Display for TraceParent {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.is_sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_what_the_standard_says() {
        for good in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        ] {
            assert_eq!(TraceParent::parse(good).unwrap().to_string(), good);
        }
        for (flags, passed_on) in [("ff", "01"), ("fe", "00")] {
            let header = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            assert!(TraceParent::parse(&header).unwrap().to_string().ends_with(passed_on));
        }
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
            "00-4bf92f3577b34da6a3ce929d0e0e4736-+0f067aa0ba902b7-01",
        ];
        for header in bad {
            assert_eq!(TraceParent::parse(header), None, "{header:?}");
        }
    }
}
