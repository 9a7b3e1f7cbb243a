//! The files of TLS: from PEM to the configuration of a handshake.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{InconsistentKeys, RootCertStore, ServerConfig, version};

use super::names;
use crate::clock::Clock;
use crate::config::{TlsFlags, in_words, read_small};
use crate::domain::Timestamp;

/// The longest chain, key or list of authorities that is read.
const MOST_BYTES: u64 = 1024 * 1024;

/// HTTP/2, or for browsers behind old proxies HTTP/1.1.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A file of TLS cannot be used. Nothing in it is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file {path} of {flag} {problem}")]
pub struct TlsFileError {
    /// The file.
    pub path: String,
    /// The flag that names it, and its environment twin.
    pub flag: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// The content of the files.
#[derive(PartialEq, Eq)]
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// Never shows the key.
impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

/// What a handshake needs.
#[derive(Clone, Debug)]
pub(super) struct Material {
    pub(super) config: Arc<ServerConfig>,
    /// When the certificate of this service expires.
    pub(super) expires: Timestamp,
    /// Judges certificates of clients by the authorities.
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Material {
    /// Whether it is the same, and not merely equal.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }

    /// Whether the authorities of clients vouch for this chain now. Without authorities no client shows any.
    pub(super) fn vouches_for(&self, chain: &[CertificateDer<'_>]) -> bool {
        let now = self.config.time_provider.current_time();
        let Some(((client, intermediates), now)) = chain.split_first().zip(now) else { return false };
        self.verifier.verify_client_cert(client, intermediates, now).is_ok()
    }
}

impl Contents {
    /// Whether both have the same authorities of clients.
    pub(super) fn has_authorities_of(&self, other: &Self) -> bool {
        self.client_ca == other.client_ca
    }
}

impl Paths {
    /// The files that the flags name; `None` without TLS.
    pub(super) fn of(flags: &TlsFlags) -> Option<Self> {
        // The flags are given together or not at all.
        let (cert, key) = flags.tls_cert.clone().zip(flags.tls_key.clone())?;
        Some(Self { cert, key, client_ca: flags.tls_client_ca.clone() })
    }

    pub(super) fn read(&self) -> Result<Contents, TlsFileError> {
        let read = |path: &Path, flag| read(path).map_err(|text| problem(path, flag, text));
        Ok(Contents {
            cert: read(&self.cert, CERT)?,
            key: read(&self.key, KEY)?,
            client_ca: self.client_ca.as_deref().map(|path| read(path, CLIENT_CA)).transpose()?,
        })
    }

    /// Builds what a handshake needs, or says which file cannot be used.
    pub(super) fn material(&self, contents: &Contents, clock: &Clock) -> Result<Material, TlsFileError> {
        let of_cert = |what: &str| problem(&self.cert, CERT, what.to_owned());
        let of_key = |what: &str| problem(&self.key, KEY, what.to_owned());
        let chain = certificates(&contents.cert).ok_or_else(|| of_cert("is not a certificate in PEM"))?;
        let leaf = chain.first().and_then(|leaf| names::read(leaf)).ok_or_else(|| of_cert("is not a certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|_| of_key("is not a private key in PEM"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = match self.client_ca.as_deref().zip(contents.client_ca.as_deref()) {
            None => WebPkiClientVerifier::no_client_auth(),
            Some((path, bytes)) => authorities(bytes, provider.clone())
                .ok_or_else(|| problem(path, CLIENT_CA, "is not a list of certificates in PEM".to_owned()))?,
        };
        let builder = ServerConfig::builder_with_details(provider, Arc::new(Time(clock.clone())))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| of_cert(&error.to_string()))?;
        let config = builder.with_client_cert_verifier(verifier.clone()).with_single_cert(chain, key);
        let mut config = config.map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                of_key("is not that of the certificate of --tls-cert")
            }
            error => of_key(&format!("cannot be used: {error}")),
        })?;
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        // With keys of its own: clients that an old authority let in are verified afresh.
        config.ticketer = Ticketer::new().map_err(|error| of_key(&format!("cannot be used: {error}")))?;
        Ok(Material { config: Arc::new(config), expires: leaf.expires, verifier })
    }

    /// Warns if everybody on the machine can read the key. No more than that: Kubernetes mounts secrets in such a way by
    /// default, in a container that has no other users.
    pub(super) fn warn_of_readable_key(&self) {
        if std::fs::metadata(&self.key).is_ok_and(|metadata| metadata.mode() & 0o004 != 0) {
            let key = self.key.display();
            tracing::warn!(%key, "the file of --tls-key (DISPUTES_TLS_KEY) is readable by everybody: chmod o-r");
        }
    }

    /// The file with the certificate, for a warning.
    pub(super) fn cert(&self) -> &Path {
        &self.cert
    }
}

const CERT: &str = "--tls-cert (DISPUTES_TLS_CERT)";
const KEY: &str = "--tls-key (DISPUTES_TLS_KEY)";
const CLIENT_CA: &str = "--tls-client-ca (DISPUTES_TLS_CLIENT_CA)";

fn problem(path: &Path, flag: &'static str, problem: String) -> TlsFileError {
    TlsFileError { path: path.display().to_string(), flag, problem }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {}", in_words(&error));
    let bytes = File::open(path).and_then(|file| read_small(file, MOST_BYTES)).map_err(unreadable)?;
    bytes.ok_or_else(|| format!("contains more than {MOST_BYTES} bytes"))
}

/// The certificates in a file; `None` if there is none, or a broken one.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty())
}

/// Accepts certificates of these authorities, and clients without any.
fn authorities(pem: &[u8], provider: Arc<rustls::crypto::CryptoProvider>) -> Option<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).ok()?;
    }
    WebPkiClientVerifier::builder_with_provider(roots.into(), provider).allow_unauthenticated().build().ok()
}

/// The clock of the service, for client certificates.
#[derive(Debug)]
struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let micros = u64::try_from(self.0.now().micros()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(micros)))
    }
}
