//! What is fuzzed, target by target: each takes any bytes, and panics if something does not hold that must. Not a part of the
//! program, nor of the library that others use.

use uuid::Uuid;

use crate::config::PolicyFile;
use crate::domain::{Caller, Scope, UserId};
use crate::engine::{Purpose, ResumeToken, Sealer, TokenError};
use crate::repository::{LogId, TokenKey};
use crate::traces::{TraceParent, Tracer};

pub use crate::grpc::fuzzing::{page_token, requests};

/// The log whose tokens these are.
pub(crate) const LOG: LogId = LogId { uuid: Uuid::from_u128(7), token_key: TokenKey::new([7; 32]) };

/// Anything can be sent as a resume token; and whatever was sealed is read as something that is written the same.
pub fn resume_token(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(ResumeToken::decode(text, LOG).is_err(), "it was never sealed");
    }
    let mut plain = data.to_vec();
    let sealed = Sealer::new(LOG).seal(Purpose::Resume, Uuid::nil(), &mut plain);
    let Ok(token) = ResumeToken::decode(&sealed, LOG) else { return };
    let again = token.encode();
    assert_eq!(ResumeToken::decode(&again, LOG).as_ref(), Ok(&token), "it is written as it was read");
    let other = LogId { token_key: TokenKey::new([8; 32]), ..LOG };
    assert_eq!(ResumeToken::decode(&again, other), Err(TokenError::Malformed), "nobody else can read it");
}

/// A policy file is a policy or an error, and a policy that was read judges.
pub fn policy_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = PolicyFile::parse(text) {
        assert!(!error.to_string().is_empty());
    }
}

/// A header is a trace or none, whoever sends it, and what becomes of it is one that the standard knows.
pub fn traceparent(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(trace) = TraceParent::parse(text) else { return };
    assert_eq!(TraceParent::parse(&trace.to_string()), Some(trace));
    for scope in [None, Some(Scope::Support), Some(Scope::Platform)] {
        let Ok(user) = UserId::parse("fuzz") else { return };
        let span = Tracer::default().call("s/M", &Caller { user, scope }, Some(trace)).context();
        assert_eq!(span.and_then(|span| TraceParent::parse(&span.to_string())), span);
    }
}
