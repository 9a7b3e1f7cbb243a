//! A write transaction: what a batch locks, reads under its locks, and writes.
//!
//! A transaction that is dropped, or whose COMMIT failed, is rolled back before its connection does anything
//! else: SeaORM queues the rollback, and sqlx runs it, with a ping, when the connection goes back to its pool;
//! a connection that cannot do that, or that is not sure of it, is closed.

use std::collections::BTreeSet;
use std::sync::Arc;

use sea_orm::sea_query::{Expr, ExprTrait as _, LockBehavior, LockType, OnConflict, Query};
use sea_orm::{
    AccessMode, ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, DbBackend, EntityTrait as _,
    IsolationLevel, Iterable as _, Order as Direction, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    QueryTrait as _, SqliteTransactionMode, TransactionOptions, TransactionTrait as _,
};
use tracing::Instrument as _;
use uuid::Uuid;

use super::batch::{filled_up, insert_all};
use super::connection::{ACQUIRE_TIMEOUT, in_time};
use super::entity::{dispute, event, event_log, idempotency_key, order};
use super::error::StorageError;
use super::files::DatabaseFiles;
use super::log::OldEvents;
use super::{Changes, IdempotencyRecord, Repository, log, reads, rows};
use crate::domain::{Case, Dispute, DisputeId, DisputeKind, OrderId, Timestamp};

/// What a transaction is begun with: on PostgreSQL its default, READ COMMITTED, in which each statement sees
/// what was committed before it.
pub(super) fn begun(sqlite_mode: SqliteTransactionMode) -> TransactionOptions {
    TransactionOptions { sqlite_transaction_mode: Some(sqlite_mode), ..TransactionOptions::default() }
}

/// A read transaction, in which all statements see one moment.
pub(super) type Moment = Arc<DatabaseTransaction>;

/// What a read of several statements is begun with.
fn snapshot(backend: DbBackend) -> TransactionOptions {
    match backend {
        DbBackend::Postgres => TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        },
        // On SQLite every transaction is one; SeaORM warns of anything more.
        _ => begun(SqliteTransactionMode::Deferred),
    }
}

/// A write transaction. Dropped without a commit, it changes nothing.
#[derive(Debug)]
pub struct Transaction {
    inner: DatabaseTransaction,
    files: Option<Arc<DatabaseFiles>>,
}

/// What to do about an order that somebody else has locked.
#[derive(Clone, Copy)]
enum Busy {
    Wait,
    Skip,
}

impl Repository {
    /// Reads with several statements what was there at one moment. A task of its own reads on if the caller goes away:
    /// on PostgreSQL sqlx would give a connection that is stopped within BEGIN back to its pool inside of a
    /// transaction. Who goes away before, while too many others read, leaves nothing behind.
    pub(super) async fn at_one_moment<T: Send + 'static, F: Future<Output = Result<T, StorageError>> + Send>(
        &self,
        read: impl FnOnce(Moment) -> F + Send + 'static,
    ) -> Result<T, StorageError> {
        let (reader, turn) = (self.reader.clone(), self.moments.clone().acquire_owned());
        let turn = tokio::time::timeout(ACQUIRE_TIMEOUT, turn).await;
        let turn = turn.map_err(|_| StorageError::Unavailable("too many reads are waiting".to_owned()))?;
        let task = async move {
            let moment = Arc::new(reader.begin_with_options(snapshot(reader.get_database_backend())).await?);
            let found = read(moment.clone()).await?;
            if let Some(transaction) = Arc::into_inner(moment) {
                transaction.commit().await?;
            }
            drop(turn);
            Ok(found)
        };
        let read = tokio::spawn(in_time(task).in_current_span()).await;
        read.unwrap_or_else(|_| Err(StorageError::Failed("a read ended without an answer".to_owned())))
    }

    /// Begins a write transaction; on SQLite it is the only one from here on.
    pub async fn begin(&self) -> Result<Transaction, StorageError> {
        if let Some(files) = &self.files {
            files.require()?;
        }
        let inner = self.writer.begin_with_options(begun(SqliteTransactionMode::Immediate)).await?;
        Ok(Transaction { inner, files: self.files.clone() })
    }
}

impl Transaction {
    /// Locks the orders named and those of the disputes named, always in the order of their ids. Answers
    /// those that exist, each with its open disputes, with those named, and with those of `ended_too` that ended.
    pub async fn lock_cases(
        &self,
        orders: &[OrderId],
        disputes: &[DisputeId],
        ended_too: &[DisputeKind],
    ) -> Result<Vec<Case>, StorageError> {
        let mut ids: BTreeSet<String> = orders.iter().map(OrderId::to_string).collect();
        if !disputes.is_empty() {
            // Before the lock: the order of a dispute never changes.
            let select = dispute::Entity::find().select_only().column(dispute::Column::OrderId);
            let named = dispute::Column::DisputeId.is_in(filled_up(disputes.iter().map(|dispute| dispute.0)));
            ids.extend(select.filter(named).into_tuple::<String>().all(&self.inner).await?);
        }
        self.cases(ids, disputes, ended_too, Busy::Wait).await
    }

