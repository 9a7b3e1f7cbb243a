//! Which index SQLite uses for each list.

use sea_orm::sea_query::SelectStatement;
use sea_orm::{ConnectionTrait as _, QueryResult, QueryTrait, Statement};

use super::found::NewerNumbers;
use super::*;

/// How SQLite executes a statement: which index it uses for each table, and what it sorts.
async fn plan(repository: &Repository, select: &impl QueryTrait) -> Vec<String> {
    let backend = repository.readers.backend();
    let Statement { sql, values, .. } = select.build(backend);
    let ask = Statement { sql: format!("EXPLAIN QUERY PLAN {sql}"), values, db_backend: backend };
    let rows = repository.readers.connections().query_all_raw(ask).await.unwrap();
    rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect()
}

/// For each scan of a query, its index, and whether the results have to be sorted.
type Scans = &'static [(&'static str, bool)];
const EACH_KIND: Scans = &[("disputes_by_kind", false); 4];
const UPDATED_SINCE: Scans = &[
    ("disputes_by_kind", false),
    ("disputes_by_kind", false),
    ("disputes_by_kind", false),
    ("disputes_by_kind", false),
    ("disputes_by_update", true),
];
const OWN: Scans = &[("disputes_by_buyer", false), ("disputes_by_seller", false)];
const OWN_OTHER_ROLE: Scans = &[("disputes_by_seller", false), ("disputes_by_buyer", false)];
const OWN_OPEN: Scans = &[("disputes_open_by_buyer", false), ("disputes_open_by_seller", false)];
const OWN_OPEN_SORTED: Scans = &[("disputes_open_by_buyer", true), ("disputes_open_by_seller", true)];

#[tokio::test]
async fn each_filter_of_the_disputes_has_an_index_behind_it() {
    let (_folder, repository) = repository().await;
    let all = || DisputeQuery { limit: 51, ..DisputeQuery::default() };
    let ann = || DisputeQuery { visible_to: Some(parties().buyer), ..all() };
    let orders = |count| (0..count).map(|number| order(&format!("o{number}")).id).collect::<Vec<_>>();
    let after = Some((at(5), DisputeId(Uuid::from_u128(1))));
    let pending = vec![DisputeStatus::Pending];
    let open = vec![DisputeStatus::Pending, DisputeStatus::Escalated];
    let cases: Vec<(&str, DisputeQuery, Scans)> = vec![
        ("everything", all(), EACH_KIND),
        ("a later page", DisputeQuery { after, ..all() }, EACH_KIND),
        ("by kind", DisputeQuery { kinds: vec![DisputeKind::Cancellation], ..all() }, &[("disputes_by_kind", false)]),
        ("of one's own", ann(), OWN),
        ("of one's own, a later page", DisputeQuery { after, ..ann() }, OWN),
        ("of one's own, by kind", DisputeQuery { kinds: vec![DisputeKind::Cancellation], ..ann() }, OWN),
        ("of one's own, by status", DisputeQuery { statuses: vec![DisputeStatus::Declined], ..ann() }, OWN),
        (
            "of one's own, paid",
            DisputeQuery { settlement_statuses: vec![SettlementStatus::Settled], after, ..ann() },
            OWN,
        ),
        ("of one's own, updated since", DisputeQuery { updated_after: Some(at(1)), ..ann() }, OWN),
        (
            "by status",
            DisputeQuery { statuses: vec![DisputeStatus::Declined], ..all() },
            &[("disputes_by_status", false)],
        ),
        (
            "open ones, oldest first",
            DisputeQuery { statuses: open.clone(), sort: Sort::OldestFirst, ..all() },
            &[("disputes_by_status", false), ("disputes_by_status", false)],
        ),
        ("of one's own, open", DisputeQuery { statuses: open.clone(), ..ann() }, OWN_OPEN_SORTED),
        ("the most urgent", DisputeQuery { sort: Sort::MostUrgentFirst, ..all() }, &[("disputes_by_deadline", false)]),
        (
            "the most urgent, a later page",
            DisputeQuery { sort: Sort::MostUrgentFirst, after, ..all() },
            &[("disputes_by_deadline", false)],
        ),
        ("the most urgent of one's own", DisputeQuery { sort: Sort::MostUrgentFirst, ..ann() }, OWN_OPEN),
        (
            "the most urgent of those to answer",
            DisputeQuery { sort: Sort::MostUrgentFirst, side: Some(Side::Responder), statuses: pending, ..ann() },
            OWN_OPEN,
        ),
        (
            "to be paid",
            DisputeQuery { settlement_statuses: vec![SettlementStatus::Due], ..all() },
            &[("disputes_by_settlement", false)],
        ),
        (
            "paid",
            DisputeQuery { settlement_statuses: vec![SettlementStatus::Settled], ..all() },
            &[("disputes_by_settlement", false)],
        ),
        ("updated since", DisputeQuery { updated_after: Some(at(1)), ..all() }, UPDATED_SINCE),
        ("updated since, a later page", DisputeQuery { updated_after: Some(at(1)), after, ..all() }, UPDATED_SINCE),
        (
            "the most urgent of those that are not pending",
            DisputeQuery { sort: Sort::MostUrgentFirst, statuses: vec![DisputeStatus::Declined], ..all() },
            &[],
        ),
        ("of somebody", DisputeQuery { party: Some(parties().seller), ..all() }, OWN),
        // Served by the caller's own disputes, not by the other party's.
        ("of one's own with somebody", DisputeQuery { party: Some(parties().seller), ..ann() }, OWN_OTHER_ROLE),
        ("of an order", DisputeQuery { orders: vec![order("o1").id], ..all() }, &[("disputes_by_order", false)]),
        ("of one's own order", DisputeQuery { orders: vec![order("o1").id], ..ann() }, &[("disputes_by_order", false)]),
        ("of many of one's own orders", DisputeQuery { orders: orders(64), ..ann() }, &[("disputes_by_order", true)]),
        (
            "open ones of many of one's own orders",
            DisputeQuery { orders: orders(64), statuses: open.clone(), sort: Sort::OldestFirst, ..ann() },
            &[("disputes_open", true)],
        ),
        (
            "many of one's own by id",
            DisputeQuery { disputes: (0..64).map(|id| DisputeId(Uuid::from_u128(id))).collect(), ..ann() },
            &[("sqlite_autoindex_disputes_1", true)],
        ),
        (
            "by id",
            DisputeQuery { disputes: vec![DisputeId(Uuid::from_u128(1))], ..all() },
            &[("sqlite_autoindex_disputes_1", false)],
        ),
    ];
    for (name, query, expected) in cases {
        let mut used = Vec::new();
        for scan in query.scans(&NewerNumbers::default(), DbBackend::Sqlite) {
            let plan = plan(&repository, &query.keys(scan, DbBackend::Sqlite)).await;
            let by = plan.iter().find_map(|step| {
                let (_, index) = step.strip_prefix("S")?.split_once("disputes USING ")?;
                let index = index.trim_start_matches("COVERING ").strip_prefix("INDEX ")?.split(' ').next();
                assert!(!plan.iter().any(|step| step.contains("MULTI-INDEX OR")), "{name}: {plan:?}");
                index.map(str::to_owned)
            });
            used.push((
                by.unwrap_or_else(|| format!("{plan:?}")),
                plan.iter().any(|step| step.contains("TEMP B-TREE")),
            ));
        }
        let expected: Vec<_> = expected.iter().map(|(index, is_sorted)| ((*index).to_owned(), *is_sorted)).collect();
        assert_eq!(used, expected, "{name}");
    }
}

