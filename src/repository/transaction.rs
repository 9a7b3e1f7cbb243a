//! A write transaction: the reads of a batch under its `locks`, and its writes. It never waits for a lock on
//! stored orders and disputes: locked ones are left out, and processed later. It waits only for the head of the log,
//! and briefly for an order that another transaction is inserting.
//!
//! A transaction that is dropped, or whose COMMIT failed, is rolled back before its connection does anything else. On
//! PostgreSQL sqlx queues the rollback, and runs it, with a ping, when the connection returns to its pool; a connection on
//! which this fails or is uncertain is closed, as it is on SQLite (`connection/file`).

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait as _, QueryFilter as _, QueryResult,
    SqliteTransactionMode, Statement, TransactionOptions, Value,
};
use uuid::Uuid;

use super::batch::filled_up;
use super::changes::{NEW_ORDERS, Rows, rows_of_new};
use super::columns::{Columns as _, row_at};
use super::connection::{FileConnection, Pool, Turn};
use super::corrupt::{Fetched, apart, fetch};
use super::dialect::{Session, sqlite};
use super::entity::{dispute, idempotency_key};
use super::error::{StorageError, of_rusqlite};
use super::files::DatabaseFiles;
use super::stored::Stored as _;
use super::{Changes, IdempotencyRecord, Repository, log, rows};
use crate::clock::{RealInstant, real_now};
use crate::domain::{DisputeId, Order, StoredDispute, Timestamp};

/// The isolation of a transaction: on PostgreSQL our sessions' default, READ COMMITTED, in which each statement sees
/// everything committed before it.
pub(super) fn begun(sqlite_mode: SqliteTransactionMode) -> TransactionOptions {
    TransactionOptions { sqlite_transaction_mode: Some(sqlite_mode), ..TransactionOptions::default() }
}

/// What a commit has written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// The new last number of the log; `None` if there are no events.
    pub last_seq: Option<i64>,
    /// When only the commit was left.
    pub at: RealInstant,
}

/// A write transaction. Dropped without a commit, it changes nothing.
#[derive(Debug)]
pub struct Transaction {
    pub(super) inner: Session,
    /// Where it was begun.
    writer: Writer,
    /// What it is based on, once that was asked for.
    version: Option<Version>,
}

/// Where batches are written.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    /// For statements that SeaORM builds.
    pub(super) pool: Pool,
    /// On SQLite: the file that batches are written to. Whoever writes takes turns with them.
    pub(super) file: Option<FileWriter>,
}

/// A SQLite file.
#[derive(Clone, Debug)]
pub(super) struct FileWriter {
    pub(super) files: Arc<DatabaseFiles>,
    /// For what is written.
    pub(super) connection: FileConnection,
    /// For reads of a batch while another one is being committed.
    pub(super) ahead: FileConnection,
}

impl Writer {
    async fn begin(&self) -> Result<Session, StorageError> {
        self.require_files()?;
        let Some(file) = &self.file else { return self.pool.begin().await.map(Session::Postgres) };
        file.connection.begin().await.map(Session::from)
    }

    /// What comes of a commit.
    fn has_committed(&self, committed: Result<(), StorageError>) -> Result<(), StorageError> {
        if let Err(error) = &committed {
            self.pool.renew_after(error);
        }
        match committed {
            Err(StorageError::Failed(what)) => Err(StorageError::Unavailable(format!("the commit failed: {what}"))),
            Err(error) => Err(error),
            // Commits to files that are gone by now are lost.
            Ok(()) => self.require_files(),
        }
    }

    fn require_files(&self) -> Result<(), StorageError> {
        self.file.as_ref().map_or(Ok(()), |file| file.files.require())
    }

    async fn begin_ahead(&self) -> Result<Session, StorageError> {
        match &self.file {
            Some(file) => file.ahead.begin_to_read().await.map(Session::from),
            None => self.pool.begin().await.map(Session::Postgres),
        }
    }
}

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
    /// Begins a write transaction; on SQLite it is the only one from its first step on.
    pub async fn begin(&self) -> Result<Transaction, StorageError> {
        let inner = self.writer.begin().await?;
        Ok(Transaction { inner, writer: self.writer.clone(), version: None })
    }
}

/// The state of a SQLite database, which everything changes that is not written by batches. PostgreSQL has row locks, and
/// needs none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version(Option<i64>);

impl Repository {
    /// Begins a transaction that reads while another one is being committed, and that may write after
    /// [`Transaction::start_writing`].
    pub async fn begin_ahead(&self) -> Result<Transaction, StorageError> {
        let inner = self.writer.begin_ahead().await?;
        Ok(Transaction { inner, writer: self.writer.clone(), version: None })
    }
}

