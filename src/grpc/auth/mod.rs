//! Authentication. `dev` trusts the headers; `jwt` verifies tokens with `keys`, and `cache` remembers the verified ones.
//! `origin` says which web pages may call; `mint` makes tokens for trying things out.

mod cache;
mod dev;
mod jwt;
mod keys;
mod mint;
mod origin;

use std::sync::Arc;

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue};

use self::jwt::{Tokens, VerifiedToken};
use super::peer::PeerIdentity;
use super::status::Failure;
use super::web::ByWeb;
use crate::clock::Clock;
use crate::config::Authentication;
use crate::domain::Caller;

pub use keys::KeyFileError;
pub use mint::{MintError, mint_token};
pub use origin::Origins;

/// Authenticates callers in the way that the flags choose.
#[derive(Debug)]
pub struct Authenticator {
    mode: Mode,
    origins: Origins,
    clock: Clock,
}

#[derive(Debug)]
enum Mode {
    Dev,
    Jwt(Tokens),
}

/// An authenticated caller.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) caller: Caller,
    /// How long its token or certificate vouches for it; `None` if it came with neither, but by the headers of `dev`.
    pub(super) validity: Option<Validity>,
}

/// How long a credential is valid: a token until it expires or its key is withdrawn, a certificate until it expires.
#[derive(Clone, Debug)]
pub(super) struct Validity(Credential);

#[derive(Clone, Debug)]
enum Credential {
    Token(Arc<VerifiedToken>),
    Certificate(PeerIdentity),
}

impl Authenticator {
    /// Reads the keys, if there are any. Pages of these origins may call. Expiry is judged by `clock`.
    pub fn new(authentication: Authentication, origins: Origins, clock: Clock) -> Result<Self, KeyFileError> {
        let mode = match authentication {
            Authentication::Dev => Mode::Dev,
            Authentication::Jwt(flags) => Mode::Jwt(Tokens::new(flags)?),
        };
        Ok(Self { mode, origins, clock })
    }

    /// Reloads the keys when their file changes. Never returns.
    pub async fn follow_keys(self: Arc<Self>) {
        match &self.mode {
            Mode::Dev => std::future::pending().await,
            Mode::Jwt(tokens) => tokens.follow_keys().await,
        }
    }

    /// Refuses requests from web pages that may not call. Where a certificate is the credential, `recognise` refuses them
    /// all.
    pub(super) fn refuse_pages<B>(&self, request: &http::Request<B>) -> Result<(), Failure> {
        match &self.mode {
            Mode::Dev => {
                self.origins.refuse_foreign(request)?;
                origin::refuse_other_hosts(request)
            }
            Mode::Jwt(_) if request.extensions().get::<ByWeb>().is_some() => self.origins.refuse_foreign(request),
            // A page cannot make such a call itself: a gateway has, which knows its own pages and passes on what they sent.
            Mode::Jwt(_) => Ok(()),
        }
    }

    /// Authenticates a call with these headers over a connection whose certificate names `peer`. A credential in the
    /// headers decides alone; the certificate counts only without one.
    pub(super) fn recognise(&self, headers: &HeaderMap, peer: Option<&PeerIdentity>) -> Result<Identity, Failure> {
        let (said, missing) = match &self.mode {
            Mode::Dev => (dev::caller(headers)?.map(Identity::of), "metadata x-user-id must name the user"),
            Mode::Jwt(tokens) => (
                tokens.verify(headers, self.clock.now())?.map(Identity::of_token),
                "metadata authorization must be Bearer and a token",
            ),
        };
        match (said, peer) {
            (Some(identity), _) => Ok(identity),
            // A browser shows the certificate for whatever page makes it call.
            (None, Some(_)) if headers.contains_key(ORIGIN) => {
                Err(Failure::origin_not_allowed("web pages may not call this service by a client certificate"))
            }
            (None, Some(peer)) => Identity::of_certificate(peer),
            (None, None) => Err(Failure::credential_missing(missing)),
        }
    }
}

impl Identity {
    fn of(caller: Caller) -> Self {
        Self { caller, validity: None }
    }

