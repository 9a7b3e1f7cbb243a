//! Fills a column in that disputes opened by an earlier release do not have, in small transactions that no caller waits
//! for. What reads it does not depend on it: a dispute without a value is found in a slower way.

use sea_orm::sea_query::{Expr, ExprTrait as _, LockBehavior, LockType, SubQueryStatement};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseConnection, DbBackend, EntityTrait as _, QueryFilter as _,
    QuerySelect as _, QueryTrait as _, Select,
};
use uuid::Uuid;

use super::Repository;
use super::batch::filled_up;
use super::connection::in_time;
use super::entity::{OPEN, dispute, order};
use super::error::StorageError;

impl Repository {
    /// Records the creation time of their orders in open disputes that do not have it, at most `limit`. Returns how many
    /// those were. Disputes that another transaction has locked are left out.
    pub async fn backfill_order_times(&self, limit: u32) -> Result<u64, StorageError> {
        // Usually there is nothing to do, and nobody has to wait for that.
        let read = |connection: DatabaseConnection| async move {
            Ok(without_order_time(1).into_tuple::<Uuid>().one(&connection).await?)
        };
        if self.background.read(read).await?.is_none() {
            return Ok(0);
        }
        let step = async {
            let transaction = self.begin_maintenance().await?;
            let select = without_order_time(limit);
            let select = match transaction.inner.get_database_backend() {
                DbBackend::Postgres => select.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked),
                _ => select,
            };
            let found: Vec<Uuid> = select.into_tuple().all(&transaction.inner).await?;
            let filled = if found.is_empty() {
                0
            } else {
                let update = dispute::Entity::update_many()
                    .col_expr(dispute::Column::OrderCreateTime, time_of_order())
                    .filter(dispute::Column::DisputeId.is_in(filled_up(found)));
                update.exec(&transaction.inner).await?.rows_affected
            };
            transaction.commit().await?;
            Ok(filled)
        };
        in_time(step).await
    }
}

/// The creation time of a dispute's order.
fn time_of_order() -> Expr {
    let its_order =
        Expr::col((order::Entity, order::Column::OrderId)).equals((dispute::Entity, dispute::Column::OrderId));
    let time = order::Entity::find().select_only().column(order::Column::CreateTime).filter(its_order);
    Expr::SubQuery(None, Box::new(SubQueryStatement::from(time.into_query())))
}

/// Open disputes that do not have the creation time of their order.
pub(super) fn without_order_time(limit: u32) -> Select<dispute::Entity> {
    dispute::Entity::find()
        .select_only()
        .column(dispute::Column::DisputeId)
        .filter(Expr::cust(OPEN))
        .filter(dispute::Column::OrderCreateTime.is_null())
        .limit(u64::from(limit))
}
