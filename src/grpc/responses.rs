//! Orders and disputes, as messages.

use prost_types::Timestamp as ProtoTimestamp;

use super::codes::number;
use crate::domain::{
    Caller, Consequences, Dispute, DisputeView, Money, NewerDispute, Offer, OrderView, Outcome, Reason, Settlement,
    SettlementReport, ShownDispute, Timestamp,
};
use crate::proto::{Money as ProtoMoney, v1};

pub(super) fn order(view: &OrderView) -> v1::Order {
    let order = &view.order;
    v1::Order {
        order_id: order.id.to_string(),
        buyer_id: order.parties.buyer.to_string(),
        seller_id: order.parties.seller.to_string(),
        title: order.title.clone(),
        price: Some(money(order.price)),
        paid: Some(money(order.paid)),
        refunded_elsewhere: Some(money(order.refunded_elsewhere)),
        status: number::<_, v1::OrderStatus>(order.status),
        create_time: Some(timestamp(order.create_time)),
        due_time: order.due_time.map(timestamp),
        end_time: order.end_time.map(timestamp),
        cancellation_counts: Some(order.cancellation_counts),
        source_version: order.source_version,
        refunded: Some(money(order.refunded)),
        agreed_due_time: order.agreed_due_time.map(timestamp),
        open_dispute_ids: view.open_disputes.iter().map(ToString::to_string).collect(),
        completion_hold: view.completion_hold,
        cancelled_by_dispute_id: order.cancelled_by.map(|dispute| dispute.to_string()).unwrap_or_default(),
        revision: order.revision,
        over_refunded: order.over_refunded().map(money),
    }
}

/// The dispute as this caller may see it, whoever may judge it.
pub(super) fn shown_to(shown: &ShownDispute, caller: &Caller) -> v1::Dispute {
    match shown {
        ShownDispute::Judged(view) => dispute_for(view, caller),
        ShownDispute::Newer(dispute) => newer_for(dispute, caller),
    }
}

/// The dispute as this caller may see it.
pub(super) fn dispute_for(view: &DisputeView, caller: &Caller) -> v1::Dispute {
    let dispute = &view.dispute;
    let mut message = dispute_with(dispute, view.consequences, dispute.reason_for(caller));
    message.allowed_actions =
        view.allowed_actions.iter().map(|action| v1::DisputeAction::from(*action).into()).collect();
    message.counter_min = view.counter_range.map(|(min, _)| money(min));
    message.counter_max = view.counter_range.map(|(_, max)| money(max));
    let ruling = dispute.escalation.as_ref().and_then(|escalation| escalation.ruling.as_ref());
    if let Some(ruling) = ruling.filter(|_| caller.sees_agents()) {
        message.decided_by = ruling.agent.to_string();
    }
    let report = dispute.settlement().and_then(Settlement::last).filter(|_| caller.sees_settlement_details());
    if let (Some(report), Some(shown)) = (report, &mut message.settlement) {
        report.detail().clone_into(&mut shown.detail);
    }
    message
}

/// The dispute as everybody who sees it may: for what is shared by all, the log above all.
pub(super) fn public_dispute(dispute: &Dispute, consequences: Consequences) -> v1::Dispute {
    dispute_with(dispute, consequences, dispute.public_reason())
}

