//! More connections than there may be: those that do nothing go, those in use stay, and what is over the bound ends at once.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use dispute_service::clock::{pause, real_now};
use tokio::time::timeout;
use tonic::Code;

use crate::support::binary::Binary;
use crate::support::frames::*;
use crate::support::h2_client::H2Client;
use crate::wire::connections::logged;

/// What every HTTP/2 client begins with: the preface, and empty SETTINGS.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// Far longer than anything here should take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The program, started by a shell that sets a limit first if one is given.
fn start(limit: &str, flags: &[&str]) -> (Binary, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let script = format!("{limit} exec \"$0\" \"$@\"");
    let program = env!("CARGO_BIN_EXE_dispute-service");
    let arguments = ["-c", &script, program, "--listen", "127.0.0.1:0", "--database-url", &url];
    let arguments: Vec<_> = arguments.iter().chain(flags).map(|argument| (*argument).to_owned()).collect();
    (Binary::launch("sh", &arguments, "info").unwrap(), folder)
}

async fn list(client: &H2Client) -> Code {
    let call = client.call("/disputes.v1.DisputeService/ListReasons", &[("x-user-id", "ann")], &[0; 5]);
    timeout(TIMEOUT, call.send()).await.expect("an answer comes").status().code()
}

fn send(server: &Binary, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(&server.address).unwrap();
    // It may have been closed already.
    let _ = socket.write_all(bytes);
    socket
}

/// Waits until the server has closed this connection.
async fn is_closed(mut socket: TcpStream) -> bool {
    let read = tokio::task::spawn_blocking(move || {
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        match socket.read_to_end(&mut Vec::new()) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    });
    read.await.unwrap()
}