#[tokio::test]
async fn the_open_disputes_of_a_batch_are_read_by_their_orders() {
    let (_folder, repository) = repository().await;
    for orders in [1, 2, 64, 512] {
        let orders = (0..orders).map(|number| format!("o{number}")).collect();
        let plan = plan(&repository, &reads::disputes_of(orders, &[])).await;
        let [step] = plan.as_slice() else { panic!("{plan:?}") };
        assert!(step.contains("INDEX disputes_open (order_id=?)"), "{step}");
    }
    let with_ended = reads::disputes_of(vec!["o1".to_owned(), "o2".to_owned()], &[DisputeKind::Cancellation]);
    let plan = plan(&repository, &with_ended).await;
    assert!(plan[0].contains("INDEX disputes_by_order (order_id=?)"), "{plan:?}");
}

#[tokio::test]
async fn a_dispute_is_read_with_its_order_and_what_is_open_on_that_by_keys() {
    let (_folder, repository) = repository().await;
    let backend = repository.readers.backend();
    let ask = Statement::from_string(backend, format!("EXPLAIN QUERY PLAN {}", &*one_dispute::ON_SQLITE));
    let rows = repository.readers.connections().query_all_raw(ask).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
    assert!(plan.iter().any(|step| step.contains("INDEX disputes_open (order_id=?)")), "{plan:?}");
    assert!(plan.iter().any(|step| step.contains("INDEX sqlite_autoindex_orders_1 (order_id=?)")), "{plan:?}");
    assert!(!plan.iter().any(|step| step.starts_with("SCAN")), "{plan:?}");
}

#[tokio::test]
async fn a_standing_is_read_from_an_index_alone() {
    let (_folder, repository) = repository().await;
    let plan = plan(&repository, &reads::ended_orders(&parties().seller, at(0), at(1))).await;
    assert!(plan[0].contains("COVERING INDEX orders_by_end (seller_id=? AND end_time>? AND end_time<?)"), "{plan:?}");
}

