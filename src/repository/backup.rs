//! A copy of a SQLite database, as it was at one moment, while it is served.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sea_orm::sqlx;
use sea_orm::sqlx::Connection as _;
use sea_orm::sqlx::sqlite::SqliteConnection;

use super::StorageError;
use super::connection::{self, ConnectError, is_postgres};
use super::error::of_sqlx;
use super::files::{folder_of, in_words, make_private};

/// Why there is no copy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// PostgreSQL has means of its own.
    #[error("backup copies a SQLite database; for PostgreSQL use pg_dump or pg_basebackup")]
    Postgres,
    /// The copy would take the place of another file.
    #[error("{0} exists, and is not overwritten")]
    Exists(String),
    /// The copy cannot be put where it shall be.
    #[error("the copy {path} cannot be written: {problem}")]
    Target {
        /// Where the copy shall be.
        path: String,
        /// What does not let it.
        problem: String,
    },
    /// The database cannot be opened.
    #[error(transparent)]
    Source(#[from] ConnectError),
    /// The database cannot be copied.
    #[error("the database cannot be copied: {0}")]
    Failed(#[from] StorageError),
}

/// A file that is removed if it is not finished.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Copies the database at `url` to `target`, which must not exist: as it was at one moment, for its owner alone, on the
/// disk when this returns. At `target` there is either the whole copy or nothing.
pub async fn backup(url: &str, target: &Path) -> Result<(), BackupError> {
    if is_postgres(url) {
        return Err(BackupError::Postgres);
    }
    if target.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(target.display().to_string()));
    }
    let mut source = connection::open_to_copy(url).await?;
    let copied = copy(&mut source, target).await;
    // Whatever became of it: nobody is to find the database in disorder.
    source.close().await.map_err(|error| of_sqlx(&error))?;
    copied
}

async fn copy(source: &mut SqliteConnection, target: &Path) -> Result<(), BackupError> {
    let cannot = |error: io::Error| cannot(target, &error);
    let mut name = target.as_os_str().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = PathBuf::from(name);
    drop(make_private(&partial).map_err(cannot)?);
    let partial = Partial(partial);
    // From within a read transaction, beside which the service goes on to read and to write.
    let vacuum = sqlx::query("VACUUM INTO ?").bind(partial.0.display().to_string());
    vacuum.execute(source).await.map_err(|error| of_sqlx(&error))?;
    File::open(&partial.0).and_then(|file| file.sync_all()).map_err(cannot)?;
    put_in_place(&partial.0, target)?;
    drop(partial);
    File::open(folder_of(target)).and_then(|folder| folder.sync_all()).map_err(cannot)
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
        _ => in_words(error),
    };
    BackupError::Target { path: target.display().to_string(), problem }
}
