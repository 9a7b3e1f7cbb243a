//! Who may serve a database: any number of processes whose clocks run, or one alone whose clock is moved by hand. What one
//! process dates by its own hand, no other may judge by another clock.

use std::time::Duration;

use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::postgres::{PgConnection, Postgres};
use sea_orm::sqlx::{self, Row as _};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};
use tokio::sync::Mutex;

use super::Repository;
use super::connection::{APPLICATION, ConnectError, is_postgres, open_to_read};
use super::error::{StorageError, of_sqlx};
use crate::clock::pause;

/// The advisory lock of PostgreSQL that a process alone holds, and that others find free.
const ALONE: i64 = 7_305_794_241_085_369_200;

/// How often a process that must be alone looks whether it is, and how long it waits in between.
const ATTEMPTS: usize = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// Why a database cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Another process serves it.
    #[error("--clock manual needs the database for itself, and another process uses it")]
    NotAlone,
    /// A process with a manual clock serves it.
    #[error("another process serves the database with --clock manual, which no other may use meanwhile")]
    Taken,
    /// It cannot be asked.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It does not say.
    #[error("the database: {0}")]
    Storage(#[from] StorageError),
}

/// The claim of a process that is alone: held as long as this.
#[derive(Debug)]
pub struct Alone {
    /// On PostgreSQL; on SQLite the file is locked as long as the repository is open.
    connection: Option<Mutex<PoolConnection<Postgres>>>,
}

impl Alone {
    /// Claims a database of PostgreSQL before anything else of this process uses it. On SQLite that is done by
    /// [`Repository::claim`].
    pub async fn before_opening(url: &str) -> Result<Self, ClaimError> {
        if !is_postgres(url) {
            return Ok(Self { connection: None });
        }
        let pool = open_to_read(url).await?;
        let pool = pool.connections().get_postgres_connection_pool();
        let mut connection = pool.acquire().await.map_err(|error| of_sqlx(&error))?;
        let mut claimed = try_alone(&mut connection).await;
        // A process that has just ended can be there a little longer.
        for _ in 0..ATTEMPTS {
            if claimed.is_ok() {
                break;
            }
            pause(PAUSE).await;
            claimed = try_alone(&mut connection).await;
        }
        claimed?;
        Ok(Self { connection: Some(Mutex::new(connection)) })
    }

    /// Whether the claim still stands.
    pub async fn stands(&self) -> bool {
        let Some(connection) = &self.connection else { return true };
        sqlx::query("SELECT").execute(&mut **connection.lock().await).await.is_ok()
    }
}

/// Takes the lock of who is alone, unless another process has it or uses the database.
async fn try_alone(connection: &mut PgConnection) -> Result<(), ClaimError> {
    let ask = "SELECT pg_try_advisory_lock($1), EXISTS (SELECT FROM pg_stat_activity \
            WHERE datname = current_database() AND application_name = $2 AND pid <> pg_backend_pid())";
    let row = sqlx::query(ask).bind(ALONE).bind(APPLICATION).fetch_one(&mut *connection).await;
    let row = row.map_err(|error| of_sqlx(&error))?;
    let has = |index: usize| row.try_get::<bool, _>(index).map_err(|error| of_sqlx(&error));
    if !has(0)? {
        return Err(ClaimError::Taken);
    }
    if !has(1)? {
        return Ok(());
    }
    // So that others can start meanwhile.
    let release = sqlx::query("SELECT pg_advisory_unlock($1)").bind(ALONE).execute(connection).await;
    release.map_err(|error| of_sqlx(&error))?;
    Err(ClaimError::NotAlone)
}

impl Repository {
    /// Claims the database for this process, alone or with others, for as long as it is open.
    pub async fn claim(&self, alone: bool) -> Result<(), ClaimError> {
        let refused = || if alone { ClaimError::NotAlone } else { ClaimError::Taken };
        if let Some(files) = &self.files {
            return if files.claim(alone) { Ok(()) } else { Err(refused()) };
        }
        if alone {
            return Ok(());
        }
        let is_free = |connection: DatabaseConnection| async move {
            let ask = "SELECT pg_try_advisory_xact_lock_shared($1)";
            let ask = Statement::from_sql_and_values(DbBackend::Postgres, ask, [ALONE.into()]);
            let row = connection.query_one_raw(ask).await?;
            Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(true))
        };
        if self.background.read(is_free).await? { Ok(()) } else { Err(refused()) }
    }
}
