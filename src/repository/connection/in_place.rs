//! Reads of a SQLite file by rusqlite: single ones in the thread that asks for them, longer ones in threads of their own.
//!
//! Reading a few rows by their keys takes about ten microseconds while their pages are in memory. Handing that to
//! another thread and waiting for it costs several times as much.
//!
//! A disk that is slow, or no longer responds, must not stop the runtime: one of its threads never reads, and after a
//! slow read the next ones run in threads of their own for a while.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use rusqlite::{Connection, OpenFlags};
use tokio::runtime::Handle;

use crate::clock::{RealInstant, pause, real_now};
use crate::repository::error::{StorageError, of_rusqlite};

/// A read that took longer had to wait: for a processor, or for the disk if something was read from it meanwhile.
const SLOW: Duration = Duration::from_millis(2);

/// How long reads run in threads of their own after a slow one: so slow reads take a fiftieth of a runtime's thread.
const ELSEWHERE_FOR: Duration = Duration::from_millis(100);

/// How often closing looks whether the last reads have ended.
const CLOSE_INTERVAL: Duration = Duration::from_millis(2);

/// How long a read may take: longer than any page of a list takes with its index. SQLite itself has no such limit, and
/// continues when nobody waits any more.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// SQLite checks the time after this many virtual machine steps: well under a millisecond.
pub(super) const STEPS: i32 = 10_000;

/// Lets SQLite end the next read on a connection if it takes too long, counted from the first check of the time.
pub(super) fn limit_read(connection: &Connection) -> rusqlite::Result<()> {
    let mut began = None;
    connection.progress_handler(STEPS, Some(move || began.get_or_insert_with(real_now).elapsed() >= READ_TIMEOUT))
}

/// Connections for single reads. Clones share them.
#[derive(Clone, Debug)]
pub(in crate::repository) struct InPlace(Arc<State>);

#[derive(Debug)]
struct State {
    connections: Mutex<Connections>,
    /// How long a read waits while another process has the file locked.
    busy_timeout: Duration,
    /// How many reads may run in the runtime's threads at once …
    most: usize,
    /// … and how many do.
    reading: AtomicUsize,
    opened: RealInstant,
    /// Until when reads run in threads of their own, in microseconds after `opened`.
    elsewhere_until: AtomicU64,
}

#[derive(Debug)]
struct Connections {
    idle: Vec<Connection>,
    in_use: usize,
    is_closed: bool,
}

/// A connection in use. Returns it when dropped.
struct Lent<'a> {
    state: &'a State,
    connection: Option<Connection>,
}

/// A read in a thread of the runtime.
struct Turn<'a>(&'a State);

impl InPlace {
    /// Opens this many connections to a file, at once: one opened later could find another file at the path.
    pub(super) fn open(
        path: &Path,
        connections: usize,
        cache_kib: u32,
        busy_timeout: Duration,
    ) -> Result<Self, rusqlite::Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = |_| -> Result<_, rusqlite::Error> {
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(Duration::ZERO)?;
            connection.execute_batch(&format!("PRAGMA query_only = ON; PRAGMA cache_size = -{cache_kib}"))?;
            Ok(connection)
        };
        let idle = (0..connections).map(open).collect::<Result<_, rusqlite::Error>>()?;
        Ok(Self(Arc::new(State {
            connections: Mutex::new(Connections { idle, in_use: 0, is_closed: false }),
            busy_timeout,
            most: Handle::try_current().map_or(0, |runtime| runtime.metrics().num_workers().saturating_sub(1)),
            reading: AtomicUsize::new(0),
            opened: real_now(),
            elsewhere_until: AtomicU64::new(0),
        })))
    }

    /// Reads a few rows by their keys. There are as many permits as connections, and one connection for the tailer, which
    /// needs none. The permit is held until the read is done, even if nobody waits for it any more.
    pub(in crate::repository) async fn read<T: Send + 'static>(
        &self,
        permit: impl Send + 'static,
        read: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        if let Some(turn) = self.0.turn() {
            let began = real_now();
            let result = self.0.read(&read, false);
            drop(turn);
            if began.elapsed() > SLOW && has_read_from_disk() {
                self.0.continue_elsewhere();
            }
            // Locked by another process: that is waited for, but not here.
            if !matches!(result, Err(StorageError::TimedOut)) {
                return result;
            }
        }
        self.read_elsewhere(permit, read).await
    }

    /// Reads many rows, in a thread of its own.
    pub(in crate::repository) async fn read_elsewhere<T: Send + 'static>(
        &self,
        permit: impl Send + 'static,
        read: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (state, span) = (self.0.clone(), tracing::Span::current());
        let elsewhere = tokio::task::spawn_blocking(move || {
            let result = span.in_scope(|| state.read(&read, true));
            drop(permit);
            result
        });
        elsewhere.await.unwrap_or_else(|_| Err(StorageError::Failed("a read ended without a result".to_owned())))
    }

    /// Closes the connections, each when it is no longer in use. Returns once all are closed.
    pub(in crate::repository) async fn close(&self) {
        let idle = {
            let mut connections = self.0.connections();
            connections.is_closed = true;
            std::mem::take(&mut connections.idle)
        };
        drop(idle);
        while self.0.connections().in_use > 0 {
            pause(CLOSE_INTERVAL).await;
        }
    }
}

