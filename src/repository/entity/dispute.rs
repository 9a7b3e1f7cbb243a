//! Disputes. The only table with confidential reasons.

use sea_orm::entity::prelude::*;

/// A row of `disputes`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "disputes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub dispute_id: Uuid,
    pub order_id: String,
    pub buyer_id: String,
    pub seller_id: String,
    pub opener: i16,
    pub kind: i16,
    pub exclusion_group: i16,
    pub status: i16,
    pub message: String,
    pub reason: Option<i16>,
    pub reason_detail: String,
    pub currency: Option<String>,
    pub exponent: Option<i16>,
    pub amount_minor: Option<i64>,
    pub new_due_time: Option<i64>,
    pub respond_by: i64,
    pub remind_at: Option<i64>,
    pub reminders_sent: i64,
    pub postpone_message: String,
    pub silence_rule: i16,
    pub silence_rule_after_delivery: i16,
    pub create_time: i64,
    pub update_time: i64,
    pub revision: i64,
    pub resolve_time: Option<i64>,
    pub resolved_by: Option<i16>,
    pub outcome_refund_minor: Option<i64>,
    pub outcome_cancelled: bool,
    pub outcome_counts: bool,
    pub outcome_new_due_time: Option<i64>,
    pub answer_message: String,
    pub escalated_by: Option<i16>,
    pub escalation_message: String,
    pub decided_by: Option<String>,
    pub decision_message: String,
    pub settlement_status: Option<i16>,
    pub settlement_reference: String,
    pub settlement_detail: String,
    pub settlement_attempt: Option<i64>,
    pub settlement_attempts: String,
    pub least_release: i16,
    pub order_create_time: Option<i64>,
    pub no_fault: bool,
    pub max_counter_offers: i16,
    pub opened_with_minor: Option<i64>,
    pub counter_offers: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(belongs_to = "super::order::Entity", from = "Column::OrderId", to = "super::order::Column::OrderId")]
    Order,
}

impl Related<super::order::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Order.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
