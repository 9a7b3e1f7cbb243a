//! What an event says of the trace that it belongs to.

use std::sync::Arc;

/// The trace context of a command, as the W3C header `traceparent` has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceParent(Arc<str>);

/// How long each part is, in lower-case hexadecimal digits: the version, the trace, the span, the flags.
const PARTS: [usize; 4] = [2, 32, 16, 2];

impl TraceParent {
    /// Reads a header. `None` if it is none that the standard knows: it is then no trace at all.
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

    /// As it was read.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
