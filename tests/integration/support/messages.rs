//! Requests as most tests want them: an order of 100.00 USD between `ann`, who buys, and `bob`, who sells.

use dispute_service::proto::{Money, v1};
use prost_types::Timestamp;

/// When the stories begin: 2026-01-01T00:00:00Z.
pub const BEGINNING: i64 = 1_767_225_600;

pub fn usd(cents: i64) -> Money {
    let nanos = i32::try_from(cents % 100).unwrap() * 10_000_000;
    Money { currency_code: "USD".to_owned(), units: cents / 100, nanos }
}

/// So many seconds after the beginning.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds: BEGINNING + seconds, nanos: 0 }
}

pub fn order(id: &str) -> v1::Order {
    v1::Order {
        order_id: id.to_owned(),
        buyer_id: "ann".to_owned(),
        seller_id: "bob".to_owned(),
        title: "A logo".to_owned(),
        price: Some(usd(10_000)),
        status: v1::OrderStatus::InProgress.into(),
        source_version: 1,
        ..v1::Order::default()
    }
}

pub fn offer(order: &str, cents: i64) -> v1::OfferPartialRefundRequest {
    v1::OfferPartialRefundRequest {
        order_id: order.to_owned(),
        amount: Some(usd(cents)),
        message: "Sorry for the delay.".to_owned(),
        reason: v1::Reason::DelayCompensation.into(),
        ..v1::OfferPartialRefundRequest::default()
    }
}

/// A cancellation with a reason that both roles can give.
pub fn cancellation(order: &str) -> v1::RequestCancellationRequest {
    v1::RequestCancellationRequest {
        order_id: order.to_owned(),
        message: "Let us cancel.".to_owned(),
        reason: v1::Reason::OrderedByMistake.into(),
        ..v1::RequestCancellationRequest::default()
    }
}

/// A partial refund that the buyer asks for.
pub fn refund_request(order: &str, cents: i64) -> v1::RequestPartialRefundRequest {
    v1::RequestPartialRefundRequest {
        order_id: order.to_owned(),
        amount: Some(usd(cents)),
        message: "Half of it is missing.".to_owned(),
        reason: v1::Reason::DeliveredPartially.into(),
        ..v1::RequestPartialRefundRequest::default()
    }
}

pub fn counter(dispute: &str, cents: i64) -> v1::CounterOfferRequest {
    v1::CounterOfferRequest {
        dispute_id: dispute.to_owned(),
        amount: Some(usd(cents)),
        ..v1::CounterOfferRequest::default()
    }
}

pub fn no_fault(order: &str) -> v1::RequestCancellationRequest {
    v1::RequestCancellationRequest { no_fault: true, ..cancellation(order) }
}

pub fn update(order: &str) -> v1::RequestOrderUpdateRequest {
    v1::RequestOrderUpdateRequest {
        order_id: order.to_owned(),
        message: "How is it going?".to_owned(),
        ..v1::RequestOrderUpdateRequest::default()
    }
}

pub fn accept(dispute: &str) -> v1::AcceptDisputeRequest {
    v1::AcceptDisputeRequest { dispute_id: dispute.to_owned(), ..v1::AcceptDisputeRequest::default() }
}

pub fn decline(dispute: &str) -> v1::DeclineDisputeRequest {
    v1::DeclineDisputeRequest { dispute_id: dispute.to_owned(), ..v1::DeclineDisputeRequest::default() }
}

pub fn withdraw(dispute: &str) -> v1::WithdrawDisputeRequest {
    v1::WithdrawDisputeRequest { dispute_id: dispute.to_owned(), ..v1::WithdrawDisputeRequest::default() }
}

pub fn answer(dispute: &str) -> v1::AnswerOrderUpdateRequest {
    v1::AnswerOrderUpdateRequest {
        dispute_id: dispute.to_owned(),
        message: "Nearly done.".to_owned(),
        ..v1::AnswerOrderUpdateRequest::default()
    }
}

/// An extension until so many seconds after the beginning.
pub fn extension(order: &str, until: i64) -> v1::RequestDeliveryExtensionRequest {
    v1::RequestDeliveryExtensionRequest {
        order_id: order.to_owned(),
        new_due_time: Some(at(until)),
        message: "I need a week more.".to_owned(),
        reason: v1::Reason::UnexpectedEvent.into(),
        ..v1::RequestDeliveryExtensionRequest::default()
    }
}

pub fn escalate(dispute: &str) -> v1::EscalateDisputeRequest {
    v1::EscalateDisputeRequest {
        dispute_id: dispute.to_owned(),
        message: "We cannot agree.".to_owned(),
        ..v1::EscalateDisputeRequest::default()
    }
}

fn decide(dispute: &str, decision: v1::decide_dispute_request::Decision) -> v1::DecideDisputeRequest {
    v1::DecideDisputeRequest {
        dispute_id: dispute.to_owned(),
        message: "We looked into it.".to_owned(),
        decision: Some(decision),
        ..v1::DecideDisputeRequest::default()
    }
}

pub fn no_action(dispute: &str) -> v1::DecideDisputeRequest {
    decide(dispute, v1::decide_dispute_request::Decision::NoAction(v1::NoAction {}))
}

pub fn refund(dispute: &str, cents: i64) -> v1::DecideDisputeRequest {
    decide(dispute, v1::decide_dispute_request::Decision::Refund(usd(cents)))
}

pub fn cancel_order(dispute: &str) -> v1::DecideDisputeRequest {
    decide(dispute, v1::decide_dispute_request::Decision::CancelOrder(v1::CancelOrder {}))
}

/// Moves the deadline to so many seconds after the beginning.
pub fn postpone(dispute: &str, respond_by: i64) -> v1::PostponeDeadlineRequest {
    v1::PostponeDeadlineRequest {
        dispute_id: dispute.to_owned(),
        respond_by: Some(at(respond_by)),
        message: "Take your time.".to_owned(),
        ..v1::PostponeDeadlineRequest::default()
    }
}

fn reported(dispute: &str, result: v1::report_settlement_request::Result) -> v1::ReportSettlementRequest {
    v1::ReportSettlementRequest {
        dispute_id: dispute.to_owned(),
        result: Some(result),
        ..v1::ReportSettlementRequest::default()
    }
}

pub fn settled(dispute: &str, reference: &str) -> v1::ReportSettlementRequest {
    let settled = v1::Settled { reference: reference.to_owned() };
    reported(dispute, v1::report_settlement_request::Result::Settled(settled))
}

pub fn returned(dispute: &str, detail: &str) -> v1::ReportSettlementRequest {
    let returned = v1::Returned { detail: detail.to_owned() };
    reported(dispute, v1::report_settlement_request::Result::Returned(returned))
}

pub fn voided(dispute: &str, detail: &str) -> v1::ReportSettlementRequest {
    let voided = v1::Voided { detail: detail.to_owned() };
    reported(dispute, v1::report_settlement_request::Result::Voided(voided))
}

pub fn failed(dispute: &str, detail: &str) -> v1::ReportSettlementRequest {
    let failed = v1::Failed { detail: detail.to_owned() };
    reported(dispute, v1::report_settlement_request::Result::Failed(failed))
}

/// A stream that begins with the oldest event.
pub fn from_beginning() -> v1::WatchDisputesRequest {
    let start = Some(v1::watch_disputes_request::Start::FromBeginning(true));
    v1::WatchDisputesRequest { start, ..Default::default() }
}
