//! A write transaction: the locks of a batch, its reads under these locks, and its writes. It never waits for a lock on
//! stored orders and disputes: locked ones are left out, and processed later. It waits only for the head of the log,
//! and briefly for an order that another transaction is inserting.
//!
//! A transaction that is dropped, or whose COMMIT failed, is rolled back before its connection does anything else:
//! SeaORM queues the rollback, and sqlx runs it, with a ping, when the connection returns to its pool; a connection on
//! which this fails or is uncertain is closed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use sea_orm::sea_query::{Expr, ExprTrait as _, LockBehavior, LockType, OnConflict, Query};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, Iterable as _,
    Order as Direction, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select, SqliteTransactionMode, Statement,
    TransactionOptions,
};
use uuid::Uuid;

use super::batch::{filled_up, insert_all};
use super::connection::Pool;
use super::corrupt::{Broken, Fetched, apart, fetch};
use super::entity::{audit, dispute, event, event_log, idempotency_key, order};
use super::error::StorageError;
use super::files::DatabaseFiles;
use super::{Changes, IdempotencyRecord, Repository, log, reads, rows};
use crate::domain::{DisputeId, DisputeKind, Order, OrderAggregate, OrderId, StoredDispute, Subject, Timestamp};

/// The isolation of a transaction: on PostgreSQL our sessions' default, READ COMMITTED, in which each statement sees
/// everything committed before it.
pub(super) fn begun(sqlite_mode: SqliteTransactionMode) -> TransactionOptions {
    TransactionOptions { sqlite_transaction_mode: Some(sqlite_mode), ..TransactionOptions::default() }
}

/// A write transaction. Dropped without a commit, it changes nothing.
#[derive(Debug)]
pub struct Transaction {
    pub(super) inner: DatabaseTransaction,
    files: Option<Arc<DatabaseFiles>>,
    /// The pool of its connection.
    writer: Pool,
}

/// How long an insertion waits for another transaction that has inserted the same order, and has not committed …
const INSERT_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '50ms'";
/// … and how long everything else waits, in particular for the head of the log.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '10s'";

/// Which of the orders in question are free, and which are not.
#[derive(Default, Debug)]
pub struct LockedAggregates {
    /// The existing orders that are now locked by this transaction, each with its disputes.
    pub aggregates: Vec<OrderAggregate>,
    /// The orders that another transaction has locked, or with disputes that it has locked.
    pub busy: HashSet<OrderId>,
    /// Corrupt orders and disputes, each with what is wrong.
    pub unreadable: HashMap<Subject, StorageError>,
    /// The orders of the named disputes, locked or not.
    pub order_of: HashMap<DisputeId, OrderId>,
}

impl LockedAggregates {
    /// Sorts the orders and their disputes; of corrupt ones only the error is kept.
    fn of(orders: Fetched<order::Entity>, disputes: Fetched<dispute::Entity>, named: &[DisputeId]) -> Self {
        let mut found = Self::default();
        let is_named = |row: &&dispute::Model| named.contains(&DisputeId(row.dispute_id));
        let rows: Vec<dispute::Model> = disputes.iter().flatten().filter(is_named).cloned().collect();
        for Broken { error, .. } in disputes.iter().filter_map(|row| row.as_ref().err()) {
            if let StorageError::Corrupt { id, .. } = error
                && let Some(id) = named.iter().find(|named| named.to_string() == *id)
            {
                found.unreadable.insert(Subject::Dispute(*id), error.clone());
            }
        }
        for (id, aggregate) in rows::aggregates_from(orders, disputes) {
            match aggregate {
                Ok(aggregate) => found.aggregates.push(aggregate),
                Err(error) => drop(found.unreadable.insert(Subject::Order(OrderId::stored(&id)), error)),
            }
        }
        for row in rows {
            let id = Subject::Dispute(DisputeId(row.dispute_id));
            let of_order = found.unreadable.get(&Subject::Order(OrderId::stored(&row.order_id))).cloned();
            if let Some(error) = of_order.or_else(|| rows::dispute_from(row).err()) {
                found.unreadable.insert(id, error);
            }
        }
        found
    }
}

/// The order that a row belongs to, as far as that can be read.
fn order_of<M>(row: &Result<M, Broken>, id: impl Fn(&M) -> &String) -> Option<String> {
    row.as_ref().map_or_else(|broken| broken.order.clone(), |row| Some(id(row).clone()))
}

/// The database's times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// PostgreSQL's current time, not that of the start of the transaction; `None` on SQLite.
    pub clock: Option<Timestamp>,
    /// The time of the last event of the log; `None` if there is none.
    pub last_event: Option<Timestamp>,
}

