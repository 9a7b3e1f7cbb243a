//! Whether the database can be written, which only a write shows; and how a database is closed.

use std::time::Duration;

use sea_orm::sqlx::{AssertSqlSafe, Executor as _};
use sea_orm::{ConnectionTrait as _, SqliteTransactionMode, Statement, TransactionTrait as _};

use super::Repository;
use super::connection::Pool;
use super::error::{StorageError, of_sqlx};
use super::one_dispute::DisputeReads;
use super::transaction::{Writer, begun};
use crate::chance::mint_id;

/// How long a write, and a read, may take before the database counts as slow.
const WRITE_TIMEOUT: Duration = Duration::from_millis(700);
const READ_TIMEOUT: Duration = Duration::from_millis(400);

/// How long closing the database waits for active readers.
const LAST_READS: Duration = Duration::from_millis(500);

/// How long to wait for a batch that is being written when the files are no longer the same.
const LAST_BATCH: Duration = Duration::from_secs(2);

/// Overwriting the same row needs no new disk space. The result of a function does: beyond 64 KiB it is written to
/// disk, where the tables are. One statement for the server: it begins and ends by itself, even if nobody waits for it.
const POSTGRES_PROBE: &str = "SET LOCAL lock_timeout = '500ms'; SET LOCAL work_mem = '64kB'; SET LOCAL temp_tablespaces = ''; \
    SELECT count(*) FROM generate_series(1, 8192); \
    UPDATE write_probe SET writes = writes + 1 WHERE id = 1";
const SQLITE_PROBE: &str = "UPDATE write_probe SET writes = writes + 1 WHERE id = 1";

/// What `file` and similar tools find in the header of our databases: `DSPT`.
const APPLICATION_ID: u32 = 0x4453_5054;

impl Repository {
    /// Writes something, as a command would, and something that needs new disk space. [`StorageError::TimedOut`] if it
    /// is not done within less than a second; it may then be done later.
    pub async fn probe_write(&self) -> Result<(), StorageError> {
        let Some(files) = &self.files else { return self.probe_postgres().await };
        files.require()?;
        let write = async {
            // After a checkpoint SQLite's log has room for itself, but not for long.
            files.find_room().await?;
            self.writer.probe_file().await?;
            files.require()
        };
        tokio::time::timeout(WRITE_TIMEOUT, write).await.map_err(|_| StorageError::TimedOut)?
    }

    async fn probe_postgres(&self) -> Result<(), StorageError> {
        let pool = self.writer.pool.connections().get_postgres_connection_pool();
        let acquired = tokio::time::timeout(WRITE_TIMEOUT, pool.acquire()).await.map_err(|_| StorageError::TimedOut)?;
        let mut connection = acquired.map_err(|error| of_sqlx(&error))?;
        let write = tokio::time::timeout(WRITE_TIMEOUT, connection.execute(AssertSqlSafe(POSTGRES_PROBE))).await;
        let result = match write {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => Err(of_sqlx(&error)),
            Err(_) => Err(StorageError::TimedOut),
        };
        // The refusal may be due to this connection: the server may have changed its role or settings since.
        drop(connection.detach());
        result
    }

    /// Watches the files of a SQLite database from here on.
    pub(super) async fn watch_files(&self) -> Result<(), StorageError> {
        let Some(files) = &self.files else { return Ok(()) };
        self.mark().await?;
        // The mark is on the first page: brings it into the file.
        self.writer.pool.connections().execute_unprepared("PRAGMA wal_checkpoint(PASSIVE)").await?;
        files.watch()
    }

    /// Changes the first page of a SQLite database; once, gives the database a number that distinguishes it from
    /// others.
    async fn mark(&self) -> Result<(), StorageError> {
        let transaction =
            self.writer.pool.connections().begin_with_options(begun(SqliteTransactionMode::Immediate)).await?;
        let ask = Statement::from_string(transaction.get_database_backend(), "PRAGMA user_version");
        let known = transaction.query_one_raw(ask).await?.map(|row| row.try_get_by_index::<i32>(0)).transpose()?;
        if known.is_none_or(|mark| mark == 0) {
            let [.., a, b, c, d] = mint_id().into_bytes();
            let mark = i32::from_be_bytes([a, b, c, d]);
            transaction.execute_unprepared(&format!("PRAGMA user_version = {mark}")).await?;
        }
        transaction.execute_unprepared(&format!("PRAGMA application_id = {APPLICATION_ID}")).await?;
        Ok(transaction.commit().await?)
    }

