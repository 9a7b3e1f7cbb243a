//! Remembers verified tokens, so that a signature is checked once per token and not once per call.

use std::sync::Arc;

use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::jwt::VerifiedToken;

/// How many tokens are remembered: a few MiB with the longest ids. A token that was evicted is verified again.
pub(super) const REMEMBERED: usize = 16_384;

/// The tokens that one set of keys has verified; dropped with it.
#[derive(Debug)]
pub(super) struct TokenCache(Cache<TokenDigest, Arc<VerifiedToken>>);

/// The SHA-256 of a whole token, including its signature: the token itself is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl TokenCache {
    pub(super) fn new() -> Self {
        Self(Cache::new(REMEMBERED))
    }

    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Arc<VerifiedToken>> {
        self.0.get(digest)
    }

    pub(super) fn insert(&self, digest: TokenDigest, token: Arc<VerifiedToken>) {
        self.0.insert(digest, token);
    }

    pub(super) fn remove(&self, digest: &TokenDigest) {
        self.0.remove(digest);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
