//! The connections to PostgreSQL: too few of them, those to the wrong server, what the database or the role set for them,
//! and tables that change while they are open.

use std::time::Duration;

use dispute_service::clock::{pause, real_now};
use dispute_service::proto::v1;
use dispute_service::repository::{ConnectError, Repository};
use fastrand::Rng;
use tonic::Code;

use crate::support::binary::Binary;
use crate::support::callers::{Facts, facts, refusal};
use crate::support::messages::*;
use crate::support::replication::Replicated;
use crate::support::service::Service;
use crate::support::{database, postgres};

fn away() -> Facts {
    refusal(Code::Unavailable, "STORAGE_UNAVAILABLE", &[])
}

/// The URL of the same database for another role, with one connection limit or none.
async fn as_role(url: &str, role: &str, options: &str) -> String {
    database::execute(url, &format!("CREATE ROLE {role} LOGIN {options}")).await;
    let name = url.rsplit_once('/').unwrap().1;
    database::execute(url, &format!("ALTER DATABASE {name} OWNER TO {role}; GRANT ALL ON SCHEMA public TO {role}"))
        .await;
    let (_, server) = url.split_once('@').unwrap();
    format!("postgres://{role}@{server}")
}

/// A name for a role that no other test has.
fn role() -> String {
    format!("role_{}_{}", std::process::id(), Rng::new().u64(..))
}

