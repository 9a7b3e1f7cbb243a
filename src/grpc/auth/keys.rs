//! The keys that tokens are verified with, and the file that they come from.

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::PublicKey as RsaPublicKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::config::{KeySource, in_words, read_small};

/// The longest key file.
const MOST_BYTES: u64 = 1024 * 1024;

/// The shortest secret: as long as the digest that it is used with (RFC 7518, section 3.2).
const LEAST_SECRET_BYTES: usize = 32;

/// RSA keys of so many bits are used: shorter ones can be broken, longer ones take long.
const RSA_BITS: RangeInclusive<usize> = 2_048..=8_192;

const KINDS: &str = "is none of Ed25519, P-256 and RSA";

/// How PEM begins, whatever is in it.
const PEM_BEGIN: &[u8] = b"-----BEGIN";

/// Who may read a secret beside its owner: bits of a file's mode.
const GROUP_READS: u32 = 0o040;
const OTHERS_READ: u32 = 0o004;

/// A key.
pub(super) struct Key {
    /// Its name in a JWKS.
    kid: Option<String>,
    /// The one algorithm that it is used with.
    pub(super) algorithm: Algorithm,
    /// The key in the library's form.
    pub(super) decoding: DecodingKey,
    /// The SHA-256 of its bytes: two keys are the same if these are.
    digest: [u8; 32],
    /// Cancelled once the key is no longer in the file.
    pub(super) withdrawn: CancellationToken,
}

/// The keys of a file; at least one.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<Arc<Key>>,
    /// Whether the keys have names (`kid`), as those of a JWKS do.
    are_named: bool,
}

/// Why a key file cannot be used. Its content is never repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file {path} of {flag} {problem}")]
pub struct KeyFileError {
    /// The file.
    pub path: String,
    /// The flag that names it.
    pub flag: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// The key file, and its content when it was last read.
#[derive(Debug)]
pub(super) struct KeyFile {
    source: Arc<KeySource>,
    seen: Mutex<Result<Content, KeyFileError>>,
}

/// The content of a key file.
#[derive(Clone, PartialEq, Eq)]
struct Content {
    source: Arc<KeySource>,
    bytes: Vec<u8>,
}

impl KeyFile {
    /// Reads a file for the first time.
    pub(super) fn open(source: KeySource) -> Result<(Self, KeySet), KeyFileError> {
        let source = Arc::new(source);
        let content = Content::read(source.clone())?;
        let keys = content.parse()?;
        Ok((Self { source, seen: Mutex::new(Ok(content)) }, keys))
    }

    /// Returns the keys if the file has changed since it was last read. A broken file is reported once and changes
    /// nothing. The content is compared, not the time: a supervisor may swap links to files of any age.
    pub(super) async fn changed(&self) -> Option<KeySet> {
        let source = self.source.clone();
        // The disk may take its time.
        let read = tokio::task::spawn_blocking(move || Content::read(source)).await.ok()?;
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == read {
                return None;
            }
            seen.clone_from(&read);
        }
        match read.and_then(|content| content.parse()) {
            Ok(keys) => Some(keys),
            Err(error) => {
                tracing::warn!(%error, "keeping the previous token keys");
                None
            }
        }
    }
}

impl Content {
    fn read(source: Arc<KeySource>) -> Result<Self, KeyFileError> {
        let problem = |problem: String| KeyFileError::new(&source, problem);
        let unreadable = |error: io::Error| problem(format!("cannot be read: {}", in_words(&error)));
        let file = File::open(source.path()).map_err(unreadable)?;
        if let KeySource::Secret(_) = &*source {
            let metadata = file.metadata().map_err(unreadable)?;
            refuse_shown(metadata.mode(), metadata.uid()).map_err(|text| problem(text.to_owned()))?;
        }
        let bytes = read_small(file, MOST_BYTES).map_err(unreadable)?;
        let bytes = bytes.ok_or_else(|| problem(format!("contains more than {MOST_BYTES} bytes")))?;
        Ok(Self { source, bytes })
    }

