//! Disputes.

use super::bargain::{bargain_columns, bargain_from};
use super::newer::{is_newer, newer_from};
use super::{Row, exponent};
use crate::domain::{
    Code as _, Dispute, DisputeId, DisputeKind, DisputeStatus, Escalation, Money, Outcome, Resolution, Results, Ruled,
    Settlement, SettlementReport, SettlementStatus, Silence, StoredDispute, Terms, Timestamp, UserId,
};
use crate::repository::entity::dispute;
use crate::repository::error::StorageError;

pub(in crate::repository) fn dispute_from(row: dispute::Model) -> Result<StoredDispute, StorageError> {
    if is_newer(&row) {
        return Ok(StoredDispute::Newer(Box::new(newer_from(row)?)));
    }
    Ok(StoredDispute::Judged(Box::new(judged_from(row)?)))
}

fn judged_from(row: dispute::Model) -> Result<Dispute, StorageError> {
    let dispute::Model {
        dispute_id,
        order_id,
        buyer_id,
        seller_id,
        opener,
        kind,
        exclusion_group: group,
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
        counter_offers,
    } = row;
    let row = Row { table: "disputes", id: dispute_id.to_string() };
    if least_release < 1 {
        return Err(row.corrupt("least_release"));
    }
    let currency = currency.zip(exponent).map(|(code, exponent)| row.currency(&code, exponent)).transpose()?;
    let money = |minor: Option<i64>, column| match (minor, currency) {
        (None, _) => Ok(None),
        (Some(minor), Some(currency)) => Ok(Some(Money::new(minor, currency))),
        (Some(_), None) => Err(row.corrupt(column)),
    };
    let kind: DisputeKind = row.code(kind, "kind")?;
    if group != exclusion_group(kind) {
        return Err(row.corrupt("exclusion_group"));
    }
    let amount = money(amount_minor, "amount_minor")?;
    let new_due_time = row.optional_instant(new_due_time, "new_due_time")?;
    let wrong = match (new_due_time, no_fault) {
        (Some(_), _) => "new_due_time",
        (None, true) if kind != DisputeKind::Cancellation => "no_fault",
        (None, _) => "amount_minor",
    };
    let terms = Terms::from_parts(kind, amount, new_due_time, no_fault).ok_or_else(|| row.corrupt(wrong))?;
    let bargain = bargain_from(&row, (max_counter_offers, opened_with_minor, counter_offers), currency)?;
    let refund = money(outcome_refund_minor, "outcome_refund_minor")?;
    let agreed = row.optional_instant(outcome_new_due_time, "outcome_new_due_time")?;
    let outcome = match (outcome_cancelled, refund, agreed) {
        (true, refund, None) => Outcome::Cancellation { refund, counts: outcome_counts },
        (false, Some(refund), None) => Outcome::Refund(refund),
        (false, None, Some(new_due_time)) => Outcome::NewDueTime(new_due_time),
        (false, None, None) => Outcome::Nothing,
        (_, _, Some(_)) => return Err(row.corrupt("outcome_new_due_time")),
    };
    if settlement_status.is_some() != outcome.refund().is_some() {
        return Err(row.corrupt("settlement_status"));
    }
    let settlement = match settlement_status.map(|status| row.code(status, "settlement_status")).transpose()? {
        None => None,
        Some(status) => {
            let report = match status {
                SettlementStatus::Due => None,
                SettlementStatus::Settled => Some(SettlementReport::Settled { reference: settlement_reference }),
                SettlementStatus::Failed => Some(SettlementReport::Failed { detail: settlement_detail }),
                SettlementStatus::Returned => Some(SettlementReport::Returned { detail: settlement_detail }),
                SettlementStatus::Voided => Some(SettlementReport::Voided { detail: settlement_detail }),
            };
            let attempt = settlement_attempt.and_then(|attempt| u32::try_from(attempt).ok());
            let attempts = attempts_from(&settlement_attempts).ok_or_else(|| row.corrupt("settlement_attempts"))?;
            let settlement = attempt.and_then(|attempt| Settlement::stored(report, attempt, attempts));
            Some(settlement.ok_or_else(|| row.corrupt("settlement_attempt"))?)
        }
    };
    let ruling = match decided_by {
        Some(agent) => {
            let agent = UserId::parse(&agent).map_err(|_| row.corrupt("decided_by"))?;
            Some(Ruled { agent, message: decision_message })
        }
        None => None,
    };
    let escalation = match escalated_by.map(|by| row.carried(by, "escalated_by")).transpose()? {
        Some(by) => Some(Escalation { by, message: escalation_message, ruling }),
        None if ruling.is_some() => return Err(row.corrupt("escalated_by")),
        None => None,
    };
    let status: DisputeStatus = row.code(status, "status")?;
    let resolution = match (status, resolve_time, resolved_by) {
        (open, None, None) if open.is_open() => {
            if (open == DisputeStatus::Escalated) != escalation.is_some() {
                return Err(row.corrupt("escalated_by"));
            }
            None
        }
        (open, _, _) if open.is_open() => return Err(row.corrupt("resolve_time")),
        (_, None, _) | (_, _, None) => return Err(row.corrupt("resolve_time")),
        (status, Some(time), Some(by)) => Some(Resolution {
            status,
            time: row.instant(time, "resolve_time")?,
            by: row.carried(by, "resolved_by")?,
            outcome,
            settlement,
        }),
    };
    Ok(Dispute {
        id: DisputeId(dispute_id),
        order: row.order_id(&order_id)?,
        order_create_time: order_create_time.and_then(Timestamp::from_micros),
        parties: row.parties(&buyer_id, &seller_id)?,
        opener: row.code(opener, "opener")?,
        terms,
        bargain,
        message,
        reason: row.reason(reason, reason_detail)?,
        respond_by: row.instant(respond_by, "respond_by")?,
        remind_at: row.optional_instant(remind_at, "remind_at")?,
        reminders_sent,
        postpone_message,
        silence: Silence {
            rule: row.code(silence_rule, "silence_rule")?,
            after_delivery: row.code(silence_rule_after_delivery, "silence_rule_after_delivery")?,
        },
        create_time: row.instant(create_time, "create_time")?,
        update_time: row.instant(update_time, "update_time")?,
        revision,
        answer_message,
        escalation,
        resolution,
    })
}

