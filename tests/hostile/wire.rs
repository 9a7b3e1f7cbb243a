//! What attackers and good callers speak: TCP, or with `HOSTILE_TLS` TLS over it, by a certificate that is made for the run.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned, crypto};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::authority::Authority;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A socket that does not block, over which something can be sent.
pub enum Wire {
    Plain(TcpStream),
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// What TLS is made with.
struct Material {
    ca: String,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    folder: tempfile::TempDir,
}

/// `None` unless `HOSTILE_TLS` is set.
fn material() -> Option<&'static Material> {
    static MATERIAL: OnceLock<Option<Material>> = OnceLock::new();
    MATERIAL
        .get_or_init(|| std::env::var_os("HOSTILE_TLS").filter(|set| !set.is_empty()).map(|_| Material::new()))
        .as_ref()
}

/// Whether everybody speaks TLS.
pub fn is_tls() -> bool {
    material().is_some()
}

/// The flags with which the program speaks it.
pub fn flags() -> Vec<String> {
    let Some(material) = material() else { return Vec::new() };
    let path = |file: &str| material.folder.path().join(file).display().to_string();
    ["--tls-cert".to_owned(), path("cert.pem"), "--tls-key".to_owned(), path("key.pem")].to_vec()
}

/// What a client of TLS begins with; `None` without TLS.
pub fn client_hello() -> Option<Vec<u8>> {
    let mut session = ClientConnection::new(material()?.client.clone(), name()).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    Some(hello)
}

/// Where good callers find it.
pub fn endpoint(address: &str) -> Endpoint {
    match material() {
        None => Endpoint::from_shared(format!("http://{address}")).unwrap(),
        Some(Material { ca, .. }) => {
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
            Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap()
        }
    }
}

impl Material {
    fn new() -> Self {
        let authority = Authority::new("Throwaway");
        let identity = authority.server(&["localhost", "127.0.0.1"]);
        let folder = tempfile::tempdir().unwrap();
        identity.write(folder.path());
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let client = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let mut client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec()];
        let chain = vec![CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut server = server.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        server.alpn_protocols = vec![b"h2".to_vec()];
        Self { ca: authority.pem(), client: client.into(), server: server.into(), folder }
    }
}

impl Wire {
    /// The attacker's end of a connection. With TLS the handshake is made; `None` if it fails.
    pub fn connect(socket: TcpStream) -> Option<Self> {
        let _ = socket.set_nodelay(true);
        let wire = match material() {
            None => Self::Plain(socket),
            Some(material) => {
                let mut session = ClientConnection::new(material.client.clone(), name()).unwrap();
                let mut socket = socket;
                socket.set_read_timeout(Some(HANDSHAKE)).unwrap();
                while session.is_handshaking() {
                    session.complete_io(&mut socket).ok()?;
                }
                Self::Client(Box::new(StreamOwned::new(session, socket)))
            }
        };
        wire.socket().set_nonblocking(true).unwrap();
        Some(wire)
    }

    /// The other end.
    pub fn accept(socket: TcpStream) -> Self {
        socket.set_nonblocking(true).unwrap();
        match material() {
            None => Self::Plain(socket),
            Some(material) => {
                let session = ServerConnection::new(material.server.clone()).unwrap();
                Self::Server(Box::new(StreamOwned::new(session, socket)))
            }
        }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Client(stream) => &stream.sock,
            Self::Server(stream) => &stream.sock,
        }
    }
}

fn name() -> ServerName<'static> {
    "localhost".try_into().unwrap()
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Client(stream) => match stream.read(buffer) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => last_words(stream, buffer).ok_or(error),
                read => read,
            },
            Self::Server(stream) => stream.read(buffer),
        }
    }
}

/// What the server said before it went: a stream that cannot be written to is not read either.
fn last_words(stream: &mut StreamOwned<ClientConnection, TcpStream>, buffer: &mut [u8]) -> Option<usize> {
    while let Ok(1..) = stream.conn.read_tls(&mut stream.sock) {
        stream.conn.process_new_packets().ok()?;
    }
    stream.conn.reader().read(buffer).ok()
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Client(stream) => stream.write(bytes),
            Self::Server(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Client(stream) => stream.flush(),
            Self::Server(stream) => stream.flush(),
        }
    }
}
