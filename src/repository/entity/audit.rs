//! The audit: what callers with a scope did, and what confidential they were shown.

use sea_orm::entity::prelude::*;

/// A row of `audit`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit")]
pub struct Model {
    /// Given by the database.
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub time: i64,
    pub user_id: String,
    pub scope: i16,
    pub action: i16,
    pub order_id: String,
    pub dispute_id: Option<Uuid>,
    pub revision: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A row to insert: the database gives it its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    pub time: i64,
    pub user_id: String,
    pub scope: i16,
    pub action: i16,
    pub order_id: String,
    pub dispute_id: Option<Uuid>,
    pub revision: i64,
}