    /// The keys in it.
    fn parse(&self) -> Result<KeySet, KeyFileError> {
        let keys = match &*self.source {
            KeySource::PublicKey(_) => from_pem(&self.bytes).map(|key| vec![key]),
            KeySource::Secret(_) => from_secret(&self.bytes).map(|key| vec![key]),
            KeySource::Jwks(path) => from_jwks(path, &self.bytes),
        };
        let keys = keys.map_err(|problem| KeyFileError::new(&self.source, problem))?;
        let are_named = matches!(&*self.source, KeySource::Jwks(_));
        Ok(KeySet { keys: keys.into_iter().map(Arc::new).collect(), are_named })
    }
}

/// Leaves the content out: it may be a secret.
impl std::fmt::Debug for Content {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Content").field("source", &self.source).finish_non_exhaustive()
    }
}

impl KeyFileError {
    fn new(source: &KeySource, problem: String) -> Self {
        Self { path: source.path().display().to_string(), flag: source.flag(), problem }
    }
}

impl KeySet {
    /// Returns the key that a token was signed with according to its header.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&Arc<Key>, &'static str> {
        let is_meant = |key: &&Arc<Key>| match kid.filter(|_| self.are_named) {
            Some(kid) => key.kid.as_deref() == Some(kid),
            None => true,
        };
        let mut fitting = self.keys.iter().filter(is_meant).filter(|key| key.algorithm == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (None, _) => Err("the token names an unknown key (kid) or an algorithm (alg) that is not its key's"),
            (Some(_), Some(_)) => Err("the token must name its key (kid), because several keys fit"),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Takes over the keys that `old` has too, so that streams that were opened with them go on.
    pub(super) fn keeping(self, old: &Self) -> Self {
        let kept = |key: Arc<Key>| old.keys.iter().find(|old| old.is_same(&key)).cloned().unwrap_or(key);
        Self { keys: self.keys.into_iter().map(kept).collect(), ..self }
    }

    /// Withdraws the keys that are not in `new`: streams that were opened with them end.
    pub(super) fn withdraw_all_but(&self, new: &Self) {
        for key in &self.keys {
            if !new.keys.iter().any(|kept| kept.is_same(key)) {
                key.withdrawn.cancel();
            }
        }
    }
}

impl Key {
    /// A key whose bytes are these.
    fn new(kid: Option<String>, algorithm: Algorithm, decoding: DecodingKey, bytes: &[u8]) -> Self {
        Self { kid, algorithm, decoding, digest: Sha256::digest(bytes).into(), withdrawn: CancellationToken::new() }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.kid == other.kid && self.algorithm == other.algorithm && self.digest == other.digest
    }
}

/// Leaves the key out, and its digest: a weak secret could be guessed by that.
impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kid, algorithm, decoding: _, digest: _, withdrawn: _ } = self;
        formatter.debug_struct("Key").field("kid", kid).field("algorithm", algorithm).finish_non_exhaustive()
    }
}

/// The one public key in a PEM file.
fn from_pem(bytes: &[u8]) -> Result<Key, String> {
    let found: Result<Vec<_>, _> = SubjectPublicKeyInfoDer::pem_slice_iter(bytes).collect();
    let found = found.map_err(|_| "is not PEM".to_owned())?;
    match found.as_slice() {
        [der] => {
            let (algorithm, decoding) = public_key(der).map_err(|problem| format!("contains a key that {problem}"))?;
            Ok(Key::new(None, algorithm, decoding, der))
        }
        [] => Err("contains no public key in PEM (-----BEGIN PUBLIC KEY-----)".to_owned()),
        [_, _, ..] => Err("contains more than one key: use a JWKS file (--jwt-jwks) for several".to_owned()),
    }
}

