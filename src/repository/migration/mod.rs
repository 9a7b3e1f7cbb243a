//! The schema, step by step.
//!
//! A release runs on the schema of the next one: a migration adds tables, indexes, and columns that are nullable or
//! have a default; a replacement is added a release before the old column is dropped. A migration that an older release
//! cannot work with raises `oldest` in `schema_release` to the first release that can.

mod m0001_initial;
mod m0002_whole_rulebook;
mod m0003_events_by_whom;
mod m0004_settlement_attempts;
mod m0005_release;
mod m0006_events_by_order;
mod m0007_write_probe;
mod m0008_token_key;
mod m0009_audit;
mod m0010_leaner_lists;
mod m0011_deal;

use std::collections::BTreeSet;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode, Statement, TransactionTrait as _,
    TryGetable,
};
use sea_orm_migration::{MigrationName as _, MigrationTrait, MigratorTrait};

use super::error::{StorageError, is_denied};
use super::transaction::begun;
use crate::domain::RELEASE;

pub(super) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_initial::Migration),
            Box::new(m0002_whole_rulebook::Migration),
            Box::new(m0003_events_by_whom::Migration),
            Box::new(m0004_settlement_attempts::Migration),
            Box::new(m0005_release::Migration),
            Box::new(m0006_events_by_order::Migration),
            Box::new(m0007_write_probe::Migration),
            Box::new(m0008_token_key::Migration),
            Box::new(m0009_audit::Migration),
            Box::new(m0010_leaner_lists::Migration),
            Box::new(m0011_deal::Migration),
        ]
    }
}

/// A table of the first migration.
const FIRST_TABLES: [&str; 5] = ["orders", "disputes", "events", "event_log", "idempotency_keys"];

/// Why this release cannot run on a database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A newer release has changed the schema so that this one cannot work with it.
    #[error("the database has moved on: it needs release {oldest} or later, and this is release {RELEASE}")]
    TooOld {
        /// The oldest release that can.
        oldest: i16,
    },
    /// Migrations of a newer release are applied, but not all of this one's.
    #[error(
        "the database is of another line of releases: it has {unknown}, which this release does not know, and lacks {pending}"
    )]
    OtherLine {
        /// The migrations that this release does not know.
        unknown: String,
        /// The migrations that it needs.
        pending: String,
    },
    /// The schema has to be changed, and the role may not do that.
    #[error(
        "migrations are pending ({pending}), and the database's role may not change the schema: run `dispute-service migrate` once as the owner of the tables"
    )]
    NotTheOwner {
        /// The migrations.
        pending: String,
    },
    /// A table with one of our names exists, but was not created by us.
    #[error(
        "the database already has a table {table}, of another application: the service needs a database, or a schema, of its own"
    )]
    Foreign {
        /// The table.
        table: String,
    },
    /// The role may not read the schema's version.
    #[error(
        "the database's role may not read the schema's tables: it needs SELECT, INSERT, UPDATE and DELETE on all of them"
    )]
    NoRights,
    /// The database fails to execute a statement.
    #[error("the schema cannot be read or applied: {0}")]
    Storage(#[from] StorageError),
}

impl From<DbErr> for SchemaError {
    fn from(error: DbErr) -> Self {
        if is_denied(&error) { Self::NoRights } else { StorageError::from(error).into() }
    }
}

/// The advisory lock that PostgreSQL holds while one process migrates. The others wait, however long that takes.
const LOCK: &str = "SET LOCAL lock_timeout = 0;
    SET LOCAL statement_timeout = 0;
    SELECT pg_advisory_xact_lock(7305794241085369197);
    SET LOCAL lock_timeout = '10s'";

/// Applies pending migrations in one transaction; if there are none, it only reads, which any role can. Of several
/// processes that start at the same time, one migrates; the others wait for it, on PostgreSQL at the advisory lock and
/// on SQLite at BEGIN IMMEDIATE.
pub(super) async fn apply(writer: &DatabaseConnection) -> Result<(), SchemaError> {
    if pending(writer).await?.is_empty() {
        return Ok(());
    }
    let transaction = writer.begin_with_options(begun(SqliteTransactionMode::Immediate)).await?;
    if writer.get_database_backend() == DbBackend::Postgres {
        transaction.execute_unprepared(LOCK).await?;
    }
    // Again: another process may have been first.
    let pending = pending(&transaction).await?;
    if let Some(table) = foreign(&transaction, &pending).await? {
        return Err(SchemaError::Foreign { table });
    }
    if !pending.is_empty() {
        Migrator::up(&transaction, None).await.map_err(|error| {
            if is_denied(&error) { SchemaError::NotTheOwner { pending: listed(&pending) } } else { error.into() }
        })?;
    }
    Ok(transaction.commit().await?)
}

/// The pending migrations. Those of a newer release do not matter, as long as the database does not require a newer
/// release.
async fn pending(connection: &impl ConnectionTrait) -> Result<BTreeSet<String>, SchemaError> {
    let ours: BTreeSet<String> = Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    let is_there = match connection.get_database_backend() {
        DbBackend::Postgres => {
            // Through pg_class: it shows the state at the statement, not one that was read before a lock.
            "SELECT EXISTS (SELECT 1 FROM pg_class WHERE oid = to_regclass('seaql_migrations'))"
        }
        _ => "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'seaql_migrations')",
    };
    if column::<bool>(connection, is_there).await? != [true] {
        return Ok(ours);
    }
    let applied: BTreeSet<String> =
        column(connection, "SELECT version FROM seaql_migrations").await?.into_iter().collect();
    if applied.contains(m0005_release::NAME) {
        let oldest: Vec<i16> = column(connection, "SELECT oldest FROM schema_release").await?;
        if let Some(oldest) = oldest.into_iter().max().filter(|oldest| *oldest > RELEASE) {
            return Err(SchemaError::TooOld { oldest });
        }
    }
    let pending: BTreeSet<String> = ours.difference(&applied).cloned().collect();
    let unknown: BTreeSet<String> = applied.difference(&ours).cloned().collect();
    if !pending.is_empty() && !unknown.is_empty() {
        return Err(SchemaError::OtherLine { unknown: listed(&unknown), pending: listed(&pending) });
    }
    Ok(pending)
}

/// A table of the first migration that already exists although that migration is pending.
async fn foreign(connection: &impl ConnectionTrait, pending: &BTreeSet<String>) -> Result<Option<String>, DbErr> {
    if !pending.contains(m0001_initial::Migration.name()) {
        return Ok(None);
    }
    let tables = match connection.get_database_backend() {
        DbBackend::Postgres => {
            "SELECT relname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
                WHERE nspname = current_schema()"
        }
        _ => "SELECT name FROM sqlite_master",
    };
    let found: Vec<String> = column(connection, tables).await?;
    Ok(found.into_iter().find(|name| FIRST_TABLES.contains(&name.as_str())))
}

fn listed(migrations: &BTreeSet<String>) -> String {
    migrations.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The one column of a query.
pub(super) async fn column<T: TryGetable>(connection: &impl ConnectionTrait, sql: &str) -> Result<Vec<T>, DbErr> {
    let rows = connection.query_all_raw(Statement::from_string(connection.get_database_backend(), sql)).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}
