//! The audit over time: what is old is pruned, and the program prints the rest, beside the service.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use dispute_service::proto::v1;
use serde_json::{Value, json};

use crate::support::audit::*;
use crate::support::database;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    old_entries_are_pruned_and_younger_ones_are_not,
    without_a_retention_every_entry_is_kept,
    the_program_prints_the_audit_while_the_service_runs,
    the_audit_is_filtered_by_time_order_and_dispute,
    each_filter_has_an_environment_twin,
    an_export_over_many_pages_is_whole_and_in_order,
    a_reader_that_goes_away_is_no_error,
    an_entry_of_a_newer_release_is_printed_with_its_number,
    entries_at_impossible_times_are_left_out_and_the_export_says_so,
);

const PROGRAM: &str = env!("CARGO_BIN_EXE_dispute-service");
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

/// So many orders, each of which adds an entry.
async fn import(service: &Service, name: &str, count: usize) {
    for first in (0..count).step_by(500) {
        let orders = (first..count.min(first + 500)).map(|number| order(&format!("{name}-{number}"))).collect();
        service.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    }
}

async fn old_entries_are_pruned_and_younger_ones_are_not(mut service: Service) {
    service.restart_with_policy("audit_retention = \"1h\"").await;
    // In several steps.
    import(&service, "old", 1_500).await;
    service.clock.advance(40 * MINUTE);
    import(&service, "young", 3).await;
    service.clock.advance(21 * MINUTE);
    service.audit_pruned_to(3).await;
    assert_eq!(service.audit().await[0], by_platform(UPSERTED, "young-0", None, 1));
    // The last one goes too, and its number does not come again.
    let last = service.number("SELECT max(seq) FROM audit").await;
    service.clock.advance(HOUR);
    service.audit_pruned_to(0).await;
    service.platform().upsert(order("new")).await;
    assert!(service.number("SELECT seq FROM audit").await > last);
    assert_eq!(service.number("SELECT count(*) FROM orders").await, 1_504, "nothing else is");
}

