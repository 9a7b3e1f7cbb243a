//! Tests of what is a key.

use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;

/// A public key that is too short to be used.
const RSA_1024: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDPx3wcehNukTDYpOGDsPAtltS4
WTdqm9e9lhaH+CVok6nCEYqPS8T5iHzfHdGbt83YJFq9i37BXliPK8OLNwS5CnMu
bYnhNAKGFxhglfFsPCSnor01QA1BTjCcWWXpAxkJGCtZ5B8vv8gY0Va2TY/T35FD
JgWaQSrtZYD+5xBuuwIDAQAB
-----END PUBLIC KEY-----
";

/// A public key on a curve that is not used.
const P_384: &str = "\
-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE4RgjgP9/laPV1ZIo4GdM7yXNZo3qa9cD
aYLfOu8K3sQ39WUIuyiY66u5/+9XBkmazxNeDfRr2qsPbsAJ0gYgZOq90axiXiRW
nDeJJY+/JJQWaAzxPqkGtdtecwkssXHf
-----END PUBLIC KEY-----
";

/// The keys of RFC 8037 (appendix A.2) and RFC 7515 (appendices A.2 and A.3).
fn ed25519() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
}

fn p256() -> Value {
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

fn rsa() -> Value {
    json!({
        "kty": "RSA", "e": "AQAB",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR\
              T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB\
              dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia\
              GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    })
}

fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Value {
    jwk[name] = value.into();
    jwk
}

/// The algorithms of the keys of a JWKS, with their names.
fn keys(jwks: &[Value]) -> Result<Vec<(Option<String>, Algorithm)>, String> {
    let bytes = json!({"keys": jwks}).to_string();
    let keys = from_jwks(Path::new("jwks"), bytes.as_bytes())?;
    Ok(keys.into_iter().map(|key| (key.kid, key.algorithm)).collect())
}

#[test]
fn each_kind_of_key_has_one_algorithm() {
    let all = [(ed25519(), Algorithm::EdDSA), (p256(), Algorithm::ES256), (rsa(), Algorithm::RS256)];
    for (jwk, algorithm) in all {
        assert_eq!(keys(std::slice::from_ref(&jwk)), Ok(vec![(None, algorithm)]));
        let named = with(with(jwk.clone(), "alg", format!("{algorithm:?}")), "kid", "k");
        assert_eq!(keys(&[with(named, "use", "sig")]), Ok(vec![(Some("k".to_owned()), algorithm)]));
        assert_eq!(keys(&[with(jwk, "key_ops", json!(["verify"]))]), Ok(vec![(None, algorithm)]));
    }
    assert_eq!(keys(&[with(ed25519(), "alg", "Ed25519")]), Ok(vec![(None, Algorithm::EdDSA)]));
}

#[test]
fn keys_of_a_jwks_that_cannot_be_used_are_left_out() {
    let unusable = [
        json!("no key at all"),
        json!({"kty": "oct", "k": STANDARD.encode([7; 32])}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}),
        with(rsa(), "use", "enc"),
        with(rsa(), "key_ops", json!(["encrypt"])),
        with(rsa(), "alg", "RSA-OAEP-256"),
        with(rsa(), "alg", "PS256"),
        with(rsa(), "alg", "HS256"),
        with(rsa(), "n", URL_SAFE_NO_PAD.encode([0xc1; 128])),
        with(p256(), "crv", "P-384"),
        with(p256(), "y", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1"),
        with(p256(), "alg", "ES384"),
        with(ed25519(), "crv", "Ed448"),
        with(ed25519(), "x", "11qY"),
        with(ed25519(), "x", "not base64"),
    ];
    for jwk in &unusable {
        assert_eq!(keys(std::slice::from_ref(jwk)), Err("contains no usable key".to_owned()), "{jwk}");
    }
    let named = |jwk, kid: &str| with(jwk, "kid", kid);
    let mixed = [&unusable[..], &[named(p256(), "1"), named(p256(), "1"), named(ed25519(), "1"), rsa()]].concat();
    let expected =
        [(Some("1".to_owned()), Algorithm::ES256), (Some("1".to_owned()), Algorithm::EdDSA), (None, Algorithm::RS256)];
    assert_eq!(keys(&mixed), Ok(expected.to_vec()), "a name counts once for each algorithm");
}

#[test]
fn a_key_in_pem_is_one_public_key_of_a_kind_that_is_used() {
    for (pem, why) in [
        (RSA_1024, "1024 bits"),
        (P_384, "none of Ed25519, P-256 and RSA"),
        ("", "contains no public key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "contains no public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "none of Ed25519, P-256 and RSA"),
        ("-----BEGIN PUBLIC KEY-----\n????\n-----END PUBLIC KEY-----\n", "is not PEM"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n", "is not PEM"),
    ] {
        let error = from_pem(pem.as_bytes()).unwrap_err();
        assert!(error.contains(why), "{pem}: {error}");
    }
}

#[test]
fn a_secret_is_long_and_without_the_end_of_its_line() {
    let text = "0123456789abcdef0123456789abcdef";
    for file in [text.to_owned(), format!("{text}\n"), format!("{text}\r\n")] {
        assert_eq!(secret(file.as_bytes()), Ok(text.as_bytes()));
    }
    assert!(secret(text.as_bytes().split_last().unwrap().1).unwrap_err().contains("31 bytes"));
    let two_lines = format!("{text}\n\n");
    assert_eq!(secret(two_lines.as_bytes()).unwrap().len(), 33, "one end of a line");
    // What is no text is taken as it is.
    let bytes = [[0xff; 31].as_slice(), b"\n"].concat();
    assert_eq!(secret(&bytes), Ok(&bytes[..]));
}

#[test]
fn a_secret_is_shown_to_its_owner_alone_or_by_root_to_a_group() {
    for (mode, owner, is_refused) in [
        (0o600, 1_000, false),
        (0o400, 0, false),
        (0o640, 1_000, true),
        (0o440, 0, false),
        (0o644, 0, true),
        (0o604, 1_000, true),
    ] {
        assert_eq!(refuse_shown(0o100_000 | mode, owner).is_err(), is_refused, "{mode:o} {owner}");
    }
}
