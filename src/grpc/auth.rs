//! Who the caller is.

use http::{HeaderMap, HeaderValue};

use super::status::Failure;
use crate::domain::{Caller, Scope, UserId};

const USER: &str = "x-user-id";
const SCOPE: &str = "x-scope";

/// Believes the caller: `--auth dev`, which is only allowed on a loopback address.
pub(super) fn dev(metadata: &HeaderMap) -> Result<Caller, Failure> {
    let user = identity(metadata, USER)?
        .ok_or_else(|| Failure::credential_missing("metadata x-user-id must name the user"))?;
    let user = user.to_str().ok().and_then(|user| UserId::parse(user).ok());
    let user = user.ok_or_else(|| {
        Failure::credential_invalid("metadata x-user-id must be 1 to 128 characters of A-Z a-z 0-9 . _ : -")
    })?;
    let scope = match identity(metadata, SCOPE)?.map(HeaderValue::as_bytes) {
        None => None,
        Some(name) => {
            let scope = Scope::ALL.into_iter().find(|scope| scope.name().as_bytes() == name);
            Some(scope.ok_or_else(|| Failure::credential_invalid("metadata x-scope must be support or platform"))?)
        }
    };
    Ok(Caller { user, scope })
}

/// The one value of a header that says who calls: every such header is read by this. With two of them, a gateway and this
/// service might each believe another one.
fn identity<'a>(metadata: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, Failure> {
    let mut values = metadata.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Failure::credential_invalid(&format!("metadata {name} must be given only once"))),
    }
}
