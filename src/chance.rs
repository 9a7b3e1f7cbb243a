//! The only source of chance: ids, secrets and jitter.

use std::time::Duration;

use uuid::Uuid;

/// A new id, a UUIDv7.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn mint_id() -> Uuid {
    Uuid::now_v7()
}

/// A new id of a trace, which is never 0.
pub fn mint_trace_id() -> u128 {
    fastrand::u128(1..)
}

/// A new id of a span, which is never 0.
pub fn mint_span_id() -> u64 {
    fastrand::u64(1..)
}

/// Random bytes for a secret, from the operating system.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A span that is up to a half longer or shorter, at random: what many do after the same event does not come at once.
pub fn jittered(span: Duration) -> Duration {
    span.mul_f64(0.5 + fastrand::f64())
}
