//! A write transaction: the reads of a batch under its `locks`, and its writes. It never waits for a lock on
//! stored orders and disputes: locked ones are left out, and processed later. It waits only for the head of the log,
//! and briefly for an order that another transaction is inserting.
//!
//! A transaction that is dropped, or whose COMMIT failed, is rolled back before its connection does anything else:
//! sqlx queues the rollback, and runs it, with a ping, when the connection returns to its pool; a connection on which this
//! fails or is uncertain is closed.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbBackend, EntityTrait as _, IdenStatic as _, Iterable as _, QueryFilter as _,
    QueryResult, SqliteTransactionMode, Statement, TransactionOptions, Value,
};
use uuid::Uuid;

use super::batch::{Insertion, filled_up};
use super::connection::Pool;
use super::corrupt::{Fetched, apart, fetch, model};
use super::dialect::{Session, postgres, sqlite};
use super::entity::{audit, dispute, event, event_log, idempotency_key, order};
use super::error::StorageError;
use super::files::DatabaseFiles;
use super::stored::Stored as _;
use super::{Changes, IdempotencyRecord, Repository, log, rows};
use crate::domain::{Dispute, DisputeId, Order, StoredDispute, Timestamp};

/// The isolation of a transaction: on PostgreSQL our sessions' default, READ COMMITTED, in which each statement sees
/// everything committed before it.
pub(super) fn begun(sqlite_mode: SqliteTransactionMode) -> TransactionOptions {
    TransactionOptions { sqlite_transaction_mode: Some(sqlite_mode), ..TransactionOptions::default() }
}

/// A write transaction. Dropped without a commit, it changes nothing.
#[derive(Debug)]
pub struct Transaction {
    pub(super) inner: Session,
    files: Option<Arc<DatabaseFiles>>,
    /// The pool of its connection.
    writer: Pool,
    /// What it is based on, once that was asked for.
    version: Option<Version>,
}

static NEW_ORDERS: Insertion<order::Model> = Insertion::new();
static CHANGED_ORDERS: Insertion<order::Model> = Insertion::or_change(changes_of_orders);
static NEW_DISPUTES: Insertion<dispute::Model> = Insertion::new();
static CHANGED_DISPUTES: Insertion<dispute::Model> = Insertion::or_change(changes_of_disputes);
static NEW_RECORDS: Insertion<idempotency_key::Model> = Insertion::new();
static NEW_AUDIT: Insertion<audit::NewEntry> = Insertion::new();
static NEW_EVENTS: Insertion<event::Model> = Insertion::new();

/// How long an insertion waits for another transaction that has inserted the same order, and has not committed …
const INSERT_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '50ms'";
/// … and how long everything else waits, in particular for the head of the log.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '10s'";

/// The database's times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// PostgreSQL's current time, not that of the start of the transaction; `None` on SQLite.
    pub clock: Option<Timestamp>,
    /// The time of the last event of the log; `None` if there is none.
    pub last_event: Option<Timestamp>,
}

/// Records of requests; for corrupt ones, by key, what is wrong.
pub type Records = (Vec<IdempotencyRecord>, HashMap<Uuid, StorageError>);

impl Repository {
    /// Begins a write transaction; on SQLite it is the only one from here on.
    pub async fn begin(&self) -> Result<Transaction, StorageError> {
        if let Some(files) = &self.files {
            files.require()?;
        }
        let inner = self.writer.begin().await?;
        Ok(Transaction { inner, writer: self.writer.clone(), files: self.files.clone(), version: None })
    }
}

/// The state of a SQLite database, which every writer changes except for its own connection. PostgreSQL has row locks, and
/// needs none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version(Option<i64>);

impl Repository {
    /// Begins a transaction that reads while another one is being committed, and that may write after
    /// [`Transaction::start_writing`].
    pub async fn begin_ahead(&self) -> Result<Transaction, StorageError> {
        let inner = match &self.ahead {
            Some(readers) => readers.begin_to_read().await?,
            None => self.writer.begin().await?,
        };
        Ok(Transaction { inner, writer: self.writer.clone(), files: self.files.clone(), version: None })
    }
}