    /// The same without waiting: orders that another replica has locked are left out.
    pub async fn lock_free_cases(&self, orders: &[OrderId]) -> Result<Vec<Case>, StorageError> {
        self.cases(orders.iter().map(OrderId::to_string).collect(), &[], &[], Busy::Skip).await
    }

    async fn cases(
        &self,
        ids: BTreeSet<String>,
        named: &[DisputeId],
        ended_too: &[DisputeKind],
        busy: Busy,
    ) -> Result<Vec<Case>, StorageError> {
        let orders = order::Entity::find()
            .filter(order::Column::OrderId.is_in(filled_up(ids)))
            .order_by(order::Column::OrderId, Direction::Asc);
        // SQLite has no row locks, and needs none: this is the only write transaction.
        let orders = match busy {
            Busy::Wait => orders.lock(LockType::Update),
            Busy::Skip => orders.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked),
        };
        let orders = orders.all(&self.inner).await?;
        let locked: Vec<String> = orders.iter().map(|order| order.order_id.clone()).collect();
        if locked.is_empty() {
            return Ok(Vec::new());
        }
        // In later statements: what was read before the lock could be out of date.
        let mut disputes = reads::disputes_of(locked, ended_too).all(&self.inner).await?;
        let found: BTreeSet<Uuid> = disputes.iter().map(|dispute| dispute.dispute_id).collect();
        let missing: Vec<Uuid> = named.iter().map(|dispute| dispute.0).filter(|id| !found.contains(id)).collect();
        if !missing.is_empty() {
            disputes.extend(self.dispute_rows(&missing).await?);
        }
        rows::cases_from(orders, disputes)
    }

    async fn dispute_rows(&self, ids: &[Uuid]) -> Result<Vec<dispute::Model>, StorageError> {
        let named = dispute::Column::DisputeId.is_in(filled_up(ids.iter().copied()));
        Ok(dispute::Entity::find().filter(named).all(&self.inner).await?)
    }

    /// The disputes with these ids.
    pub async fn disputes(&self, ids: &[DisputeId]) -> Result<Vec<Dispute>, StorageError> {
        let ids: Vec<Uuid> = ids.iter().map(|dispute| dispute.0).collect();
        self.dispute_rows(&ids).await?.into_iter().map(rows::dispute_from).collect()
    }

    /// What is remembered of the requests with these keys.
    pub async fn idempotency_records(&self, keys: &[Uuid]) -> Result<Vec<IdempotencyRecord>, StorageError> {
        let named = idempotency_key::Column::Key.is_in(filled_up(keys.iter().copied()));
        let found = idempotency_key::Entity::find().filter(named).all(&self.inner).await?;
        found.into_iter().map(rows::idempotency_record_from).collect()
    }

    /// The database's clock, now.
    pub async fn database_time(&self) -> Result<Timestamp, StorageError> {
        reads::database_time(&self.inner).await
    }

    /// Writes what changed, always in this order, in which every replica takes its locks. Answers the new
    /// head of the log if there are events.
    pub async fn write(&self, changes: &Changes) -> Result<Option<i64>, StorageError> {
        let mut new_orders: Vec<_> = changes.new_orders.iter().map(rows::order_row).collect();
        new_orders.sort_unstable_by(|a, b| a.order_id.cmp(&b.order_id));
        insert_all::<order::ActiveModel>(&self.inner, new_orders, None).await?;
        let changed = changes.changed_orders.iter().map(rows::order_row).collect();
        insert_all::<order::ActiveModel>(&self.inner, changed, Some(&change_orders())).await?;
        // First those that end: they make room for those that are opened, or escalated.
        let (open, ended): (Vec<_>, Vec<_>) = changes.changed_disputes.iter().partition(|dispute| dispute.is_open());
        let changed = ended.into_iter().chain(open).map(rows::dispute_row).collect();
        insert_all::<dispute::ActiveModel>(&self.inner, changed, Some(&change_disputes())).await?;
        let new_disputes = changes.new_disputes.iter().map(rows::dispute_row).collect();
        insert_all::<dispute::ActiveModel>(&self.inner, new_disputes, None).await?;
        let mut records: Vec<_> = changes.idempotency.iter().map(rows::idempotency_row).collect();
        records.sort_unstable_by_key(|record| record.key);
        insert_all::<idempotency_key::ActiveModel>(&self.inner, records, None).await?;
        if let Some(old) = changes.forgotten {
            log::forget(&self.inner, old.up_to).await?;
        }
        if changes.events.is_empty() && changes.forgotten.is_none() {
            return Ok(None);
        }
        let count = i64::try_from(changes.events.len()).unwrap_or(i64::MAX);
        let head = self.advance_head(count, changes.forgotten).await?;
        let first = head.saturating_sub(count).saturating_add(1);
        let events = changes.events.iter().zip(first..).map(|(event, seq)| rows::event_row(seq, event)).collect();
        insert_all::<event::ActiveModel>(&self.inner, events, None).await?;
        Ok(Some(head))
    }

    /// Takes the next numbers of the log. The row stays locked until the commit: so numbers are in commit
    /// order and without holes, and whoever can see an event can see all before it. The floor moves with what is
    /// forgotten.
    async fn advance_head(&self, count: i64, forgotten: Option<OldEvents>) -> Result<i64, StorageError> {
        use event_log::Column;
        let mut advance = Query::update()
            .table(event_log::Entity)
            .value(Column::Head, Expr::col(Column::Head).add(count))
            .and_where(Column::Id.eq(1_i16))
            .returning_col(Column::Head)
            .to_owned();
        if let Some(old) = forgotten {
            advance.value(Column::Floor, old.up_to).value(Column::FloorEvent, old.last.0);
        }
        let row = self.inner.query_one(&advance).await?;
        let head = row.map(|row| row.try_get("", "head")).transpose()?;
        head.ok_or_else(log::missing)
    }

    /// Forgets up to `limit` requests that were remembered before an instant. Answers how many.
    pub async fn forget_idempotency_records(&self, before: Timestamp, limit: u64) -> Result<u64, StorageError> {
        use idempotency_key::Column;
        let oldest = idempotency_key::Entity::find()
            .select_only()
            .column(Column::Key)
            .filter(Column::CreateTime.lt(before.micros()))
            .order_by(Column::CreateTime, Direction::Asc)
            .limit(limit);
        // Of two replicas that forget at once, each takes what the other has not.
        let oldest = match self.inner.get_database_backend() {
            DbBackend::Postgres => oldest.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked),
            _ => oldest,
        };
        let forget = idempotency_key::Entity::delete_many().filter(Column::Key.in_subquery(oldest.into_query()));
        Ok(forget.exec(&self.inner).await?.rows_affected)
    }

    /// Which events are older than an instant and can be forgotten, at most so many. `None` if there are none, or if
    /// another replica forgets just now.
    pub async fn forgettable_events(&self, before: Timestamp, limit: u32) -> Result<Option<OldEvents>, StorageError> {
        log::forgettable(&self.inner, before, limit.into()).await
    }

    /// Commits. After an error it is not known whether anything was written, unless it is a conflict.
    pub async fn commit(self) -> Result<(), StorageError> {
        match self.inner.commit().await.map_err(StorageError::from) {
            Err(StorageError::Failed(what)) => Err(StorageError::Unavailable(format!("the commit failed: {what}"))),
            Err(error) => Err(error),
            // What was committed to files that are gone by now is nowhere.
            Ok(()) => self.files.map_or(Ok(()), |files| files.require()),
        }
    }

    /// Undoes everything.
    pub async fn rollback(self) -> Result<(), StorageError> {
        Ok(self.inner.rollback().await?)
    }
}