/// Parses a public key, in DER or as raw bytes, and returns the algorithm that it is used with.
fn public_key(bytes: &[u8]) -> Result<(Algorithm, DecodingKey), String> {
    if ParsedPublicKey::new(&ED25519, bytes).is_ok() {
        return Ok((Algorithm::EdDSA, DecodingKey::from_ed_der(bytes)));
    }
    if ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes).is_ok() {
        return Ok((Algorithm::ES256, DecodingKey::from_ec_der(bytes)));
    }
    let rsa = RsaPublicKey::from_der(bytes).map_err(|_| KINDS.to_owned())?;
    let modulus = rsa.modulus().big_endian_without_leading_zero();
    let unused = modulus.first().map_or(0, |first| first.leading_zeros());
    let bits = modulus.len().saturating_mul(8).saturating_sub(usize::try_from(unused).unwrap_or(0));
    if RSA_BITS.contains(&bits) {
        Ok((Algorithm::RS256, DecodingKey::from_rsa_der(bytes)))
    } else {
        Err(format!("has {bits} bits; an RSA key must have {} to {}", RSA_BITS.start(), RSA_BITS.end()))
    }
}

/// A secret for HS256.
fn from_secret(bytes: &[u8]) -> Result<Key, String> {
    let secret = secret(bytes)?;
    Ok(Key::new(None, Algorithm::HS256, DecodingKey::from_secret(secret), secret))
}

/// The secret in the content of a file. If the content is text, a line end at its end is not part of the secret.
fn secret(bytes: &[u8]) -> Result<&[u8], String> {
    refuse_keys(bytes)?;
    let text = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n'));
    let secret = text.map_or(bytes, |line| line.strip_suffix('\r').unwrap_or(line).as_bytes());
    if secret.len() < LEAST_SECRET_BYTES {
        return Err(format!("contains a secret of {} bytes; at least {LEAST_SECRET_BYTES} are needed", secret.len()));
    }
    Ok(secret)
}

/// Refuses a file of keys as a secret: everybody may know a public key, and could then sign tokens with it.
fn refuse_keys(bytes: &[u8]) -> Result<(), String> {
    if bytes.windows(PEM_BEGIN.len()).any(|part| part == PEM_BEGIN) {
        return Err("contains PEM, which is no secret: a public key is for --jwt-public-key, and a private one for \
                    `token --key`"
            .to_owned());
    }
    if serde_json::from_slice::<Map<String, Value>>(bytes).is_ok() {
        return Err("contains JSON, which is no secret: a JWKS is for --jwt-jwks".to_owned());
    }
    Ok(())
}

/// Reads the secret of `token --secret` with the checks that the service applies to its own.
pub(super) fn read_secret(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    let source = Arc::new(KeySource::Secret(path.to_owned()));
    let read = Content::read(source.clone()).and_then(|content| {
        secret(&content.bytes).map(<[u8]>::to_vec).map_err(|problem| KeyFileError::new(&source, problem))
    });
    read.map_err(|error| KeyFileError { flag: "--secret (DISPUTES_TOKEN_SECRET)", ..error })
}

/// Refuses a secret that others can read. A group may read one that root owns: that is how supervisors pass secrets to
/// a user of their own.
fn refuse_shown(mode: u32, owner: u32) -> Result<(), &'static str> {
    if mode & OTHERS_READ != 0 {
        return Err("is readable by everybody on this machine: chmod 600 it");
    }
    if mode & GROUP_READS != 0 && owner != 0 {
        return Err("is readable by a group: chmod 600 it, or make root its owner");
    }
    Ok(())
}

/// A JWKS file (RFC 7517). Other members are ignored.
#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