    /// Whether the database responds at all.
    pub async fn probe_read(&self) -> Result<(), StorageError> {
        let ask = Statement::from_string(self.background.backend(), "SELECT 1");
        let answer = tokio::time::timeout(READ_TIMEOUT, self.background.connections().query_one_raw(ask)).await;
        answer.map_err(|_| StorageError::TimedOut)?.map(drop).map_err(StorageError::from)
    }

    /// Returns what happened to the files of a SQLite database, in a sentence, once they are no longer the ones that
    /// were opened.
    pub async fn lost(&self) -> String {
        match &self.files {
            Some(files) => files.lost().await.what,
            None => std::future::pending().await,
        }
    }

    /// Closes the database. A SQLite database is one file then, unless another process has it open.
    pub async fn close(&self) {
        let Some(files) = &self.files else {
            let _ = tokio::join!(
                self.background.connections().close_by_ref(),
                self.readers.connections().close_by_ref(),
                self.writer.pool.connections().close_by_ref()
            );
            return;
        };
        if files.loss_so_far().is_some_and(|loss| loss.is_overwritten) {
            // The last connection to close would write into the file that is there now.
            return;
        }
        self.close_readers().await;
        self.empty_log().await;
        let _ = self.writer.pool.connections().close_by_ref().await;
        if files.loss_so_far().is_none() && !files.is_one_file() {
            let database = files.path().display();
            tracing::warn!(
                "another process has {database} open: copy its -wal file too, or use `dispute-service backup`"
            );
        }
    }

    /// Detaches from the files of a SQLite database that are no longer the same: nothing more is read from them, and
    /// nothing is left beside them that would undo their replacement. If they were moved, they are complete in their
    /// new place.
    pub async fn abandon(&self) {
        let Some(loss) = self.files.as_ref().and_then(|files| files.loss_so_far()) else { return };
        // A batch that is being written comes to its end.
        let turn = match &self.writer.file {
            Some(file) => tokio::time::timeout(LAST_BATCH, file.connection.turn()).await.ok(),
            None => None,
        };
        // First of all: as long as this connection is open, no other one is the last.
        let writer =
            tokio::time::timeout(LAST_BATCH, self.writer.pool.connections().get_sqlite_connection_pool().acquire())
                .await;
        drop(turn);
        if !loss.is_overwritten {
            drop(writer);
            self.close_readers().await;
            return self.empty_log().await;
        }
        if let Ok(Ok(writer)) = writer {
            std::mem::forget(writer);
            self.close_readers().await;
        }
        if let Some(Err(error)) = self.files.as_ref().map(|files| files.set_log_aside()) {
            tracing::error!(%error, "the write-ahead log cannot be moved away: remove it before opening the database again");
        }
    }

    async fn close_readers(&self) {
        let close = async {
            let in_place = async {
                if let DisputeReads::InPlace(in_place) = &self.dispute_reads {
                    in_place.close().await;
                }
            };
            let batches = async {
                if let Some(file) = &self.writer.file {
                    tokio::join!(file.ahead.close(), file.connection.close());
                }
            };
            // One that is busy must not leave the others open.
            let [background, readers] = [&self.background, &self.readers].map(Pool::connections);
            let _ = tokio::join!(in_place, batches, background.close_by_ref(), readers.close_by_ref());
        };
        if tokio::time::timeout(LAST_READS, close).await.is_err() {
            tracing::warn!("some reads did not end in time");
        }
    }

    /// Moves everything from the write-ahead log into the database.
    async fn empty_log(&self) {
        let moved = self.writer.pool.connections().execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await;
        if let Err(error) = moved.map_err(StorageError::from) {
            tracing::error!(%error, "the write-ahead log cannot be merged into the database: copy both files");
        }
    }
}

impl Writer {
    /// Writes as batches do, on their connection: what they cannot write, this cannot either.
    async fn probe_file(&self) -> Result<(), StorageError> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut transaction = file.connection.begin().await?;
        transaction.run(|file| file.prepare_cached(SQLITE_PROBE)?.execute([])).await?;
        transaction.commit().await
    }
}

#[cfg(test)]
impl Repository {
    /// Makes the attempts to write fail on SQLite, or succeed again.
    pub(crate) async fn refuse_probes(&self, is_refused: bool) {
        let statement = if is_refused {
            "CREATE TRIGGER refuse BEFORE UPDATE ON write_probe BEGIN SELECT RAISE(ABORT, 'refused'); END"
        } else {
            "DROP TRIGGER refuse"
        };
        self.writer.pool.connections().execute_unprepared(statement).await.unwrap();
    }
}
