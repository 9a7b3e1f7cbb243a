//! SQLite: one row in a statement that is prepared once, and run as often as there are rows. Statements cost little, since
//! all of a step run in one turn of a thread.

use std::collections::HashSet;
use std::sync::{LazyLock, OnceLock};

use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Row};
use sea_orm::Statement;
use uuid::Uuid;

use crate::repository::columns::{Columns as _, row_at};
use crate::repository::corrupt::Fetched;
use crate::repository::entity::{OPEN, dispute, idempotency_key, order};
use crate::repository::stored::{Cell, Stored};

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Bool(value) => value.map(i64::from).map(Value::Integer),
            Self::Small(value) => value.map(i64::from).map(Value::Integer),
            Self::Big(value) => value.map(Value::Integer),
            Self::Uuid(Some(value)) => return Ok(ToSqlOutput::Borrowed(ValueRef::Blob(value.as_bytes()))),
            Self::Text(Some(value)) => return Ok(ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes()))),
            Self::Bytes(Some(value)) => return Ok(ToSqlOutput::Borrowed(ValueRef::Blob(value))),
            Self::Uuid(None) | Self::Text(None) | Self::Bytes(None) => None,
        };
        Ok(ToSqlOutput::Owned(value.unwrap_or(Value::Null)))
    }
}

/// Reads what a statement finds that SeaORM has built.
pub(in crate::repository) fn query<T>(
    connection: &Connection,
    statement: &Statement,
    mut read: impl FnMut(&Row<'_>) -> T,
) -> rusqlite::Result<Vec<T>> {
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    for (index, value) in (1..).zip(statement.values.iter().flat_map(|values| &values.0)) {
        prepared.raw_bind_parameter(index, value_of(value)?)?;
    }
    let (mut rows, mut found) = (prepared.raw_query(), Vec::new());
    while let Some(row) = rows.next()? {
        found.push(read(row));
    }
    Ok(found)
}

/// A value of a statement, as it is bound.
fn value_of(value: &sea_orm::Value) -> rusqlite::Result<ToSqlOutput<'_>> {
    use sea_orm::Value as Bound;
    let borrowed = match value {
        Bound::Bool(value) => value.map(|value| ValueRef::Integer(value.into())),
        Bound::SmallInt(value) => value.map(|value| ValueRef::Integer(value.into())),
        Bound::BigInt(value) => value.map(ValueRef::Integer),
        Bound::BigUnsigned(Some(value)) => Some(ValueRef::Integer(i64::try_from(*value).unwrap_or(i64::MAX))),
        Bound::String(value) => value.as_ref().map(|text| ValueRef::Text(text.as_bytes())),
        Bound::Uuid(value) => value.as_ref().map(|id| ValueRef::Blob(id.as_bytes())),
        other => {
            let what = format!("a value that no statement has: {other:?}");
            return Err(rusqlite::Error::ToSqlConversionFailure(what.into()));
        }
    };
    Ok(ToSqlOutput::Borrowed(borrowed.unwrap_or(ValueRef::Null)))
}

/// Inserts rows in their order; `on_conflict` is what ends the statement.
pub(in crate::repository) fn insert<R: Stored>(
    connection: &Connection,
    text: &'static OnceLock<String>,
    on_conflict: impl FnOnce() -> String,
    rows: Vec<R>,
) -> rusqlite::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let text = text.get_or_init(|| {
        let (table, columns, values) = (R::TABLE, R::COLUMNS.join(", "), vec!["?"; R::COLUMNS.len()].join(", "));
        format!("INSERT INTO {table} ({columns}) VALUES ({values}) {}", on_conflict())
    });
    let mut statement = connection.prepare_cached(text)?;
    for row in rows {
        let (mut index, mut bound) = (0_usize, Ok(()));
        row.take_apart(&mut |cell| {
            index = index.saturating_add(1);
            if bound.is_ok() {
                bound = statement.raw_bind_parameter(index, cell);
            }
        });
        bound?;
        statement.raw_execute()?;
    }
    Ok(())
}

/// Takes the next numbers of the log. Returns the last of them; `None` if there is no log.
pub(in crate::repository) fn advance_log(connection: &Connection, count: i64) -> rusqlite::Result<Option<i64>> {
    let advance = "UPDATE event_log SET head = head + ?1 WHERE id = 1 RETURNING head";
    connection.prepare_cached(advance)?.query_row([count], |row| row.get(0)).optional()
}

/// What other connections have changed so far; it is the same as long as none changes anything.
pub(in crate::repository) fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