thread_local! {
    /// What [`has_read_from_disk`] last found.
    static BLOCKS_READ: Cell<i64> = const { Cell::new(0) };
}

/// Whether this thread has read from a disk since this was last asked. Where the system does not tell, it has.
fn has_read_from_disk() -> bool {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return true };
    BLOCKS_READ.replace(usage.block_reads()) != usage.block_reads()
}

impl State {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn to read here; `None` if that has to be done elsewhere.
    fn turn(&self) -> Option<Turn<'_>> {
        let until = self.elsewhere_until.load(Ordering::Relaxed);
        if until > 0 && self.micros_open() < until {
            return None;
        }
        let turn = Turn(self);
        (self.reading.fetch_add(1, Ordering::Relaxed) < self.most).then_some(turn)
    }

    fn continue_elsewhere(&self) {
        let span = u64::try_from(ELSEWHERE_FOR.as_micros()).unwrap_or(u64::MAX);
        self.elsewhere_until.store(self.micros_open().saturating_add(span), Ordering::Relaxed);
    }

    fn micros_open(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn read<T>(
        &self,
        read: impl Fn(&Connection) -> rusqlite::Result<T>,
        waits_for_locks: bool,
    ) -> Result<T, StorageError> {
        let lent = self.lend()?;
        let Some(connection) = &lent.connection else { return Err(StorageError::Busy) };
        let read = || {
            limit_read(connection)?;
            if !waits_for_locks {
                return read(connection);
            }
            connection.busy_timeout(self.busy_timeout)?;
            let result = read(connection);
            connection.busy_timeout(Duration::ZERO)?;
            result
        };
        read().map_err(|error| of_rusqlite(&error))
    }

    fn lend(&self) -> Result<Lent<'_>, StorageError> {
        let mut connections = self.connections();
        if connections.is_closed {
            return Err(StorageError::Unavailable("the connections are closed".to_owned()));
        }
        // There is one for each permit.
        let connection = connections.idle.pop().ok_or(StorageError::Busy)?;
        connections.in_use = connections.in_use.saturating_add(1);
        Ok(Lent { state: self, connection: Some(connection) })
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut connections = self.state.connections();
        if connections.is_closed {
            // Closed before it counts as such.
            drop(self.connection.take());
        }
        connections.idle.extend(self.connection.take());
        connections.in_use = connections.in_use.saturating_sub(1);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.reading.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use rusqlite::ffi;

    use super::super::fair::{FairSemaphore, Permit, QueueBounds};
    use super::*;

    /// A file that nobody else has open, and a permit to read it.
    async fn opened() -> (tempfile::TempDir, InPlace, impl AsyncFn() -> Permit) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disputes.db");
        Connection::open(&path).unwrap().execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n INT)").unwrap();
        let in_place = InPlace::open(&path, 2, 64, Duration::from_millis(20)).unwrap();
        let permits = FairSemaphore::new(2);
        let bounds = QueueBounds { per_caller: 1, in_all: 1 };
        (folder, in_place, async move || permits.acquire(0, 0, bounds, None).await.unwrap())
    }

    fn thread_of(_: &Connection) -> rusqlite::Result<ThreadId> {
        Ok(thread::current().id())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_read_is_done_by_who_asks_unless_the_disk_was_slow_before() {
        let (_folder, in_place, permit) = opened().await;
        let here = Ok(thread::current().id());
        assert_eq!(in_place.read(permit().await, thread_of).await, here);
        assert_eq!(in_place.read(permit().await, thread_of).await, here);
        let slow = |_: &Connection| {
            let began = real_now();
            while began.elapsed() <= SLOW {}
            Ok(thread::current().id())
        };
        has_read_from_disk();
        assert_eq!(in_place.read(permit().await, slow).await, here);
        assert_eq!(in_place.read(permit().await, thread_of).await, here, "it waited for a processor");
        BLOCKS_READ.set(-1);
        assert_eq!(in_place.read(permit().await, slow).await, here);
        assert_ne!(in_place.read(permit().await, thread_of).await, here);
        in_place.0.elsewhere_until.store(in_place.0.micros_open(), Ordering::Relaxed);
        assert_eq!(in_place.read(permit().await, thread_of).await, here);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_thread_of_the_runtime_never_reads() {
        let (_folder, in_place, permit) = opened().await;
        let _reading = in_place.0.turn().unwrap();
        let elsewhere = in_place.read(permit().await, thread_of).await.unwrap();
        assert_ne!(elsewhere, thread::current().id());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_lock_of_another_process_is_waited_for_elsewhere() {
        let (_folder, in_place, permit) = opened().await;
        let here = thread::current().id();
        let locked = move |_: &Connection| match thread::current().id() {
            thread if thread == here => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)),
            thread => Ok(thread),
        };
        assert!(in_place.read(permit().await, locked).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_closed_reads_nothing_and_nothing_is_written() {
        let (_folder, in_place, permit) = opened().await;
        let write = |file: &Connection| file.execute("INSERT INTO t VALUES (1)", []);
        assert!(matches!(in_place.read(permit().await, write).await, Err(StorageError::Unavailable(_))));
        let count = |file: &Connection| file.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0));
        assert_eq!(in_place.read(permit().await, count).await, Ok(0));
        in_place.close().await;
        assert!(matches!(in_place.read(permit().await, count).await, Err(StorageError::Unavailable(_))));
    }
}