/// Commands and reads of 24 callers at once. Answers how many there were, and what went wrong.
async fn callers(service: &Service, name: &str, rounds: usize) -> (usize, Vec<Facts>) {
    let id = |caller: usize| format!("{name}-{caller}");
    let orders = (0..24).map(|caller| order(&id(caller))).collect();
    service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let callers: Vec<_> = (0..24)
        .map(|caller| {
            let (mut ann, mut bob, mut platform, id) =
                (service.user("ann"), service.user("bob"), service.platform(), id(caller));
            tokio::spawn(async move {
                let (mut done, mut failures) = (0, Vec::new());
                for _ in 0..rounds {
                    let asked = ann.ask(update(&id)).await;
                    let read = platform.disputes.list_disputes(v1::ListDisputesRequest::default()).await;
                    failures.extend(read.err().map(|status| facts(&status)));
                    let get = v1::GetOrderRequest { order_id: id.clone() };
                    failures.extend(ann.orders.get_order(get).await.err().map(|status| facts(&status)));
                    match asked {
                        Ok(asked) => failures.extend(bob.reply(answer(&asked.dispute_id)).await.err()),
                        Err(error) => failures.push(error),
                    }
                    done += 4;
                }
                (done, failures)
            })
        })
        .collect();
    let (mut done, mut failures) = (0, Vec::new());
    for caller in callers {
        let (count, failed) = caller.await.unwrap();
        done += count;
        failures.extend(failed);
    }
    (done, failures)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_connections_than_wanted_are_waited_for() {
    let Some(url) = postgres::new_database().await else { return };
    let role = role();
    let limited = as_role(&url, &role, "CONNECTION LIMIT 8").await;
    let service = Service::on_database_with(&limited, &[]).await;
    let (done, failures) = callers(&service, "start", 5).await;
    assert_eq!((done, failures), (480, vec![]));
    let open = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'");
    assert!(database::number(&url, &open).await <= 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_of_all_connections_is_bounded_and_told() {
    let Some(url) = postgres::new_database().await else { return };
    let role = role();
    let url_of_role = as_role(&url, &role, "").await;
    let open = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'");
    let start = |flags: &[&str]| {
        let arguments = ["--listen", "127.0.0.1:0", "--database-url", &url_of_role, "--notify", "true"];
        let arguments: Vec<_> = arguments.iter().chain(flags).map(|argument| (*argument).to_owned()).collect();
        Binary::launch(env!("CARGO_BIN_EXE_dispute-service"), &arguments, "info")
    };
    let wide = start(&["--database-connections", "11"]).unwrap();
    assert_eq!(database::number(&url, &open).await, 11);
    let log = wide.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("connections to the database")).collect();
    assert!(told.len() == 1 && told[0].contains("INFO") && told[0].contains("opened=11"), "{log}");
    assert!(wide.terminate().0);
    let limit = async |connections| {
        // Those of the process before are gone by then.
        for _ in 0..500 {
            if database::number(&url, &open).await == 0 {
                break;
            }
        }
        database::execute(&url, &format!("ALTER ROLE {role} CONNECTION LIMIT {connections}")).await;
    };
    limit(7).await;
    let narrow = start(&[]).unwrap();
    let log = narrow.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("connections")).collect();
    assert!(told.len() == 1 && told[0].contains("wanted=16") && told[0].contains("opened=7"), "{log}");
    assert!(narrow.terminate().0);
    limit(3).await;
    let log = start(&[]).err().unwrap();
    assert!(log.contains("could open 3 database connections, but at least 4 are needed"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_or_the_role_sets_breaks_nothing() {
    let Some(url) = postgres::new_database().await else { return };
    let name = url.rsplit_once('/').unwrap().1;
    let role = role();
    let as_role = as_role(&url, &role, "").await;
    let settings = [
        "default_transaction_isolation = 'serializable'",
        "default_transaction_isolation = 'repeatable read'",
        "default_transaction_deferrable = on",
        "statement_timeout = '200ms'",
        "lock_timeout = '1ms'",
        "idle_in_transaction_session_timeout = '1ms'",
        "synchronous_commit = off",
        "TimeZone = 'Pacific/Auckland'",
        "DateStyle = 'German'",
        "standard_conforming_strings = off",
        "bytea_output = 'escape'",
        "plan_cache_mode = 'force_generic_plan'",
        "row_security = off",
        "client_encoding = 'LATIN1'",
    ];
    let since_14 = (postgres::version(&url).await >= 140_000).then_some("idle_session_timeout = '1s'");
    for (number, setting) in since_14.iter().chain(&settings).enumerate() {
        // In turn for the database, and for the role.
        let of = if number % 2 == 0 { format!("DATABASE {name}") } else { format!("ROLE {role}") };
        database::execute(&url, &format!("ALTER {of} SET {setting}")).await;
    }
    let service = Service::on_database_with(&as_role, &[]).await;
    let replica = service.replica().await;
    let (one, other) = tokio::join!(callers(&service, "one", 6), callers(&replica, "other", 6));
    assert_eq!((one, other), ((576, vec![]), (576, vec![])));
    // Each by itself as well: the isolation of one would hide that of the other.
    for level in ["serializable", "repeatable read"] {
        database::execute(&url, &format!("ALTER ROLE {role} SET default_transaction_isolation = '{level}'")).await;
        let lose = format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{role}'");
        database::number(&url, &lose).await;
        pause(Duration::from_millis(1_100)).await;
        let (one, other) = tokio::join!(callers(&service, "one", 3), callers(&replica, "other", 3));
        assert_eq!((one, other), ((288, vec![]), (288, vec![])), "{level}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_set_to_be_read_only_takes_no_commands_until_it_is_not() {
    let Some(service) = Service::on_postgres().await else { return };
    service.platform().upsert(order("o1")).await;
    for _ in 0..2 {
        database::set_read_only(&service.url, true).await;
        pause(Duration::from_millis(1_100)).await;
        for _ in 0..5 {
            assert_eq!(service.user("ann").ask(update("o1")).await.unwrap_err(), away());
            assert_eq!(service.user("ann").order("o1").await.order_id, "o1", "reads go on");
        }
        database::set_read_only(&service.url, false).await;
        // At once: what has met it was closed.
        let asked = service.user("ann").ask(update("o1")).await.unwrap();
        service.user("bob").reply(answer(&asked.dispute_id)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_database_in_utf8_is_taken() {
    let Some(url) = postgres::new_database().await else { return };
    let libc = if postgres::version(&url).await >= 150_000 { "LOCALE_PROVIDER libc" } else { "" };
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("{}_{}", url.rsplit_once('/').unwrap().1, encoding.to_lowercase());
        let create = format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' \
             {libc} LC_COLLATE 'C' LC_CTYPE 'C'"
        );
        database::execute(&url, &create).await;
        let other = format!("{}/{name}", url.rsplit_once('/').unwrap().0);
        let Err(ConnectError::Unusable(why)) = Repository::connect(&other).await else {
            panic!("{encoding} was taken")
        };
        assert!(why.contains(encoding) && why.contains("UTF8"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_change_under_prepared_statements_are_noticed_by_nobody() {
    let Some(service) = Service::on_postgres().await else { return };
    let mut watch = service.platform().watch(from_beginning()).await;
    let mut events = 0;
    let changes = [
        "ALTER TABLE orders ALTER COLUMN title TYPE varchar(400)",
        "ALTER TABLE disputes ALTER COLUMN message TYPE varchar(9000)",
        "ALTER TABLE events ALTER COLUMN buyer_id TYPE varchar(400)",
        "ALTER TABLE orders ALTER COLUMN title TYPE text; ALTER TABLE disputes ALTER COLUMN message TYPE text",
        "ALTER TABLE event_log ALTER COLUMN head TYPE bigint USING head + 0",
    ];
    // Enough at once that every connection has prepared every statement.
    assert_eq!(callers(&service, "warm", 4).await, (384, vec![]));
    events += 192;
    assert_eq!(watch.take(192).await.len(), 192);
    for (number, change) in changes.iter().enumerate() {
        service.execute(change).await;
        assert_eq!(callers(&service, &format!("after-{number}"), 2).await, (192, vec![]), "{change}");
        events += 96;
        assert_eq!(watch.take(96).await.len(), 96);
        // A deadline passes.
        service.user("ann").ask(update("warm-0")).await.unwrap();
        assert_eq!(watch.event().await.r#type(), v1::EventType::Opened);
        service.clock.advance(Duration::from_secs(48 * 3_600));
        while watch.event().await.dispute.unwrap().status() != v1::DisputeStatus::Expired {}
        assert_eq!(service.platform().events().await.len(), usize::try_from(service.ends().await.head).unwrap());
    }
    assert!(service.ends().await.head > events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_still_leads_to_the_old_primary_is_left_as_soon_as_it_does_not() {
    let Some(mut pair) = Replicated::start(&mut Rng::new()).await else { return };
    let service = Service::on_database_with(&pair.database_url(), &[]).await;
    service.platform().upsert(order("o1")).await;
    pair.wait_for_standby().await;
    let mut pair = tokio::task::spawn_blocking(move || {
        pair.switch_over();
        pair
    })
    .await
    .unwrap();
    for round in 0..2 {
        // The address leads to a standby now.
        for _ in 0..4 {
            let (mut asks, mut reads) = (service.user("ann"), service.user("ann"));
            let get = v1::GetOrderRequest { order_id: "o1".to_owned() };
            // At the same time: each waits for a database that it can use.
            let (asked, read) = tokio::join!(asks.ask(update("o1")), reads.orders.get_order(get));
            assert_eq!(asked.unwrap_err(), away(), "{round}");
            assert_eq!(facts(&read.unwrap_err()), away(), "nothing is read from a standby");
        }
        pair.lead_to_primary();
        let led = real_now();
        loop {
            match service.user("ann").ask(update("o1")).await {
                Ok(asked) => {
                    service.user("bob").reply(answer(&asked.dispute_id)).await.unwrap();
                    break;
                }
                Err(refused) => assert_eq!(refused, away()),
            }
        }
        let took = led.elapsed();
        println!("commands were taken {took:?} after the address led to the new primary");
        assert!(took < Duration::from_secs(3), "{took:?}");
        assert_eq!(callers(&service, &format!("later-{round}"), 2).await, (192, vec![]));
        if round == 0 {
            pair.wait_for_standby().await;
            pair = tokio::task::spawn_blocking(move || {
                pair.switch_over();
                pair
            })
            .await
            .unwrap();
        }
    }
}

/// Lets reads of disputes take as long as somebody else sleeps.
async fn make_disputes_slow(service: &Service) {
    let slow = "ALTER TABLE disputes RENAME TO fast;
        CREATE VIEW disputes AS SELECT fast.* FROM pg_sleep(60) AS slow, fast";
    service.execute(slow).await;
}

/// Waits until so many are counted.
async fn until(service: &Service, count: &str, least: i64) {
    for _ in 0..1_000 {
        if service.number(count).await >= least {
            return;
        }
    }
    panic!("{count} stays below {least}");
}

/// A read of disputes that is begun, and goes on by itself.
fn begin_reading(service: &Service) -> tokio::task::JoinHandle<Facts> {
    let mut platform = service.platform();
    tokio::spawn(async move {
        let read = platform.disputes.list_disputes(v1::ListDisputesRequest::default()).await;
        facts(&read.unwrap_err())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_is_slow_is_not_taken_for_a_database_that_is_away() {
    let Some(service) = Service::on_postgres().await else { return };
    service.order_with_update("o1", "ann").await;
    make_disputes_slow(&service).await;
    let too_slow = refusal(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]);
    let slow = begin_reading(&service);
    // As the server does after ten seconds.
    let cancel = "SELECT count(*) FROM (SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event = 'PgSleep') AS cancelled";
    until(&service, cancel, 1).await;
    assert_eq!(slow.await.unwrap(), too_slow);
    // When all connections that a caller can have for lists are in use, it does not wait for them for ever.
    let slow: Vec<_> = (0..3).map(|_| begin_reading(&service)).collect();
    let sleeping = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event = 'PgSleep'";
    until(&service, sleeping, 3).await;
    let busy = refusal(Code::ResourceExhausted, "OVERLOADED", &[]);
    assert_eq!(begin_reading(&service).await.unwrap(), busy);
    let standing = v1::GetSellerStandingRequest { seller_id: "bob".to_owned() };
    let standing = service.platform().orders.get_seller_standing(standing).await;
    assert!(standing.is_ok(), "single reads have connections left: {standing:?}");
    until(&service, cancel, 3).await;
    for slow in slow {
        assert_eq!(slow.await.unwrap(), too_slow);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_cut_while_idle_listens_again_without_a_word() {
    let Some(url) = postgres::new_database().await else { return };
    let arguments = ["--listen", "127.0.0.1:0", "--database-url", &url, "--notify", "true"].map(str::to_owned);
    let service = Binary::launch(env!("CARGO_BIN_EXE_dispute-service"), &arguments, "info").unwrap();
    let listener = "SELECT pid::bigint FROM pg_stat_activity \
        WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    let mut last = 0_i64;
    for _ in 0..4 {
        let mut now = last;
        for _ in 0..1_000 {
            let found = database::rows(&url, listener).await;
            now = found.first().map_or(last, |row| row.try_get_by_index(0).unwrap());
            if now != last {
                break;
            }
        }
        assert_ne!(now, last, "it listens again");
        last = now;
        database::number(&url, &format!("SELECT count(pg_terminate_backend({now}))")).await;
    }
    let (is_well, log) = service.terminate();
    assert!(is_well);
    let loud: Vec<_> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    assert!(loud.is_empty(), "{log}");
}