#[tokio::test]
async fn what_a_seller_has_taken_of_its_quota_is_read_from_an_index_for_each_half() {
    let (_folder, repository) = repository().await;
    let ask = format!("EXPLAIN QUERY PLAN {}", no_fault::COUNT_OF_TAKEN.as_str());
    let values: [sea_orm::Value; 3] = ["bob".into(), 5_i64.into(), 6_i64.into()];
    let ask = Statement::from_sql_and_values(repository.readers.backend(), ask, values);
    let rows = repository.readers.connections().query_all_raw(ask).await.unwrap();
    let steps: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
    assert!(steps.iter().any(|step| step.contains("disputes_no_fault (seller_id=?)")), "{steps:?}");
    assert!(steps.iter().any(|step| step.contains("orders_no_fault (seller_id=? AND end_time>?)")), "{steps:?}");
    assert!(
        !steps.iter().any(|step| step.starts_with("SCAN disputes") || step.starts_with("SCAN orders")),
        "{steps:?}"
    );
}

#[tokio::test]
async fn deadlines_and_reminders_are_read_in_the_order_of_their_indexes() {
    let (_folder, repository) = repository().await;
    for (select, index) in reads::next_deadlines((at(5), DisputeId(Uuid::nil())), 256)
        .iter()
        .zip(["disputes_by_deadline", "disputes_by_reminder"])
    {
        let plan = plan(&repository, select).await;
        let [step] = plan.as_slice() else { panic!("{plan:?}") };
        let time = if index == "disputes_by_deadline" { "respond_by" } else { "remind_at" };
        assert!(step.ends_with(&format!("INDEX {index} (({time},dispute_id)>(?,?))")), "{step}");
    }
}

#[tokio::test]
async fn each_filter_of_the_orders_has_an_index_behind_it() {
    let (_folder, repository) = repository().await;
    let all = || OrderQuery { limit: 51, ..OrderQuery::default() };
    let ann = || OrderQuery { visible_to: Some(parties().buyer), role: Some(PartyRole::Buyer), ..all() };
    let open = |query| OrderQuery { has_open_dispute: true, ..query };
    let with = |role| OrderQuery { party: Some(parties().seller), role: Some(role), ..ann() };
    let delivered = vec![OrderStatus::Delivered];
    const BY_KEY: &str = "sqlite_autoindex_orders_1";
    let cases: Vec<(&str, OrderQuery, &[&str])> = vec![
        ("everything", all(), &["orders_by_status"]),
        ("by status", OrderQuery { statuses: delivered.clone(), ..all() }, &["orders_by_status"]),
        ("of one's own", ann(), &["orders_by_buyer"]),
        ("of one's own by status", OrderQuery { statuses: delivered, ..ann() }, &["orders_by_buyer"]),
        // Served by the caller's own orders, not by the other party's.
        ("of one's own with a seller", with(PartyRole::Seller), &["orders_by_buyer"]),
        ("of one's own with a buyer", with(PartyRole::Buyer), &["orders_by_seller"]),
        ("with an open dispute", open(all()), &[BY_KEY, "disputes_open_by_order_time"]),
        (
            "by status with an open dispute",
            open(OrderQuery { statuses: vec![OrderStatus::Completed], ..all() }),
            &[BY_KEY, "disputes_open_by_order_time"],
        ),
        ("of one's own with an open dispute", open(ann()), &[BY_KEY, "disputes_open_by_buyer"]),
    ];
    for (name, query, indexes) in cases {
        for select in query.selects(&NewerNumbers::default(), DbBackend::Sqlite) {
            let plan = plan(&repository, &select).await;
            for index in indexes {
                assert!(plan.iter().any(|step| step.split(' ').any(|word| word == *index)), "{name}: {plan:?}");
            }
            let is_sorted = plan.iter().any(|step| step.contains("TEMP B-TREE"));
            assert_eq!(is_sorted, query.has_open_dispute, "{name}: {plan:?}");
        }
    }
}

#[tokio::test]
async fn the_orders_with_an_open_dispute_are_walked_in_order_and_only_those_without_a_time_are_sorted() {
    let (_folder, repository) = repository().await;
    let after = Some((at(5), order("o1").id));
    for (after, statuses) in [(None, vec![]), (after.clone(), vec![]), (after, vec![OrderStatus::Completed])] {
        let bound = if after.is_some() { "(order_create_time,order_id)<(?,?)" } else { "order_create_time>?" };
        let query = OrderQuery { has_open_dispute: true, after, statuses, limit: 51, ..OrderQuery::default() };
        let selects = query.selects(&NewerNumbers::default(), DbBackend::Sqlite);
        for (select, by) in selects.iter().zip([bound, "order_create_time=?"]) {
            let steps = steps(&repository, QueryTrait::query(&mut select.clone())).await;
            let searches = |(_, _, step): &&(i32, i32, String)| step.contains("disputes_open_by_order_time");
            let [(_, parent, step)] = steps.iter().filter(searches).collect::<Vec<_>>()[..] else {
                panic!("{steps:?}")
            };
            assert!(step.ends_with(&format!("disputes_open_by_order_time ({by})")), "{step}");
            let is_sorted = |(_, other, step): &(i32, i32, String)| other == parent && step.contains("TEMP B-TREE");
            assert!(!steps.iter().any(is_sorted), "{steps:?}");
        }
    }
    let plan = plan(&repository, &backfill::without_order_time(500)).await;
    assert!(plan[0].ends_with("disputes_open_by_order_time (order_create_time=?)"), "{plan:?}");
}

