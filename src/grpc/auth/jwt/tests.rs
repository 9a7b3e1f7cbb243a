//! Tests of what is remembered of tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;

use super::super::cache::REMEMBERED;
use super::*;
use crate::config::KeySource;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn now() -> Timestamp {
    Timestamp::from_micros(1_767_225_600_000_000).unwrap()
}

fn tokens(folder: &tempfile::TempDir) -> Tokens {
    use std::os::unix::fs::PermissionsExt as _;
    let file = folder.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let max_lifetime = Duration::from_secs(86_400);
    let (issuer, audience) = ("i".to_owned(), "a".to_owned());
    Tokens::new(JwtSettings { keys: KeySource::Secret(file), issuer, audience, max_lifetime }).unwrap()
}

fn token(secret: &str, user: &str) -> HeaderMap {
    let exp = now().micros() / 1_000_000 + 60;
    let claims = format!("{{\"iss\":\"i\",\"aud\":\"a\",\"sub\":\"{user}\",\"exp\":{exp}}}");
    let [header, claims] = ["{\"alg\":\"HS256\"}", &claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{claims}");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes()));
    let header = HeaderValue::from_str(&format!("Bearer {message}.{signature}")).unwrap();
    HeaderMap::from_iter([(AUTHORIZATION, header)])
}

#[test]
fn so_many_tokens_are_remembered_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens(&folder);
    for number in 0..REMEMBERED + 1_000 {
        let user = format!("user{number}");
        let verified = tokens.verify(&token(SECRET, &user), now()).unwrap().unwrap();
        assert_eq!(verified.caller.user.as_str(), user);
    }
    let remembered = tokens.current().verified.len();
    assert!(remembered <= REMEMBERED && remembered > REMEMBERED / 2, "{remembered}");
    // Those that are not valid take the place of none.
    for number in 0..100 {
        let user = format!("other{number}");
        assert!(tokens.verify(&token("another secret of thirty-two bytes", &user), now()).is_err());
    }
    assert!(tokens.current().verified.len() <= remembered);
}

#[test]
fn a_token_that_is_remembered_is_forgotten_when_it_expires_and_when_the_keys_change() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = tokens(&folder);
    let headers = token(SECRET, "ann");
    let first = tokens.verify(&headers, now()).unwrap().unwrap();
    let again = tokens.verify(&headers, now()).unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &again), "it was remembered");
    let (_, same_keys) = KeyFile::open(KeySource::Secret(folder.path().join("secret"))).unwrap();
    tokens.replace(same_keys);
    assert_eq!(tokens.current().verified.len(), 0);
    assert!(!first.key.withdrawn.is_cancelled(), "its key is still there");
    let again = tokens.verify(&headers, now()).unwrap().unwrap();
    assert!(!Arc::ptr_eq(&first, &again));
    let expired = tokens.verify(&headers, now().plus(Duration::from_secs(60) + LEEWAY)).unwrap_err();
    assert_eq!(expired.reason, crate::proto::v1::ErrorReason::CredentialExpired);
    assert_eq!(tokens.current().verified.len(), 0);
    std::fs::write(folder.path().join("secret"), "another secret of thirty-two bytes").unwrap();
    let (_, other_keys) = KeyFile::open(KeySource::Secret(folder.path().join("secret"))).unwrap();
    tokens.replace(other_keys);
    assert!(first.key.withdrawn.is_cancelled());
    assert!(tokens.verify(&headers, now()).is_err());
}

#[test]
fn a_scope_is_one_of_two_in_a_list() {
    let read = |list| scope(list).ok();
    assert_eq!(read(""), Some(None));
    assert_eq!(read("openid email"), Some(None));
    assert_eq!(read("support"), Some(Some(Scope::Support)));
    assert_eq!(read("openid  platform email"), Some(Some(Scope::Platform)));
    assert_eq!(read("support support"), Some(Some(Scope::Support)));
    assert_eq!(read("SUPPORT support:read"), Some(None));
    assert_eq!(read("platform openid support"), None);
}
