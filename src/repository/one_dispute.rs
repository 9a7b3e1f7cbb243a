//! A dispute by its id, in its aggregate. Most reads are this one, so its statement is written once, and its rows are
//! read by position.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use rusqlite::Connection;
use sea_orm::DatabaseConnection;
use sea_orm::sqlx::{self, AssertSqlSafe};
use uuid::Uuid;

use super::columns::{Columns, row_at};
use super::connection::InPlace;
use super::corrupt::{Broken, note};
use super::entity::{OPEN, dispute, order};
use super::error::{StorageError, of_sqlx};
use super::gathered::Gathered;
use super::stored::Stored;
use super::{Found, ReadClass, Repository, rows};
use crate::domain::{Caller, DisputeId};

/// The statements, which read one snapshot without a transaction.
pub(super) static ON_SQLITE: LazyLock<String> = LazyLock::new(|| statement("= ?1"));
static ON_POSTGRES: LazyLock<String> = LazyLock::new(|| statement("= ANY($1)"));

/// The disputes with the ids that are wanted, each with its order; and the order's other open disputes. However many of
/// an order's disputes have ended, only the one that is wanted is read. The id that is wanted comes first.
fn statement(wanted: &str) -> String {
    let (dispute, order) = (list::<dispute::Model>(), list::<order::Model>());
    let no_order = ", NULL".repeat(order::Model::COLUMNS.len());
    format!(
        "SELECT disputes.dispute_id{dispute}{order} FROM disputes \
         LEFT JOIN orders ON orders.order_id = disputes.order_id WHERE disputes.dispute_id {wanted} \
         UNION ALL SELECT named.dispute_id{dispute}{no_order} FROM disputes AS named \
         JOIN disputes ON disputes.order_id = named.order_id AND disputes.dispute_id <> named.dispute_id AND {OPEN} \
         WHERE named.dispute_id {wanted}"
    )
}

fn list<R: Stored>() -> String {
    R::COLUMNS.iter().flat_map(|column| [", ", R::TABLE, ".", column]).collect()
}

/// What the statement finds about one id.
#[derive(Clone, Default, Debug)]
pub(super) struct Rows {
    named: Option<Result<dispute::Model, Broken>>,
    order: Option<Result<order::Model, Broken>>,
    others: Vec<Result<dispute::Model, Broken>>,
}

/// Where these reads go.
#[derive(Debug)]
pub(super) enum DisputeReads {
    /// On SQLite.
    InPlace(InPlace),
    /// On PostgreSQL.
    Gathered(Arc<Gathered>),
}

impl DisputeReads {
    /// On SQLite: reads without a connection's thread.
    pub(super) fn in_place(&self) -> Option<&InPlace> {
        match self {
            Self::InPlace(in_place) => Some(in_place),
            Self::Gathered(_) => None,
        }
    }
}

impl Repository {
    /// The dispute with this id in its aggregate (its order with the order's open disputes), in one snapshot. Waits for
    /// a permit as [`Repository::reader`] does, so the same holds for who holds one.
    pub async fn dispute(&self, caller: &Caller, id: DisputeId) -> Result<Option<Found>, StorageError> {
        let rows = match &self.dispute_reads {
            DisputeReads::InPlace(in_place) => {
                let permit = self.readers.permitted(self.permits.acquire(ReadClass::Single, caller)).await?;
                in_place.read(permit, move |file| on_sqlite(file, id.0)).await?
            }
            DisputeReads::Gathered(gathered) => {
                let permit = self.readers.permitted(self.permits.acquire_gathered(caller)).await?;
                gathered.read(permit, id.0).await?
            }
        };
        rows.found()
    }
}

fn on_sqlite(file: &Connection, id: Uuid) -> rusqlite::Result<Rows> {
    let (mut statement, mut found) = (file.prepare_cached(&ON_SQLITE)?, Rows::default());
    let mut rows = statement.query([id.as_bytes().as_slice()])?;
    while let Some(row) = rows.next()? {
        found.add(row);
    }
    Ok(found)
}

/// Reads disputes with these ids. Those that do not exist are left out.
pub(super) async fn on_postgres(
    connection: DatabaseConnection,
    ids: Arc<Vec<Uuid>>,
) -> Result<HashMap<Uuid, Rows>, StorageError> {
    let acquired = connection.get_postgres_connection_pool().acquire().await;
    let mut connection = acquired.map_err(|error| match of_sqlx(&error) {
        // Nothing was asked for yet: it is about the database.
        StorageError::Failed(what) => StorageError::Unavailable(what),
        error => error,
    })?;
    let read = sqlx::query(AssertSqlSafe(ON_POSTGRES.as_str())).bind(&*ids);
    let rows = read.fetch_all(&mut *connection).await.map_err(|error| of_sqlx(&error))?;
    let mut found = HashMap::<_, Rows>::new();
    for row in &rows {
        // It is the id that was bound.
        if let Some(wanted) = row.column(0) {
            found.entry(wanted).or_default().add(row);
        }
    }
    Ok(found)
}

impl Rows {
    fn add(&mut self, row: &impl Columns) {
        let [wanted, found] = [0, 1].map(|index| row.column::<Uuid>(index));
        let dispute = row_at(row, 1);
        if wanted == found {
            self.named = Some(dispute);
            self.order = Some(row_at(row, dispute::Model::COLUMNS.len().saturating_add(1)));
        } else {
            self.others.push(dispute);
        }
    }

    fn found(self) -> Result<Option<Found>, StorageError> {
        let Self { named, order, others } = self;
        let Some(named) = named else { return Ok(None) };
        let dispute = rows::dispute_from(named.map_err(|broken| broken.error)?).inspect_err(note)?;
        let aggregate = rows::aggregates_from(order.into_iter().collect(), others).pop();
        Ok(Some(Found::new(dispute, aggregate.and_then(|(_, aggregate)| aggregate.ok()))))
    }
}
