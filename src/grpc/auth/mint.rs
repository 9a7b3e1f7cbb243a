//! Mints tokens for trying things out. In production an identity provider mints them: anyone with the private key can
//! act as anybody.

use std::path::Path;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;

use super::keys::{KeyFileError, read_secret};
use crate::clock::Clock;
use crate::config::{SigningKeyFile, TokenFlags, in_words};
use crate::domain::{Scope, Timestamp, UserId};

/// Why no token can be minted.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The secret cannot be used.
    #[error(transparent)]
    Secret(#[from] KeyFileError),
    /// The private key cannot be used.
    #[error("the file {path} of --key {problem}")]
    Key {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The service would refuse the user id.
    #[error("--sub must be 1 to 128 characters of A-Z a-z 0-9 . _ : -")]
    Sub,
    /// Signing failed.
    #[error("the key cannot sign")]
    Unsigned,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    iat: i64,
    exp: i64,
}

/// A private key or a secret.
enum SigningKey {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    // Boxed: it is twenty times as large as the others.
    Secret(Box<hmac::Key>),
}

/// Mints a token that is valid from now on, by `clock`.
pub fn mint_token(flags: &TokenFlags, clock: &Clock) -> Result<String, MintError> {
    UserId::parse(&flags.sub).map_err(|_| MintError::Sub)?;
    let key = match flags.key_file() {
        SigningKeyFile::Secret(path) => {
            SigningKey::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &read_secret(path)?)))
        }
        SigningKeyFile::Private(path) => SigningKey::read(path)?,
    };
    let now = clock.now();
    let claims = Claims {
        iss: &flags.issuer,
        aud: &flags.audience,
        sub: &flags.sub,
        scope: flags.scope.map(Scope::name),
        iat: seconds(now),
        exp: seconds(now.plus(flags.expires_in.0)),
    };
    let header = Header { alg: key.algorithm(), typ: "JWT", kid: flags.kid.as_deref() };
    let message = format!("{}.{}", part(&header)?, part(&claims)?);
    let signature = key.sign(message.as_bytes()).map_err(|_| MintError::Unsigned)?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn part(part: &impl Serialize) -> Result<String, MintError> {
    serde_json::to_vec(part).map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|_| MintError::Unsigned)
}

fn seconds(instant: Timestamp) -> i64 {
    instant.micros().div_euclid(1_000_000)
}

impl SigningKey {
    fn read(path: &Path) -> Result<Self, MintError> {
        let problem = |problem: String| MintError::Key { path: path.display().to_string(), problem };
        let pem = std::fs::read(path).map_err(|error| problem(format!("cannot be read: {}", in_words(&error))))?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| {
            problem("contains no private key in PEM and PKCS#8 (-----BEGIN PRIVATE KEY-----)".to_owned())
        })?;
        let der = der.secret_pkcs8_der();
        let ed25519 = || Ed25519KeyPair::from_pkcs8(der).map(Self::Ed25519);
        let p256 = |_| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Self::P256);
        let rsa = |_| RsaKeyPair::from_pkcs8(der).map(Self::Rsa);
        let key = ed25519().or_else(p256).or_else(rsa);
        key.map_err(|_| problem("contains a key that is none of Ed25519, P-256 and RSA".to_owned()))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::Rsa(_) => "RS256",
            Self::Secret(_) => "HS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            Self::P256(key) => key.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map(|()| signature)
            }
            Self::Secret(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
        }
    }
}