/// The time of the last event, if it has one that can be read, and the records of the requests with these keys.
pub(in crate::repository) fn last_event_and_records(
    connection: &Connection,
    keys: &[Uuid],
) -> rusqlite::Result<(Option<i64>, Fetched<idempotency_key::Model>)> {
    let last = "SELECT event_time FROM events ORDER BY seq DESC LIMIT 1";
    let last = connection.prepare_cached(last)?.query_row([], |row| Ok(row.get(0).ok())).optional()?.flatten();
    Ok((last, by_ids(connection, &RECORD, keys)?))
}

/// The rows of an order and of its disputes.
#[derive(Debug)]
pub(in crate::repository) struct Aggregates {
    /// The orders.
    pub(in crate::repository) orders: Fetched<order::Model>,
    /// Their disputes, and those that were asked for.
    pub(in crate::repository) disputes: Fetched<dispute::Model>,
    /// The orders of the disputes that were asked for.
    pub(in crate::repository) order_of: Vec<(Uuid, String)>,
}

static ORDER: LazyLock<String> = LazyLock::new(|| select::<order::Model>("order_id = ?1"));
static DISPUTE: LazyLock<String> = LazyLock::new(|| select::<dispute::Model>("dispute_id = ?1"));
static OPEN_DISPUTES: LazyLock<String> =
    LazyLock::new(|| select::<dispute::Model>(&format!("order_id = ?1 AND {OPEN}")));
static ENDED_DISPUTES: LazyLock<String> =
    LazyLock::new(|| select::<dispute::Model>("order_id = ?1 AND resolve_time IS NOT NULL"));
static RECORD: LazyLock<String> = LazyLock::new(|| select::<idempotency_key::Model>("key = ?1"));

fn select<R: Stored>(some: &str) -> String {
    format!("SELECT {} FROM {} WHERE {some}", R::COLUMNS.join(", "), R::TABLE)
}

/// The rows that a statement finds, one by one.
fn found<R: Stored>(
    statement: &mut CachedStatement<'_>,
    values: impl rusqlite::Params,
    rows: &mut Fetched<R>,
) -> rusqlite::Result<()> {
    let mut found = statement.query(values)?;
    while let Some(row) = found.next()? {
        rows.push(row_at(row, 0));
    }
    Ok(())
}

/// These orders and the orders of these disputes, with their open disputes, the ended ones of some kinds, and the disputes
/// named.
pub(in crate::repository) fn aggregates(
    connection: &Connection,
    mut orders: Vec<String>,
    named: &[Uuid],
    ended_too: &[i16],
) -> rusqlite::Result<Aggregates> {
    let mut all = Aggregates { orders: Vec::new(), disputes: Vec::new(), order_of: Vec::new() };
    let named = disputes(connection, named)?;
    for row in &named {
        let (id, order) = match row {
            Ok(row) => (Some(row.dispute_id), Some(row.order_id.clone())),
            Err(broken) => (broken.key(), broken.order.clone()),
        };
        if let Some((id, order)) = id.zip(order) {
            orders.push(order.clone());
            all.order_of.push((id, order));
        }
    }
    orders.sort_unstable();
    orders.dedup();
    let mut order = connection.prepare_cached(&ORDER)?;
    let mut open = connection.prepare_cached(&OPEN_DISPUTES)?;
    for id in &orders {
        found(&mut order, [id], &mut all.orders)?;
        found(&mut open, [id], &mut all.disputes)?;
    }
    if !ended_too.is_empty() {
        let mut ended = connection.prepare_cached(&ENDED_DISPUTES)?;
        let kind = dispute::Model::COLUMNS.iter().position(|column| *column == "kind").unwrap_or_default();
        for id in &orders {
            let mut rows = ended.query([id])?;
            while let Some(row) = rows.next()? {
                if row.column(kind).is_none_or(|kind| ended_too.contains(&kind)) {
                    all.disputes.push(row_at(row, 0));
                }
            }
        }
    }
    let there: HashSet<Uuid> = all.disputes.iter().flatten().map(|row| row.dispute_id).collect();
    let is_there = |row: &Result<dispute::Model, _>| row.as_ref().is_ok_and(|row| there.contains(&row.dispute_id));
    all.disputes.extend(named.into_iter().filter(|row| !is_there(row)));
    Ok(all)
}

/// The disputes with these ids.
pub(in crate::repository) fn disputes(
    connection: &Connection,
    ids: &[Uuid],
) -> rusqlite::Result<Fetched<dispute::Model>> {
    by_ids(connection, &DISPUTE, ids)
}

fn by_ids<R: Stored>(connection: &Connection, text: &str, ids: &[Uuid]) -> rusqlite::Result<Fetched<R>> {
    let mut rows = Vec::with_capacity(ids.len());
    if !ids.is_empty() {
        let mut statement = connection.prepare_cached(text)?;
        for id in ids {
            found(&mut statement, [id.as_bytes().as_slice()], &mut rows)?;
        }
    }
    Ok(rows)
}