impl Repository {
    /// Begins a write transaction; on SQLite it is the only one from here on.
    pub async fn begin(&self) -> Result<Transaction, StorageError> {
        if let Some(files) = &self.files {
            files.require()?;
        }
        let inner = self.writer.begin(|| begun(SqliteTransactionMode::Immediate)).await?;
        Ok(Transaction { inner, writer: self.writer.clone(), files: self.files.clone() })
    }
}

impl Transaction {
    /// Locks the named orders and those of the named disputes, unless they, or those of their disputes that can change,
    /// are locked by another transaction; waits for no lock. Returns the existing and free ones, each with its open
    /// disputes, the named ones, and the ended ones of `ended_too`.
    pub async fn lock_aggregates(
        &self,
        orders: &BTreeSet<OrderId>,
        disputes: &[DisputeId],
        ended_too: &[DisputeKind],
    ) -> Result<LockedAggregates, StorageError> {
        // Before the lock: the order of a dispute never changes.
        let orders_of = self.orders_of(disputes).await?;
        let mut free: BTreeSet<OrderId> = orders.iter().chain(orders_of.values()).cloned().collect();
        if free.is_empty() {
            return Ok(LockedAggregates { order_of: orders_of, ..LockedAggregates::default() });
        }
        let select = order::Entity::find()
            .filter(order::Column::OrderId.is_in(filled_up(free.iter().map(OrderId::to_string))))
            .order_by(order::Column::OrderId, Direction::Asc);
        let mut locked = fetch(self.skip_locked(select), &self.inner).await?;
        let held: BTreeSet<String> = locked.iter().filter_map(|row| order_of(row, |row| &row.order_id)).collect();
        free.retain(|order| !held.contains(order.as_str()));
        let mut busy: HashSet<String> = self.existing(free).await?.into_iter().collect();
        let ids: Vec<String> = held.into_iter().collect();
        let mut rows = if ids.is_empty() { Vec::new() } else { self.lock_disputes(ids, disputes, ended_too).await? };
        let order_of_dispute = |row: &Result<dispute::Model, Broken>| order_of(row, |row| &row.order_id);
        busy.extend(rows.iter().filter(|(_, is_free)| !is_free).filter_map(|(row, _)| order_of_dispute(row)));
        locked.retain(|row| order_of(row, |row| &row.order_id).is_none_or(|order| !busy.contains(&order)));
        rows.retain(|(row, _)| order_of_dispute(row).is_none_or(|order| !busy.contains(&order)));
        let rows = rows.into_iter().map(|(row, _)| row).collect();
        let busy = busy.iter().map(|order| OrderId::stored(order)).collect();
        Ok(LockedAggregates { busy, order_of: orders_of, ..LockedAggregates::of(locked, rows, disputes) })
    }

    /// The orders of these disputes.
    async fn orders_of(&self, disputes: &[DisputeId]) -> Result<HashMap<DisputeId, OrderId>, StorageError> {
        if disputes.is_empty() {
            return Ok(HashMap::new());
        }
        use dispute::Column;
        let named = Column::DisputeId.is_in(filled_up(disputes.iter().map(|dispute| dispute.0)));
        let select = dispute::Entity::find().select_only().columns([Column::DisputeId, Column::OrderId]);
        let found: Vec<(Uuid, String)> = select.filter(named).into_tuple().all(&self.inner).await?;
        Ok(found.into_iter().map(|(dispute, order)| (DisputeId(dispute), OrderId::stored(&order))).collect())
    }

    /// Which of the orders that could not be locked exist: another transaction has locked them. On SQLite there are
    /// none: this is the only write transaction.
    async fn existing(&self, orders: BTreeSet<OrderId>) -> Result<Vec<String>, StorageError> {
        if orders.is_empty() || self.inner.get_database_backend() != DbBackend::Postgres {
            return Ok(Vec::new());
        }
        use order::Column;
        let named = Column::OrderId.is_in(filled_up(orders.iter().map(OrderId::to_string)));
        let select = order::Entity::find().select_only().column(Column::OrderId).filter(named);
        Ok(select.into_tuple().all(&self.inner).await?)
    }

