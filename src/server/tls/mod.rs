//! TLS on the port: the handshake, and certificates that are replaced while the service runs.

mod files;
mod names;
mod peers;
mod reload;

use std::future::poll_fn;
use std::io::{Error, Result};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use self::files::Material;
pub use self::files::TlsFileError;
pub(super) use self::reload::Certificates;
use super::arriving::{Arriving, Budget};
use crate::clock::Clock;
use crate::config::MtlsScope;
use crate::grpc::PeerIdentity;

/// How many handshakes are begun at a time: each takes a few hundred microseconds of a core, up to two milliseconds
/// with RSA, and ten thousand clients can begin at once. Other tasks get their turns in between.
const HANDSHAKES_AT_ONCE: usize = 4;

/// How much a client may send before its handshake is complete: a hello takes up to 2 KiB, a chain of certificates one or
/// two for each of them.
const HANDSHAKE_BYTES: usize = 16 * 1024;

/// How much is encrypted before the client reads it: one record. More would add to the limits on unread responses, and
/// delay noticing a client that reads nothing.
const BUFFER_BYTES: usize = 16 * 1024;

/// Sets the only cryptography provider of this process. Call it before anything else.
pub(super) fn install_crypto() {
    // It fails if there is one already, which can only be the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Performs the handshakes.
#[derive(Debug)]
pub(super) struct Tls {
    certificates: Arc<Certificates>,
    rules: Vec<MtlsScope>,
    clock: Clock,
    handshakes: Semaphore,
    budget: Budget,
}

/// A connection over TLS.
pub(super) type Stream = TlsStream<Arriving<TcpStream>>;

impl Tls {
    /// Handshakes with these certificates; the rules say which callers client certificates belong to.
    pub(super) fn new(certificates: Arc<Certificates>, rules: Vec<MtlsScope>, clock: Clock) -> Self {
        Self { certificates, rules, clock, handshakes: Semaphore::new(HANDSHAKES_AT_ONCE), budget: Budget::new() }
    }

    /// Performs the handshake; returns the identity of the client certificate too, if there is one. Has no time limit.
    pub(super) async fn accept(&self, socket: TcpStream) -> Result<(Stream, Option<PeerIdentity>)> {
        let (mut stream, material) = self.handshake(socket).await.inspect_err(handshake_failed)?;
        stream.get_mut().0.is_complete();
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let identity = match chain.first() {
            None => None,
            // It was verified, so it can be parsed.
            Some(certificate) => {
                let certificate = names::read(certificate).ok_or(std::io::ErrorKind::InvalidData)?;
                let withdrawn = self.certificates.enter(chain, &material);
                let caller = certificate.caller(&self.rules);
                Some(PeerIdentity::new(caller, certificate.expires, self.clock.clone(), withdrawn))
            }
        };
        Ok((stream, identity))
    }

    async fn handshake(&self, socket: TcpStream) -> Result<(Stream, Material)> {
        let socket = Arriving::new(socket, HANDSHAKE_BYTES, self.budget.clone());
        let hello = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
        // The semaphore is never closed.
        let permit = self.handshakes.acquire().await.map_err(Error::other)?;
        let material = self.certificates.material();
        let handshake =
            hello.into_stream_with(material.config.clone(), |session| session.set_buffer_limit(Some(BUFFER_BYTES)));
        let mut handshake = pin!(handshake);
        // Signing happens here, as the client's first flight has arrived. The permit is returned only after other tasks had
        // their turn. The next flight is awaited, and judged, without one: a client certificate is verified in less.
        let begun = poll_fn(|context| Poll::Ready(handshake.as_mut().poll(context))).await;
        tokio::task::yield_now().await;
        drop(permit);
        let stream = match begun {
            Poll::Ready(done) => done?,
            Poll::Pending => handshake.await?,
        };
        Ok((stream, material))
    }
}

/// A handshake failed: an unknown certificate, another protocol, or noise. Called once for each.
fn handshake_failed(error: &Error) {
    tracing::debug!(%error, "a TLS handshake failed, the connection is closed");
}
