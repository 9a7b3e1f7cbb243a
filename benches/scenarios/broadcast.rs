//! What HTTP/2 alone costs a fan-out: a server that sends the same message to all of its streams, in a process of its own: this
//! program, started once more. On its standard input it is told how often.

use std::io::{BufRead as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

use bytes::Bytes;
use h2::SendStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Its process. Killed when dropped.
pub(crate) struct Broadcast {
    process: Child,
    input: ChildStdin,
    pub(crate) address: String,
}

impl Broadcast {
    /// Will send this message, with its prefix.
    pub(crate) fn start(framed: &[u8]) -> Self {
        let text: String = framed.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["broadcast", &text])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let (input, output) = (process.stdin.take().expect("it is piped"), process.stdout.take().expect("it is piped"));
        let mut address = String::new();
        std::io::BufReader::new(output).read_line(&mut address).expect("it says where it listens");
        Self { process, input, address: address.trim_end().to_owned() }
    }

    /// Sends the message so often on each stream.
    pub(crate) fn send(&mut self, times: usize) {
        writeln!(self.input, "{times}").expect("it reads");
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Broadcast {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs it: what follows `broadcast` is the message in hexadecimal.
pub(crate) async fn run(arguments: &[String]) {
    let [text] = arguments else { panic!("one argument, not {arguments:?}") };
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    let message: Bytes = (0..text.len()).step_by(2).map(byte).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    // How often the message is to have been sent in all.
    let (times, told) = watch::channel(0_usize);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let more: usize = line.parse().expect("a number");
            times.send_modify(|times| *times += more);
        }
    });
    loop {
        let (socket, _) = listener.accept().await.expect("a connection");
        tokio::spawn(serve(socket, message.clone(), told.clone()));
    }
}

async fn serve(socket: TcpStream, message: Bytes, told: watch::Receiver<usize>) {
    socket.set_nodelay(true).expect("an option");
    let mut connection =
        h2::server::Builder::new().max_frame_size(65_536).handshake(socket).await.expect("a connection");
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let head = http::Response::builder().header("content-type", "application/grpc").body(()).expect("a response");
        let stream = respond.send_response(head, false).expect("a stream");
        tokio::spawn(send(stream, message.clone(), told.clone()));
    }
}

async fn send(mut stream: SendStream<Bytes>, message: Bytes, mut told: watch::Receiver<usize>) {
    let mut sent = 0;
    loop {
        let until = *told.borrow_and_update();
        while sent < until {
            let mut rest = message.clone();
            while !rest.is_empty() {
                stream.reserve_capacity(rest.len());
                let Some(Ok(room)) = std::future::poll_fn(|context| stream.poll_capacity(context)).await else {
                    return;
                };
                let part = rest.split_to(room.min(rest.len()));
                if stream.send_data(part, false).is_err() {
                    return;
                }
            }
            sent += 1;
        }
        if told.changed().await.is_err() {
            return;
        }
    }
}
