//! Rows read by the positions of their columns: to find sixty columns by their names takes longer than to read them. The
//! names of a statement and the fields of a row are one list, so they have the same order.

use rusqlite::types::FromSql;
use sea_orm::sqlx::postgres::{PgRow, Postgres};
use sea_orm::sqlx::{Decode, Row as _, Type};
use uuid::Uuid;

use super::corrupt::Broken;
use super::entity::{dispute, order};
use super::error::StorageError;

/// A value of both databases.
pub(super) trait Stored: FromSql + Type<Postgres> + for<'row> Decode<'row, Postgres> {}

impl<T: FromSql + Type<Postgres> + for<'row> Decode<'row, Postgres>> Stored for T {}

/// A row of either database.
pub(super) trait Columns {
    /// The value at a position, if it is one of this type.
    fn column<T: Stored>(&self, index: usize) -> Option<T>;
}

impl Columns for rusqlite::Row<'_> {
    fn column<T: Stored>(&self, index: usize) -> Option<T> {
        self.get(index).ok()
    }
}

impl Columns for PgRow {
    fn column<T: Stored>(&self, index: usize) -> Option<T> {
        self.try_get(index).ok()
    }
}

/// The names of a table's columns, and how a row is read that has them from a position on.
macro_rules! columns {
    ($entity:ident, $names:ident, $read:ident, [$($field:ident),* $(,)?]) => {
        pub(super) const $names: &[&str] = &[$(stringify!($field)),*];

        fn $read(row: &impl Columns, first: usize) -> Option<$entity::Model> {
            let mut position = first..;
            Some($entity::Model { $($field: row.column(position.next()?)?),* })
        }
    };
}

columns!(
    dispute,
    DISPUTE,
    dispute_columns,
    [
        dispute_id,
        order_id,
        buyer_id,
        seller_id,
        opener,
        kind,
        exclusion_group,
        status,
        message,
        reason,
        reason_detail,
        currency,
        exponent,
        amount_minor,
        new_due_time,
        respond_by,
        remind_at,
        reminders_sent,
        postpone_message,
        silence_rule,
        silence_rule_after_delivery,
        create_time,
        update_time,
        revision,
        resolve_time,
        resolved_by,
        outcome_refund_minor,
        outcome_cancelled,
        outcome_counts,
        outcome_new_due_time,
        answer_message,
        escalated_by,
        escalation_message,
        decided_by,
        decision_message,
        settlement_status,
        settlement_reference,
        settlement_detail,
        settlement_attempt,
        settlement_attempts,
        least_release,
        order_create_time,
    ]
);

columns!(
    order,
    ORDER,
    order_columns,
    [
        order_id,
        buyer_id,
        seller_id,
        title,
        currency,
        exponent,
        price_minor,
        paid_minor,
        refunded_elsewhere_minor,
        refunded_minor,
        status,
        create_time,
        due_time,
        agreed_due_time,
        extension_requests,
        end_time,
        cancellation_counts,
        cancelled_by,
        refund_accepted,
        source_version,
        revision,
    ]
);

/// Reads a row of `disputes`, whose columns begin at this position.
pub(super) fn dispute_at(row: &impl Columns, first: usize) -> Result<dispute::Model, Broken> {
    dispute_columns(row, first).ok_or_else(|| {
        let key = row.column(first).map(|id: Uuid| id.to_string());
        broken("disputes", key, row.column(first.saturating_add(1)))
    })
}

/// Reads a row of `orders`, whose columns begin at this position.
pub(super) fn order_at(row: &impl Columns, first: usize) -> Result<order::Model, Broken> {
    order_columns(row, first).ok_or_else(|| {
        let key: Option<String> = row.column(first);
        broken("orders", key.clone(), key)
    })
}

fn broken(table: &'static str, key: Option<String>, order: Option<String>) -> Broken {
    let id = key.unwrap_or_default();
    Broken { error: StorageError::Corrupt { table, id, what: "a column is not of its type" }, order }
}
