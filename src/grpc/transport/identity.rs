//! Who calls, and whether the credential gives the right to call this RPC at all.

use http::Request;

use crate::grpc::auth::{Authenticator, Identity};
use crate::grpc::peer::PeerIdentity;
use crate::grpc::rpc::Rpc;
use crate::grpc::status::Failure;

/// The caller, with the scope that the RPC needs. `None` for an RPC that is open to everybody, whatever the headers say.
pub(super) fn recognise<B>(
    authenticator: &Authenticator,
    rpc: &Rpc,
    request: &Request<B>,
) -> Result<Option<Identity>, Failure> {
    let Some(operation) = rpc.operation else { return Ok(None) };
    let identity = authenticator.recognise(request.headers(), request.extensions().get::<PeerIdentity>())?;
    operation.require_scope(&identity.caller).map_err(Failure::scope_missing)?;
    Ok(Some(identity))
}
