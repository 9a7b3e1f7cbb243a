//! A connection to a SQLite file that needs no thread of its own: each step of a transaction, however many statements it
//! has, is one turn of a thread for blocking work. Through a connection with a thread of its own, each statement and
//! each fifty rows are a turn.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::in_place::limit_read;
use crate::repository::error::{StorageError, of_rusqlite};
use crate::repository::files::DatabaseFiles;

/// How many prepared statements a connection keeps: about as many as there are texts.
const STATEMENTS: usize = 64;

/// A connection to a file, for one transaction at a time. Clones share it.
#[derive(Clone, Debug)]
pub(in crate::repository) struct FileConnection(Arc<State>);

#[derive(Debug)]
struct State {
    path: PathBuf,
    files: Arc<DatabaseFiles>,
    settings: String,
    only_reads: bool,
    turn: Arc<Semaphore>,
    idle: Mutex<Option<Connection>>,
}

/// A transaction on the file. Dropped without a commit, it is rolled back before the next one begins.
#[derive(Debug)]
pub(in crate::repository) struct FileTransaction(Option<Held>);

/// The connection, while a transaction has it.
#[derive(Debug)]
struct Held {
    connection: Option<Connection>,
    /// What begins the transaction, unless it has begun.
    begin: Option<&'static str>,
    state: Arc<State>,
    _turn: Turn,
}

/// The right to a connection, and to whatever else is done in turn with its transactions.
pub(in crate::repository) type Turn = OwnedSemaphorePermit;

impl FileConnection {
    /// Opens the file, which exists, with the settings of a connection that writes, or only reads.
    pub(super) fn open(
        path: &Path,
        files: Arc<DatabaseFiles>,
        cache_kib: u32,
        busy_timeout: Duration,
        only_reads: bool,
    ) -> Result<Self, rusqlite::Error> {
        let settings = format!(
            "PRAGMA busy_timeout = {}; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
             PRAGMA cache_size = -{cache_kib}; PRAGMA query_only = {only_reads}",
            busy_timeout.as_millis()
        );
        let (path, turn) = (path.to_owned(), Arc::new(Semaphore::new(1)));
        let state = State { path, files, settings, only_reads, turn, idle: Mutex::default() };
        let connection = state.connect()?;
        state.give_back(connection);
        Ok(Self(Arc::new(state)))
    }

    /// Begins a write transaction, once it is its turn. Other processes cannot write from its first step on.
    pub(in crate::repository) async fn begin(&self) -> Result<FileTransaction, StorageError> {
        Ok(FileTransaction(Some(self.held("BEGIN IMMEDIATE").await?)))
    }

    /// Begins a transaction that reads one snapshot, which is taken by its first step.
    pub(in crate::repository) async fn begin_to_read(&self) -> Result<FileTransaction, StorageError> {
        Ok(FileTransaction(Some(self.held("BEGIN").await?)))
    }

    async fn held(&self, begin: &'static str) -> Result<Held, StorageError> {
        let turn = self.turn().await?;
        let connection = self.0.idle().take();
        Ok(Held { connection, begin: Some(begin), state: self.0.clone(), _turn: turn })
    }

    /// Waits for a turn. As long as it lasts, no transaction begins.
    pub(in crate::repository) async fn turn(&self) -> Result<Turn, StorageError> {
        self.0.turn.clone().acquire_owned().await.map_err(|_| closed())
    }

    /// Closes the connection once its transaction has ended.
    pub(in crate::repository) async fn close(&self) {
        if let Ok(_turn) = self.0.turn.acquire().await {
            self.0.turn.close();
            drop(self.0.idle().take());
        }
    }

    /// Does something on the connection itself.
    #[cfg(test)]
    pub(in crate::repository) fn with<T>(&self, work: impl FnOnce(&Connection) -> T) -> Option<T> {
        self.0.idle().as_ref().map(work)
    }
}

impl State {
    fn connect(&self) -> Result<Connection, rusqlite::Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.execute_batch(&self.settings)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, connection: Connection) {
        *self.idle() = Some(connection);
    }
}

impl FileTransaction {
    /// Runs statements, in one turn of a thread. Even if nobody waits any more, it is done to its end.
    pub(in crate::repository) async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let mut held = self.0.take().ok_or_else(closed)?;
        let span = tracing::Span::current();
        let step = spawn_blocking(move || {
            let result = span.in_scope(|| held.run(work));
            (held, result)
        });
        let (held, result) =
            step.await.map_err(|_| StorageError::Failed("a transaction ended without a result".to_owned()))?;
        self.0 = Some(held);
        result
    }

    /// Commits.
    pub(in crate::repository) async fn commit(mut self) -> Result<(), StorageError> {
        self.run(|connection| connection.execute_batch("COMMIT")).await
    }

    /// Rolls back.
    pub(in crate::repository) async fn rollback(mut self) -> Result<(), StorageError> {
        match self.0.take() {
            Some(held) => spawn_blocking(move || drop(held)).await.map_err(|_| closed()),
            None => Ok(()),
        }
    }
}

impl Drop for FileTransaction {
    fn drop(&mut self) {
        let Some(held) = self.0.take().filter(Held::is_open) else { return };
        // A rollback reads and writes the disk. When the runtime ends, there is no other place for it.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(held))),
            Err(_) => drop(held),
        }
    }
}

impl Held {
    fn run<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StorageError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                // The one before was closed, since its transaction would not end. Another file can be at the path by now.
                let connection = self.state.connect().map_err(|error| of_rusqlite(&error))?;
                self.state.files.require()?;
                none.insert(connection)
            }
        };
        if self.begin.is_none() && connection.is_autocommit() {
            // SQLite has rolled back by itself: what is written now would be committed at once.
            return Err(StorageError::Unavailable("the transaction was rolled back".to_owned()));
        }
        let run = || {
            if self.state.only_reads {
                limit_read(connection)?;
            }
            if let Some(begin) = self.begin {
                connection.execute_batch(begin)?;
                self.begin = None;
            }
            work(connection)
        };
        run().map_err(|error| of_rusqlite(&error))
    }

    /// Whether a transaction has begun and has not ended.
    fn is_open(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| !connection.is_autocommit())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_open()
            && let Some(connection) = &self.connection
        {
            // After some errors, such as a full disk, SQLite has rolled back by itself.
            let _ = connection.execute_batch("ROLLBACK");
        }
        if !self.is_open()
            && let Some(connection) = self.connection.take()
        {
            self.state.give_back(connection);
        }
    }
}

fn closed() -> StorageError {
    StorageError::Unavailable("the database is closed".to_owned())
}