/// The dispute without anything that depends on the viewer but the reason.
fn dispute_with(dispute: &Dispute, consequences: Consequences, reason: Option<&Reason>) -> v1::Dispute {
    let resolution = dispute.resolution.as_ref();
    let escalation = dispute.escalation.as_ref();
    let ruling = escalation.and_then(|escalation| escalation.ruling.as_ref());
    v1::Dispute {
        dispute_id: dispute.id.to_string(),
        order_id: dispute.order.to_string(),
        kind: v1::DisputeKind::from(dispute.kind()).into(),
        status: v1::DisputeStatus::from(dispute.status()).into(),
        buyer_id: dispute.parties.buyer.to_string(),
        seller_id: dispute.parties.seller.to_string(),
        opened_by: v1::PartyRole::from(dispute.opener).into(),
        message: dispute.message.clone(),
        reason: reason.map_or(0, |reason| number::<_, v1::Reason>(reason.code)),
        reason_detail: reason.map(|reason| reason.detail.clone()).unwrap_or_default(),
        refund_amount: dispute.terms.amount().map(money),
        new_due_time: dispute.terms.new_due_time().map(timestamp),
        respond_by: Some(timestamp(dispute.respond_by)),
        silence_rule: v1::SilenceRule::from(dispute.silence.rule).into(),
        create_time: Some(timestamp(dispute.create_time)),
        update_time: Some(timestamp(dispute.update_time)),
        resolve_time: resolution.map(|resolution| timestamp(resolution.time)),
        resolved_by: resolution.map_or(0, |resolution| number::<_, v1::ResolvedBy>(resolution.by)),
        answer_message: dispute.answer_message.clone(),
        outcome: resolution.map(|resolution| outcome(resolution.outcome)),
        if_accepted: consequences.if_accepted.map(outcome),
        if_silent: consequences.if_silent.map(outcome),
        escalated_by: escalation.map_or(0, |escalation| number::<_, v1::ActorRole>(escalation.by)),
        escalation_message: escalation.map(|escalation| escalation.message.clone()).unwrap_or_default(),
        decided_by: String::new(),
        decision_message: ruling.map(|ruling| ruling.message.clone()).unwrap_or_default(),
        postpone_message: dispute.postpone_message.clone(),
        settlement: settlement(dispute),
        revision: dispute.revision,
        etag: dispute.etag(),
        allowed_actions: Vec::new(),
        awaiting: dispute.awaiting().map_or(0, |party| v1::PartyRole::from(party).into()),
        offers: offers(dispute.offers()),
        rounds_left: rounds(dispute.bargain.rounds_left()),
        no_fault: dispute.terms.is_no_fault(),
        counter_min: None,
        counter_max: None,
    }
}

/// A dispute that only a newer release may judge, as this caller may see it.
fn newer_for(dispute: &NewerDispute, caller: &Caller) -> v1::Dispute {
    let mut message = newer_with(dispute, dispute.reason_for(caller));
    if let Some(agent) = dispute.decided_by.as_ref().filter(|_| caller.sees_agents()) {
        message.decided_by = agent.to_string();
    }
    let settlement = dispute.settlement.as_ref().filter(|_| caller.sees_settlement_details());
    if let (Some(settlement), Some(shown)) = (settlement, &mut message.settlement) {
        shown.detail.clone_from(&settlement.detail);
    }
    message
}