/// A connection with a stream that stays open.
async fn watching(server: &Binary) -> Frames {
    let mut client = Frames::connect(&server.address).await;
    let stream = client.stream();
    client.send(&frame(HEADERS, END_HEADERS, stream, &block(WATCH, &[]))).await;
    client.send(&frame(DATA, END_STREAM, stream, &[0; 5])).await;
    client.wait_for(DATA, stream).await;
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_crowd_keeps_nobody_out() {
    let (server, _folder) = start("", &["--max-connections", "20"]);
    let early = H2Client::connect(&server.address).await;
    assert_eq!(list(&early).await, Code::Ok);
    let mut crowd: Vec<_> = (0..100).map(|at| send(&server, [&b""[..], b"PRI * HTTP", OPENING][at % 2])).collect();
    // Well before the silent ones have to have begun.
    let begun = real_now();
    for _ in 0..30 {
        let client = H2Client::connect(&server.address).await;
        assert_eq!(list(&client).await, Code::Ok);
    }
    assert!(real_now() - begun < Duration::from_secs(5));
    assert_eq!(list(&early).await, Code::Ok, "who is connected stays");
    assert!(is_closed(crowd.remove(0)).await, "the first one had to go");
    logged(&server, "closing silent and idle connections", 1).await;
    let log = server.log();
    assert_eq!(log.matches("closing silent and idle connections").count(), 1, "{log}");
    assert!(server.terminate().0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_a_call_make_room() {
    // Those that stay are closed after twice as long, as they answer no ping.
    let keepalive = Duration::from_secs(6);
    let (server, _folder) = start("", &["--max-connections", "20", "--keepalive", "6s"]);
    let early = H2Client::connect(&server.address).await;
    assert_eq!(list(&early).await, Code::Ok);
    let crowd: Vec<_> = (0..19).map(|_| send(&server, OPENING)).collect();
    // They are left alone for a second; then a client that comes back gets in, and not because one of them was closed anyway.
    let late = timeout(keepalive * 3 / 2, async {
        loop {
            if let Ok(mut socket) = TcpStream::connect(&server.address)
                && socket.write_all(OPENING).is_ok()
                && socket.set_read_timeout(Some(Duration::from_millis(200))).is_ok()
                && matches!(socket.read(&mut [0; 9]), Ok(9))
            {
                return socket;
            }
            pause(Duration::from_millis(50)).await;
        }
    });
    drop(late.await.expect("somebody new gets in"));
    assert_eq!(list(&early).await, Code::Ok, "one that made a call stays");
    for socket in crowd {
        assert!(is_closed(socket).await);
    }
    assert!(server.terminate().0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_in_use_stay_and_one_more_is_refused_at_once() {
    let (server, _folder) = start("", &["--max-connections", "2"]);
    let (mut first, second) = (watching(&server).await, watching(&server).await);
    for _ in 0..5 {
        assert!(is_closed(send(&server, OPENING)).await);
    }
    first.accepted(&[]).await;
    logged(&server, "all are in use: refusing new ones", 1).await;
    let log = server.log();
    assert_eq!(log.matches("all are in use: refusing new ones").count(), 1, "{log}");
    drop(second);
    assert!(is_let_in(&server).await, "there is a place");
    assert!(server.terminate().0);
}

/// Whether somebody new gets in soon: a client that tries again and again.
async fn is_let_in(server: &Binary) -> bool {
    let retrying = async {
        loop {
            let mut socket = send(server, OPENING);
            let greeted = tokio::task::spawn_blocking(move || {
                socket.set_read_timeout(Some(TIMEOUT)).unwrap();
                let mut head = [0; 9];
                socket.read_exact(&mut head).is_ok() && head[3] == SETTINGS
            });
            if greeted.await.unwrap() {
                return;
            }
            pause(Duration::from_millis(20)).await;
        }
    };
    timeout(TIMEOUT, retrying).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_no_more_connections_than_it_may_have() {
    let (server, _folder) = start("", &["--max-connections-per-address", "2"]);
    let (_first, second) = (watching(&server).await, watching(&server).await);
    assert!(is_closed(send(&server, OPENING)).await);
    logged(&server, "--max-connections-per-address is reached", 1).await;
    drop(second);
    assert!(is_let_in(&server).await, "there is a place");
    assert!(server.terminate().0);
}

/// The limit of descriptors of a process: the one that holds, and the highest.
fn descriptors(server: &Binary) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let fields: Vec<_> = line.split_whitespace().collect();
    (fields[3].to_owned(), fields[4].to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_descriptors_is_raised_and_told_of_where_it_is_too_low() {
    const TOO_LOW: &str = "the limit of file descriptors (ulimit -n) is too low";
    let (server, _folder) = start("ulimit -Sn 128; ulimit -Hn 1024;", &["--max-connections", "900"]);
    assert_eq!(descriptors(&server), ("1024".to_owned(), "1024".to_owned()));
    assert!(!server.log().contains(TOO_LOW), "{}", server.log());
    assert!(server.terminate().0);
    for (connections, streams) in [("1000", "1"), ("0", "1000")] {
        let flags = ["--max-connections", connections, "--max-streams", streams, "--max-streams-per-caller", "1"];
        let (server, _folder) = start("ulimit -n 1024;", &flags);
        logged(&server, TOO_LOW, 1).await;
        assert!(server.terminate().0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_reply_or_takes_nothing_is_let_go() {
    let (server, _folder) = start("", &["--keepalive", "1s"]);
    let (mute, mut deaf) = (send(&server, OPENING), send(&server, OPENING));
    // Whoever reads and replies to pings stays, however little it does.
    let mut idle = watching(&server).await;
    let idle = tokio::spawn(async move {
        while let Some((kind, flags, _, payload)) = idle.receive().await {
            if kind == PING && flags != ACK {
                idle.send(&frame(PING, ACK, 0, &payload)).await;
            }
        }
    });
    // Answers that are not taken, until there is no room for more of them, and pings beside.
    let flooded = tokio::task::spawn_blocking(move || {
        deaf.set_write_timeout(Some(TIMEOUT)).unwrap();
        let window = frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
        deaf.write_all(&window).unwrap();
        for stream in (1..).step_by(2) {
            let call = [
                frame(HEADERS, END_HEADERS, stream, &block(LIST_REASONS, &[])),
                frame(DATA, END_STREAM, stream, &[0; 5]),
            ];
            match deaf.write_all(&call.concat()) {
                Ok(()) => {}
                Err(error) => return error.kind(),
            }
        }
        unreachable!()
    });
    assert!(is_closed(mute).await);
    let ended = timeout(TIMEOUT, flooded).await.expect("it ends").unwrap();
    assert!(matches!(ended, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{ended}");
    assert!(!idle.is_finished());
    idle.abort();
    assert!(server.terminate().0);
}
