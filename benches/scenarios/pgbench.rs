//! The second limit of PostgreSQL: what an application does that writes each command by itself. `pgbench` writes the same rows by
//! prepared statements in a transaction for each command, without the head row that would let in one at a time. The best of
//! several numbers of clients counts.

use std::path::{Path, PathBuf};
use std::process::Command;

use dispute_service_test_features::rusqlite::types::Value;

use super::bare_postgres::literal;
use super::launcher::{Cluster, programs};
use super::load::buyers;
use super::postgres::{Kind, connect, kinds};
use super::rows::{Rows, Template};
use super::table::Table;

/// What makes the number of a command: each client counts from a start of its own.
const NUMBER: &str = "\\set n :n + 1\n\\set i :client_id * :each + :n + :first\n";

/// The program: that of the server, or the one on the PATH.
fn program() -> PathBuf {
    let beside_the_server = programs().map(|folder| folder.join("pgbench")).filter(|program| program.exists());
    beside_the_server.unwrap_or_else(|| "pgbench".into())
}

/// Whether it is here; a scenario is skipped if not.
pub(crate) fn is_here(scenario: &'static str, table: &mut Table) -> bool {
    let is_here = Command::new(program()).arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_here {
        table.skip(scenario, "there is no pgbench here");
    }
    is_here
}

/// A script that opens a dispute.
pub(crate) async fn opening(url: &str, rows: &Rows) -> String {
    let mut connection = connect(url).await;
    let mut script = format!("{NUMBER}BEGIN;\n");
    for (template, row) in [
        (&rows.dispute, rows.dispute(0, rows.time(0) + 2 * 86_400_000_000)),
        (&rows.key, rows.key(0)),
        (&rows.event, rows.opening(0, 1)),
    ] {
        let kinds = kinds(&mut connection, template).await;
        script.push_str(&insertion(template, &kinds, &row));
    }
    script + "COMMIT;\n"
}

/// Inserts a copy of a row with the ids of this number.
fn insertion(template: &Template, kinds: &[Kind], row: &[Value]) -> String {
    let pair = format!(":i::bigint % {}", buyers());
    let id = |version: char| format!("('01900000-0000-7000-{version}000-' || lpad(to_hex(:i::bigint), 12, '0'))::uuid");
    let values = template.columns.iter().zip(kinds).zip(row).map(|((column, kind), value)| match column.as_str() {
        "order_id" => "'order-' || :i::bigint".to_owned(),
        "buyer_id" => format!("'buyer-' || {pair}"),
        "seller_id" => format!("'seller-' || {pair}"),
        "dispute_id" => id('8'),
        "event_id" => id('9'),
        "key" => "md5(:i::bigint::text)::uuid".to_owned(),
        "seq" => ":i::bigint + 1".to_owned(),
        _ => literal(*kind, value),
    });
    let values: Vec<String> = values.collect();
    format!("INSERT INTO {} ({}) VALUES ({});\n", template.table, template.columns.join(", "), values.join(", "))
}

/// A script that reads a dispute with its order and the order's open disputes, as the service does.
pub(crate) fn reading(disputes: usize) -> String {
    let id = "('01900000-0000-7000-8000-' || lpad(to_hex(:i::bigint), 12, '0'))::uuid";
    format!(
        "\\set i random(0, {})\n\
         SELECT * FROM disputes JOIN orders USING (order_id)\n\
         WHERE disputes.order_id = (SELECT order_id FROM disputes WHERE dispute_id = {id})\n\
         AND (dispute_id = {id} OR resolve_time IS NULL);\n",
        disputes - 1
    )
}

/// Runs a script with so many clients for so many commands each. Their numbers begin with `first`. Returns the commands per
/// second.
pub(crate) fn run(cluster: &Cluster, database: &str, script: &Path, clients: usize, each: usize, first: usize) -> f64 {
    let numbers = [clients, clients.min(2), each, usize::from(cluster.port())].map(|number| number.to_string());
    let [clients, threads, transactions, port] = &numbers;
    let (each, first) = (format!("each={each}"), format!("first={first}"));
    let mut command = Command::new(program());
    command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", port, "-n", "-M", "prepared"]);
    command.args(["-c", clients, "-j", threads, "-t", transactions, "-D", "n=-1", "-D", &each, "-D", &first, "-f"]);
    let output = command.arg(script).arg(database).output().expect("pgbench runs");
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{failed}");
    let line = said.lines().find_map(|line| line.strip_prefix("tps = ")).unwrap_or_else(|| panic!("{said}{failed}"));
    line.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}
