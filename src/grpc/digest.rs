//! Digests: by which requests, callers and filters are recognised without being kept.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// 128 bits of the SHA-256 of these parts, each with its length before it.
pub(super) fn digest(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut half = [0; 16];
    for (to, from) in half.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    Uuid::from_bytes(half)
}
