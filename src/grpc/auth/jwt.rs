//! `--auth jwt`: a caller brings a token (RFC 7519) that is signed by an issuer that the service trusts.
//!
//! The library checks the signature, the issuer and the audience; times are checked here, by the service's own clock. No
//! error repeats any part of a token.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;

use super::cache::{TokenCache, TokenDigest};
use super::identity;
use super::keys::{Key, KeyFile, KeyFileError, KeySet};
use crate::clock::{Clock, pause};
use crate::config::JwtSettings;
use crate::domain::{Caller, Scope, Timestamp, UserId};
use crate::grpc::status::Failure;

/// How far the issuer's clock may be off. It does not prolong streams.
pub(super) const LEEWAY: Duration = Duration::from_secs(30);

/// How often the key file is read.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Verifies tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    issuer: String,
    audience: String,
    /// How far ahead `exp` may be; zero for any time.
    max_lifetime: Duration,
    file: KeyFile,
    /// The keys, with the tokens that they have verified: replacing the keys empties the cache.
    current: RwLock<Arc<Current>>,
}

#[derive(Debug)]
struct Current {
    keys: KeySet,
    verified: TokenCache,
}

/// What a token with a valid signature says.
#[derive(Debug)]
pub(super) struct VerifiedToken {
    caller: Caller,
    expires: Timestamp,
    key: Arc<Key>,
}

/// The claims that are read here. The library checks issuer and audience, and that none of the required ones is missing:
/// their defaults are never used.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: String,
    #[serde(default)]
    exp: f64,
    nbf: Option<f64>,
    scope: Option<String>,
    /// Here so that it is one text: the library accepts a list, too.
    #[serde(rename = "iss", default)]
    _issuer: String,
}

impl Tokens {
    /// Reads the keys.
    pub(super) fn new(settings: JwtSettings) -> Result<Self, KeyFileError> {
        let JwtSettings { keys, issuer, audience, max_lifetime } = settings;
        // Left to itself the library panics at the first token if it was built with two backends. An error means that the
        // backend was already chosen.
        let _ = DEFAULT_PROVIDER.install_default();
        let (file, keys) = KeyFile::open(keys)?;
        let current = RwLock::new(Arc::new(Current::new(keys)));
        Ok(Self { issuer, audience, max_lifetime, file, current })
    }

    /// Verifies the token in these headers, if there is one, at `now`.
    pub(super) fn verify(&self, headers: &HeaderMap, now: Timestamp) -> Result<Option<Arc<VerifiedToken>>, Failure> {
        let Some(header) = identity(headers, AUTHORIZATION.as_str())? else { return Ok(None) };
        let token = header
            .to_str()
            .ok()
            .and_then(bearer)
            .ok_or_else(|| invalid("metadata authorization must be Bearer and a token"))?;
        let current = self.current();
        let digest = TokenDigest::of(token);
        let verified = match current.verified.get(&digest) {
            Some(verified) => verified,
            None => {
                let verified = Arc::new(self.check(&current.keys, token, now)?);
                current.verified.insert(digest, verified.clone());
                verified
            }
        };
        if now >= verified.expires.plus(LEEWAY) {
            current.verified.remove(&digest);
            return Err(Failure::credential_expired());
        }
        Ok(Some(verified))
    }

    /// Verifies everything about a token but whether it has expired.
    fn check(&self, keys: &KeySet, token: &str, now: Timestamp) -> Result<VerifiedToken, Failure> {
        let header = decode_header(token).map_err(|_| invalid("the token is malformed"))?;
        if header.crit.is_some() {
            return Err(invalid("the token has critical extensions (crit), and none are supported"));
        }
        let key = keys.find(header.kid.as_deref(), header.alg).map_err(invalid)?;
        let checked = decode::<Claims>(token, &key.decoding, &self.validation(key.algorithm));
        let claims = checked.map_err(|error| invalid(why(error.kind())))?.claims;
        let expires = instant(claims.exp).ok_or_else(|| invalid("exp of the token is not a valid time"))?;
        if !self.max_lifetime.is_zero() && expires > now.plus(self.max_lifetime) {
            return Err(invalid("exp of the token is further ahead than this service allows"));
        }
        if let Some(nbf) = claims.nbf {
            let begins = instant(nbf).ok_or_else(|| invalid("nbf of the token is not a valid time"))?;
            if begins > now.plus(LEEWAY) {
                return Err(invalid("the token is not valid yet"));
            }
        }
        let user = UserId::parse(&claims.sub);
        let user = user.map_err(|_| invalid("sub of the token must be 1 to 128 characters of A-Z a-z 0-9 . _ : -"))?;
        let caller = Caller { user, scope: scope(claims.scope.as_deref().unwrap_or_default())? };
        Ok(VerifiedToken { caller, expires, key: key.clone() })
    }

    /// What the library checks. The algorithm is the key's, whatever the header says.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["sub", "exp", "iss", "aud"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        // Checked here, by our own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }

    fn current(&self) -> Arc<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reloads the keys when their file changes. Never returns.
    pub(super) async fn follow_keys(&self) {
        loop {
            pause(LOOK_INTERVAL).await;
            if let Some(keys) = self.file.changed().await {
                self.replace(keys);
            }
        }
    }

    fn replace(&self, keys: KeySet) {
        let old = self.current();
        let keys = keys.keeping(&old.keys);
        tracing::info!(keys = keys.len(), "the token keys were reloaded");
        let new = Arc::new(Current::new(keys));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new.clone();
        // From here on the old keys verify nothing.
        old.keys.withdraw_all_but(&new.keys);
    }
}

impl Current {
    fn new(keys: KeySet) -> Self {
        Self { keys, verified: TokenCache::new() }
    }
}

impl VerifiedToken {
    /// The user and scope that it names.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns once a stream that was opened with this token must end, and why: at `exp`, or, if it was opened within the
    /// leeway after that, when the leeway is over.
    pub(super) async fn ends(&self, clock: &Clock) -> Failure {
        let until = if clock.now() < self.expires { self.expires } else { self.expires.plus(LEEWAY) };
        tokio::select! {
            () = self.key.withdrawn.cancelled() => invalid("the key of the token was withdrawn; call with a new token"),
            () = clock.sleep_until(until) => Failure::credential_expired(),
        }
    }
}

fn invalid(what: &str) -> Failure {
    Failure::credential_invalid(what)
}

/// The token in the header `authorization`.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// What the library found wrong with a token.
fn why(error: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match error {
        ErrorKind::InvalidSignature => "the signature of the token is invalid",
        ErrorKind::InvalidIssuer => "iss of the token is not the issuer that this service trusts",
        ErrorKind::InvalidAudience => "aud of the token is not this service",
        ErrorKind::MissingRequiredClaim(_) => "the token must have sub, exp, iss and aud",
        _ => "the token is malformed",
    }
}

/// An instant in seconds of UTC.
fn instant(seconds: f64) -> Option<Timestamp> {
    let span = Duration::try_from_secs_f64(seconds).ok()?;
    Timestamp::from_micros(i64::try_from(span.as_micros()).ok()?)
}

/// The scope in a list that is separated by spaces. Unknown scopes are ignored.
fn scope(list: &str) -> Result<Option<Scope>, Failure> {
    let is_in = |scope: &Scope| list.split(' ').any(|name| name == scope.name());
    let mut found = Scope::ALL.into_iter().filter(is_in);
    match (found.next(), found.next()) {
        (scope, None) => Ok(scope),
        (_, Some(_)) => Err(invalid("scope of the token must not hold both support and platform")),
    }
}

#[cfg(test)]
mod tests;
