//! The audit, apart from the log of events. Its numbers say in which order entries were added, and none is given twice, also
//! when the last entries were pruned: an export that was interrupted can tell what it has. They are no log: unlike events,
//! two replicas may commit theirs out of order. An identity column needs no right on a sequence.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0009_audit"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let (seq, id, uuid) = match manager.get_database_backend() {
            DbBackend::Postgres => ("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "TEXT COLLATE \"C\"", "UUID"),
            _ => ("INTEGER PRIMARY KEY AUTOINCREMENT", "TEXT", "BLOB"),
        };
        let table = format!(
            "CREATE TABLE audit (seq {seq}, time BIGINT NOT NULL, user_id {id} NOT NULL, scope SMALLINT NOT NULL, \
            action SMALLINT NOT NULL, order_id {id} NOT NULL, dispute_id {uuid}, revision BIGINT NOT NULL)"
        );
        for statement in [table.as_str(), "CREATE INDEX audit_by_time ON audit (time, seq)"] {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
