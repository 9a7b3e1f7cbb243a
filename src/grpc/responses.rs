//! Messages out.

use prost::Message as _;
use prost_types::Timestamp as ProtoTimestamp;

use super::status::Failure;
use crate::domain::{
    Actor, Caller, Dispute, DisputeKind, DisputeOption, EventId, Money, Order, Outcome, PartyRole, Reason, Recorded,
    Refusal, Terms, Timestamp, is_confidential, label, reasons, text,
};
use crate::proto::{Money as ProtoMoney, v1};

pub(super) fn order(order: &Order) -> v1::Order {
    v1::Order {
        order_id: order.id.to_string(),
        buyer_id: order.parties.buyer.to_string(),
        seller_id: order.parties.seller.to_string(),
        title: order.title.clone(),
        price: Some(money(order.price)),
        paid: Some(money(order.paid)),
        refunded_elsewhere: Some(money(order.refunded_elsewhere)),
        status: v1::OrderStatus::from(order.status).into(),
        create_time: Some(timestamp(order.create_time)),
        due_time: order.due_time.map(timestamp),
        end_time: order.end_time.map(timestamp),
        cancellation_counts: Some(order.cancellation_counts),
        source_version: order.source_version,
        refunded: Some(money(order.refunded)),
        cancelled_by_dispute_id: order.cancelled_by.map(|dispute| dispute.to_string()).unwrap_or_default(),
        revision: order.revision,
    }
}

/// The dispute as this caller may see it.
pub(super) fn dispute_for(dispute: &Dispute, caller: &Caller) -> v1::Dispute {
    dispute_with(dispute, dispute.reason_for(caller))
}

/// The dispute as everybody who sees it may: for what is shared by all, the log above all.
fn public_dispute(dispute: &Dispute) -> v1::Dispute {
    dispute_with(dispute, dispute.public_reason())
}

fn dispute_with(dispute: &Dispute, reason: Option<&Reason>) -> v1::Dispute {
    let resolution = dispute.resolution.as_ref();
    v1::Dispute {
        dispute_id: dispute.id.to_string(),
        order_id: dispute.order.to_string(),
        kind: v1::DisputeKind::from(dispute.kind()).into(),
        status: v1::DisputeStatus::from(dispute.status()).into(),
        buyer_id: dispute.parties.buyer.to_string(),
        seller_id: dispute.parties.seller.to_string(),
        opened_by: v1::PartyRole::from(dispute.opener).into(),
        message: dispute.message.clone(),
        reason: reason.map_or(v1::Reason::Unspecified, |reason| reason.code.into()).into(),
        reason_detail: reason.map(|reason| reason.detail.clone()).unwrap_or_default(),
        refund_amount: match dispute.terms {
            Terms::PartialRefund { amount } => Some(money(amount)),
            Terms::Cancellation | Terms::OrderUpdate => None,
        },
        respond_by: Some(timestamp(dispute.respond_by)),
        silence_rule: v1::SilenceRule::from(dispute.silence.rule).into(),
        create_time: Some(timestamp(dispute.create_time)),
        update_time: Some(timestamp(dispute.update_time)),
        resolve_time: resolution.map(|resolution| timestamp(resolution.time)),
        resolved_by: resolution.map_or(v1::ResolvedBy::Unspecified, |resolution| resolution.by.into()).into(),
        answer_message: resolution.map(|resolution| resolution.answer_message.clone()).unwrap_or_default(),
        outcome: resolution.map(|resolution| outcome(resolution.outcome)),
        revision: dispute.revision,
        etag: dispute.etag(),
    }
}

fn outcome(outcome: Outcome) -> v1::DisputeOutcome {
    let (order_cancelled, counts_against_completion_rate) = match outcome {
        Outcome::Nothing | Outcome::Refund(_) => (false, false),
        Outcome::Cancellation { counts, .. } => (true, counts),
    };
    v1::DisputeOutcome { refund: outcome.refund().map(money), order_cancelled, counts_against_completion_rate }
}

