//! Orders.

use sea_orm::entity::prelude::*;

/// A row of `orders`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "orders")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub order_id: String,
    pub buyer_id: String,
    pub seller_id: String,
    pub title: String,
    pub currency: String,
    pub exponent: i16,
    pub price_minor: i64,
    pub paid_minor: i64,
    pub refunded_elsewhere_minor: i64,
    pub refunded_minor: i64,
    pub status: i16,
    pub create_time: i64,
    pub due_time: Option<i64>,
    pub agreed_due_time: Option<i64>,
    pub extension_requests: i64,
    pub end_time: Option<i64>,
    pub cancellation_counts: bool,
    pub cancelled_by: Option<Uuid>,
    pub refund_accepted: Option<Uuid>,
    pub source_version: i64,
    pub revision: i64,
    pub cancelled_no_fault: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
