//! Who is calling, as the client's verified certificate says.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::status::Failure;
use crate::clock::Clock;
use crate::domain::{Caller, Timestamp};

/// The verified certificate of a connection's client. The server puts it into the extensions of each request on that
/// connection. Clones are cheap.
#[derive(Clone, Debug)]
pub struct PeerIdentity {
    /// The user and the scope; `None` if no rule names the certificate.
    caller: Option<Caller>,
    /// The instant from which the certificate no longer counts.
    expires: Timestamp,
    clock: Clock,
    /// Cancelled once no authority vouches for the certificate any more. Whoever cancels it knows by the `Arc` whether the
    /// connection is still there.
    withdrawn: Arc<CancellationToken>,
}

impl PeerIdentity {
    /// The certificate of this caller, or of nobody that a rule names; valid until `expires` by this clock, or until
    /// `withdrawn` is cancelled.
    pub fn new(caller: Option<Caller>, expires: Timestamp, clock: Clock, withdrawn: Arc<CancellationToken>) -> Self {
        Self { caller, expires, clock, withdrawn }
    }

    /// Who is calling.
    ///
    /// Fails with CREDENTIAL_EXPIRED once the certificate has expired, and with CREDENTIAL_INVALID if no authority vouches
    /// for it any more, or if no rule names it.
    pub(super) fn caller(&self) -> Result<Caller, Failure> {
        if self.clock.now() >= self.expires {
            return Err(Failure::credential_expired());
        }
        if self.withdrawn.is_cancelled() {
            return Err(withdrawn());
        }
        let unknown = "no name in the client certificate is known to this service (--mtls-scope)";
        self.caller.clone().ok_or_else(|| Failure::credential_invalid(unknown))
    }

    /// Returns once a stream of this caller has to end, and why.
    pub(super) async fn ends(&self) -> Failure {
        tokio::select! {
            () = self.withdrawn.cancelled() => withdrawn(),
            () = self.clock.sleep_until(self.expires) => Failure::credential_expired(),
        }
    }
}

fn withdrawn() -> Failure {
    Failure::credential_invalid("the authority of the client certificate was removed; connect with a new certificate")
}
