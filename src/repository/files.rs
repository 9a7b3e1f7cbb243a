//! The files of a SQLite database: created for their owner only, and watched. SQLite continues to write to a file that
//! was removed or moved, or that somebody overwrote: commits acknowledged then are lost.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::sync::watch;

use super::error::StorageError;

/// The permissions of files we create: for the owner only.
const OWNER_ALONE: u32 = 0o600;

/// The suffixes of the files that SQLite keeps beside a database: the write-ahead log and its index.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// With less free disk space than this, a batch of commands may not fit.
const ROOM_BYTES: usize = 256 * 1024;

/// How often a check is repeated before it counts that somebody overwrote the file: SQLite may be writing.
const LOOKS: usize = 3;

/// Why a database file cannot be used; follows its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the database file {path} {problem}")]
pub struct FileError {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

impl FileError {
    pub(super) fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self { path: path.display().to_string(), problem: problem.into() }
    }
}

/// A database file and the files beside it.
#[derive(Debug)]
pub(super) struct DatabaseFiles {
    /// The path as configured.
    path: PathBuf,
    /// Held open to read its content. Closing it would release SQLite's locks on it.
    file: File,
    /// The identities of the files, once SQLite has created them all.
    watched: OnceLock<Watched>,
    lost: watch::Sender<Option<Loss>>,
}

#[derive(Debug)]
struct Watched {
    /// The database, and what is beside it.
    identities: [(PathBuf, Identity); 3],
    last_seen: Mutex<Stamp>,
    /// The index of the write-ahead log, held open for the same reason as the database.
    index: File,
}

/// The identity of a file, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Identity {
    device: u64,
    inode: u64,
}

/// Values that SQLite never decreases in a file. A copy made before this process opened the file has a lower count:
/// opening increases it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    /// A random number that the database was given when it was first opened. 0 if the file does not contain one yet.
    mark: u32,
    /// How often the first page was changed: with every change of the file's size, among others.
    changes: u32,
    /// The file's minimum length according to that page.
    promised: u64,
    /// The file's length.
    length: u64,
}

/// What happened to the files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Loss {
    /// A sentence for the operator.
    pub(super) what: String,
    /// Whether the path still leads to the same file, with other content.
    pub(super) is_overwritten: bool,
}

impl DatabaseFiles {
    /// Finds the database file, or creates one if `may_create`.
    pub(super) fn find(path: &Path, may_create: bool) -> Result<Self, FileError> {
        let file = open(path, may_create)?;
        Ok(Self { path: path.to_owned(), file, watched: OnceLock::new(), lost: watch::Sender::new(None) })
    }