    fn of_token(token: Arc<VerifiedToken>) -> Self {
        Self { caller: token.caller().clone(), validity: Some(Validity(Credential::Token(token))) }
    }

    fn of_certificate(peer: &PeerIdentity) -> Result<Self, Failure> {
        Ok(Self { caller: peer.caller()?, validity: Some(Validity(Credential::Certificate(peer.clone()))) })
    }
}

impl Validity {
    /// Returns once a stream that was opened with the credential must end, and why.
    pub(super) async fn ends(self, clock: Clock) -> Failure {
        match self.0 {
            Credential::Token(token) => token.ends(&clock).await,
            Credential::Certificate(peer) => peer.ends().await,
        }
    }
}

/// The one value of a header that says who calls: every such header is read by this. With two of them, a gateway and this
/// service might each believe another one.
fn identity<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, Failure> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Failure::credential_invalid(&format!("metadata {name} must be given only once"))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{JwtSettings, KeySource};
    use crate::domain::{Scope, Timestamp, UserId};
    use crate::proto::v1::ErrorReason;

    fn headers(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        headers.iter().map(header).collect()
    }

    fn authenticator(authentication: Authentication) -> Authenticator {
        Authenticator::new(authentication, Origins::default(), Clock::manual(Timestamp::MIN).0).unwrap()
    }

    #[test]
    fn a_token_beside_a_certificate_decides_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jwks");
        let jwk = r#"{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        std::fs::write(&file, format!("{{\"keys\": [{jwk}]}}")).unwrap();
        let (issuer, audience, max_lifetime) = ("i".to_owned(), "a".to_owned(), Duration::ZERO);
        let jwt = authenticator(Authentication::Jwt(JwtSettings {
            keys: KeySource::Jwks(file),
            issuer,
            audience,
            max_lifetime,
        }));
        let dev = authenticator(Authentication::Dev);
        let expected = Caller { user: UserId::parse("shop").unwrap(), scope: Some(Scope::Platform) };
        let (clock, manual) = Clock::manual(Timestamp::MIN);
        let shop = PeerIdentity::new(Some(expected.clone()), Timestamp::MAX, clock, Arc::default());

        let by_certificate = jwt.recognise(&headers(&[("x-user-id", "ann")]), Some(&shop)).unwrap();
        assert_eq!(by_certificate.caller, expected);
        assert!(matches!(by_certificate.validity, Some(Validity(Credential::Certificate(_)))));
        for token in ["Bearer a.b.c", "Basic x", ""] {
            let refused = jwt.recognise(&headers(&[("authorization", token)]), Some(&shop)).unwrap_err();
            assert_eq!(refused.reason, ErrorReason::CredentialInvalid, "{token:?}: the certificate does not help");
        }
        let refused = jwt.recognise(&HeaderMap::new(), None).unwrap_err();
        assert_eq!(refused.reason, ErrorReason::CredentialMissing);

        let ann = dev.recognise(&headers(&[("x-user-id", "ann")]), Some(&shop)).unwrap().caller;
        assert_eq!(ann, Caller { user: UserId::parse("ann").unwrap(), scope: None }, "nor does its scope");
        assert_eq!(dev.recognise(&HeaderMap::new(), Some(&shop)).unwrap().caller, expected);
        let reason = |headers: &HeaderMap, peer| jwt.recognise(headers, peer).unwrap_err().reason;
        assert_eq!(reason(&headers(&[("origin", "null")]), Some(&shop)), ErrorReason::OriginNotAllowed);
        assert_eq!(reason(&HeaderMap::new(), None), ErrorReason::CredentialMissing);
        let unnamed = PeerIdentity::new(None, Timestamp::MAX, Clock::manual(Timestamp::MIN).0, Arc::default());
        assert_eq!(reason(&HeaderMap::new(), Some(&unnamed)), ErrorReason::CredentialInvalid);
        manual.set(Timestamp::MAX);
        assert_eq!(reason(&HeaderMap::new(), Some(&shop)), ErrorReason::CredentialExpired);
    }
}
