//! A stretch of network that a test can cut, have swallow everything, or lead elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of what is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// It arrives.
    Works,
    /// Connections are cut, and new ones too.
    Cuts,
    /// Nothing arrives, and nobody is told. What was sent meanwhile arrives when it works again.
    Swallows,
}

/// Forwards TCP connections. Ends when dropped.
pub struct Forwarder {
    /// Where it listens.
    pub address: SocketAddr,
    network: watch::Sender<Network>,
    target: watch::Sender<String>,
    accepting: JoinHandle<()>,
}

impl Forwarder {
    /// Forwards to `target`, which is `host:port`.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (network, state) = watch::channel(Network::Works);
        let (target, led_to) = watch::channel(target.to_owned());
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(forward(client, led_to.borrow().clone(), state.clone()));
            }
        });
        Self { address, network, target, accepting }
    }

    /// Leads new connections to `target`. Those that there are stay where they are.
    pub fn lead_to(&self, target: &str) {
        self.target.send_replace(target.to_owned());
    }

    /// Changes what becomes of what is sent.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn forward(client: TcpStream, target: String, mut network: watch::Receiver<Network>) {
    let works = |now: &Network| *now != Network::Swallows;
    if network.wait_for(works).await.is_ok_and(|now| *now == Network::Cuts) {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (client, server) = (Arc::new(client), Arc::new(server));
    tokio::select! {
        () = pump(client.clone(), server.clone(), network.clone()) => {}
        () = pump(server, client, network.clone()) => {}
        _ = network.wait_for(|now| *now == Network::Cuts) => {}
    }
}

/// Moves what is sent in one direction, until that ends.
async fn pump(from: Arc<TcpStream>, to: Arc<TcpStream>, mut network: watch::Receiver<Network>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = loop {
            if from.readable().await.is_err() {
                break 0;
            }
            match from.try_read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                read => break read.unwrap_or(0),
            }
        };
        // Nor is the end of a connection told to a network that swallows.
        if network.wait_for(|now| *now != Network::Swallows).await.is_err() || read == 0 {
            return;
        }
        let mut left = &buffer[..read];
        while !left.is_empty() {
            if to.writable().await.is_err() {
                return;
            }
            match to.try_write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}
