//! Rows as they are stored: the columns of each table, and how a row is taken apart and read in that order. Statements and
//! rows have one list, so they agree.

use uuid::Uuid;

use super::columns::Columns;
use super::entity::{audit, dispute, event, idempotency_key, order};

/// A value of a column, by its type in the database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Cell {
    Bool(Option<bool>),
    Small(Option<i16>),
    Big(Option<i64>),
    Text(Option<String>),
    Uuid(Option<Uuid>),
    Bytes(Option<Vec<u8>>),
}

macro_rules! cells {
    ($($variant:ident($type:ty)),*) => { $(
        impl From<$type> for Cell {
            fn from(value: $type) -> Self {
                Self::$variant(Some(value))
            }
        }

        impl From<Option<$type>> for Cell {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value)
            }
        }
    )* };
}

cells!(Bool(bool), Small(i16), Big(i64), Text(String), Uuid(Uuid), Bytes(Vec<u8>));

/// A row of a table, with every value that is inserted.
pub(super) trait Stored: Sized {
    /// The table.
    const TABLE: &'static str;
    /// Its columns; the first one is its key.
    const COLUMNS: &'static [&'static str];

    /// Takes the row apart: the values of all columns, in their order.
    fn take_apart(self, take: &mut impl FnMut(Cell));

    /// Reads a row that has all columns, in their order, from a position on; `None` if one of them is not of its type.
    fn read(row: &impl Columns, first: usize) -> Option<Self>;
}

/// The rows are taken apart without `..`, so that a new column does not compile until it is written.
macro_rules! stored {
    ($table:literal, $row:path { $($column:ident),* }) => {
        impl Stored for $row {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [&'static str] = &[$(stringify!($column)),*];

            fn take_apart(self, take: &mut impl FnMut(Cell)) {
                let Self { $($column),* } = self;
                $(take($column.into());)*
            }

            fn read(row: &impl Columns, first: usize) -> Option<Self> {
                let mut position = first..;
                Some(Self { $($column: row.column(position.next()?)?),* })
            }
        }
    };
}

stored!(
    "orders",
    order::Model {
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
        cancelled_no_fault
    }
);

stored!(
    "disputes",
    dispute::Model {
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
        no_fault,
        max_counter_offers,
        opened_with_minor,
        counter_offers
    }
);

stored!(
    "events",
    event::Model { seq, event_id, dispute_id, order_id, buyer_id, seller_id, kind, event_type, event_time, payload }
);

stored!("idempotency_keys", idempotency_key::Model { key, fingerprint, dispute_id, create_time });

stored!("audit", audit::Model { seq, time, user_id, scope, action, order_id, dispute_id, revision });

stored!("audit", audit::NewEntry { time, user_id, scope, action, order_id, dispute_id, revision });

#[cfg(test)]
mod tests {
    use sea_orm::{EntityTrait, IdenStatic as _, Iterable as _};

    use super::*;

    fn require_all<E: EntityTrait, R: Stored>(given_by_the_database: &[&str]) {
        let columns: Vec<_> = E::Column::iter().map(|column| column.as_str()).collect();
        let columns: Vec<_> = columns.into_iter().filter(|column| !given_by_the_database.contains(column)).collect();
        assert_eq!((R::TABLE, R::COLUMNS), (E::default().as_str(), &columns[..]));
    }

    #[test]
    fn every_column_is_inserted() {
        require_all::<order::Entity, order::Model>(&[]);
        require_all::<dispute::Entity, dispute::Model>(&[]);
        require_all::<event::Entity, event::Model>(&[]);
        require_all::<idempotency_key::Entity, idempotency_key::Model>(&[]);
        require_all::<audit::Entity, audit::NewEntry>(&["seq"]);
        require_all::<audit::Entity, audit::Model>(&[]);
    }
}
