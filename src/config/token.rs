//! The flags of `dispute-service token`.

use std::path::{Path, PathBuf};

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args};

use super::Span;
use crate::domain::Scope;

/// What a token says, and what signs it.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
#[command(group = ArgGroup::new("signing_key").args(["key", "secret"]).required(true))]
pub struct TokenFlags {
    /// A PEM file with the private key that signs: Ed25519, P-256 or RSA, in PKCS#8.
    #[arg(long, env = "DISPUTES_TOKEN_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// A file with the secret that signs, as `--jwt-secret` reads it.
    #[arg(long, env = "DISPUTES_TOKEN_SECRET", value_name = "FILE")]
    secret: Option<PathBuf>,
    /// The user id.
    #[arg(long, env = "DISPUTES_TOKEN_SUB", value_name = "USER")]
    pub sub: String,
    /// The scope, `support` or `platform`, if any.
    #[arg(long, env = "DISPUTES_TOKEN_SCOPE", value_name = "SCOPE", value_parser = scope)]
    pub scope: Option<Scope>,
    /// The issuer, as in the service's `--jwt-issuer`.
    #[arg(long, env = "DISPUTES_TOKEN_ISSUER", value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub issuer: String,
    /// The audience, as in the service's `--jwt-audience`.
    #[arg(long, env = "DISPUTES_TOKEN_AUDIENCE", value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub audience: String,
    /// How long the token is valid.
    #[arg(long, env = "DISPUTES_TOKEN_EXPIRES_IN", value_name = "SPAN", default_value = "1h")]
    pub expires_in: Span,
    /// The name of the key in the service's JWKS.
    #[arg(long, env = "DISPUTES_TOKEN_KID", value_name = "KID")]
    pub kid: Option<String>,
}

/// The file with the key that signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SigningKeyFile<'a> {
    /// A private key in PEM.
    Private(&'a Path),
    /// A secret for HS256.
    Secret(&'a Path),
}

impl TokenFlags {
    /// The file with the key.
    pub fn key_file(&self) -> SigningKeyFile<'_> {
        match (&self.key, &self.secret) {
            (Some(key), _) => SigningKeyFile::Private(key),
            // The parser takes one of the two.
            (None, secret) => SigningKeyFile::Secret(secret.as_deref().unwrap_or(Path::new(""))),
        }
    }
}

/// A scope by its name in a token. The service would ignore other names and refuse two.
fn scope(text: &str) -> Result<Scope, String> {
    let named = |name: &str| Scope::ALL.into_iter().find(|scope| scope.name() == name);
    named(text).ok_or_else(|| {
        let is_several = text.contains(' ') && text.split(' ').all(|name| named(name).is_some());
        if is_several { "a token has one scope: support or platform" } else { "expected support or platform" }
            .to_owned()
    })
}
