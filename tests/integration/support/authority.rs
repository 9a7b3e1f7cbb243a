//! A certificate authority for tests.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use dispute_service::clock::Clock;
use dispute_service_test_features::rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

/// One day.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Identity {
    pub cert: String,
    pub key: String,
}

impl Authority {
    /// One that nobody knows yet.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// The certificate of a server with these names or addresses.
    pub fn server(&self, names: &[&str]) -> Identity {
        self.server_for(names, 365 * DAY)
    }

    /// The same, which expires so long from now.
    pub fn server_for(&self, names: &[&str], life: Duration) -> Identity {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.issue(CertificateParams::new(names).unwrap(), ExtendedKeyUsagePurpose::ServerAuth, now() + life)
    }

    /// The certificate of a client with this URI, which expires so long from now.
    pub fn client(&self, uri: &str, life: Duration) -> Identity {
        self.client_until(uri, now() + life)
    }

    /// The same, which has expired.
    pub fn expired_client(&self, uri: &str) -> Identity {
        self.client_until(uri, now() - DAY)
    }

    fn client_until(&self, uri: &str, until: Duration) -> Identity {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        self.issue(params, ExtendedKeyUsagePurpose::ClientAuth, until)
    }

    fn issue(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose, until: Duration) -> Identity {
        params.not_after = date_time_ymd(1970, 1, 1) + until;
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap().pem();
        Identity { cert, key: key.serialize_pem() }
    }
}

/// The time since 1970.
fn now() -> Duration {
    Duration::from_micros(Clock::system().now().micros().try_into().unwrap())
}

impl Identity {
    /// Writes both into a folder, one after the other.
    pub fn write(&self, folder: &Path) {
        std::fs::write(folder.join("cert.pem"), &self.cert).unwrap();
        let key = folder.join("key.pem");
        std::fs::write(&key, &self.key).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}
