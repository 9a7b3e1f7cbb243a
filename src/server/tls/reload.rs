//! Certificates are replaced while the service runs, when the content of their files changes.
//!
//! The files are replaced together or not at all: until the new ones fit each other, handshakes use the old ones. Open
//! connections continue with what they began with, but client certificates are verified again if the authorities change.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use super::files::{Contents, Material, Paths, TlsFileError};
use super::peers::Peers;
use crate::clock::{Clock, RealInstant, pause, real_now};
use crate::config::TlsFlags;
use crate::domain::Timestamp;

/// How often the files are read.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// How long before its expiry the log warns of a certificate.
const WARN_BEFORE_EXPIRY: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How often it warns.
const WARN_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The certificates that handshakes use now.
#[derive(Debug)]
pub(in crate::server) struct Certificates {
    paths: Paths,
    clock: Clock,
    material: RwLock<Material>,
    looks: Mutex<Looks>,
    peers: Peers,
}

/// What the files contained when they were last read.
#[derive(Debug)]
struct Looks {
    /// The content that is in use.
    good: Contents,
    /// The last content that cannot be used, if it is newer, and whether it was logged.
    bad: Option<(Result<Contents, TlsFileError>, bool)>,
    warned: Option<RealInstant>,
}

impl Looks {
    fn new(good: Contents) -> Self {
        Self { good, bad: None, warned: None }
    }
}

impl Certificates {
    /// Reads the files; `None` without TLS.
    pub(in crate::server) fn load(flags: &TlsFlags, clock: &Clock) -> Result<Option<Arc<Self>>, TlsFileError> {
        let Some(paths) = Paths::of(flags) else { return Ok(None) };
        let good = paths.read()?;
        paths.warn_of_readable_key();
        let material = RwLock::new(paths.material(&good, clock)?);
        let looks = Mutex::new(Looks::new(good));
        Ok(Some(Arc::new(Self { paths, clock: clock.clone(), material, looks, peers: Peers::default() })))
    }

    /// Follows the files, and warns of a certificate that expires soon. Never returns.
    pub(in crate::server) async fn watch(self: Arc<Self>) {
        loop {
            self.warn_of_expiry();
            pause(POLL_INTERVAL).await;
            // On another thread: it reads files, and may verify the certificates of all connections.
            let certificates = self.clone();
            let looked = tokio::task::spawn_blocking(move || certificates.look(certificates.paths.read()));
            let _ = looked.await;
        }
    }

    /// What the next handshake needs.
    pub(super) fn material(&self) -> Material {
        self.material.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of a connection whose client has shown this chain, in a handshake with this material. The token is
    /// cancelled once no authority vouches for the chain any more.
    pub(super) fn enter(&self, chain: &[CertificateDer<'_>], used: &Material) -> Arc<CancellationToken> {
        let withdrawn = self.peers.enter(chain);
        // They may have been replaced during the handshake: after this, or the chain is among those that are judged then.
        let current = self.material();
        if !current.is(used) && !current.vouches_for(chain) {
            withdrawn.cancel();
        }
        withdrawn
    }

    /// When the certificate of this service expires.
    pub(in crate::server) fn expires(&self) -> Timestamp {
        self.material.read().unwrap_or_else(PoisonError::into_inner).expires
    }

    /// Puts the content of the files into use if it is new. Content that cannot be used is logged when it is still there at
    /// the next look: somebody may be replacing one file after the other.
    fn look(&self, found: Result<Contents, TlsFileError>) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let error = match &found {
            Ok(contents) if *contents == looks.good => {
                looks.bad = None;
                return;
            }
            Ok(contents) => self.take(contents, &looks.good).err(),
            Err(error) => Some(error.clone()),
        };
        match (error, found) {
            (Some(error), found) => {
                let before = looks.bad.take().filter(|(before, _)| *before == found);
                if matches!(before, Some((_, false))) {
                    tracing::warn!(%error, "the new certificates cannot be used, the old ones stay in use");
                }
                looks.bad = Some((found, before.is_some()));
            }
            (None, Ok(contents)) => *looks = Looks::new(contents),
            // A file that cannot be read is an error.
            (None, Err(_)) => {}
        }
    }

    fn take(&self, contents: &Contents, old: &Contents) -> Result<(), TlsFileError> {
        let material = self.paths.material(contents, &self.clock)?;
        let expires = material.expires;
        *self.material.write().unwrap_or_else(PoisonError::into_inner) = material.clone();
        tracing::info!(%expires, "new certificates are in use");
        if !contents.has_authorities_of(old) {
            let connections = self.peers.withdraw_unless(|chain| material.vouches_for(chain));
            tracing::info!(connections, "the authorities of clients were replaced: certificates were withdrawn");
        }
        Ok(())
    }

    fn warn_of_expiry(&self) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, expires) = (self.clock.now(), self.expires());
        let is_told = looks.warned.is_some_and(|when| when.elapsed() < WARN_INTERVAL);
        if is_told || expires.since(now) > WARN_BEFORE_EXPIRY {
            return;
        }
        looks.warned = Some(real_now());
        let cert = self.paths.cert().display();
        if expires > now {
            tracing::warn!(%cert, %expires, "the certificate of this service expires soon");
        } else {
            tracing::warn!(%cert, %expires, "the certificate of this service has expired, clients will not trust it");
        }
    }
}