/// Of a stored order everything can change but its key, its identity and when it was created.
fn change_orders() -> OnConflict {
    use order::Column;
    let changes = |column: &Column| match column {
        Column::OrderId
        | Column::BuyerId
        | Column::SellerId
        | Column::Currency
        | Column::Exponent
        | Column::PriceMinor
        | Column::CreateTime => false,
        Column::Title
        | Column::PaidMinor
        | Column::RefundedElsewhereMinor
        | Column::RefundedMinor
        | Column::Status
        | Column::DueTime
        | Column::AgreedDueTime
        | Column::ExtensionRequests
        | Column::EndTime
        | Column::CancellationCounts
        | Column::CancelledBy
        | Column::RefundAccepted
        | Column::SourceVersion
        | Column::Revision => true,
    };
    OnConflict::column(Column::OrderId).update_columns(Column::iter().filter(changes)).to_owned()
}

/// Of a stored dispute only how it stands can change.
fn change_disputes() -> OnConflict {
    use dispute::Column;
    let changes = |column: &Column| match column {
        Column::DisputeId
        | Column::OrderId
        | Column::BuyerId
        | Column::SellerId
        | Column::Opener
        | Column::Kind
        | Column::ExclusionGroup
        | Column::Message
        | Column::Reason
        | Column::ReasonDetail
        | Column::AmountMinor
        | Column::NewDueTime
        | Column::SilenceRule
        | Column::SilenceRuleAfterDelivery
        | Column::CreateTime => false,
        Column::Status
        | Column::Currency
        | Column::Exponent
        | Column::UpdateTime
        | Column::Revision
        | Column::ResolveTime
        | Column::ResolvedBy
        | Column::OutcomeRefundMinor
        | Column::OutcomeCancelled
        | Column::OutcomeCounts
        | Column::OutcomeNewDueTime
        | Column::RespondBy
        | Column::RemindAt
        | Column::RemindersSent
        | Column::PostponeMessage
        | Column::AnswerMessage
        | Column::EscalatedBy
        | Column::EscalationMessage
        | Column::DecidedBy
        | Column::DecisionMessage
        | Column::SettlementStatus
        | Column::SettlementReference
        | Column::SettlementDetail
        | Column::SettlementAttempt
        | Column::SettlementAttempts
        | Column::LeastRelease => true,
    };
    OnConflict::column(Column::DisputeId).update_columns(Column::iter().filter(changes)).to_owned()
}