async fn without_a_retention_every_entry_is_kept(mut service: Service) {
    for policy in ["event_retention = \"1h\"", "audit_retention = \"0s\""] {
        service.restart_with_policy(policy).await;
        service.platform().upsert(order(&policy[..5])).await;
        service.user("ann").ask(update(&policy[..5])).await.unwrap();
        service.clock.advance(1_000 * HOUR);
        // Commands go on, and so does time.
        service.platform().upsert(v1::Order { source_version: 2, ..order(&policy[..5]) }).await;
        service.clock.advance(2 * MINUTE);
    }
    assert_eq!(service.audit().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_prune_the_audit_at_once_do_not_disturb_each_other() {
    let Some(mut service) = Service::on_postgres().await else { return };
    service.restart_with_policy("audit_retention = \"1h\"").await;
    let other = service.replica().await;
    import(&service, "old", 5_000).await;
    service.clock.advance(61 * MINUTE);
    for number in 0..20 {
        let replica = if number % 2 == 0 { &service } else { &other };
        replica.platform().upsert(order(&format!("new-{number}"))).await;
    }
    service.audit_pruned_to(20).await;
    service.clock.advance(61 * MINUTE);
    service.audit_pruned_to(0).await;
}

/// Runs `dispute-service audit` to its end.
async fn run(url: &str, filters: &[&str]) -> Output {
    run_in(&[], url, filters).await
}

/// The same with environment variables.
async fn run_in(variables: &[(&str, &str)], url: &str, filters: &[&str]) -> Output {
    let mut program = Command::new(PROGRAM);
    program.envs(variables.iter().copied());
    program.args(["audit", "--database-url", url]).args(filters).env("RUST_LOG", "warn").env("NO_COLOR", "1");
    program.stdin(Stdio::null());
    tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap()
}

/// What it prints, line by line; it says nothing else, and exits with 0.
async fn printed(url: &str, filters: &[&str]) -> Vec<Value> {
    let output = run(url, filters).await;
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn orders(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["order_id"].as_str().unwrap()).collect()
}

async fn the_program_prints_the_audit_while_the_service_runs(service: Service) {
    // Answered once the schema is applied.
    service.platform().list(v1::ListDisputesRequest::default()).await;
    assert_eq!(printed(&service.url, &[]).await, [json!(null); 0]);
    service.platform().upsert(order("o1")).await;
    let asked = service.user("ann").ask(update("o1")).await.unwrap().dispute_id;
    service.clock.advance(Duration::from_micros(90_000_001));
    service.support().escalate(escalate(&asked)).await.unwrap();
    let output = run(&service.url, &[]).await;
    let expected = format!(
        "{{\"seq\":1,\"time\":\"2026-01-01T00:00:00.000000Z\",\"user\":\"shop\",\"scope\":\"platform\",\
         \"action\":\"ORDER_UPSERTED\",\"order_id\":\"o1\",\"dispute_id\":null,\"revision\":1}}\n\
         {{\"seq\":2,\"time\":\"2026-01-01T00:01:30.000001Z\",\"user\":\"agent\",\"scope\":\"support\",\
         \"action\":\"DISPUTE_ESCALATED\",\"order_id\":\"o1\",\"dispute_id\":\"{asked}\",\"revision\":2}}\n"
    );
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    // The service goes on.
    service.support().decide(no_action(&asked)).await.unwrap();
    assert_eq!(printed(&service.url, &[]).await.len(), 3);
}

async fn the_audit_is_filtered_by_time_order_and_dispute(service: Service) {
    for id in ["o1", "o2"] {
        service.platform().upsert(order(id)).await;
    }
    let asked = service.user("ann").ask(update("o1")).await.unwrap().dispute_id;
    service.clock.advance(MINUTE);
    service.support().escalate(escalate(&asked)).await.unwrap();
    service.clock.advance(MINUTE);
    service.support().decide(no_action(&asked)).await.unwrap();
    let url = &service.url;
    assert_eq!(orders(&printed(url, &["--order", "o1"]).await), ["o1"; 3]);
    assert_eq!(orders(&printed(url, &["--order", "o2"]).await), ["o2"]);
    assert_eq!(printed(url, &["--order", "o3"]).await.len(), 0);
    assert_eq!(printed(url, &["--dispute", &asked]).await.len(), 2);
    // From an instant on, that one included.
    assert_eq!(printed(url, &["--since", "2026-01-01T00:01:00Z"]).await.len(), 2);
    assert_eq!(printed(url, &["--since", "2026-01-01T02:01:00.000001+02:00"]).await.len(), 1);
    let both = ["--since", "2026-01-01T00:01:00Z", "--dispute", &asked, "--order", "o1"];
    assert_eq!(printed(url, &both).await.len(), 2);
    assert_eq!(printed(url, &["--since", "2027-01-01T00:00:00Z"]).await.len(), 0);
    for (filter, wrong) in [("--since", "yesterday"), ("--order", "no order"), ("--dispute", "7")] {
        let output = run(url, &[filter, wrong]).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(filter));
    }
}

async fn each_filter_has_an_environment_twin(service: Service) {
    for id in ["o1", "o2"] {
        service.platform().upsert(order(id)).await;
    }
    service.clock.advance(MINUTE);
    let asked = service.user("ann").ask(update("o1")).await.unwrap().dispute_id;
    service.support().escalate(escalate(&asked)).await.unwrap();
    let [since, of_order, of_dispute] = ["SINCE", "ORDER", "DISPUTE"].map(|filter| format!("DISPUTES_AUDIT_{filter}"));
    let count = async |variables: &[(&str, &str)], filters: &[&str]| {
        let output = run_in(variables, &service.url, filters).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().count()
    };
    assert_eq!(count(&[(&since, "2026-01-01T00:01:00Z")], &[]).await, 1);
    assert_eq!(count(&[(&of_order, "o1")], &[]).await, 2);
    assert_eq!(count(&[(&of_dispute, &asked)], &[]).await, 1);
    assert_eq!(count(&[(&of_order, "o1")], &["--order", "o2"]).await, 1, "the flag goes first");
    assert_eq!(count(&[(&since, ""), (&of_order, ""), (&of_dispute, "")], &[]).await, 3, "an empty one is unset");
    for (flag, variable, wrong) in
        [("--since", &since, "yesterday"), ("--order", &of_order, "no order"), ("--dispute", &of_dispute, "7")]
    {
        let output = run_in(&[(variable, wrong)], &service.url, &[]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(flag) && said.contains(variable.as_str()), "{said}");
    }
}

async fn an_export_over_many_pages_is_whole_and_in_order(service: Service) {
    // Many at one instant, more than a page.
    import(&service, "first", 2_500).await;
    service.clock.advance(MINUTE);
    import(&service, "second", 1_000).await;
    let lines = printed(&service.url, &[]).await;
    let numbers: Vec<i64> = lines.iter().map(|line| line["seq"].as_i64().unwrap()).collect();
    assert_eq!(numbers.len(), 3_500);
    assert!(numbers.is_sorted_by(|a, b| a < b), "no entry comes twice");
    assert_eq!(printed(&service.url, &["--since", "2026-01-01T00:01:00Z"]).await.len(), 1_000);
    assert_eq!(printed(&service.url, &["--order", "second-999"]).await.len(), 1);
}

async fn a_reader_that_goes_away_is_no_error(service: Service) {
    import(&service, "o", 3_000).await;
    let mut program = Command::new(PROGRAM)
        .args(["audit", "--database-url", &service.url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    // The pipe holds less than all that is printed.
    BufReader::with_capacity(64, program.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("\"o-0\""), "{first}");
    let mut said = String::new();
    program.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((program.wait().unwrap().success(), said.as_str()), (true, ""));
}

async fn an_entry_of_a_newer_release_is_printed_with_its_number(service: Service) {
    service.platform().upsert(order("o1")).await;
    service.execute("UPDATE audit SET action = 99, scope = 7").await;
    let lines = printed(&service.url, &[]).await;
    assert_eq!((&lines[0]["action"], &lines[0]["scope"]), (&json!("99"), &json!("7")));
    assert_eq!(service.audit().await.len(), 1);
}

/// Adds so many entries in one statement, a microsecond apart.
async fn fill(service: &Service, count: usize) {
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})");
    let columns = "time, user_id, scope, action, order_id, dispute_id, revision";
    let select = "SELECT i, 'shop', 2, 1, 'filled', NULL, 1 FROM n";
    service.execute(&format!("INSERT INTO audit ({columns}) {numbers} {select}")).await;
}

/// The numbers of the entries that are printed, and what it says as it exits with 1.
async fn incomplete(url: &str, filters: &[&str]) -> (Vec<i64>, String) {
    let output = run(url, filters).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let number = |line: &str| serde_json::from_str::<Value>(line).unwrap()["seq"].as_i64().unwrap();
    (String::from_utf8(output.stdout).unwrap().lines().map(number).collect(), said.lines().last().unwrap().to_owned())
}

async fn entries_at_impossible_times_are_left_out_and_the_export_says_so(service: Service) {
    service.platform().upsert(order("o1")).await;
    fill(&service, 3).await;
    service.execute(&format!("UPDATE audit SET time = {} WHERE seq = 2", i64::MAX)).await;
    service.execute(&format!("UPDATE audit SET time = {} WHERE seq = 3", i64::MIN + 1)).await;
    let why = |skipped: i32| {
        format!(
            "dispute-service: the audit is incomplete: {skipped} entries are corrupt and were left out; the log names them"
        )
    };
    assert_eq!(incomplete(&service.url, &[]).await, (vec![4, 1], why(2)));
    // Entries that were not asked for are not missed.
    assert_eq!(incomplete(&service.url, &["--since", "2026-01-01T00:00:00Z"]).await, (vec![1], why(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_corrupt_entries_does_not_end_the_export() {
    // Only SQLite stores values that are not of their column's type.
    let service = Service::on_sqlite().await;
    service.platform().list(v1::ListDisputesRequest::default()).await;
    fill(&service, 3_500).await;
    service.execute("UPDATE audit SET scope = 1000000 WHERE seq > 500 AND seq <= 2600").await;
    let (printed, said) = incomplete(&service.url, &[]).await;
    assert_eq!(
        printed,
        (1..=500).chain(2_601..=3_500).collect::<Vec<i64>>(),
        "those of the other pages, and of its own"
    );
    assert!(said.contains("2100 entries"), "{said}");
    // At the end of a page it would have to say where the next one begins.
    service.execute("UPDATE audit SET scope = 2, time = 'soon' WHERE seq > 500").await;
    let (printed, said) = incomplete(&service.url, &[]).await;
    assert_eq!(printed, (1..=500).collect::<Vec<i64>>());
    assert!(said.contains("is corrupt: its time is not a number"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_of_a_stopped_service_is_read_and_its_files_are_left_in_order() {
    let mut service = Service::on_sqlite().await;
    service.platform().upsert(order("o1")).await;
    service.stop().await;
    let path = service.url.trim_start_matches("sqlite://").trim_end_matches("?mode=rwc").to_owned();
    let before = std::fs::read(&path).unwrap();
    assert_eq!(printed(&service.url, &[]).await.len(), 1);
    assert_eq!(std::fs::read(&path).unwrap(), before, "nothing is written");
    let names: Vec<_> = std::fs::read_dir(std::path::Path::new(&path).parent().unwrap()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    // Nor is a database made where there is none, or one changed that has no audit.
    std::fs::remove_file(&path).unwrap();
    let output = run(&service.url, &[]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("does not exist"), "{said}");
    assert!(!std::path::Path::new(&path).exists());
    database::execute(&service.url, "CREATE TABLE something (id INTEGER)").await;
    let said = String::from_utf8(run(&service.url, &[]).await.stderr).unwrap();
    assert!(said.contains("it has no audit") && said.contains("dispute-service migrate"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_read_the_audit_and_nothing_else_prints_it() {
    let Some(url) = crate::support::postgres::new_database().await else { return };
    let service = Service::on_database(url.clone()).await;
    service.platform().upsert(order("o1")).await;
    let (server, name) = url.rsplit_once('/').unwrap();
    let role = format!("{name}_auditor");
    database::execute(&url, &format!("CREATE ROLE {role} LOGIN")).await;
    let (scheme, host) = server.split_once("//").unwrap();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let theirs = format!("{scheme}//{role}@{host}/{name}");
    let said = String::from_utf8(run(&theirs, &[]).await.stderr).unwrap();
    assert!(said.contains("the role lacks a privilege on a table") && said.contains("GRANT"), "{said}");
    database::execute(&url, &format!("GRANT SELECT ON audit TO {role}")).await;
    assert_eq!(orders(&printed(&theirs, &[]).await), ["o1"]);
}
