//! The clock jumps: nothing is judged by it, expires or is pruned, until it is back or its time is accepted. The
//! deciding clock is the machine's on SQLite, and the database's on PostgreSQL.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use dispute_service::clock::{Shift, pause};
use dispute_service::proto::v1;
use sea_orm::{ConnectionTrait as _, DatabaseConnection};
use tonic::Code;
use tonic::transport::Endpoint;

use crate::support::binary::Binary;
use crate::support::callers::{Facts, Party, facts, refusal};
use crate::support::health::Health;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::postgres::skip;
use crate::support::service::{BEGINNING, Service};

on_both_databases!(
    a_jump_stops_commands_and_expiries_and_reads_and_streams_go_on,
    less_than_half_a_minute_is_no_jump,
    a_jump_that_has_lasted_ten_minutes_is_accepted,
    the_new_time_is_accepted_when_the_service_is_restarted,
    nothing_is_pruned_by_a_clock_that_has_jumped,
);

const DAYS: i64 = 3 * 24 * 3_600;

/// The deciding clock.
struct Decisive {
    machine: Shift,
    database: Option<DatabaseConnection>,
}

impl Decisive {
    /// Restarts the service with a clock that can jump.
    async fn of(service: &mut Service) -> Self {
        let database = match service.url.starts_with("postgres") {
            true => Some(settable_clock(service).await),
            false => None,
        };
        let machine = Shift::default();
        service.restart_on_a_machine(&machine).await;
        // Once it responds it has seen the right time.
        service.platform().upsert(order("first")).await;
        Self { machine, database }
    }

    async fn jump(&self, seconds: i64) {
        match &self.database {
            Some(database) => {
                let sql = format!("UPDATE shift SET by = by + interval '{seconds} seconds'");
                database.execute_unprepared(&sql).await.unwrap();
            }
            None => self.machine.jump(seconds * 1_000_000),
        }
    }

    /// Lets time pass, in steps that are no jump even while only one of two machines has made them.
    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds / 20 {
            self.machine.pass(Duration::from_secs(20));
            if self.database.is_some() {
                self.jump(20).await;
            }
        }
    }
}

/// Gives a database a clock that can be set.
async fn settable_clock(service: &Service) -> DatabaseConnection {
    let database = service.database().await;
    let name = service.url.rsplit('/').next().unwrap();
    let sql = format!(
        "CREATE TABLE shift AS SELECT interval '0' AS by;
        CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
            AS 'SELECT pg_catalog.clock_timestamp() + by FROM public.shift';
        ALTER DATABASE \"{name}\" SET search_path = public, pg_catalog"
    );
    database.execute_unprepared(&sql).await.unwrap();
    database
}

fn uncertain() -> Facts {
    refusal(Code::Unavailable, "CLOCK_UNCERTAIN", &[])
}

async fn upsert(service: &Service, id: &str) -> Result<v1::UpsertOrderResponse, Facts> {
    let request = v1::UpsertOrderRequest { order: Some(order(id)) };
    let answered = service.platform().orders.upsert_order(request).await;
    answered.map(tonic::Response::into_inner).map_err(|status| facts(&status))
}

