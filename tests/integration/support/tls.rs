//! The real program behind TLS, and clients of it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto, version};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::authority::{Authority, Identity};
use super::binary::Binary;

/// Every version of TLS that is spoken.
pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// A service with a certificate for `localhost`, of an authority that issues those of clients, too.
pub struct Secured {
    pub authority: Authority,
    pub binary: Binary,
    folder: TempDir,
}

impl Secured {
    /// Starts it with these flags.
    pub fn start(flags: &[&str]) -> Self {
        let authority = Authority::new("Tests");
        let identity = authority.server(&["localhost", "127.0.0.1"]);
        Self::launch(authority, &identity, flags).unwrap_or_else(|log| panic!("it ended without listening:\n{log}"))
    }

    /// Starts it with this certificate; what it logged if it ends before it listens.
    pub fn launch(authority: Authority, identity: &Identity, flags: &[&str]) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        identity.write(folder.path());
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let path = |file: &str| folder.path().join(file).display().to_string();
        let url = format!("sqlite://{}?mode=rwc", path("disputes.db"));
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        let mut arguments = ["--listen", "127.0.0.1:0", "--database-url", &url, "--tls-cert", &cert, "--tls-key", &key]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(flags.iter().map(|flag| flag.replace("CA", &path("ca.pem"))));
        let binary = Binary::launch(env!("CARGO_BIN_EXE_dispute-service"), &arguments, "info")?;
        Ok(Self { authority, binary, folder })
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A connection.
    pub async fn connect(&self) -> Channel {
        self.try_connect(None).await.unwrap()
    }

    /// A connection of a client with this certificate, or without any.
    pub async fn try_connect(&self, identity: Option<&Identity>) -> Result<Channel, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.authority.pem()));
        if let Some(Identity { cert, key }) = identity {
            tls = tls.identity(tonic::transport::Identity::from_pem(cert, key));
        }
        let port = self.address().port();
        Endpoint::from_shared(format!("https://localhost:{port}"))?.tls_config(tls)?.connect().await
    }

    pub fn address(&self) -> SocketAddr {
        self.binary.address.parse().unwrap()
    }

    /// What a bare client connects with.
    pub fn client_config(
        &self,
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(crypto::aws_lc_rs::default_provider().into())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some(Identity { cert, key }) => {
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
                config
                    .with_client_auth_cert(vec![cert], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
                    .unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    /// A bare connection.
    pub async fn handshake(&self, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        handshake(self.address(), config).await
    }
}

async fn handshake(address: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), socket).await
}

/// An address at which a secured service is reached without TLS: so that whatever a test sends is sent over TLS.
pub struct Tunnel {
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Tunnel {
    pub async fn to(service: &Secured) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (target, config) = (service.address(), service.client_config(None, &VERSIONS, &[b"h2"]));
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let config = config.clone();
                tokio::spawn(async move {
                    if let Ok(mut server) = handshake(target, config).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { address, accepting }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