/// The public payload of an event, as it is kept in the log and sent to every subscriber.
pub fn encode_event(id: EventId, recorded: &Recorded) -> Vec<u8> {
    let event = &recorded.event;
    let (role, actor) = match &event.actor {
        Actor::Party(PartyRole::Buyer, user) => (v1::ActorRole::Buyer, user.to_string()),
        Actor::Party(PartyRole::Seller, user) => (v1::ActorRole::Seller, user.to_string()),
        Actor::Platform(user) => (v1::ActorRole::Platform, user.to_string()),
        Actor::System => (v1::ActorRole::System, String::new()),
    };
    let previous_status = recorded.previous_status.map_or(v1::DisputeStatus::Unspecified, v1::DisputeStatus::from);
    v1::DisputeEvent {
        event_id: id.to_string(),
        r#type: v1::EventType::from(event.change.event_type()).into(),
        dispute: Some(public_dispute(&recorded.dispute)),
        previous_status: previous_status.into(),
        event_time: Some(timestamp(event.time)),
        actor: Some(v1::Actor { role: role.into(), id: actor }),
        revision: recorded.dispute.revision,
    }
    .encode_to_vec()
}

pub(super) fn option(option: &DisputeOption, role: PartyRole) -> v1::DisputeOption {
    let kind = option.kind;
    v1::DisputeOption {
        kind: v1::DisputeKind::from(kind).into(),
        label: option_label(kind, role).to_owned(),
        available: option.blockers.is_empty(),
        blockers: option.blockers.iter().map(blocker).collect(),
        accepts_dispute_id: option.accepts.map(|dispute| dispute.to_string()).unwrap_or_default(),
        min_amount: option.amounts.map(|(min, _)| money(min)),
        max_amount: option.amounts.map(|(_, max)| money(max)),
        message_required: kind.requires_message(role),
        message_max_characters: i32::try_from(text::MESSAGE_MAX_CHARACTERS).unwrap_or(i32::MAX),
        reasons: reasons(kind, role)
            .iter()
            .map(|code| v1::ReasonChoice {
                reason: v1::Reason::from(*code).into(),
                label: label(*code).to_owned(),
                confidential: is_confidential(kind, role),
            })
            .collect(),
        response_window: prost_types::Duration::try_from(option.response_window).ok(),
        silence_rule: v1::SilenceRule::from(option.silence_rule).into(),
    }
}

fn option_label(kind: DisputeKind, role: PartyRole) -> &'static str {
    match (kind, role) {
        (DisputeKind::PartialRefund, _) => "Offer a partial refund",
        (DisputeKind::Cancellation, PartyRole::Seller) => "Ask the buyer to cancel this order",
        (DisputeKind::Cancellation, PartyRole::Buyer) => "Ask the seller to cancel this order",
        (DisputeKind::OrderUpdate, _) => "Get an order update",
    }
}

fn blocker(refusal: &Refusal) -> v1::DisputeBlocker {
    let dispute = if let Refusal::OpenDisputeExists { dispute } | Refusal::RefundAlreadyAccepted { dispute } = refusal {
        Some(dispute)
    } else {
        None
    };
    let Failure { reason, message, .. } = Failure::from(refusal);
    v1::DisputeBlocker {
        reason: reason.into(),
        text: message,
        dispute_id: dispute.map(ToString::to_string).unwrap_or_default(),
    }
}

/// Every reason that can be given, for which kind and by whom.
pub(super) fn all_reasons() -> Vec<v1::DisputeReason> {
    let kinds = DisputeKind::ALL.into_iter().flat_map(|kind| PartyRole::ALL.map(|role| (kind, role)));
    kinds
        .flat_map(|(kind, role)| {
            reasons(kind, role).iter().map(move |code| v1::DisputeReason {
                kind: v1::DisputeKind::from(kind).into(),
                role: v1::PartyRole::from(role).into(),
                reason: v1::Reason::from(*code).into(),
                label: label(*code).to_owned(),
                confidential: is_confidential(kind, role),
            })
        })
        .collect()
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
