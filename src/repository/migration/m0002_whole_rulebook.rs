//! Extensions, escalation, settlement, reminders; and an index behind each filter of the lists.

use sea_orm_migration::prelude::*;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0002_whole_rulebook"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = [
            ("orders", "agreed_due_time BIGINT"),
            ("orders", "extension_requests BIGINT NOT NULL DEFAULT 0"),
            ("disputes", "new_due_time BIGINT"),
            ("disputes", "remind_at BIGINT"),
            ("disputes", "reminders_sent BIGINT NOT NULL DEFAULT 0"),
            ("disputes", "postpone_message TEXT NOT NULL DEFAULT ''"),
            ("disputes", "outcome_new_due_time BIGINT"),
            ("disputes", "escalated_by SMALLINT"),
            ("disputes", "escalation_message TEXT NOT NULL DEFAULT ''"),
            ("disputes", "decided_by TEXT"),
            ("disputes", "decision_message TEXT NOT NULL DEFAULT ''"),
            ("disputes", "settlement_status SMALLINT"),
            ("disputes", "settlement_reference TEXT NOT NULL DEFAULT ''"),
            ("disputes", "settlement_detail TEXT NOT NULL DEFAULT ''"),
        ];
        let columns = columns.map(|(table, column)| format!("ALTER TABLE {table} ADD COLUMN {column}"));
        let others = [
            // Refunds from before settlements were reported are due.
            "UPDATE disputes SET settlement_status = 1 WHERE outcome_refund_minor IS NOT NULL",
            "DROP INDEX disputes_open",
            "CREATE UNIQUE INDEX disputes_open ON disputes (order_id, exclusion_group) WHERE resolve_time IS NULL",
            "DROP INDEX disputes_by_deadline",
            "CREATE INDEX disputes_by_deadline ON disputes (respond_by, dispute_id)
                WHERE resolve_time IS NULL AND escalated_by IS NULL",
            // A seller's standing is read from this index alone.
            "CREATE INDEX orders_by_end ON orders (seller_id, end_time, status, cancellation_counts)
                WHERE end_time IS NOT NULL",
            // Open disputes of a party, most urgent first: few, however many resolved ones the party has.
            "CREATE INDEX disputes_open_by_buyer ON disputes (buyer_id, respond_by, dispute_id)
                WHERE resolve_time IS NULL",
            "CREATE INDEX disputes_open_by_seller ON disputes (seller_id, respond_by, dispute_id)
                WHERE resolve_time IS NULL",
            // Rows that a party does not ask for are skipped in the index, without reading them.
            "DROP INDEX orders_by_buyer",
            "CREATE INDEX orders_by_buyer ON orders (buyer_id, create_time, order_id, status)",
            "DROP INDEX orders_by_seller",
            "CREATE INDEX orders_by_seller ON orders (seller_id, create_time, order_id, status)",
            "DROP INDEX disputes_by_buyer",
            "CREATE INDEX disputes_by_buyer ON disputes (buyer_id, create_time, dispute_id, kind, opener)",
            "DROP INDEX disputes_by_seller",
            "CREATE INDEX disputes_by_seller ON disputes (seller_id, create_time, dispute_id, kind, opener)",
            // Everything is the sum of its statuses, or kinds.
            "DROP INDEX orders_by_time",
            "CREATE INDEX orders_by_status ON orders (status, create_time, order_id)",
            "DROP INDEX disputes_by_time",
            "CREATE INDEX disputes_by_kind ON disputes (kind, create_time, dispute_id)",
            "CREATE INDEX disputes_by_status ON disputes (status, create_time, dispute_id)",
            "CREATE INDEX disputes_by_settlement ON disputes (settlement_status, create_time, dispute_id)
                WHERE settlement_status IS NOT NULL",
            "CREATE INDEX disputes_by_update ON disputes (update_time, create_time, dispute_id)",
            "CREATE INDEX disputes_by_reminder ON disputes (remind_at, dispute_id) WHERE remind_at IS NOT NULL",
        ];
        for statement in columns.iter().map(String::as_str).chain(others) {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