impl Transaction {
    /// The state of the database as it is in this write transaction, apart from what this process writes.
    pub async fn version(&mut self) -> Result<Version, StorageError> {
        if self.inner.get_database_backend() == DbBackend::Postgres {
            return Ok(Version(None));
        }
        if let Some(version) = self.version {
            return Ok(version);
        }
        let ask = Statement::from_string(DbBackend::Sqlite, "PRAGMA data_version");
        let version = self.inner.query_one_raw(ask).await?.map(|row| row.try_get_by_index(0)).transpose()?;
        // Nobody else can write until this transaction ends.
        Ok(*self.version.insert(Version(version)))
    }

    /// Begins to write in a transaction that was begun ahead. Returns whether what it has read still holds, but for what
    /// this process has written: on PostgreSQL it is locked, on SQLite no other process may have written since `version`.
    pub async fn start_writing(&mut self, version: Version) -> Result<bool, StorageError> {
        if self.inner.get_database_backend() == DbBackend::Postgres {
            return Ok(true);
        }
        if let Some(files) = &self.files {
            files.require()?;
        }
        self.inner = self.writer.begin().await?;
        Ok(self.version().await? == version)
    }

    pub(super) async fn dispute_rows(&self, ids: &[Uuid]) -> Result<Fetched<dispute::Entity>, StorageError> {
        let named = dispute::Column::DisputeId.is_in(filled_up(ids.iter().copied()));
        fetch(dispute::Entity::find().filter(named), &self.inner).await
    }

    /// The disputes with these ids, each with its order; for corrupt ones, by id, what is wrong.
    pub async fn disputes(
        &self,
        ids: &[DisputeId],
    ) -> Result<(Vec<StoredDispute>, HashMap<Uuid, StorageError>), StorageError> {
        let ids: Vec<Uuid> = ids.iter().map(|dispute| dispute.0).collect();
        let rows = self.dispute_rows(&ids).await?.into_iter();
        Ok(apart(rows.map(|row| row.map_err(|broken| broken.error).and_then(rows::dispute_from))))
    }

    /// The database's times, and the records of the requests with these keys; for corrupt ones, by key, what is wrong. In
    /// one statement: whatever was to be locked is locked by then.
    pub async fn times_and_records(&self, keys: &[Uuid]) -> Result<(Times, Records), StorageError> {
        if keys.is_empty() {
            return Ok((times(&self.inner).await?, Records::default()));
        }
        let rows = self.inner.query_all_raw(ask_for_times(self.inner.get_database_backend(), keys)).await?;
        let times = times_of(rows.first())?;
        let is_there = |row: &&QueryResult| !matches!(row.try_get::<Option<Uuid>>("", "key"), Ok(None));
        let records = rows.iter().filter(is_there).map(|row| model::<idempotency_key::Entity>(row, ""));
        let read = records.map(|row| row.map(rows::idempotency_record_from).map_err(|broken| broken.error));
        Ok((times, apart(read)))
    }

    /// The database's times.
    pub async fn times(&self) -> Result<Times, StorageError> {
        times(&self.inner).await
    }

    /// Inserts new orders, before all other changes. Returns `false` if another transaction has inserted one of them
    /// and has not committed, for longer than a replica takes: then only a rollback is left.
    pub async fn insert_orders(&self, orders: Vec<Order>) -> Result<bool, StorageError> {
        let waits = self.inner.get_database_backend() == DbBackend::Postgres;
        if waits {
            self.inner.execute_unprepared(INSERT_LOCK_TIMEOUT).await?;
        }
        match NEW_ORDERS.run(&self.inner, new_orders(orders)).await {
            Err(StorageError::LockTimeout) => return Ok(false),
            result => result?,
        }
        if waits {
            self.inner.execute_unprepared(LOCK_TIMEOUT).await?;
        }
        Ok(true)
    }

