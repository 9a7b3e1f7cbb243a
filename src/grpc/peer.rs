//! Who is calling, as the client's verified certificate says.

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
}

impl PeerIdentity {
    /// The certificate of this caller, or of nobody that a rule names; valid until `expires` by this clock.
    pub fn new(caller: Option<Caller>, expires: Timestamp, clock: Clock) -> Self {
        Self { caller, expires, clock }
    }

    /// Who is calling.
    ///
    /// Fails with CREDENTIAL_EXPIRED once the certificate has expired, and with CREDENTIAL_INVALID if no rule names it.
    pub(super) fn caller(&self) -> Result<Caller, Failure> {
        if self.clock.now() >= self.expires {
            return Err(Failure::credential_expired());
        }
        let unknown = "no name in the client certificate is known to this service (--mtls-scope)";
        self.caller.clone().ok_or_else(|| Failure::credential_invalid(unknown))
    }

    /// Returns once a stream of this caller has to end, and why.
    pub(super) async fn ends(&self) -> Failure {
        self.clock.sleep_until(self.expires).await;
        Failure::credential_expired()
    }
}