/// Such a dispute without anything that depends on the viewer but the reason.
pub(super) fn newer_with(dispute: &NewerDispute, reason: Option<&Reason>) -> v1::Dispute {
    let refund = dispute.refund.map(money);
    v1::Dispute {
        dispute_id: dispute.id.to_string(),
        order_id: dispute.order.to_string(),
        kind: number::<_, v1::DisputeKind>(dispute.kind),
        status: number::<_, v1::DisputeStatus>(dispute.status),
        buyer_id: dispute.parties.buyer.to_string(),
        seller_id: dispute.parties.seller.to_string(),
        opened_by: number::<_, v1::PartyRole>(dispute.opener),
        message: dispute.message.clone(),
        reason: reason.map_or(0, |reason| number::<_, v1::Reason>(reason.code)),
        reason_detail: reason.map(|reason| reason.detail.clone()).unwrap_or_default(),
        refund_amount: dispute.amount.map(money),
        new_due_time: dispute.new_due_time.map(timestamp),
        respond_by: Some(timestamp(dispute.respond_by)),
        silence_rule: number::<_, v1::SilenceRule>(dispute.silence_rule),
        create_time: Some(timestamp(dispute.create_time)),
        update_time: Some(timestamp(dispute.update_time)),
        resolve_time: dispute.resolve_time.map(timestamp),
        resolved_by: dispute.resolved_by.map_or(0, number::<_, v1::ResolvedBy>),
        answer_message: dispute.answer_message.clone(),
        outcome: dispute.resolve_time.map(|_| v1::DisputeOutcome {
            refund: refund.clone(),
            order_cancelled: dispute.order_cancelled,
            new_due_time: dispute.agreed_due_time.map(timestamp),
            counts_against_completion_rate: dispute.counts,
        }),
        if_accepted: None,
        if_silent: None,
        escalated_by: dispute.escalated_by.map_or(0, number::<_, v1::ActorRole>),
        escalation_message: dispute.escalation_message.clone(),
        decided_by: String::new(),
        decision_message: dispute.decision_message.clone(),
        postpone_message: dispute.postpone_message.clone(),
        settlement: dispute.settlement.as_ref().map(|settlement| v1::Settlement {
            status: number::<_, v1::SettlementStatus>(settlement.status),
            amount: refund,
            reference: settlement.reference.clone(),
            detail: String::new(),
            idempotency_key: dispute.id.settlement_key(settlement.attempt),
            attempt: i32::try_from(settlement.attempt).unwrap_or(i32::MAX),
        }),
        revision: dispute.revision,
        etag: dispute.etag(),
        allowed_actions: Vec::new(),
        // Whose turn it is, only a newer release knows.
        awaiting: 0,
        offers: match dispute.opener.known() {
            Some(opener) => {
                offers(dispute.bargain.offers(opener, dispute.amount, &dispute.message, dispute.create_time))
            }
            None => Vec::new(),
        },
        rounds_left: rounds(dispute.bargain.rounds_left()),
        no_fault: dispute.no_fault,
        counter_min: None,
        counter_max: None,
    }
}

/// What was on the table, in order.
fn offers<'a>(offers: impl Iterator<Item = Offer<'a>>) -> Vec<v1::Offer> {
    let offer = |(number, Offer { by, amount, message, time }): (i32, Offer<'_>)| v1::Offer {
        number,
        by: v1::PartyRole::from(by).into(),
        amount: Some(money(amount)),
        message: message.to_owned(),
        create_time: Some(timestamp(time)),
    };
    (1..).zip(offers).map(offer).collect()
}

fn rounds(left: u32) -> i32 {
    i32::try_from(left).unwrap_or(i32::MAX)
}

/// How the money stands, without what is for support and the platform only.
fn settlement(dispute: &Dispute) -> Option<v1::Settlement> {
    let resolution = dispute.resolution.as_ref()?;
    let settlement = resolution.settlement.as_ref()?;
    let attempt = settlement.attempt();
    Some(v1::Settlement {
        status: v1::SettlementStatus::from(settlement.status()).into(),
        amount: resolution.outcome.refund().map(money),
        reference: settlement.last().map(SettlementReport::reference).unwrap_or_default().to_owned(),
        detail: String::new(),
        idempotency_key: dispute.id.settlement_key(attempt),
        attempt: i32::try_from(attempt).unwrap_or(i32::MAX),
    })
}

pub(super) fn outcome(outcome: Outcome) -> v1::DisputeOutcome {
    let mut message = v1::DisputeOutcome { refund: outcome.refund().map(money), ..v1::DisputeOutcome::default() };
    match outcome {
        Outcome::Nothing | Outcome::Refund(_) => {}
        Outcome::Cancellation { counts, .. } => {
            message.order_cancelled = true;
            message.counts_against_completion_rate = counts;
        }
        Outcome::NewDueTime(new_due_time) => message.new_due_time = Some(timestamp(new_due_time)),
    }
    message
}

pub(super) fn money(money: Money) -> ProtoMoney {
    let (units, nanos) = money.to_units();
    ProtoMoney { currency_code: money.currency.code().to_owned(), units, nanos }
}

pub(super) fn timestamp(instant: Timestamp) -> ProtoTimestamp {
    let micros = instant.micros();
    // A remainder of microseconds times 1,000 is less than a second of nanoseconds.
    let nanos = i32::try_from(micros.rem_euclid(1_000_000).saturating_mul(1_000)).unwrap_or_default();
    ProtoTimestamp { seconds: micros.div_euclid(1_000_000), nanos }
}
