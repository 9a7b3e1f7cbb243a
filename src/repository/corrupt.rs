//! Corrupt rows. Each fails only the requests that ask for it, and lists leave it out. The log names each once, and
//! they are counted.

use std::collections::{BTreeSet, HashMap};
use std::sync::{LazyLock, Mutex, PoisonError};

use sea_orm::{ConnectionTrait, EntityTrait, QueryTrait as _, Select};
use uuid::Uuid;

use super::columns::row_at;
use super::error::StorageError;
use super::stored::Stored;

/// How many corrupt rows are logged: a table full of them must not fill the log or the memory.
const TOLD: usize = 10_000;

/// The corrupt rows found since the process started, by table and key.
static FOUND: LazyLock<Mutex<BTreeSet<(&'static str, String)>>> = LazyLock::new(Mutex::default);

/// Returns how many corrupt rows this process has found so far; stops counting at 10,000.
pub fn corrupt_rows() -> usize {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// Logs a corrupt row, unless it was logged before.
pub(super) fn note(error: &StorageError) {
    if let StorageError::Corrupt { table, id, what } = error {
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if found.len() < TOLD && found.insert((table, id.clone())) {
            tracing::error!(table, id, what, "skipping a corrupt row");
        }
    }
}

/// Keeps the valid values, and logs the rest.
pub(super) fn sound<T, E: AsRef<StorageError>>(read: Result<T, E>) -> Option<T> {
    read.inspect_err(|error| note(error.as_ref())).ok()
}

/// Separates the valid values from the corrupt rows, which are logged and returned by key with what is wrong with them.
pub(super) fn apart<T>(
    read: impl IntoIterator<Item = Result<T, StorageError>>,
) -> (Vec<T>, HashMap<Uuid, StorageError>) {
    let (mut whole, mut broken) = (Vec::new(), HashMap::new());
    for read in read {
        match read {
            Ok(row) => whole.push(row),
            Err(error) => {
                note(&error);
                if let StorageError::Corrupt { id, .. } = &error
                    && let Ok(key) = id.parse()
                {
                    broken.insert(key, error);
                }
            }
        }
    }
    (whole, broken)
}

/// A row that could not be read.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    /// What is wrong with it.
    pub(super) error: StorageError,
    /// The order that it belongs to, as far as that can be read.
    pub(super) order: Option<String>,
}

impl Broken {
    /// Its key, if that can be read and is a UUID.
    pub(super) fn key(&self) -> Option<Uuid> {
        match &self.error {
            StorageError::Corrupt { id, .. } => id.parse().ok(),
            _ => None,
        }
    }
}

impl AsRef<StorageError> for Broken {
    fn as_ref(&self) -> &StorageError {
        &self.error
    }
}

impl AsRef<Self> for StorageError {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// The rows of a table that a query found, one by one.
pub(super) type Fetched<R> = Vec<Result<R, Broken>>;

/// Reads the rows that a query of all columns finds. A row with an invalid column does not affect the others.
pub(super) async fn fetch<E: EntityTrait<Model: Stored>>(
    select: Select<E>,
    connection: &impl ConnectionTrait,
) -> Result<Fetched<E::Model>, StorageError> {
    let rows = connection.query_all(&select.into_query()).await?;
    Ok(rows.iter().map(|row| row_at(row, 0)).collect())
}