/// A key in it, of a kind that is used.
#[derive(Deserialize)]
struct Jwk {
    crv: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// Why a key of a JWKS is not used.
enum Unused {
    /// It is of a kind, a curve or a purpose that tokens of this service do not have.
    Foreign(String),
    /// It is of one that they have, and malformed.
    Broken(String),
}

/// The keys of a JWKS file that verify tokens. Those for something else are ignored, with a warning each; a malformed one makes
/// the file broken, because to leave it out could withdraw a key that is in use.
fn from_jwks(path: &Path, bytes: &[u8]) -> Result<Vec<Key>, String> {
    let Jwks { keys } =
        serde_json::from_slice(bytes).map_err(|_| "is not a JWKS, {\"keys\": […]} in JSON".to_owned())?;
    let mut usable: Vec<Key> = Vec::new();
    for (index, value) in keys.into_iter().enumerate() {
        let number = index.saturating_add(1);
        match from_jwk(value) {
            Ok(key) => {
                let is_twice = |other: &Key| other.kid == key.kid && other.algorithm == key.algorithm;
                if key.kid.is_some() && usable.iter().any(is_twice) {
                    return Err(format!("is broken: key {number} repeats the kid of an earlier key"));
                }
                usable.push(key);
            }
            Err(Unused::Foreign(why)) => {
                tracing::warn!(file = %path.display(), "ignoring key {number} of the JWKS file: it {why}");
            }
            Err(Unused::Broken(problem)) => return Err(format!("is broken: key {number} {problem}")),
        }
    }
    if usable.is_empty() { Err("contains no usable key".to_owned()) } else { Ok(usable) }
}

fn from_jwk(value: Value) -> Result<Key, Unused> {
    let foreign = |why: &str| Unused::Foreign(why.to_owned());
    let broken = |problem: &str| Unused::Broken(problem.to_owned());
    let kind = value.get("kty").and_then(Value::as_str).ok_or_else(|| broken("is not a JWK"))?.to_owned();
    match kind.as_str() {
        "OKP" | "EC" | "RSA" => {}
        "oct" => return Err(foreign("is a secret, which only --jwt-secret accepts")),
        _ => return Err(foreign(KINDS)),
    }
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| broken("has a member of a wrong type"))?;
    let is_other = jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig");
    if is_other || jwk.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(|name| name == "verify")) {
        return Err(foreign("is not for verifying signatures"));
    }
    let expected = match (kind.as_str(), jwk.crv.as_deref()) {
        ("OKP", Some("Ed25519")) => Algorithm::EdDSA,
        ("EC", Some("P-256")) => Algorithm::ES256,
        ("RSA", _) => Algorithm::RS256,
        (_, None) => return Err(broken("lacks its curve (crv)")),
        (_, Some(_)) => return Err(foreign(KINDS)),
    };
    // The one name that an algorithm has had since (RFC 9864).
    let names = |algorithm: &str| {
        algorithm == format!("{expected:?}") || (algorithm, expected) == ("Ed25519", Algorithm::EdDSA)
    };
    if jwk.alg.as_deref().is_some_and(|algorithm| !names(algorithm)) {
        return Err(foreign("is for an algorithm other than EdDSA, ES256 and RS256"));
    }
    let bytes = jwk.bytes(expected).map_err(broken)?;
    match public_key(&bytes).map_err(Unused::Broken)? {
        (algorithm, decoding) if algorithm == expected => Ok(Key::new(jwk.kid, algorithm, decoding, &bytes)),
        _ => Err(broken("is not of the kind that it claims to be")),
    }
}

impl Jwk {
    /// The key as [`public_key`] parses it.
    fn bytes(&self, algorithm: Algorithm) -> Result<Vec<u8>, &'static str> {
        let part = |text: &Option<String>| {
            let bytes = text.as_ref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
            bytes.ok_or("lacks a part, or a part is not base64url")
        };
        if algorithm == Algorithm::EdDSA {
            part(&self.x)
        } else if algorithm == Algorithm::ES256 {
            Ok([vec![4], part(&self.x)?, part(&self.y)?].concat())
        } else {
            let components = RsaPublicKeyComponents { n: part(&self.n)?, e: part(&self.e)? };
            let key = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok();
            let der = key.and_then(|key| key.as_der().ok());
            Ok(der.ok_or("is not an RSA key")?.as_ref().to_vec())
        }
    }
}

#[cfg(test)]
mod tests;
