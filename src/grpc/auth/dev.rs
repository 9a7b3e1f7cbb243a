//! `--auth dev`: trusts what the headers say. Allowed only on a loopback address.

use http::{HeaderMap, HeaderValue};

use super::identity;
use crate::domain::{Caller, Scope, UserId};
use crate::grpc::status::Failure;

const USER: &str = "x-user-id";
const SCOPE: &str = "x-scope";

/// The caller that the headers name; `None` if they name nobody.
pub(super) fn caller(headers: &HeaderMap) -> Result<Option<Caller>, Failure> {
    let Some(user) = identity(headers, USER)? else { return Ok(None) };
    let user = user.to_str().ok().and_then(|user| UserId::parse(user).ok());
    let user = user.ok_or_else(|| {
        Failure::credential_invalid("metadata x-user-id must be 1 to 128 characters of A-Z a-z 0-9 . _ : -")
    })?;
    let scope = match identity(headers, SCOPE)?.map(HeaderValue::as_bytes) {
        None => None,
        Some(name) => {
            let scope = Scope::ALL.into_iter().find(|scope| scope.name().as_bytes() == name);
            Some(scope.ok_or_else(|| Failure::credential_invalid("metadata x-scope must be support or platform"))?)
        }
    };
    Ok(Some(Caller { user, scope }))
}
