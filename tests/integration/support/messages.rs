//! Requests as most tests want them: an order of 100.00 USD between `ann`, who buys, and `bob`, who sells.

use dispute_service::proto::{Money, v1};
use prost_types::Timestamp;

use super::service::BEGINNING;

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
