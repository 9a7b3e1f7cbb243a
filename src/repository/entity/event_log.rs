//! The event log as a whole: one row.

use sea_orm::entity::prelude::*;

/// The row of `event_log`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event_log")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i16,
    pub epoch: Uuid,
    pub head: i64,
    pub floor: i64,
    pub floor_event: Option<Uuid>,
    pub token_key: Option<Vec<u8>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