    /// Locks those disputes of these locked orders that can change: the open and the named ones. Returns them, and the
    /// ended ones of `ended_too`; each with whether it is free.
    async fn lock_disputes(
        &self,
        orders: Vec<String>,
        named: &[DisputeId],
        ended_too: &[DisputeKind],
    ) -> Result<Vec<(Result<dispute::Model, Broken>, bool)>, StorageError> {
        use dispute::Column;
        let locks = self.inner.get_database_backend() == DbBackend::Postgres;
        let lock = async |those: Condition| -> Result<HashSet<Uuid>, StorageError> {
            let select = dispute::Entity::find().select_only().column(Column::DisputeId).filter(those);
            Ok(self.skip_locked(select).into_tuple::<Uuid>().all(&self.inner).await?.into_iter().collect())
        };
        let by_id = |ids: &[Uuid]| Column::DisputeId.is_in(filled_up(ids.iter().copied()));
        // In a later statement than the lock: anything read before could be out of date.
        let mut held = if locks { lock(reads::open_of(orders.clone())).await? } else { HashSet::new() };
        let mut rows = fetch(reads::disputes_of(orders, ended_too), &self.inner).await?;
        let open = rows.iter().flatten().filter(|row| row.resolve_time.is_none());
        let open: HashSet<Uuid> = open.map(|row| row.dispute_id).collect();
        let ended: Vec<Uuid> = named.iter().map(|dispute| dispute.0).filter(|id| !open.contains(id)).collect();
        if !ended.is_empty() {
            if locks {
                held.extend(lock(by_id(&ended).into()).await?);
            }
            rows.retain(|row| row.as_ref().map_or(true, |row| !ended.contains(&row.dispute_id)));
            rows.extend(self.dispute_rows(&ended).await?);
        }
        let is_free = |row: &Result<dispute::Model, Broken>| {
            let Ok(row) = row else { return true };
            let can_change = open.contains(&row.dispute_id) || ended.contains(&row.dispute_id);
            !locks || !can_change || held.contains(&row.dispute_id)
        };
        Ok(rows.into_iter().map(|row| (is_free(&row), row)).map(|(is_free, row)| (row, is_free)).collect())
    }

    /// The same rows, locked, without those locked by other transactions. SQLite has no row locks, and needs none: this
    /// is the only write transaction.
    fn skip_locked<E: EntityTrait>(&self, select: Select<E>) -> Select<E> {
        match self.inner.get_database_backend() {
            DbBackend::Postgres => select.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked),
            _ => select,
        }
    }

    async fn dispute_rows(&self, ids: &[Uuid]) -> Result<Fetched<dispute::Entity>, StorageError> {
        let named = dispute::Column::DisputeId.is_in(filled_up(ids.iter().copied()));
        fetch(dispute::Entity::find().filter(named), &self.inner).await
    }

    /// The disputes with these ids, each with its order; for corrupt ones, by id, what is wrong.
    pub async fn disputes(
        &self,
        ids: &[DisputeId],
    ) -> Result<(Vec<StoredDispute>, HashMap<Uuid, StorageError>), StorageError> {
        let ids: Vec<Uuid> = ids.iter().map(|dispute| dispute.0).collect();
        let rows = self.dispute_rows(&ids).await?.into_iter();
        Ok(apart(rows.map(|row| row.map_err(|broken| broken.error).and_then(rows::dispute_from))))
    }

    /// The records of the requests with these keys; for corrupt ones, by key, what is wrong.
    pub async fn idempotency_records(
        &self,
        keys: &[Uuid],
    ) -> Result<(Vec<IdempotencyRecord>, HashMap<Uuid, StorageError>), StorageError> {
        let named = idempotency_key::Column::Key.is_in(filled_up(keys.iter().copied()));
        let found = fetch(idempotency_key::Entity::find().filter(named), &self.inner).await?.into_iter();
        let read = found.map(|row| row.map(rows::idempotency_record_from).map_err(|broken| broken.error));
        Ok(apart(read))
    }

    /// The database's times.
    pub async fn times(&self) -> Result<Times, StorageError> {
        times(&self.inner).await
    }

    /// Inserts new orders, before all other changes. Returns `false` if another transaction has inserted one of them
    /// and has not committed, for longer than a replica takes: then only a rollback is left.
    pub async fn insert_orders(&self, orders: &[Order]) -> Result<bool, StorageError> {
        let waits = self.inner.get_database_backend() == DbBackend::Postgres;
        if waits {
            self.inner.execute_unprepared(INSERT_LOCK_TIMEOUT).await?;
        }
        match insert_all::<order::ActiveModel>(&self.inner, new_orders(orders), None).await {
            Err(StorageError::LockTimeout) => return Ok(false),
            result => result?,
        }
        if waits {
            self.inner.execute_unprepared(LOCK_TIMEOUT).await?;
        }
        Ok(true)
    }

    /// Writes all changes, always in this order, in which every replica takes its locks. Returns the new last number of
    /// the log if there are events.
    pub async fn write(&self, changes: &Changes) -> Result<Option<i64>, StorageError> {
        insert_all::<order::ActiveModel>(&self.inner, new_orders(&changes.new_orders), None).await?;
        let changed = changes.changed_orders.iter().map(rows::order_row).collect();
        insert_all::<order::ActiveModel>(&self.inner, changed, Some(&change_orders())).await?;
        // First the disputes that end: they make room for those that are opened or escalated.
        let (open, ended): (Vec<_>, Vec<_>) = changes.changed_disputes.iter().partition(|dispute| dispute.is_open());
        let changed = ended.into_iter().chain(open).map(rows::dispute_row).collect();
        insert_all::<dispute::ActiveModel>(&self.inner, changed, Some(&change_disputes())).await?;
        let new_disputes = changes.new_disputes.iter().map(rows::dispute_row).collect();
        insert_all::<dispute::ActiveModel>(&self.inner, new_disputes, None).await?;
        let mut records: Vec<_> = changes.idempotency.iter().map(rows::idempotency_row).collect();
        records.sort_unstable_by_key(|record| record.key);
        insert_all::<idempotency_key::ActiveModel>(&self.inner, records, None).await?;
        insert_all::<audit::ActiveModel>(&self.inner, changes.audit.iter().map(rows::audit_row).collect(), None)
            .await?;
        if changes.events.is_empty() {
            return Ok(None);
        }
        let count = i64::try_from(changes.events.len()).unwrap_or(i64::MAX);
        let last_seq = self.advance_log(count).await?;
        let first = last_seq.saturating_sub(count).saturating_add(1);
        let events = changes.events.iter().zip(first..).map(|(event, seq)| rows::event_row(seq, event)).collect();
        insert_all::<event::ActiveModel>(&self.inner, events, None).await?;
        Ok(Some(last_seq))
    }

    /// Takes the next numbers of the log. The row stays locked until the commit: so numbers are dense and in commit
    /// order, and a reader that sees an event can see all before it.
    async fn advance_log(&self, count: i64) -> Result<i64, StorageError> {
        use event_log::Column;
        let advance = Query::update()
            .table(event_log::Entity)
            .value(Column::Head, Expr::col(Column::Head).add(count))
            .and_where(Column::Id.eq(1_i16))
            .returning_col(Column::Head)
            .to_owned();
        let row = self.inner.query_one(&advance).await?;
        let last_seq = row.map(|row| row.try_get("", "head")).transpose()?;
        last_seq.ok_or_else(log::missing)
    }

    /// Commits. After an error it is unknown whether anything was written, unless it is a conflict.
    pub async fn commit(self) -> Result<(), StorageError> {
        let committed = self.inner.commit().await.map_err(StorageError::from);
        if let Err(error) = &committed {
            self.writer.renew_after(error);
        }
        match committed {
            Err(StorageError::Failed(what)) => Err(StorageError::Unavailable(format!("the commit failed: {what}"))),
            Err(error) => Err(error),
            // Commits to files that are gone by now are lost.
            Ok(()) => self.files.map_or(Ok(()), |files| files.require()),
        }
    }

    /// Rolls back.
    pub async fn rollback(self) -> Result<(), StorageError> {
        Ok(self.inner.rollback().await?)
    }

    /// Rolls back after an error. If connections of this kind would repeat the error, such as those to a server that
    /// became a standby, they are closed, and a retry uses new ones.
    pub async fn rollback_after(self, error: &StorageError) {
        self.writer.renew_after(error);
        // The first error is the one that counts.
        let _ = self.inner.rollback().await;
    }
}