impl Transaction {
    /// The state of the database as it is in this write transaction, apart from what batches write.
    pub async fn version(&mut self) -> Result<Version, StorageError> {
        let Session::Sqlite(file) = &mut self.inner else { return Ok(Version(None)) };
        if let Some(version) = self.version {
            return Ok(version);
        }
        let version = Some(file.get_mut().run(sqlite::data_version).await?);
        // Nobody else can write until this transaction ends.
        Ok(*self.version.insert(Version(version)))
    }

    /// Begins to write in a transaction that was begun ahead. Returns whether what it has read still holds, but for what
    /// batches have written: on PostgreSQL it is locked, on SQLite nobody else may have written since `version`, neither
    /// another process nor what is done beside the batches, such as pruning.
    pub async fn start_writing(&mut self, version: Version) -> Result<bool, StorageError> {
        if matches!(self.inner, Session::Postgres(_)) {
            return Ok(true);
        }
        self.inner = self.writer.begin().await?;
        Ok(self.version().await? == version)
    }

    pub(super) async fn dispute_rows(&self, ids: Vec<Uuid>) -> Result<Fetched<dispute::Model>, StorageError> {
        match &self.inner {
            Session::Sqlite(file) => file.lock().await.run(move |file| sqlite::disputes(file, &ids)).await,
            Session::Postgres(server) => {
                let named = dispute::Column::DisputeId.is_in(filled_up(ids));
                fetch(dispute::Entity::find().filter(named), server).await
            }
        }
    }

    /// The disputes with these ids, each with its order; for corrupt ones, by id, what is wrong.
    pub async fn disputes(
        &self,
        ids: &[DisputeId],
    ) -> Result<(Vec<StoredDispute>, HashMap<Uuid, StorageError>), StorageError> {
        let rows = self.dispute_rows(ids.iter().map(|dispute| dispute.0).collect()).await?.into_iter();
        Ok(apart(rows.map(|row| row.map_err(|broken| broken.error).and_then(rows::dispute_from))))
    }

    /// The database's times, and the records of the requests with these keys; for corrupt ones, by key, what is wrong. In
    /// one step: whatever was to be locked is locked by then.
    pub async fn times_and_records(&self, keys: &[Uuid]) -> Result<(Times, Records), StorageError> {
        match &self.inner {
            Session::Sqlite(file) => {
                let keys = keys.to_vec();
                let read = move |file: &_| sqlite::last_event_and_records(file, &keys);
                let (last_event, records) = file.lock().await.run(read).await?;
                Ok((Times::of(None, last_event), records_of(records)))
            }
            Session::Postgres(server) => times_and_records(server, keys).await,
        }
    }

    /// Inserts new orders, before all other changes. Returns `false` if another transaction has inserted one of them
    /// and has not committed, for longer than a replica takes: then only a rollback is left.
    pub async fn insert_orders(&self, orders: Vec<Order>) -> Result<bool, StorageError> {
        let orders = rows_of_new(orders);
        match &self.inner {
            Session::Sqlite(file) => {
                file.lock().await.run(move |file| NEW_ORDERS.on_sqlite(file, orders)).await?;
            }
            Session::Postgres(server) => {
                server.execute_unprepared(INSERT_LOCK_TIMEOUT).await?;
                match server.insert(&NEW_ORDERS, orders).await {
                    Err(StorageError::LockTimeout) => return Ok(false),
                    result => result?,
                }
                server.execute_unprepared(LOCK_TIMEOUT).await?;
            }
        }
        Ok(true)
    }

    /// Writes all changes and commits; on SQLite in one step. After an error before the commit it is rolled back; after one of
    /// the commit it is unknown whether anything was written, unless it is a conflict.
    pub async fn commit(self, changes: Changes) -> Result<Written, StorageError> {
        let Self { inner, writer, version: _ } = self;
        match inner {
            Session::Sqlite(file) => {
                let (mut file, rows) = (file.into_inner(), Rows::of(changes));
                let step = move |file: &_| {
                    let Some(last_seq) = rows.write_to_file(file)? else { return Ok(None) };
                    let written = Written { last_seq, at: real_now() };
                    Ok(Some((written, file.execute_batch("COMMIT"))))
                };
                match file.run(step).await.and_then(|done| done.ok_or_else(log::missing)) {
                    Ok((written, committed)) => {
                        writer.has_committed(committed.map_err(|error| of_rusqlite(&error)))?;
                        Ok(written)
                    }
                    Err(error) => {
                        Session::from(file).rollback_after(&writer, &error).await;
                        Err(error)
                    }
                }
            }
            Session::Postgres(server) => match Rows::of(changes).write_to_server(&server).await {
                Ok(last_seq) => {
                    let written = Written { last_seq, at: real_now() };
                    writer.has_committed(server.commit().await)?;
                    Ok(written)
                }
                Err(error) => {
                    Session::Postgres(server).rollback_after(&writer, &error).await;
                    Err(error)
                }
            },
        }
    }

