//! A copy of a SQLite database, as it was at one moment, while it is served.

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

/// Why there is no copy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// PostgreSQL has means of its own.
    #[error("backup copies a SQLite database; for PostgreSQL use pg_dump or pg_basebackup")]
    Postgres,
    /// The copy would take the place of another file.
    #[error("{0} already exists and is not overwritten")]
    Exists(String),
    /// The copy cannot be put where it shall be.
    #[error("the copy {path} cannot be written: {problem}")]
    Target {
        /// Where the copy shall be.
        path: String,
        /// What does not let it.
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

/// After how many steps of SQLite's machine it asks whether to stop: well under a millisecond.
const STEPS: i32 = 1_000;

/// Copies the database at `url` to `target`, which must not exist: as it was at one moment, for its owner alone, on the
/// disk when this returns. At `target` there is either the whole copy or nothing. When `stopped` completes before the copy
/// does, the copy is abandoned, and nothing is left of it.
pub async fn backup(url: &str, target: &Path, stopped: impl Future<Output = ()>) -> Result<(), BackupError> {
    if is_postgres(url) {
        return Err(BackupError::Postgres);
    }
    if target.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(target.display().to_string()));
    }
    let mut source = connection::open_to_copy(url).await?;
    let copied = copy(&mut source, target, stopped).await;
    // Whatever became of it: nobody is to find the database in disorder.
    source.close().await.map_err(|error| of_sqlx(&error))?;
    copied
}

async fn copy(
    source: &mut SqliteConnection,
    target: &Path,
    stopped: impl Future<Output = ()>,
) -> Result<(), BackupError> {
    let cannot = |error: io::Error| cannot(target, &error);
    // A directory of its own: SQLite makes a journal beside what it writes, and an unfinished copy goes with all of it.
    let folder = tempfile::Builder::new().prefix(".backup-").tempdir_in(folder_of(target)).map_err(cannot)?;
    let partial = folder.path().join("copy.db");
    drop(make_private(&partial).map_err(cannot)?);
    vacuum(source, &partial, stopped).await?;
    File::open(&partial).and_then(|file| file.sync_all()).map_err(cannot)?;
    put_in_place(&partial, target)?;
    drop(folder);
    File::open(folder_of(target)).and_then(|folder| folder.sync_all()).map_err(cannot)
}

/// Writes the copy from within a read transaction, beside which the service goes on to read and to write.
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
            // Not to be left alone: SQLite would go on to write, and leave its files beside the source.
            written.await
        }
    };
    match result {
        Ok(_) => Ok(()),
        Err(_) if is_stopped.load(Ordering::Relaxed) => Err(BackupError::Interrupted),
        Err(error) => Err(of_sqlx(&error).into()),
    }
}

/// Gives the copy its name, unless something else has it by now.
fn put_in_place(partial: &Path, target: &Path) -> Result<(), BackupError> {
    match fs::hard_link(partial, target) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(BackupError::Exists(target.display().to_string()))
        }
        // Not every file system knows of links.
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