/// The database's time, if it decides, and that of the last event.
pub(super) async fn times(connection: &impl ConnectionTrait) -> Result<Times, StorageError> {
    let backend = connection.get_database_backend();
    let micros = match backend {
        DbBackend::Postgres => "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
        _ => "NULL",
    };
    let last = "(SELECT event_time FROM events ORDER BY seq DESC LIMIT 1)";
    let ask = Statement::from_string(backend, format!("SELECT {micros} AS micros, {last} AS last_event"));
    let row = connection.query_one_raw(ask).await?;
    let row = row.ok_or_else(|| StorageError::Failed("the database did not return its time".to_owned()))?;
    let clock: Option<i64> = row.try_get("", "micros")?;
    // A last event with an impossible time must not stop every command: it is ignored.
    let last_event: Option<i64> = row.try_get("", "last_event").unwrap_or_default();
    let instant = |micros: Option<i64>| micros.and_then(Timestamp::from_micros);
    Ok(Times { clock: instant(clock), last_event: instant(last_event) })
}

/// The rows of new orders, in the order in which every replica inserts them.
fn new_orders(orders: &[Order]) -> Vec<order::Model> {
    let mut rows: Vec<_> = orders.iter().map(rows::order_row).collect();
    rows.sort_unstable_by(|a, b| a.order_id.cmp(&b.order_id));
    rows
}

/// Everything in a stored order can change except its key, its identity and its creation time.
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

/// Only the state columns of a stored dispute can change.
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
        | Column::CreateTime
        | Column::OrderCreateTime => false,
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
