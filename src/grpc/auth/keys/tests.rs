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

fn named(jwk: Value, kid: &str) -> Value {
    with(jwk, "kid", kid)
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
fn keys_of_a_jwks_that_are_for_something_else_are_left_out() {
    let foreign = [
        json!({"kty": "oct", "k": STANDARD.encode([7; 32])}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}),
        json!({"kty": "of another time", "kid": 7, "x": [], "use": {}}),
        with(rsa(), "use", "enc"),
        with(rsa(), "key_ops", json!(["encrypt"])),
        with(rsa(), "alg", "RSA-OAEP-256"),
        with(rsa(), "alg", "PS256"),
        with(rsa(), "alg", "HS256"),
        with(p256(), "crv", "P-384"),
        with(p256(), "alg", "ES384"),
        with(ed25519(), "crv", "Ed448"),
        // Whatever they contain.
        with(with(ed25519(), "use", "enc"), "x", "not base64"),
        with(with(p256(), "crv", "P-521"), "y", "AAAA"),
    ];
    for jwk in &foreign {
        assert_eq!(keys(std::slice::from_ref(jwk)), Err("contains no usable key".to_owned()), "{jwk}");
    }
    let mixed = [&foreign[..], &[named(p256(), "1"), named(ed25519(), "1"), rsa(), rsa()]].concat();
    let rsa = (None, Algorithm::RS256);
    let one = |algorithm| (Some("1".to_owned()), algorithm);
    let expected = vec![one(Algorithm::ES256), one(Algorithm::EdDSA), rsa.clone(), rsa];
    assert_eq!(keys(&mixed), Ok(expected), "a name counts once for each algorithm");
}

#[test]
fn a_malformed_key_or_one_whose_kid_is_there_makes_the_whole_jwks_broken() {
    for (jwk, why) in [
        (json!("no key at all"), "is not a JWK"),
        (json!({"kid": "no kind"}), "is not a JWK"),
        (with(ed25519(), "kid", 7), "has a member of a wrong type"),
        (with(ed25519(), "use", json!(["sig"])), "has a member of a wrong type"),
        (with(ed25519(), "x", "11qY"), "is none of Ed25519, P-256 and RSA"),
        (with(ed25519(), "x", "not base64"), "lacks a part, or a part is not base64url"),
        (with(ed25519(), "x", Value::Null), "lacks a part, or a part is not base64url"),
        (with(ed25519(), "crv", Value::Null), "lacks its curve (crv)"),
        (with(p256(), "y", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1"), "lacks a part, or a part is not base64url"),
        (with(p256(), "y", p256()["x"].clone()), "is none of Ed25519, P-256 and RSA"),
        (with(p256(), "y", Value::Null), "lacks a part, or a part is not base64url"),
        (with(rsa(), "n", URL_SAFE_NO_PAD.encode([0xc1; 128])), "has 1024 bits; an RSA key must have 2048 to 8192"),
        (with(rsa(), "e", "AA"), "is not an RSA key"),
        (named(p256(), "1"), "repeats the kid of an earlier key"),
    ] {
        let before = [named(p256(), "1"), named(ed25519(), "1")];
        assert_eq!(keys(&[&before[..], &[jwk]].concat()), Err(format!("is broken: key 3 {why}")));
    }
}

#[test]
fn a_key_is_the_same_as_long_as_its_bytes_its_name_and_its_algorithm_are() {
    let key = |jwk: Value| from_jwk(jwk).map_err(|_| ()).unwrap();
    let other = with(ed25519(), "x", URL_SAFE_NO_PAD.encode([9; 32]));
    for jwk in [ed25519(), p256(), rsa()] {
        assert!(key(jwk.clone()).is_same(&key(with(jwk.clone(), "use", "sig"))));
        assert!(!key(jwk.clone()).is_same(&key(named(jwk.clone(), "1"))));
        assert!(!key(jwk).is_same(&key(other.clone())));
    }
    let secret = |byte| from_secret(&[byte; 32]).unwrap();
    assert!(secret(1).is_same(&secret(1)) && !secret(1).is_same(&secret(2)));
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
    // Bytes that are no text are taken as they are.
    let bytes = [[0xff; 31].as_slice(), b"\n"].concat();
    assert_eq!(secret(&bytes), Ok(&bytes[..]));
}

#[test]
fn a_file_of_keys_is_no_secret() {
    let jwks = json!({"keys": [rsa()]}).to_string();
    let pem =
        ["-----BEGIN CERTIFICATE-----\nAAAA", "# the key of the shop\n-----BEGIN PRIVATE KEY-----", P_384, RSA_1024];
    for (file, why) in pem.map(|pem| (pem, "--jwt-public-key")).into_iter().chain([
        (jwks.as_str(), "--jwt-jwks"),
        (&rsa().to_string(), "--jwt-jwks"),
        (&format!(" \n{jwks}\r\n"), "--jwt-jwks"),
    ]) {
        let error = secret(file.as_bytes()).unwrap_err();
        assert!(error.contains(why), "{file}: {error}");
    }
    // Text that only looks a little like it.
    for text in ["{not the JSON that it could be, but long}", "[\"a list is no key, but it is long enough\"]"] {
        assert_eq!(secret(text.as_bytes()), Ok(text.as_bytes()));
    }
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
