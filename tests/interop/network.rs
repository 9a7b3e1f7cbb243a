//! A network between client and service that misbehaves in one way after the other.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dispute_service::clock::{pause, real_now};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::TIMEOUT;

/// What becomes of a connection.
#[derive(Clone, Debug)]
pub enum Conduct {
    /// Everything arrives.
    Forwards,
    /// It ends at once.
    Refuses,
    /// It ends after the service has sent so many bytes.
    EndsAfter(usize),
    /// From the moment at which the client has sent this text, the service's answers are lost, and nobody is told.
    LosesAnswerTo(String),
}

/// Stands between clients and a service. Ends when dropped.
pub struct Network {
    /// What clients call.
    pub url: String,
    conduct: Arc<Mutex<Conduct>>,
    connections: Arc<AtomicUsize>,
    losing: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<u8>>>,
    /// How many of the first connections have gone silent, and how many have been cut.
    silent: watch::Sender<usize>,
    cut: watch::Sender<usize>,
    accepting: JoinHandle<()>,
}

impl Network {
    /// Leads to `target`, which is `host:port`.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let conduct = Arc::new(Mutex::new(Conduct::Forwards));
        let (connections, losing) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let (silent, cut) = (watch::Sender::new(0), watch::Sender::new(0));
        let accepting = tokio::spawn({
            let (target, conduct, connections, losing) =
                (target.to_owned(), conduct.clone(), connections.clone(), losing.clone());
            let (silent, cut, heard) = (silent.subscribe(), cut.subscribe(), heard.clone());
            async move {
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    let number = connections.fetch_add(1, Ordering::SeqCst);
                    let conduct = conduct.lock().unwrap().clone();
                    if matches!(conduct, Conduct::Refuses) {
                        continue;
                    }
                    let server = TcpStream::connect(&target).await.unwrap();
                    let (losing, heard, silent) = (losing.clone(), heard.clone(), silent.clone());
                    let connection = Connection { number, conduct, losing, heard, silent };
                    let mut cut = cut.clone();
                    tokio::spawn(async move {
                        tokio::select! {
                            () = connection.forward(client, server) => {}
                            _ = cut.wait_for(|cut| number < *cut) => {}
                        }
                    });
                }
            }
        });
        Self { url, conduct, connections, losing, heard, silent, cut, accepting }
    }

    /// What becomes of connections from now on.
    pub fn set(&self, conduct: Conduct) {
        *self.conduct.lock().unwrap() = conduct;
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits for as many connections.
    pub async fn has_connections(&self, count: usize) {
        self.until(|| self.connections() >= count).await;
    }

    /// Waits until an answer is being lost.
    pub async fn loses_an_answer(&self) {
        self.until(|| self.losing.load(Ordering::SeqCst) > 0).await;
    }

    /// Whether a client has sent this text, in plain.
    pub fn has_heard(&self, text: &str) -> bool {
        contains(&self.heard.lock().unwrap(), text)
    }

    /// The connections that there are go silent: nothing arrives any more, and they stay open.
    pub fn go_silent(&self) {
        self.silent.send_replace(self.connections());
    }

    /// The connections that there are end.
    pub fn cut(&self) {
        self.cut.send_replace(self.connections());
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        let start = real_now();
        while !holds() {
            assert!(start.elapsed() < TIMEOUT, "after {} connections nothing has happened", self.connections());
            pause(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Clone)]
struct Connection {
    number: usize,
    conduct: Conduct,
    losing: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<u8>>>,
    silent: watch::Receiver<usize>,
}

impl Connection {
    async fn forward(self, client: TcpStream, server: TcpStream) {
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let is_lost = watch::Sender::new(false);
        tokio::select! {
            () = self.clone().requests(from_client, to_server, &is_lost) => {}
            () = self.answers(from_server, to_client, is_lost.subscribe()) => {}
        }
    }

    async fn requests(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_lost: &watch::Sender<bool>) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            self.hear(&buffer[..read], is_lost);
            if !self.is_silent() && to.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        self.tells_nobody_if_silent().await;
    }

    async fn answers(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_lost: watch::Receiver<bool>) {
        let mut buffer = vec![0; 64 * 1024];
        let mut left = if let Conduct::EndsAfter(bytes) = self.conduct { bytes } else { usize::MAX };
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let passed = read.min(left);
            if !self.is_silent() && !*is_lost.borrow() && to.write_all(&buffer[..passed]).await.is_err() {
                break;
            }
            left -= passed;
            if left == 0 {
                break;
            }
        }
        self.tells_nobody_if_silent().await;
    }

    /// The end of a connection is not told to the other side by a network that is silent.
    async fn tells_nobody_if_silent(&self) {
        if self.is_silent() {
            std::future::pending::<()>().await;
        }
    }

    fn hear(&self, bytes: &[u8], is_lost: &watch::Sender<bool>) {
        let mut heard = self.heard.lock().unwrap();
        heard.extend_from_slice(bytes);
        if let Conduct::LosesAnswerTo(text) = &self.conduct
            && !*is_lost.borrow()
            && contains(&heard, text)
        {
            is_lost.send_replace(true);
            self.losing.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn is_silent(&self) -> bool {
        self.number < *self.silent.borrow()
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