    /// Rolls back.
    pub async fn rollback(self) -> Result<(), StorageError> {
        self.inner.rollback().await
    }

    /// Rolls back after an error. If connections of this kind would repeat the error, such as those to a server that
    /// became a standby, they are closed, and a retry uses new ones.
    pub async fn rollback_after(self, error: &StorageError) {
        self.inner.rollback_after(&self.writer, error).await;
    }
}

impl Session {
    async fn rollback_after(self, writer: &Writer, error: &StorageError) {
        writer.pool.renew_after(error);
        // The first error is the one that counts.
        let _ = self.rollback().await;
    }
}

/// A write transaction beside those of batches, for statements that SeaORM builds.
#[derive(Debug)]
pub(super) struct Maintenance {
    pub(super) inner: DatabaseTransaction,
    writer: Writer,
    _turn: Option<Turn>,
}

impl Repository {
    /// Begins a transaction in turn with those of batches.
    pub(super) async fn begin_maintenance(&self) -> Result<Maintenance, StorageError> {
        let turn = match &self.writer.file {
            Some(file) => Some(file.connection.turn().await?),
            None => None,
        };
        self.writer.require_files()?;
        let inner = self.writer.pool.begin_by_seaorm().await?;
        Ok(Maintenance { inner, writer: self.writer.clone(), _turn: turn })
    }
}

impl Maintenance {
    /// Commits; see [`Transaction::commit`].
    pub(super) async fn commit(self) -> Result<(), StorageError> {
        self.writer.has_committed(self.inner.commit().await.map_err(StorageError::from))
    }

    /// Rolls back.
    pub(super) async fn rollback(self) -> Result<(), StorageError> {
        Ok(self.inner.rollback().await?)
    }
}

/// PostgreSQL's times, and the records of the requests with these keys; for corrupt ones, by key, what is wrong.
pub(super) async fn times_and_records(
    connection: &impl ConnectionTrait,
    keys: &[Uuid],
) -> Result<(Times, Records), StorageError> {
    let rows = connection.query_all_raw(ask_for_times(DbBackend::Postgres, keys)).await?;
    let is_there = |row: &&QueryResult| row.column::<Option<Uuid>>(2) != Some(None);
    let records = rows.iter().filter(is_there).filter(|_| !keys.is_empty()).map(|row| row_at(row, 2));
    Ok((times_of(rows.first())?, records_of(records.collect())))
}

/// The database's time, if it decides, and that of the last event.
pub(super) async fn times(connection: &impl ConnectionTrait) -> Result<Times, StorageError> {
    let row = connection.query_one_raw(ask_for_times(connection.get_database_backend(), &[])).await?;
    times_of(row.as_ref())
}

/// A statement that asks for the times, and on PostgreSQL for the records with these keys, after them.
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
    let columns = idempotency_key::Model::COLUMNS.join(", ");
    let ask = format!(
        "SELECT micros, last_event, {columns} FROM ({times}) AS times LEFT JOIN idempotency_keys ON key = ANY($1)"
    );
    Statement::from_sql_and_values(backend, ask, [Value::from(keys.to_vec())])
}

fn times_of(row: Option<&QueryResult>) -> Result<Times, StorageError> {
    let row = row.ok_or_else(|| StorageError::Failed("the database did not return its time".to_owned()))?;
    Ok(Times::of(row.try_get_by_index(0)?, row.try_get_by_index(1).unwrap_or_default()))
}

/// The records in these rows; for corrupt ones, by key, what is wrong.
pub(super) fn records_of(rows: Fetched<idempotency_key::Model>) -> Records {
    let read = rows.into_iter().map(|row| row.map(rows::idempotency_record_from));
    apart(read.map(|row| row.map_err(|broken| broken.error)))
}

impl Times {
    /// A last event with an impossible time must not stop every command: it is ignored.
    pub(super) fn of(clock: Option<i64>, last_event: Option<i64>) -> Self {
        let instant = |micros: Option<i64>| micros.and_then(Timestamp::from_micros);
        Self { clock: instant(clock), last_event: instant(last_event) }
    }
}