#[tokio::test]
async fn each_scan_of_the_events_has_an_index_behind_it() {
    let (_folder, repository) = repository().await;
    let cases = [
        (log::within(0, 9, 46), "sqlite_autoindex_events_1 (seq>? AND seq<?)", false),
        (log::with_numbers(vec![1, 2, 3]), "sqlite_autoindex_events_1 (seq=?)", false),
    ];
    for (select, by, is_sorted) in cases {
        let plan = plan(&repository, &select).await;
        assert_eq!(plan[0], format!("SEARCH events USING INDEX {by}"));
        assert_eq!(plan.len() > 1, is_sorted, "{plan:?}");
    }
    let plan = plan(&repository, &log::orders_of(&[1, 2].map(|id| DisputeId(Uuid::from_u128(id))))).await;
    assert!(plan[0].contains("INDEX sqlite_autoindex_disputes_1 (dispute_id=?)"), "{plan:?}");
}

#[tokio::test]
async fn the_audit_is_read_and_pruned_in_the_order_of_its_index() {
    let (_folder, repository) = repository().await;
    for (plan, by) in [
        (plan(&repository, &audit::page_after((5, 1), 9)).await, "(time>?)"),
        (plan(&repository, &retention::oldest_entries(at(0), at(5), 9)).await, "time>? AND time<?"),
    ] {
        let [step] = plan.as_slice() else { panic!("{plan:?}") };
        assert!(step.contains("audit_by_time") && step.contains(by), "{step}");
    }
}

/// How SQLite executes a statement: each step with its number and that of its parent.
async fn steps(repository: &Repository, select: &SelectStatement) -> Vec<(i32, i32, String)> {
    let db_backend = repository.readers.backend();
    let Statement { sql, values, .. } = db_backend.build(select);
    let ask = Statement { sql: format!("EXPLAIN QUERY PLAN {sql}"), values, db_backend };
    let rows = repository.readers.connections().query_all_raw(ask).await.unwrap();
    let step = |row: &QueryResult| {
        (row.try_get("", "id").unwrap(), row.try_get("", "parent").unwrap(), row.try_get("", "detail").unwrap())
    };
    rows.iter().map(step).collect()
}

#[tokio::test]
async fn the_events_of_a_party_are_read_in_one_statement_and_of_each_role_up_to_the_limit() {
    let (_folder, repository) = repository().await;
    let steps = steps(&repository, &log::of_party(&parties().buyer, 0, 9, 46)).await;
    let searches: Vec<_> = steps.iter().filter(|(_, _, step)| step.contains(" events")).collect();
    assert_eq!(searches.len(), 2, "{steps:?}");
    for ((_, parent, step), role) in searches.into_iter().zip(["buyer", "seller"]) {
        assert_eq!(*step, format!("SEARCH events USING INDEX events_by_{role} ({role}_id=? AND seq>? AND seq<?)"));
        let is_sorted = |(_, other, step): &(i32, i32, String)| other == parent && step.contains("TEMP B-TREE");
        assert!(!steps.iter().any(is_sorted), "{steps:?}");
    }
}

#[tokio::test]
async fn the_events_of_each_order_are_read_in_order_up_to_the_limit() {
    let (_folder, repository) = repository().await;
    for orders in [1, 2, 3, 100] {
        let named = (0..orders).map(|number| format!("o{number}")).collect();
        let steps = steps(&repository, &log::keys_of_orders(named, 0, 9, 46)).await;
        let by_order = "SEARCH events USING INDEX events_by_order (order_id=? AND seq>? AND seq<?)";
        let searches: Vec<_> = steps.iter().filter(|(_, _, step)| step.contains(" events")).collect();
        assert_eq!(searches.len(), usize::try_from(orders).unwrap().next_power_of_two(), "{steps:?}");
        for (_, parent, step) in searches {
            assert_eq!(step, by_order);
            // Nothing is sorted before the limit, only the rows within the limits.
            let is_sorted = |(_, other, step): &(i32, i32, String)| other == parent && step.contains("TEMP B-TREE");
            assert!(!steps.iter().any(is_sorted) || orders == 1, "{steps:?}");
        }
    }
}
