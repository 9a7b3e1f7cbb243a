//! TLS to PostgreSQL with a real chain, by every `sslmode`; and several hosts in one URL.

use std::time::Duration;

use dispute_service::clock::{pause, real_now};
use fastrand::Rng;

use crate::support::authority::{Authority, Identity};
use crate::support::binary::Binary;
use crate::support::callers::Party;
use crate::support::launcher::{Cluster, Options};
use crate::support::messages::*;
use crate::support::server::Postgres;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A server with TLS, which takes clients with it and without.
fn secured(identity: &Identity) -> Option<Cluster> {
    let files = format!(
        "umask 077\ncat >server.crt <<END\n{}\nEND\ncat >server.key <<END\n{}\nEND\n",
        identity.cert.trim(),
        identity.key.trim()
    );
    let settings = ["fsync=off", "autovacuum=off", "ssl=on"];
    Cluster::start(&Options { initdb: "--no-sync", prepare: &files, settings: &settings, ..Options::default() })
}

/// Starts the program; what it says if it ends.
async fn start(url: &str) -> Result<Binary, String> {
    let arguments =
        ["--listen", "127.0.0.1:0", "--database-connections", "4", "--database-url", url].map(str::to_owned);
    let start = move || Binary::launch(env!("CARGO_BIN_EXE_dispute-service"), &arguments, "warn");
    tokio::task::spawn_blocking(start).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sslmode_does_what_it_says_with_a_real_chain() {
    let authority = Authority::new("Database");
    let Some(server) = secured(&authority.server(&["localhost"])) else { return };
    let url =
        |host: &str, options: &str| format!("postgres://postgres:hunter2@{host}:{}/postgres?{options}", server.port());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, authority: &Authority| {
        let path = folder.path().join(name);
        std::fs::write(&path, authority.pem()).unwrap();
        format!("sslrootcert={}", path.display())
    };
    let (ca, other) = (file("ca.pem", &authority), file("other.pem", &Authority::new("Database")));
    let unknown = Some("unknown authority");
    let another = Some("another host name");
    for (host, options, refused) in [
        ("127.0.0.1", "sslmode=disable".to_owned(), None),
        ("127.0.0.1", "sslmode=prefer".to_owned(), None),
        ("127.0.0.1", "sslmode=require".to_owned(), None),
        ("127.0.0.1", format!("sslmode=verify-ca&{ca}"), None),
        ("localhost", format!("sslmode=verify-full&{ca}"), None),
        ("127.0.0.1", format!("sslmode=verify-full&{ca}"), another),
        ("localhost", format!("sslmode=verify-full&{other}"), unknown),
        ("localhost", "sslmode=verify-full".to_owned(), unknown),
        ("127.0.0.1", format!("sslmode=verify-ca&{other}"), unknown),
    ] {
        let started = start(&url(host, &options)).await;
        match (started, refused) {
            (Ok(binary), None) => assert!(binary.terminate().0, "{options}"),
            (Err(said), Some(words)) => {
                assert!(said.contains(words) && !said.contains("hunter2"), "{host} {options}: {said}");
            }
            (Ok(_), Some(words)) => panic!("{host} {options}: it started, and not refused with {words}"),
            (Err(said), None) => panic!("{host} {options}: {said}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_hosts_the_one_that_takes_writes_is_used_before_and_after_a_failover() {
    let mut rng = Rng::new();
    let Some(mut primary) = Postgres::start_cluster(&mut rng) else { return };
    let mut standby = primary.start_standby(&mut rng);
    let url = |attributes: &str| {
        format!("postgres://postgres@127.0.0.1:1,{},{}/postgres{attributes}", standby.address(), primary.address())
    };
    let refused = start(&url("?target_session_attrs=standby")).await.err().expect("a standby is of no use");
    assert!(refused.contains("target_session_attrs must be read-write or primary"), "{refused}");
    let nobody = format!("postgres://postgres@127.0.0.1:1,{}/postgres", standby.address());
    let refused = start(&nobody).await.err().expect("no primary");
    assert!(
        refused.contains("none of the hosts") && refused.contains("127.0.0.1:1: the connection was refused"),
        "{refused}"
    );
    assert!(refused.contains("the server is a standby"), "{refused}");

    let binary = start(&url("?target_session_attrs=read-write")).await.unwrap_or_else(|said| panic!("{said}"));
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", binary.address)).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut shop = Party::new(channel.clone(), "shop", Some("platform"));
    shop.upsert(order("o1")).await;
    primary.finish();
    standby.promote();
    let began = real_now();
    while shop
        .orders
        .upsert_order(dispute_service::proto::v1::UpsertOrderRequest { order: Some(order("o2")) })
        .await
        .is_err()
    {
        assert!(began.elapsed() < TIMEOUT, "{}", binary.log());
        pause(Duration::from_millis(20)).await;
    }
    assert!(binary.log().contains("another host of the database is used from now on"), "{}", binary.log());
    Party::new(channel, "ann", None).ask(update("o1")).await.unwrap();
}
