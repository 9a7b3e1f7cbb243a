//! TLS to PostgreSQL with a real chain, by every `sslmode`; and several hosts in one URL.

use std::time::Duration;

use dispute_service::clock::{pause, real_now};
use dispute_service::proto::v1;
use fastrand::Rng;
use tonic::transport::{Channel, Endpoint};

use crate::support::authority::{Authority, Identity};
use crate::support::binary::Binary;
use crate::support::callers::Party;
use crate::support::database;
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
    let Some((mut primary, mut standby)) = Postgres::start_with_standby(&mut Rng::new()) else { return };
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

    let read_write = url("?target_session_attrs=read-write");
    let (binary, channel) = connect(&read_write).await;
    let mut shop = Party::new(channel.clone(), "shop", Some("platform"));
    shop.upsert(order("o1")).await;
    primary.finish();
    standby.promote();
    upsert_in_time(&mut shop, "o2", &binary).await;
    assert_eq!(binary.log().matches(MOVED).count(), 1, "{}", binary.log());
    Party::new(channel, "ann", None).ask(update("o1")).await.unwrap();

    // Both are primaries now, and the first one no longer accepts writes.
    primary.start();
    for sql in ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"] {
        database::execute(&standby.database_url(), sql).await;
    }
    let began = real_now();
    while binary.log().matches(MOVED).count() < 2 {
        assert!(began.elapsed() < TIMEOUT, "{}", binary.log());
        let _ = shop.orders.upsert_order(v1::UpsertOrderRequest { order: Some(order("o1")) }).await;
        pause(Duration::from_millis(20)).await;
    }
    upsert_in_time(&mut shop, "o3", &binary).await;
    // Nobody reads any longer where `o2` is.
    let began = real_now();
    let read = |order_id: &str| v1::GetOrderRequest { order_id: order_id.to_owned() };
    while shop.orders.get_order(read("o2")).await.is_ok() {
        assert!(began.elapsed() < TIMEOUT, "{}", binary.log());
        pause(Duration::from_millis(20)).await;
    }
    for _ in 0..20 {
        assert_eq!(shop.orders.get_order(read("o2")).await.unwrap_err().code(), tonic::Code::NotFound);
        shop.orders.get_order(read("o3")).await.unwrap();
    }
    // At startup it is passed over.
    let (binary, channel) = connect(&read_write).await;
    Party::new(channel, "shop", Some("platform")).upsert(order("o4")).await;
    assert!(binary.terminate().0);
    database::execute(&primary.database_url(), "ALTER SYSTEM SET default_transaction_read_only = on").await;
    database::execute(&primary.database_url(), "SELECT pg_reload_conf()").await;
    let refused = start(&read_write).await.err().expect("nobody accepts writes");
    assert_eq!(
        refused.matches("the server accepts no writes: default_transaction_read_only is on").count(),
        2,
        "{refused}"
    );
}

/// What is logged when the service goes to another host.
const MOVED: &str = "another host of the database is used from now on";

async fn connect(url: &str) -> (Binary, Channel) {
    let binary = start(url).await.unwrap_or_else(|said| panic!("{said}"));
    let channel = Endpoint::from_shared(format!("http://{}", binary.address)).unwrap().connect().await.unwrap();
    (binary, channel)
}

async fn upsert_in_time(shop: &mut Party, id: &str, binary: &Binary) {
    let began = real_now();
    while shop.orders.upsert_order(v1::UpsertOrderRequest { order: Some(order(id)) }).await.is_err() {
        assert!(began.elapsed() < TIMEOUT, "{}", binary.log());
        pause(Duration::from_millis(20)).await;
    }
    println!("{id} was accepted after {:?}", began.elapsed());
}
