//! Who calls, and whether whoever that is may call this RPC at all.

use http::Request;

use crate::grpc::auth::{Authenticator, Identity, PeerIdentity};
use crate::grpc::rpc::{Class, Rpc};
use crate::grpc::status::Failure;

/// The caller, with the scope that the RPC needs. `None` for an RPC that is open to everybody, whatever the headers say.
pub(super) fn recognise<B>(
    authenticator: &Authenticator,
    rpc: &Rpc,
    request: &Request<B>,
) -> Result<Option<Identity>, Failure> {
    if rpc.class == Class::Open {
        return Ok(None);
    }
    let identity = authenticator.recognise(request.headers(), request.extensions().get::<PeerIdentity>())?;
    match rpc.scope {
        Some(scope) if identity.caller.scope != Some(scope) => Err(Failure::scope_missing(scope)),
        Some(_) | None => Ok(Some(identity)),
    }
}
