//! Changes as rows, and the order in which they are written.

use rusqlite::Connection;
use sea_orm::{IdenStatic as _, Iterable as _};

use super::batch::Insertion;
use super::dialect::postgres::ServerTransaction;
use super::dialect::sqlite;
use super::entity::{audit, dispute, event, idempotency_key, order};
use super::error::StorageError;
use super::{Changes, rows};
use crate::domain::{Dispute, Order};

/// New orders, by themselves or with everything else.
pub(super) static NEW_ORDERS: Insertion<order::Model> = Insertion::new();
static CHANGED_ORDERS: Insertion<order::Model> = Insertion::or_change(changes_of_orders);
static NEW_DISPUTES: Insertion<dispute::Model> = Insertion::new();
static CHANGED_DISPUTES: Insertion<dispute::Model> = Insertion::or_change(changes_of_disputes);
static NEW_RECORDS: Insertion<idempotency_key::Model> = Insertion::new();
static NEW_AUDIT: Insertion<audit::NewEntry> = Insertion::new();
static NEW_EVENTS: Insertion<event::Model> = Insertion::new();

/// The rows of a batch. They are always written in this order, in which every replica takes its locks.
pub(super) struct Rows {
    new_orders: Vec<order::Model>,
    changed_orders: Vec<order::Model>,
    changed_disputes: Vec<dispute::Model>,
    new_disputes: Vec<dispute::Model>,
    records: Vec<idempotency_key::Model>,
    audit: Vec<audit::NewEntry>,
    /// Numbered from 1.
    events: Vec<event::Model>,
}

impl Rows {
    pub(super) fn of(changes: Changes) -> Self {
        let Changes { new_orders, changed_orders, new_disputes, changed_disputes, audit, idempotency, events } =
            changes;
        // First the disputes that end: they make room for those that are opened or escalated.
        let (open, ended): (Vec<_>, Vec<_>) = changed_disputes.into_iter().partition(Dispute::is_open);
        let mut records: Vec<_> = idempotency.iter().map(rows::idempotency_row).collect();
        records.sort_unstable_by_key(|record| record.key);
        Self {
            new_orders: rows_of_new(new_orders),
            changed_orders: changed_orders.into_iter().map(rows::order_row).collect(),
            changed_disputes: ended.into_iter().chain(open).map(rows::dispute_row).collect(),
            new_disputes: new_disputes.into_iter().map(rows::dispute_row).collect(),
            records,
            audit: audit.into_iter().map(rows::audit_row).collect(),
            events: (1..).zip(events).map(|(number, event)| rows::event_row(number, event)).collect(),
        }
    }

    /// Writes all rows. Returns the new last number of the log if there are events; `None` if there is no log.
    pub(super) fn write_to_file(self, file: &Connection) -> rusqlite::Result<Option<Option<i64>>> {
        NEW_ORDERS.on_sqlite(file, self.new_orders)?;
        CHANGED_ORDERS.on_sqlite(file, self.changed_orders)?;
        CHANGED_DISPUTES.on_sqlite(file, self.changed_disputes)?;
        NEW_DISPUTES.on_sqlite(file, self.new_disputes)?;
        NEW_RECORDS.on_sqlite(file, self.records)?;
        NEW_AUDIT.on_sqlite(file, self.audit)?;
        if self.events.is_empty() {
            return Ok(Some(None));
        }
        let mut events = self.events;
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let Some(last_seq) = sqlite::advance_log(file, count)? else { return Ok(None) };
        let before = last_seq.saturating_sub(count);
        events.iter_mut().for_each(|event| event.seq = event.seq.saturating_add(before));
        NEW_EVENTS.on_sqlite(file, events)?;
        Ok(Some(Some(last_seq)))
    }

    /// Writes all rows. Returns the new last number of the log if there are events.
    pub(super) async fn write_to_server(self, server: &ServerTransaction) -> Result<Option<i64>, StorageError> {
        server.insert(&NEW_ORDERS, self.new_orders).await?;
        server.insert(&CHANGED_ORDERS, self.changed_orders).await?;
        server.insert(&CHANGED_DISPUTES, self.changed_disputes).await?;
        server.insert(&NEW_DISPUTES, self.new_disputes).await?;
        server.insert(&NEW_RECORDS, self.records).await?;
        server.insert(&NEW_AUDIT, self.audit).await?;
        if self.events.is_empty() {
            return Ok(None);
        }
        // Last, since other replicas wait for it: events, with numbers from a row that stays locked until the commit. So
        // numbers are dense and in commit order, and a reader that sees an event can see all before it.
        server.append(self.events).await.map(Some)
    }
}

/// The rows of new orders, in the order in which every replica inserts them.
pub(super) fn rows_of_new(orders: Vec<Order>) -> Vec<order::Model> {
    let mut rows: Vec<_> = orders.into_iter().map(rows::order_row).collect();
    rows.sort_unstable_by(|a, b| a.order_id.cmp(&b.order_id));
    rows
}

/// Everything in a stored order can change except its key, its identity and its creation time.
fn changes_of_orders() -> Vec<&'static str> {
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
        | Column::Revision
        | Column::CancelledNoFault => true,
    };
    Column::iter().filter(changes).map(|column| column.as_str()).collect()
}

/// Only the state columns of a stored dispute can change.
fn changes_of_disputes() -> Vec<&'static str> {
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
        | Column::NewDueTime
        | Column::CreateTime
        | Column::OrderCreateTime
        | Column::MaxCounterOffers => false,
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
        | Column::AmountMinor
        | Column::SilenceRule
        | Column::SilenceRuleAfterDelivery
        | Column::NoFault
        | Column::OpenedWithMinor
        | Column::CounterOffers
        | Column::LeastRelease => true,
    };
    Column::iter().filter(changes).map(|column| column.as_str()).collect()
}