    /// Claims the file for this process, alone or with others, for as long as it is held open. Returns whether that is
    /// possible.
    pub(super) fn claim(&self, alone: bool) -> bool {
        if alone {
            return self.file.try_lock().is_ok();
        }
        // Some file systems know no such locks: then nobody is alone there.
        !matches!(self.file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Where the database is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Watches the files from here on. SQLite has created them, and has just changed the first page.
    pub(super) fn watch(&self) -> Result<(), StorageError> {
        // A second migration keeps the first one's watch.
        if self.watched.get().is_none() {
            let watched = self.watched().map_err(|error| self.unreadable(&error))?;
            let _ = self.watched.set(watched);
        }
        Ok(())
    }

    fn watched(&self) -> io::Result<Watched> {
        // Follows a link: SQLite's other files are beside its target.
        let real = fs::canonicalize(&self.path)?;
        let [log, index] = BESIDE.map(|suffix| beside(&real, suffix));
        let identify = |path: PathBuf| fs::metadata(&path).map(|metadata| (path, Identity::of(&metadata)));
        let last_seen = Mutex::new(self.stamp()?);
        let identities = [identify(self.path.clone())?, identify(log)?, identify(index.clone())?];
        Ok(Watched { identities, last_seen, index: File::open(index)? })
    }

    /// Whether the files are still the same ones, so that the last commit is in them. Once they are not, they never are
    /// again.
    pub(super) fn require(&self) -> Result<(), StorageError> {
        if self.lost.borrow().is_none()
            && let Some(watched) = self.watched.get()
            && let Some(loss) = self.loss(watched)
        {
            self.lost.send_replace(Some(loss));
        }
        match &*self.lost.borrow() {
            None => Ok(()),
            Some(loss) => Err(StorageError::Unavailable(loss.what.clone())),
        }
    }

    fn loss(&self, watched: &Watched) -> Option<Loss> {
        let loss = |what, is_overwritten| Some(Loss { what, is_overwritten });
        for (path, identity) in &watched.identities {
            let path_name = path.display();
            match fs::metadata(path).map(|metadata| Identity::of(&metadata)) {
                Ok(found) if found == *identity => {}
                Ok(_) => return loss(format!("{path_name} was replaced by another file while it was served"), false),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return loss(format!("{path_name} was removed or moved while it was served"), false);
                }
                Err(error) => {
                    return loss(format!("{path_name} can no longer be found: {}", in_words(&error)), false);
                }
            }
        }
        let mut last_seen = watched.last_seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut path = &self.path;
        for _ in 0..LOOKS {
            let stamp = self.stamp().ok().filter(|stamp| stamp.can_follow(*last_seen));
            match (stamp, watched.log_is_whole()) {
                (Some(stamp), Ok(true)) => {
                    *last_seen = stamp;
                    return None;
                }
                (Some(_), _) => path = watched.log(),
                (None, _) => path = &self.path,
            }
        }
        loss(format!("{} was written over, or cut off, while it was served", path.display()), true)
    }

    fn stamp(&self) -> io::Result<Stamp> {
        // The file's header, see https://www.sqlite.org/fileformat.html: big-endian numbers.
        let mut page_size = [0; 2];
        self.file.read_exact_at(&mut page_size, 16)?;
        let number_at = |offset| {
            let mut number = [0; 4];
            self.file.read_exact_at(&mut number, offset).map(|()| u32::from_be_bytes(number))
        };
        let pages = u64::from(number_at(28)?);
        Ok(Stamp {
            mark: number_at(60)?,
            changes: number_at(24)?,
            promised: pages.saturating_mul(page_bytes(u16::from_be_bytes(page_size))),
            length: self.file.metadata()?.len(),
        })
    }

    fn unreadable(&self, error: &io::Error) -> StorageError {
        StorageError::Unavailable(format!("{} cannot be inspected: {}", self.path.display(), in_words(error)))
    }

    /// Returns what happened to the files, once something did.
    pub(super) async fn lost(&self) -> Loss {
        let mut lost = self.lost.subscribe();
        match lost.wait_for(Option::is_some).await.map(|loss| loss.clone()) {
            Ok(Some(loss)) => loss,
            // The sender lives as long as this.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// What happened to the files, if anything did.
    pub(super) fn loss_so_far(&self) -> Option<Loss> {
        self.lost.borrow().clone()
    }

    /// Moves the write-ahead log of an overwritten file away: otherwise the next process that opens the file would
    /// write the old log into it. The log is kept under another name.
    pub(super) fn set_log_aside(&self) -> io::Result<()> {
        let Some(watched) = self.watched.get() else { return Ok(()) };
        let [_, (log, _), (index, _)] = &watched.identities;
        fs::rename(log, beside(log, ".old"))?;
        fs::remove_file(index)
    }

    /// Checks whether the disk has room for what commands write.
    pub(super) async fn find_room(&self) -> Result<(), StorageError> {
        let folder = folder_of(&self.path).to_owned();
        let wrote =
            tokio::task::spawn_blocking(move || tempfile::tempfile_in(folder)?.write_all(&[0; ROOM_BYTES])).await;
        match wrote {
            Ok(Err(error)) if is_full(&error) => {
                Err(StorageError::Unavailable(format!("the disk is full: {}", in_words(&error))))
            }
            // Other obstacles do not affect SQLite.
            Ok(Ok(()) | Err(_)) | Err(_) => Ok(()),
        }
    }

    /// Whether everything is in the one file.
    pub(super) fn is_one_file(&self) -> bool {
        // Where a link leads, as for `watch`.
        let real = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        BESIDE.iter().all(|suffix| !beside(&real, suffix).exists())
    }
}

/// The page size that SQLite's files state.
fn page_bytes(told: u16) -> u64 {
    // 65,536 does not fit into the field.
    if told == 1 { 65_536 } else { u64::from(told) }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&error.kind())
}

impl Watched {
    fn log(&self) -> &PathBuf {
        let [_, (log, _), _] = &self.identities;
        log
    }

    /// Whether the write-ahead log is as long as its index says. SQLite writes a frame before it updates the index, and
    /// truncates the log after it has updated the index.
    fn log_is_whole(&self) -> io::Result<bool> {
        // The index's header, see https://www.sqlite.org/walformat.html: numbers as the machine has them.
        let mut header = [0; 6];
        self.index.read_exact_at(&mut header, 14)?;
        let [a, b, f0, f1, f2, f3] = header;
        let frame = page_bytes(u16::from_ne_bytes([a, b])).saturating_add(24);
        let frames = u64::from(u32::from_ne_bytes([f0, f1, f2, f3])).saturating_mul(frame);
        Ok(frames == 0 || fs::metadata(self.log())?.len() >= frames.saturating_add(32))
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl Stamp {
    /// Whether SQLite itself can have turned the earlier state into this one: it makes a file shorter only after saying
    /// so on the first page.
    fn can_follow(self, earlier: Self) -> bool {
        let is_the_same = earlier.mark == 0 || self.mark == earlier.mark;
        is_the_same
            && self.changes >= earlier.changes
            && (self.length >= earlier.length || self.length >= self.promised)
    }
}

/// Opens or creates a database file; an error says why it cannot.
fn open(path: &Path, may_create: bool) -> Result<File, FileError> {
    let problem = |problem: String| Err(FileError::new(path, problem));
    let opened = OpenOptions::new().read(true).write(true).open(path);
    match opened {
        Ok(file) if file.metadata().is_ok_and(|metadata| metadata.is_file()) => Ok(file),
        Ok(_) => problem("is not a regular file".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => problem("is a directory".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            problem("cannot be created: a part of its path is not a directory".to_owned())
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            problem(format!("cannot be written: {}", in_words(&error)))
        }
        Err(_) => match folder_of(path).metadata() {
            Ok(_) if !may_create => problem("does not exist, and is created only with mode=rwc in its URL".to_owned()),
            Ok(_) => create(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                problem(format!("cannot be created: the directory {} does not exist", folder_of(path).display()))
            }
            Err(error) => problem(format!("cannot be created: {}", in_words(&error))),
        },
    }
}

/// Creates a file that only its owner can access, whatever the umask; or finds the one that another process just
/// created.
fn create(path: &Path) -> Result<File, FileError> {
    let made = make_private(path).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => OpenOptions::new().read(true).write(true).open(path),
        _ => Err(error),
    });
    made.map_err(|error| FileError::new(path, format!("cannot be created: {}", in_words(&error))))
}

/// Creates a new file that only its owner can access, whatever the umask.
pub(super) fn make_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(OWNER_ALONE).open(path)?;
    file.set_permissions(Permissions::from_mode(OWNER_ALONE))?;
    Ok(file)
}

/// The directory that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// The file with this suffix added to its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The system's error message, without its number.
pub(super) fn in_words(error: &io::Error) -> String {
    let said = error.to_string();
    said.split(" (os error").next().unwrap_or(&said).to_owned()
}