async fn event_types(caller: &mut Party) -> Vec<v1::EventType> {
    caller.events().await.iter().map(v1::DisputeEvent::r#type).collect()
}

async fn a_jump_stops_commands_and_expiries_and_reads_and_streams_go_on(mut service: Service) {
    let clock = Decisive::of(&mut service).await;
    let mut bob = service.user("bob");
    for seconds in [DAYS, -DAYS] {
        let id = format!("jump{seconds}");
        let cancellation = service.order_with_cancellation(&id, "ann").await;
        let mut watch = bob.watch(v1::WatchDisputesRequest::default()).await;
        let mut health = Health::of(service.channel()).await;
        let shown = bob.dispute(&cancellation.dispute_id).await;
        let recorded = service.audit().await.len();
        let before = server_time(&mut bob).await;

        clock.jump(seconds).await;
        // Only the command itself has read the clock by now.
        assert_eq!(bob.accept(accept(&cancellation.dispute_id)).await, Err(uncertain()));
        assert_eq!(upsert(&service, "other").await, Err(uncertain()));
        health.turns_not_serving().await;
        assert_eq!(bob.dispute(&cancellation.dispute_id).await, shown, "with what can be done when the clock is back");
        // What support is shown in confidence is recorded as before, with the time that is shown.
        assert_eq!(service.support().dispute(&cancellation.dispute_id).await.reason(), v1::Reason::OrderedByMistake);
        assert_eq!(service.audit_after(recorded).await.len(), 1);
        assert!((before..before + 20).contains(&(service.last_audit_time().await + BEGINNING)));
        let now = server_time(&mut bob).await;
        assert!((before..before + 20).contains(&now), "{now} is not right after {before}");

        clock.jump(-seconds).await;
        let accepted = bob.accept(accept(&cancellation.dispute_id)).await.unwrap();
        assert_eq!(accepted.resolved_by(), v1::ResolvedBy::Responder);
        let resolved = accepted.resolve_time.unwrap().seconds;
        assert!((before..before + 20).contains(&resolved), "{resolved} is not right after {before}");
        assert_eq!(watch.event().await.r#type(), v1::EventType::Accepted);
        health.turns_serving().await;
    }
    let told = [v1::EventType::Opened, v1::EventType::Accepted];
    assert_eq!(event_types(&mut bob).await, [told, told].concat());
}

async fn server_time(caller: &mut Party) -> i64 {
    caller.list(v1::ListDisputesRequest::default()).await.server_time.unwrap().seconds
}

async fn less_than_half_a_minute_is_no_jump(mut service: Service) {
    let clock = Decisive::of(&mut service).await;
    for (seconds, is_judged) in [(29, true), (-29, true), (-29, true), (29, true), (31, false), (-31, true)] {
        clock.jump(seconds).await;
        let expected = if is_judged { None } else { Some(uncertain()) };
        assert_eq!(upsert(&service, "o1").await.err(), expected, "{seconds}");
    }
}

async fn a_jump_that_has_lasted_ten_minutes_is_accepted(mut service: Service) {
    let clock = Decisive::of(&mut service).await;
    service.platform().upsert(order("o1")).await;
    let mut health = Health::of(service.channel()).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let asked = ann.ask(update("o1")).await.unwrap();
    clock.jump(DAYS).await;
    assert_eq!(bob.reply(answer(&asked.dispute_id)).await, Err(uncertain()));
    clock.pass(580).await;
    assert_eq!(bob.reply(answer(&asked.dispute_id)).await, Err(uncertain()));
    health.turns_not_serving().await;
    clock.pass(20).await;
    // By the new time the window has closed.
    let late = bob.reply(answer(&asked.dispute_id)).await.unwrap_err();
    assert_eq!(late.reason, "DEADLINE_PASSED");
    health.turns_serving().await;
    let told = [v1::EventType::Opened, v1::EventType::DeadlineExpired];
    let mut types = event_types(&mut bob).await;
    types.retain(|told| *told != v1::EventType::DeadlineApproaching);
    assert_eq!(types, told);
}

async fn the_new_time_is_accepted_when_the_service_is_restarted(mut service: Service) {
    let clock = Decisive::of(&mut service).await;
    clock.jump(DAYS).await;
    assert_eq!(upsert(&service, "o1").await, Err(uncertain()));
    let before = server_time(&mut service.user("ann")).await;
    service.restart_on_a_machine(&clock.machine).await;
    upsert(&service, "o1").await.unwrap();
    assert!(server_time(&mut service.user("ann")).await >= before + DAYS);
}

async fn nothing_is_pruned_by_a_clock_that_has_jumped(mut service: Service) {
    let clock = Decisive::of(&mut service).await;
    service.restart_with_policy("event_retention = \"16s\"").await;
    for id in ["o1", "o2"] {
        service.order_with_update(id, "ann").await;
    }
    let mut health = Health::of(service.channel()).await;
    clock.jump(DAYS).await;
    health.turns_not_serving().await;
    pause(Duration::from_millis(1_200)).await;
    assert_eq!(service.ends().await.floor, 0);
}

/// Where distributions install the library that fakes the time, for programs with threads.
fn faketime() -> Option<PathBuf> {
    let list = "ls /usr/lib*/faketime/libfaketimeMT.so.1 /usr/lib/*/faketime/libfaketimeMT.so.1";
    let found = Command::new("sh").args(["-c", list]).stderr(Stdio::null()).output().unwrap().stdout;
    let library = String::from_utf8(found).unwrap().lines().next().map(PathBuf::from);
    if library.is_none() {
        assert!(std::env::var_os("REQUIRE_FAKETIME").is_none(), "REQUIRE_FAKETIME is set, but there is no libfaketime");
        skip("the program itself under a clock that jumps. No libfaketime was found.");
    }
    library
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_survives_a_clock_that_is_three_days_ahead_for_a_moment() {
    let Some(library) = faketime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (shown, next) = (folder.path().join("shown"), folder.path().join("next"));
    let set = |ahead: &str| {
        std::fs::write(&next, ahead).unwrap();
        std::fs::rename(&next, &shown).unwrap();
    };
    set("+0");
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let arguments = ["--listen", "127.0.0.1:0", "--database-url", &url].map(str::to_owned);
    let environment = [
        ("RUST_LOG", "info"),
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", shown.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let server = Binary::launch_with(env!("CARGO_BIN_EXE_dispute-service"), &arguments, &environment).unwrap();
    let channel = Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
    Party::new(channel.clone(), "shop", Some("platform")).upsert(order("o1")).await;
    let (mut ann, mut bob) = (Party::new(channel.clone(), "ann", None), Party::new(channel.clone(), "bob", None));
    let opened = ann.cancel(cancellation("o1")).await.unwrap();
    let mut health = Health::of(channel).await;
    set("+3d");
    // Whichever reads it first: the command, the sweep of deadlines, or health.
    health.turns_not_serving().await;
    assert_eq!(bob.accept(accept(&opened.dispute_id)).await, Err(uncertain()));
    assert_eq!(bob.dispute(&opened.dispute_id).await.status(), v1::DisputeStatus::Pending);
    set("+0");
    let accepted = bob.accept(accept(&opened.dispute_id)).await.unwrap();
    assert_eq!(accepted.resolved_by(), v1::ResolvedBy::Responder);
    health.turns_serving().await;
    let (is_well, log) = server.terminate();
    assert!(is_well, "{log}");
    assert_eq!(log.matches("this machine's clock has jumped 259200 s ahead").count(), 1, "{log}");
    assert_eq!(log.matches("this machine's clock is right again").count(), 1, "{log}");
}
