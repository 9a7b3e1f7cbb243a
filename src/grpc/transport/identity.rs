//! Who calls, and whether whoever that is may call this RPC at all.

use http::HeaderMap;

use crate::config::AuthMode;
use crate::domain::Caller;
use crate::grpc::auth;
use crate::grpc::rpc::{Class, Rpc};
use crate::grpc::status::Failure;

/// The caller, with the scope that the RPC needs. `None` for an RPC that is open to everybody, whatever the headers say.
pub(super) fn recognise(mode: AuthMode, rpc: &Rpc, headers: &HeaderMap) -> Result<Option<Caller>, Failure> {
    if rpc.class == Class::Open {
        return Ok(None);
    }
    let caller = match mode {
        AuthMode::Dev => auth::dev(headers)?,
    };
    match rpc.scope {
        Some(scope) if caller.scope != Some(scope) => Err(Failure::scope_missing(scope)),
        Some(_) | None => Ok(Some(caller)),
    }
}
