//! Whoever makes tokens: keys of every kind, and tokens of any shape.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    ParsedPublicKey, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use dispute_service::domain::Timestamp;
use serde_json::{Value, json};

/// What the service is told of who makes tokens, and for whom.
pub const ISSUER: &str = "https://login.example";
pub const AUDIENCE: &str = "disputes";

/// A key, with which tokens are signed.
pub enum Issuer {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
    Secret(Vec<u8>),
}

impl Issuer {
    pub fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    pub fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::Rsa(_) => "RS256",
            Self::Secret(_) => "HS256",
        }
    }

    /// The public key in PEM.
    pub fn public_pem(&self) -> String {
        let der = match self {
            Self::Ed25519(key) => ParsedPublicKey::new(&ED25519, key.public_key()).unwrap().as_der().unwrap(),
            Self::P256(key) => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key()).unwrap().as_der().unwrap()
            }
            Self::Rsa(key) => key.public_key().as_der().unwrap(),
            Self::Secret(_) => panic!("a secret has no public half"),
        };
        pem("PUBLIC KEY", der.as_ref())
    }

    /// The private key in PEM and PKCS#8.
    pub fn private_pem(&self) -> String {
        let der = match self {
            Self::Ed25519(key) => key.to_pkcs8v1().unwrap().as_ref().to_vec(),
            Self::P256(key) => key.to_pkcs8v1().unwrap().as_ref().to_vec(),
            Self::Rsa(key) => key.as_der().unwrap().as_ref().to_vec(),
            Self::Secret(_) => panic!("a secret is no private key"),
        };
        pem("PRIVATE KEY", &der)
    }

    /// The public key in a JWKS, under this name.
    pub fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64(key.public_key().as_ref())})
            }
            Self::P256(key) => {
                let point = key.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": base64(&point[1..33]), "y": base64(&point[33..])})
            }
            Self::Rsa(key) => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key());
                json!({"kty": "RSA", "kid": kid, "n": base64(&n), "e": base64(&e)})
            }
            Self::Secret(secret) => json!({"kty": "oct", "kid": kid, "k": base64(secret)}),
        }
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&json!({"alg": self.algorithm(), "typ": "JWT"}), claims)
    }

    /// The same, which names its key.
    pub fn named(&self, kid: &str, claims: &Value) -> String {
        self.sign(&json!({"alg": self.algorithm(), "kid": kid}), claims)
    }

    /// A token with any header.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Ed25519(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
            Self::P256(key) => key.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
        };
        format!("{message}.{}", base64(&signature))
    }
}

/// What a good token of this user says, for an hour from now on.
pub fn claims(user: &str, now: Timestamp) -> Value {
    let now = now.micros() / 1_000_000;
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": user, "iat": now, "exp": now + 3_600})
}

/// The same, with another claim beside them or instead.
pub fn with(mut claims: Value, name: &str, value: impl Into<Value>) -> Value {
    claims[name] = value.into();
    claims
}

/// The same without one of them.
pub fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().unwrap().remove(name);
    claims
}

pub fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pem(what: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}
