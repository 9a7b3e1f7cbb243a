//! Copies a SQLite database as a consistent snapshot while it is served.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::sqlx;
use sea_orm::sqlx::Connection as _;
use sea_orm::sqlx::sqlite::SqliteConnection;

use super::StorageError;
use super::connection::{self, ConnectError, is_postgres};
use super::error::of_sqlx;
use super::files::{folder_of, in_words, is_full, make_private};

/// Why no copy was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// PostgreSQL has its own tools.
    #[error("backup copies a SQLite database; for PostgreSQL use pg_dump or pg_basebackup")]
    Postgres,
    /// The copy would overwrite another file.
    #[error("{0} already exists and is not overwritten")]
    Exists(String),
    /// The copy cannot be written to its destination.
    #[error("the copy {path} cannot be written: {problem}")]
    Target {
        /// The destination.
        path: String,
        /// The problem.
        problem: String,
    },
    /// The process was told to stop.
    #[error("interrupted before the copy was complete; the partial copy was removed")]
    Interrupted,
    /// The database cannot be opened.
    #[error(transparent)]
    Source(#[from] ConnectError),
    /// The database cannot be copied.
    #[error("the database cannot be copied: {0}")]
    Failed(#[from] StorageError),
}

/// SQLite checks whether to stop after this many virtual machine steps: well under a millisecond.
const STEPS: i32 = 1_000;

/// Copies the database at `url` to `target`, which must not exist. The copy is a consistent snapshot, accessible to its
/// owner only, and on disk when this returns. At `target` there is either the whole copy or nothing. If `stopped`
/// completes first, the copy is abandoned and removed.
pub async fn backup(url: &str, target: &Path, stopped: impl Future<Output = ()>) -> Result<(), BackupError> {
    if is_postgres(url) {
        return Err(BackupError::Postgres);
    }
    if target.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(target.display().to_string()));
    }
    let mut source = connection::open_to_copy(url).await?;
    let copied = copy(&mut source, target, stopped).await;
    // Whatever the result, the database must be closed cleanly.
    source.close().await.map_err(|error| of_sqlx(&error))?;
    copied
}

async fn copy(
    source: &mut SqliteConnection,
    target: &Path,
    stopped: impl Future<Output = ()>,
) -> Result<(), BackupError> {
    let cannot = |error: io::Error| cannot(target, &error);
    // A directory of its own: SQLite creates a journal beside the file it writes, and an unfinished copy is removed
    // with it.
    let folder = tempfile::Builder::new().prefix(".backup-").tempdir_in(folder_of(target)).map_err(cannot)?;
    let partial = folder.path().join("copy.db");
    drop(make_private(&partial).map_err(cannot)?);
    vacuum(source, &partial, stopped).await?;
    File::open(&partial).and_then(|file| file.sync_all()).map_err(cannot)?;
    put_in_place(&partial, target)?;
    drop(folder);
    File::open(folder_of(target)).and_then(|folder| folder.sync_all()).map_err(cannot)
}

/// Writes the copy within a read transaction, beside which the service continues to read and write.
async fn vacuum(
    source: &mut SqliteConnection,
    partial: &Path,
    stopped: impl Future<Output = ()>,
) -> Result<(), BackupError> {
    let is_stopped = Arc::<AtomicBool>::default();
    let goes_on = {
        let is_stopped = is_stopped.clone();
        move || !is_stopped.load(Ordering::Relaxed)
    };
    source.lock_handle().await.map_err(|error| of_sqlx(&error))?.set_progress_handler(STEPS, goes_on);
    let mut written = pin!(sqlx::query("VACUUM INTO ?").bind(partial.display().to_string()).execute(source));
    let result = tokio::select! {
        result = &mut written => result,
        () = stopped => {
            is_stopped.store(true, Ordering::Relaxed);
            // Must be awaited: otherwise SQLite would continue to write, and leave its files beside the source.
            written.await
        }
    };
    match result {
        Ok(_) => Ok(()),
        Err(_) if is_stopped.load(Ordering::Relaxed) => Err(BackupError::Interrupted),
        Err(error) => Err(of_sqlx(&error).into()),
    }
}

/// Renames the copy to `target`, unless a file has appeared there.
fn put_in_place(partial: &Path, target: &Path) -> Result<(), BackupError> {
    match fs::hard_link(partial, target) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(BackupError::Exists(target.display().to_string()))
        }
        // Not every file system supports links.
        Err(_) => fs::rename(partial, target).map_err(|error| cannot(target, &error)),
    }
}

fn cannot(target: &Path, error: &io::Error) -> BackupError {
    let problem = match error.kind() {
        io::ErrorKind::NotFound => format!("the directory {} does not exist", folder_of(target).display()),
        _ if is_full(error) => "the disk is full".to_owned(),
        _ => in_words(error),
    };
    BackupError::Target { path: target.display().to_string(), problem }
}
