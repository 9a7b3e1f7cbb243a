//! The schema in docs/ equals the result of the migrations, and the views there name every code.

use std::fs;
use std::path::Path;

use sea_orm::Statement;

use super::*;
use crate::domain::{Code, contract_name};

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// The statements of a script, without comments and with normalised white space; sorted.
fn statements(script: &str) -> Vec<String> {
    let code: Vec<&str> = script.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let mut found: Vec<String> = code
        .join(" ")
        .split(';')
        .map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "))
        .map(|statement| statement.replace("( ", "(").replace(" )", ")").replace(" ,", ","))
        .filter(|statement| !statement.is_empty())
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn the_schema_that_is_documented_is_what_the_migrations_make() {
    let (_folder, repository) = repository().await;
    let sql =
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'seaql_%' AND name NOT LIKE 'sqlite_%'";
    let statement = Statement::from_string(DbBackend::Sqlite, sql);
    let made = repository.writer.pool.connections().query_all_raw(statement).await.unwrap();
    let made: Vec<String> = made.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
    assert_eq!(statements(&page("schema.sql")), statements(&made.join(";")));
}

/// Every value of an enum with its name in the views, with the enum's name and the value's number.
fn named<C: Code>(of: &str) -> Vec<(String, i16, String)> {
    C::VALUES.iter().map(|value| (of.to_owned(), value.code(), contract_name(*value))).collect()
}

#[tokio::test]
async fn the_views_name_every_code_and_show_no_text() {
    let (_folder, repository) = repository().await;
    // The writer is one connection: session objects persist.
    let session = repository.writer.pool.connections();
    session.execute_unprepared(&page("views/sqlite.sql")).await.unwrap();
    let rows = |sql: &str| session.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql));
    let shown = rows("SELECT of, code, name FROM code_names ORDER BY of, code").await.unwrap();
    let shown: Vec<(String, i16, String)> = shown
        .iter()
        .map(|row| {
            (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap(), row.try_get_by_index(2).unwrap())
        })
        .collect();
    let mut known = [
        named::<OrderStatus>("order_status"),
        named::<PartyRole>("party_role"),
        named::<ActorRole>("actor_role"),
        named::<DisputeKind>("dispute_kind"),
        named::<DisputeStatus>("dispute_status"),
        named::<SettlementStatus>("settlement_status"),
        named::<SilenceRule>("silence_rule"),
        named::<ResolvedBy>("resolved_by"),
        named::<EventType>("event_type"),
        named::<ReasonCode>("reason_code"),
        named::<Scope>("scope"),
        named::<AuditAction>("audit_action"),
    ]
    .concat();
    known.sort();
    assert_eq!(shown, known);

    let changes = Changes { new_orders: vec![order("o1")], new_disputes: vec![dispute(7, "o1")], ..Changes::default() };
    write(&repository, &changes).await.unwrap();
    // A number of a newer release is shown as it is.
    session.execute_unprepared("UPDATE orders SET status = 99").await.unwrap();
    let one = async |sql: &str| rows(sql).await.unwrap()[0].try_get_by_index::<String>(0).unwrap();
    let columns = "dispute_id || ' ' || kind || ' ' || opener || ' ' || status || ' ' || respond_by";
    let found = one(&format!("SELECT {columns} FROM disputes_readable")).await;
    assert_eq!(found, "00000000000000000000000000000007 ORDER_UPDATE BUYER PENDING 2023-11-14 22:15:00");
    assert_eq!(one("SELECT status || ' ' || create_time FROM orders_readable").await, "99 2023-11-14 22:13:20");
    let views = page("views/sqlite.sql").replace(',', " ").replace(['(', ')'], " ");
    for column in ["message", "answer_message", "reason", "reason_detail", "decided_by", "settlement_detail", "title"] {
        assert!(!views.split_whitespace().any(|word| word == column), "{column} is shown");
    }
}

#[test]
fn the_views_are_the_same_on_both_databases() {
    let mut expected = String::new();
    for line in page("views/sqlite.sql").split_inclusive('\n') {
        let line = line.replace("datetime(", "to_timestamp(").replace(" / 1000000, 'unixepoch')", " / 1000000)");
        let line = match line.split_once("lower(hex(") {
            Some((before, rest)) => format!("{before}{}", rest.replacen("))", "", 1)),
            None => line,
        };
        expected.push_str(&line);
    }
    assert_eq!(page("views/postgres.sql"), expected);
}