    /// Writes all changes, always in this order, in which every replica takes its locks. Returns the new last number of
    /// the log if there are events.
    pub async fn write(&self, changes: Changes) -> Result<Option<i64>, StorageError> {
        let Changes { new_orders: orders, changed_orders, new_disputes, changed_disputes, audit, idempotency, events } =
            changes;
        NEW_ORDERS.run(&self.inner, new_orders(orders)).await?;
        CHANGED_ORDERS.run(&self.inner, changed_orders.into_iter().map(rows::order_row).collect()).await?;
        // First the disputes that end: they make room for those that are opened or escalated.
        let (open, ended): (Vec<_>, Vec<_>) = changed_disputes.into_iter().partition(Dispute::is_open);
        let changed = ended.into_iter().chain(open).map(rows::dispute_row);
        CHANGED_DISPUTES.run(&self.inner, changed.collect()).await?;
        let new_disputes = new_disputes.into_iter().map(rows::dispute_row).collect();
        let mut records: Vec<_> = idempotency.iter().map(rows::idempotency_row).collect();
        records.sort_unstable_by_key(|record| record.key);
        let audit = audit.into_iter().map(rows::audit_row).collect();
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let numbered = |first: i64| (first..).zip(events).map(|(seq, event)| rows::event_row(seq, event)).collect();
        let last_seq = match &self.inner {
            Session::Postgres(begun) => {
                NEW_DISPUTES.run(&self.inner, new_disputes).await?;
                NEW_RECORDS.run(&self.inner, records).await?;
                NEW_AUDIT.run(&self.inner, audit).await?;
                // Last, since other replicas wait for it: events, with numbers from a row that stays locked until the
                // commit. So numbers are dense and in commit order, and a reader that sees an event can see all before it.
                if count > 0 { postgres::append(&mut **begun.lock().await, numbered(1)).await? } else { 0 }
            }
            Session::Sqlite(begun) => {
                let last_seq = if count > 0 { self.advance_log(count).await? } else { 0 };
                let events = numbered(last_seq.saturating_sub(count).saturating_add(1));
                sqlite::insert(
                    &mut **begun.lock().await,
                    &mut [
                        &mut NEW_DISPUTES.pending(new_disputes),
                        &mut NEW_RECORDS.pending(records),
                        &mut NEW_AUDIT.pending(audit),
                        &mut NEW_EVENTS.pending(events),
                    ],
                )
                .await?;
                last_seq
            }
        };
        Ok(Some(last_seq).filter(|_| count > 0))
    }

    /// Takes the next numbers of the log; returns the last of them.
    async fn advance_log(&self, count: i64) -> Result<i64, StorageError> {
        use event_log::Column;
        let advance = Query::update()
            .table(event_log::Entity)
            .value(Column::Head, Expr::col(Column::Head).add(count))
            .and_where(Column::Id.eq(1_i16))
            .returning_col(Column::Head)
            .to_owned();
        let row = self.inner.query_one(&advance).await?;
        let last_seq = row.map(|row| row.try_get("", "head")).transpose()?;
        last_seq.ok_or_else(log::missing)
    }

    /// Commits. After an error it is unknown whether anything was written, unless it is a conflict.
    pub async fn commit(self) -> Result<(), StorageError> {
        let committed = self.inner.commit().await;
        if let Err(error) = &committed {
            self.writer.renew_after(error);
        }
        match committed {
            Err(StorageError::Failed(what)) => Err(StorageError::Unavailable(format!("the commit failed: {what}"))),
            Err(error) => Err(error),
            // Commits to files that are gone by now are lost.
            Ok(()) => self.files.map_or(Ok(()), |files| files.require()),
        }
    }

    /// Rolls back.
    pub async fn rollback(self) -> Result<(), StorageError> {
        self.inner.rollback().await
    }

    /// Rolls back after an error. If connections of this kind would repeat the error, such as those to a server that
    /// became a standby, they are closed, and a retry uses new ones.
    pub async fn rollback_after(self, error: &StorageError) {
        self.writer.renew_after(error);
        // The first error is the one that counts.
        let _ = self.inner.rollback().await;
    }
}

/// The database's time, if it decides, and that of the last event.
pub(super) async fn times(connection: &impl ConnectionTrait) -> Result<Times, StorageError> {
    let row = connection.query_one_raw(ask_for_times(connection.get_database_backend(), &[])).await?;
    times_of(row.as_ref())
}

