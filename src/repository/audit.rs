//! Reads the audit for an export: past the service, with no other right than to read that one table.

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseConnection, DbBackend, EntityTrait as _, Iden as _,
    Order as Direction, QueryFilter as _, QueryOrder as _, QueryResult, QuerySelect as _, QueryTrait as _, Select,
};

use super::columns::row_at;
use super::connection::{ConnectError, Pool, open_to_read};
use super::corrupt::sound;
use super::entity::audit;
use super::error::StorageError;
use super::migration::column;
use super::rows;
use crate::domain::{AuditAction, Carried, DisputeId, OrderId, Scope, Timestamp, UserId};

/// How many entries are read at a time: what an export holds in memory.
const PAGE: u64 = 1_000;

const NO_AUDIT: &str = "it has no audit: start this release on it, or run `dispute-service migrate`, and try again";

/// An entry of the audit as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRecord {
    /// Its number. Numbers grow, may have gaps, and none is given twice.
    pub seq: i64,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub user: UserId,
    /// By which right.
    pub scope: Carried<Scope>,
    /// What.
    pub action: Carried<AuditAction>,
    /// The order that it is about.
    pub order: OrderId,
    /// The dispute that it is about; `None` if it is about the order itself.
    pub dispute: Option<DisputeId>,
    /// The revision of the dispute afterwards, or of the order where there is none.
    pub revision: i64,
}

/// Reads the audit page by page, oldest first, up to the last entry that there was when it began.
#[derive(Debug)]
pub struct AuditReader {
    pool: Pool,
    /// The time and the number behind which the next page begins; `None` at the end.
    next: Option<Result<(i64, i64), StorageError>>,
    last_seq: i64,
    /// How many entries were left out.
    skipped: u64,
}

impl AuditReader {
    /// Opens the database at `url` to read its audit, from `since` on if that is given.
    pub async fn open(url: &str, since: Option<Timestamp>) -> Result<Self, ConnectError> {
        let pool = open_to_read(url).await?;
        let is_there = match pool.backend() {
            DbBackend::Postgres => "SELECT to_regclass('audit') IS NOT NULL",
            _ => "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'audit')",
        };
        let ask = |connection: DatabaseConnection| async move { Ok(column::<bool>(&connection, is_there).await?) };
        if pool.read(ask).await? != [true] {
            return Err(ConnectError::Unusable(NO_AUDIT.to_owned()));
        }
        let read = |connection: DatabaseConnection| async move {
            let last = audit::Entity::find().select_only().column_as(audit::Column::Seq.max(), "last");
            Ok(last.into_tuple::<Option<i64>>().one(&connection).await?.flatten())
        };
        let last_seq = pool.read(read).await?.unwrap_or(0);
        // Without an instant also what is dated before any that there can be.
        let after = (since.map_or(i64::MIN, Timestamp::micros), i64::MIN);
        Ok(Self { pool, next: Some(Ok(after)), last_seq, skipped: 0 })
    }

    /// Closes the database: a stopped service's files are as it left them.
    pub async fn close(self) -> Result<(), StorageError> {
        Ok(self.pool.connections().close_by_ref().await?)
    }

    /// How many entries were left out so far because they make no sense as they are stored.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next entries; `None` at the end. One that makes no sense as it is stored is left out and counted, and the log names
    /// it; [`StorageError::Corrupt`] if what follows cannot be found because of it.
    pub async fn next_page(&mut self) -> Result<Option<Vec<AuditRecord>>, StorageError> {
        let Some(after) = self.next.clone().transpose()? else { return Ok(None) };
        let query = page_after(after, self.last_seq).into_query();
        let read = |connection: DatabaseConnection| {
            let query = query.clone();
            async move { Ok(connection.query_all(&query).await?) }
        };
        let rows = self.pool.read(read).await?;
        // By the last row whatever it contains: a page of which nothing is left has a next one, too.
        self.next = rows.last().filter(|_| count(&rows) == PAGE).map(position);
        let models = rows.iter().map(|row| row_at::<audit::Model>(row, 0)).filter_map(sound);
        let records: Vec<_> = models.map(rows::audit_record_from).filter_map(sound).collect();
        self.skipped = self.skipped.saturating_add(count(&rows).saturating_sub(count(&records)));
        Ok(Some(records))
    }
}

fn count<T>(rows: &[T]) -> u64 {
    u64::try_from(rows.len()).unwrap_or(u64::MAX)
}

/// The time and the number of a row, whatever the other columns contain.
fn position(row: &QueryResult) -> Result<(i64, i64), StorageError> {
    let column = |column: audit::Column| row.try_get::<i64>("", &column.to_string());
    let seq = column(audit::Column::Seq)?;
    let what = "its time is not a number, so the entries after it cannot be found";
    let corrupt = |_| StorageError::Corrupt { table: "audit", id: seq.to_string(), what };
    Ok((column(audit::Column::Time).map_err(corrupt)?, seq))
}

/// What follows a time and a number, up to a last number, oldest first.
pub(super) fn page_after(after: (i64, i64), last_seq: i64) -> Select<audit::Entity> {
    use audit::Column;
    let key = Expr::tuple([Expr::col(Column::Time), Expr::col(Column::Seq)]);
    audit::Entity::find()
        .filter(key.gt(Expr::tuple([Expr::value(after.0), Expr::value(after.1)])))
        .filter(Column::Seq.lte(last_seq))
        .order_by(Column::Time, Direction::Asc)
        .order_by(Column::Seq, Direction::Asc)
        .limit(PAGE)
}
