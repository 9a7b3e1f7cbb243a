//! Disputes that only a newer release may judge: read without the rules of this one.

use super::Row;
use super::bargain::bargain_from;
use crate::domain::{
    Code as _, DisputeId, DisputeKind, DisputeStatus, Money, NewerDispute, NewerSettlement, PartyRole, RELEASE,
    SettlementStatus, SilenceRule, UserId,
};
use crate::repository::entity::dispute;
use crate::repository::error::StorageError;

/// Whether a dispute says that a newer release has to judge it, or has a value that this one does not know and on which
/// its rules depend.
pub(super) fn is_newer(row: &dispute::Model) -> bool {
    row.least_release > RELEASE
        || DisputeKind::is_newer(row.kind)
        || DisputeStatus::is_newer(row.status)
        || PartyRole::is_newer(row.opener)
        || [row.silence_rule, row.silence_rule_after_delivery].into_iter().any(SilenceRule::is_newer)
        || row.settlement_status.is_some_and(SettlementStatus::is_newer)
}

pub(super) fn newer_from(row: dispute::Model) -> Result<NewerDispute, StorageError> {
    let dispute::Model {
        dispute_id,
        order_id,
        buyer_id,
        seller_id,
        opener,
        kind,
        exclusion_group: _,
        status,
        message,
        reason,
        reason_detail,
        currency,
        exponent,
        amount_minor,
        new_due_time,
        respond_by,
        remind_at: _,
        reminders_sent,
        postpone_message,
        silence_rule,
        silence_rule_after_delivery: _,
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
        settlement_attempts: _,
        least_release: _,
        order_create_time: _,
        no_fault,
        max_counter_offers,
        opened_with_minor,
        counter_offers,
    } = row;
    let row = Row { table: "disputes", id: dispute_id.to_string() };
    let currency = currency.zip(exponent).map(|(code, exponent)| row.currency(&code, exponent)).transpose()?;
    let money = |minor: Option<i64>| minor.zip(currency).map(|(minor, currency)| Money::new(minor, currency));
    let settlement = |status| {
        let status = row.carried(status, "settlement_status")?;
        let attempt = settlement_attempt.and_then(|attempt| u32::try_from(attempt).ok());
        let attempt = attempt.ok_or_else(|| row.corrupt("settlement_attempt"))?;
        Ok::<_, StorageError>(NewerSettlement {
            status,
            reference: settlement_reference,
            detail: settlement_detail,
            attempt,
        })
    };
    Ok(NewerDispute {
        id: DisputeId(dispute_id),
        order: row.order_id(&order_id)?,
        parties: row.parties(&buyer_id, &seller_id)?,
        opener: row.carried(opener, "opener")?,
        kind: row.carried(kind, "kind")?,
        status: row.carried(status, "status")?,
        message,
        reason: row.reason(reason, reason_detail)?,
        amount: money(amount_minor),
        no_fault,
        // What a newer release has made of it need not be understood.
        bargain: bargain_from(&row, (max_counter_offers, opened_with_minor, counter_offers), currency)
            .unwrap_or_default(),
        new_due_time: row.optional_instant(new_due_time, "new_due_time")?,
        respond_by: row.instant(respond_by, "respond_by")?,
        reminders_sent,
        postpone_message,
        silence_rule: row.carried(silence_rule, "silence_rule")?,
        create_time: row.instant(create_time, "create_time")?,
        update_time: row.instant(update_time, "update_time")?,
        revision,
        answer_message,
        escalated_by: escalated_by.map(|by| row.carried(by, "escalated_by")).transpose()?,
        escalation_message,
        decided_by: decided_by.map(|agent| UserId::parse(&agent).map_err(|_| row.corrupt("decided_by"))).transpose()?,
        decision_message,
        resolve_time: row.optional_instant(resolve_time, "resolve_time")?,
        resolved_by: resolved_by.map(|by| row.carried(by, "resolved_by")).transpose()?,
        refund: money(outcome_refund_minor),
        order_cancelled: outcome_cancelled,
        counts: outcome_counts,
        agreed_due_time: row.optional_instant(outcome_new_due_time, "outcome_new_due_time")?,
        settlement: settlement_status.map(settlement).transpose()?,
    })
}
