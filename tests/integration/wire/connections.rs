//! Connections: which of them hold up a drain, and how long a client may take to begin.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use dispute_service::clock::pause;
use dispute_service::proto::v1;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1 as reflection;

use crate::support::binary::Binary;
use crate::support::callers::{Party, facts};
use crate::support::h2_client::H2Client;

/// What every HTTP/2 client begins with: the preface, and empty SETTINGS.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// Far longer than anything here should take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Well above what a drain takes when nobody has a right to hold it up, well below what it may take at the most.
const SOON: Duration = Duration::from_secs(3);

fn start(flags: &[&str]) -> (Binary, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let mut arguments = ["--listen", "127.0.0.1:0", "--database-url", &url].map(str::to_owned).to_vec();
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    (Binary::launch(env!("CARGO_BIN_EXE_dispute-service"), &arguments, "info").unwrap(), folder)
}

async fn connect(server: &Binary) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap()
}

/// A client that sends so much and then nothing, not even what the protocol asks of it.
fn silent(server: &Binary, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(&server.address).unwrap();
    socket.write_all(bytes).unwrap();
    socket
}

/// Whether the server ends the connection within this time.
fn ends_within(mut socket: TcpStream, time: Duration) -> bool {
    socket.set_read_timeout(Some(time)).unwrap();
    match socket.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_idle_holds_up_a_drain() {
    let (server, _folder) = start(&[]);
    let sockets = [&b""[..], b"PRI * HTTP", OPENING].map(|bytes| silent(&server, bytes));
    let channel = connect(&server).await;
    let health = HealthClient::new(channel.clone()).watch(HealthCheckRequest::default()).await.unwrap();
    let (requests, stream) = tokio::sync::mpsc::channel(1);
    let list = reflection::server_reflection_request::MessageRequest::ListServices(String::new());
    let list = reflection::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    requests.send(list).await.unwrap();
    let answers = reflection::server_reflection_client::ServerReflectionClient::new(channel.clone())
        .server_reflection_info(tonic::codegen::tokio_stream::wrappers::ReceiverStream::new(stream))
        .await;
    let (mut health, mut answers) = (health.into_inner(), answers.unwrap().into_inner());
    assert_eq!(health.message().await.unwrap().unwrap().status, 1);
    answers.message().await.unwrap().unwrap();
    // A command of which only a part ever arrives.
    let client = H2Client::connect(&server.address).await;
    let partial = client.call("/disputes.v1.DisputeService/RequestOrderUpdate", &[("x-user-id", "ann")], b"\x00\x00");
    let partial = tokio::spawn(partial.unfinished());
    let mut watch = Party::new(channel.clone(), "ann", None).watch(v1::WatchDisputesRequest::default()).await;

    let terminated = tokio::task::spawn_blocking(move || server.terminate());
    // Everybody hears why.
    assert_eq!(health.message().await.unwrap().unwrap().status, 2, "NOT_SERVING comes first");
    let (_, of_watch) = watch.rest().await;
    let of_partial = partial.await.unwrap();
    for status in [health.message().await.unwrap_err(), answers.message().await.unwrap_err(), of_watch, of_partial] {
        assert_eq!(facts(&status).reason, "SERVER_DRAINING");
        let details = tonic_types::StatusExt::get_error_details(&status);
        assert!(details.retry_info().is_some(), "{status:?}");
    }
    let (is_success, log) = timeout(SOON, terminated).await.expect("it ends soon").unwrap();
    assert!(is_success, "{log}");
    for socket in sockets {
        assert!(ends_within(socket, Duration::from_secs(1)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_begin_in_time_is_let_go() {
    let (server, _folder) = start(&["--preface-timeout", "1s"]);
    let late = [&b""[..], b"PRI * HTTP", &OPENING[..24]].map(|bytes| silent(&server, bytes));
    let begun = silent(&server, OPENING);
    let mut slow = silent(&server, &OPENING[..10]);
    let ann = H2Client::connect(&server.address).await;
    for socket in late {
        assert!(tokio::task::spawn_blocking(|| ends_within(socket, TIMEOUT)).await.unwrap());
    }
    // One that has begun may be silent, until keepalive finds that it is gone.
    begun.set_nonblocking(true).unwrap();
    while (&begun).read(&mut [0; 1_024]).is_ok() {}
    let error = (&begun).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    // Whoever is slow but goes on has no more time than the others.
    assert!(slow.write_all(&OPENING[10..]).is_err() || ends_within(slow, TIMEOUT));
    let listed = ann.call("/disputes.v1.DisputeService/ListReasons", &[("x-user-id", "ann")], &[0; 5]).send().await;
    assert_eq!(listed.status().code(), tonic::Code::Ok);
    assert!(!listed.body.is_empty());
    assert!(server.terminate().0);
}

/// Processor time so far, in seconds.
fn cpu(server: &Binary) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.child.id())).unwrap();
    let fields = stat.rsplit(')').next().unwrap();
    // utime and stime, the 14th and the 15th of all fields, in hundredths of a second.
    fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

/// Waits until the log says so, so many times.
pub(crate) async fn logged(server: &Binary, what: &str, times: usize) {
    for _ in 0..1_000 {
        if server.log().matches(what).count() >= times {
            return;
        }
        pause(Duration::from_millis(20)).await;
    }
    panic!("{what} is not in the log: {}", server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lack_of_file_descriptors_takes_no_core_and_is_told_once() {
    const BEGINS: &str = "no connection can be accepted";
    const IS_OVER: &str = "connections are accepted again";
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let limited = "ulimit -n 128; exec \"$0\" \"$@\"";
    let program = env!("CARGO_BIN_EXE_dispute-service");
    let arguments = ["-c", limited, program, "--listen", "127.0.0.1:0", "--database-url", &url].map(str::to_owned);
    let server = Binary::launch("sh", &arguments, "info").unwrap();
    let client = H2Client::connect(&server.address).await;
    let list = async |client: &H2Client| {
        let path = "/disputes.v1.DisputeService/ListReasons";
        client.call(path, &[("x-user-id", "ann")], &[0; 5]).send().await.status().code()
    };
    assert_eq!(list(&client).await, tonic::Code::Ok);
    for time in 1..=2 {
        let crowd: Vec<_> = (0..200).map(|_| silent(&server, OPENING)).collect();
        logged(&server, BEGINS, time).await;
        let before = cpu(&server);
        pause(Duration::from_secs(2)).await;
        let spent = cpu(&server) - before;
        assert!(spent < 0.5, "{spent} s of processor time in 2 s");
        assert_eq!(list(&client).await, tonic::Code::Ok, "who is connected is served");
        drop(crowd);
        let late = timeout(TIMEOUT, H2Client::connect(&server.address)).await.expect("there is room again");
        assert_eq!(list(&late).await, tonic::Code::Ok);
        logged(&server, IS_OVER, time).await;
        let log = server.log();
        assert_eq!((log.matches(BEGINS).count(), log.matches(IS_OVER).count()), (time, time), "{log}");
    }
    assert!(server.terminate().0);
}