pub(in crate::repository) fn dispute_row(dispute: Dispute) -> dispute::Model {
    let (amount, new_due_time) = (dispute.terms.amount(), dispute.terms.new_due_time());
    let resolution = dispute.resolution.as_ref();
    let outcome = resolution.map_or(Outcome::Nothing, |resolution| resolution.outcome);
    let (outcome_cancelled, outcome_counts, agreed) = match outcome {
        Outcome::Nothing | Outcome::Refund(_) => (false, false, None),
        Outcome::Cancellation { counts, .. } => (true, counts, None),
        Outcome::NewDueTime(new_due_time) => (false, false, Some(new_due_time)),
    };
    let escalation = dispute.escalation.as_ref();
    let ruling = escalation.and_then(|escalation| escalation.ruling.as_ref());
    let settlement = resolution.and_then(|resolution| resolution.settlement.as_ref());
    let report = settlement.and_then(Settlement::last);
    let currency = amount.or(outcome.refund()).map(|money| money.currency);
    let (kind, status, least_release) = (dispute.kind(), dispute.status(), dispute.least_release());
    let reason = dispute.reason;
    let no_fault = dispute.terms.is_no_fault();
    let (max_counter_offers, opened_with_minor, counter_offers) = bargain_columns(dispute.bargain);
    dispute::Model {
        dispute_id: dispute.id.0,
        order_id: dispute.order.to_string(),
        buyer_id: dispute.parties.buyer.to_string(),
        seller_id: dispute.parties.seller.to_string(),
        opener: dispute.opener.code(),
        kind: kind.code(),
        exclusion_group: exclusion_group(kind),
        status: status.code(),
        message: dispute.message,
        reason: reason.as_ref().map(|reason| reason.code.code()),
        reason_detail: reason.map(|reason| reason.detail).unwrap_or_default(),
        currency: currency.map(|currency| currency.code().to_owned()),
        exponent: currency.map(exponent),
        amount_minor: amount.map(|amount| amount.minor),
        new_due_time: new_due_time.map(Timestamp::micros),
        respond_by: dispute.respond_by.micros(),
        remind_at: dispute.remind_at.map(Timestamp::micros),
        reminders_sent: dispute.reminders_sent,
        postpone_message: dispute.postpone_message,
        silence_rule: dispute.silence.rule.code(),
        silence_rule_after_delivery: dispute.silence.after_delivery.code(),
        create_time: dispute.create_time.micros(),
        update_time: dispute.update_time.micros(),
        revision: dispute.revision,
        resolve_time: resolution.map(|resolution| resolution.time.micros()),
        resolved_by: resolution.map(|resolution| resolution.by.code()),
        outcome_refund_minor: outcome.refund().map(|refund| refund.minor),
        outcome_cancelled,
        outcome_counts,
        outcome_new_due_time: agreed.map(Timestamp::micros),
        answer_message: dispute.answer_message,
        escalated_by: escalation.map(|escalation| escalation.by.code()),
        escalation_message: escalation.map(|escalation| escalation.message.clone()).unwrap_or_default(),
        decided_by: ruling.map(|ruling| ruling.agent.to_string()),
        decision_message: ruling.map(|ruling| ruling.message.clone()).unwrap_or_default(),
        settlement_status: settlement.map(|settlement| settlement.status().code()),
        settlement_reference: report.map(SettlementReport::reference).unwrap_or_default().to_owned(),
        settlement_detail: report.map(SettlementReport::detail).unwrap_or_default().to_owned(),
        settlement_attempt: settlement.map(|settlement| settlement.attempt().into()),
        settlement_attempts: settlement.map(|settlement| attempts_text(settlement.attempts())).unwrap_or_default(),
        least_release,
        order_create_time: dispute.order_create_time.map(Timestamp::micros),
        no_fault,
        max_counter_offers,
        opened_with_minor,
        counter_offers,
    }
}

/// The results of each attempt to pay, a hexadecimal digit each.
fn attempts_text(attempts: &[Results]) -> String {
    attempts.iter().filter_map(|results| char::from_digit(results.bits().into(), 16)).collect()
}

fn attempts_from(text: &str) -> Option<Vec<Results>> {
    let results = |digit: char| Results::from_bits(u8::try_from(digit.to_digit(16)?).ok()?);
    text.chars().map(results).collect()
}

/// The group of which one dispute may be open per order: one for all money disputes, one for each other kind.
fn exclusion_group(kind: DisputeKind) -> i16 {
    if kind.is_money() { DisputeKind::PartialRefund.code() } else { kind.code() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_exclude_as_the_rules_do() {
        for a in DisputeKind::ALL {
            for b in DisputeKind::ALL {
                assert_eq!(exclusion_group(a) == exclusion_group(b), a.excludes(b), "{a:?} {b:?}");
            }
        }
    }
}