/// A statement that asks for the times, and for the records with these keys.
fn ask_for_times(backend: DbBackend, keys: &[Uuid]) -> Statement {
    let micros = match backend {
        DbBackend::Postgres => "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
        _ => "NULL",
    };
    let last = "(SELECT event_time FROM events ORDER BY seq DESC LIMIT 1)";
    let times = format!("SELECT {micros} AS micros, {last} AS last_event");
    if keys.is_empty() {
        return Statement::from_string(backend, times);
    }
    let (some, values) = match backend {
        DbBackend::Postgres => ("= ANY($1)".to_owned(), vec![Value::from(keys.to_vec())]),
        _ => {
            let keys = filled_up(keys.iter().copied().map(Value::from));
            (format!("IN ({})", vec!["?"; keys.len()].join(", ")), keys)
        }
    };
    let columns = idempotency_key::Model::COLUMNS.join(", ");
    let ask = format!(
        "SELECT micros, last_event, {columns} FROM ({times}) AS times LEFT JOIN idempotency_keys ON key {some}"
    );
    Statement::from_sql_and_values(backend, ask, values)
}

fn times_of(row: Option<&QueryResult>) -> Result<Times, StorageError> {
    let row = row.ok_or_else(|| StorageError::Failed("the database did not return its time".to_owned()))?;
    let clock: Option<i64> = row.try_get("", "micros")?;
    // A last event with an impossible time must not stop every command: it is ignored.
    let last_event: Option<i64> = row.try_get("", "last_event").unwrap_or_default();
    let instant = |micros: Option<i64>| micros.and_then(Timestamp::from_micros);
    Ok(Times { clock: instant(clock), last_event: instant(last_event) })
}

/// The rows of new orders, in the order in which every replica inserts them.
fn new_orders(orders: Vec<Order>) -> Vec<order::Model> {
    let mut rows: Vec<_> = orders.into_iter().map(rows::order_row).collect();
    rows.sort_unstable_by(|a, b| a.order_id.cmp(&b.order_id));
    rows
}

/// Everything in a stored order can change except its key, its identity and its creation time.
fn changes_of_orders() -> Vec<&'static str> {
    use order::Column;
    let changes = |column: &Column| match column {
        Column::OrderId
        | Column::BuyerId
        | Column::SellerId
        | Column::Currency
        | Column::Exponent
        | Column::PriceMinor
        | Column::CreateTime => false,
        Column::Title
        | Column::PaidMinor
        | Column::RefundedElsewhereMinor
        | Column::RefundedMinor
        | Column::Status
        | Column::DueTime
        | Column::AgreedDueTime
        | Column::ExtensionRequests
        | Column::EndTime
        | Column::CancellationCounts
        | Column::CancelledBy
        | Column::RefundAccepted
        | Column::SourceVersion
        | Column::Revision => true,
    };
    Column::iter().filter(changes).map(|column| column.as_str()).collect()
}

/// Only the state columns of a stored dispute can change.
fn changes_of_disputes() -> Vec<&'static str> {
    use dispute::Column;
    let changes = |column: &Column| match column {
        Column::DisputeId
        | Column::OrderId
        | Column::BuyerId
        | Column::SellerId
        | Column::Opener
        | Column::Kind
        | Column::ExclusionGroup
        | Column::Message
        | Column::Reason
        | Column::ReasonDetail
        | Column::AmountMinor
        | Column::NewDueTime
        | Column::SilenceRule
        | Column::SilenceRuleAfterDelivery
        | Column::CreateTime
        | Column::OrderCreateTime => false,
        Column::Status
        | Column::Currency
        | Column::Exponent
        | Column::UpdateTime
        | Column::Revision
        | Column::ResolveTime
        | Column::ResolvedBy
        | Column::OutcomeRefundMinor
        | Column::OutcomeCancelled
        | Column::OutcomeCounts
        | Column::OutcomeNewDueTime
        | Column::RespondBy
        | Column::RemindAt
        | Column::RemindersSent
        | Column::PostponeMessage
        | Column::AnswerMessage
        | Column::EscalatedBy
        | Column::EscalationMessage
        | Column::DecidedBy
        | Column::DecisionMessage
        | Column::SettlementStatus
        | Column::SettlementReference
        | Column::SettlementDetail
        | Column::SettlementAttempt
        | Column::SettlementAttempts
        | Column::LeastRelease => true,
    };
    Column::iter().filter(changes).map(|column| column.as_str()).collect()
}
