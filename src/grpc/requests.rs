//! Messages in: what each request asks for, or everything that is wrong with it.

use std::collections::{HashMap, HashSet};

use prost::Message;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::status::Failure;
use super::violations::{Violations, is_of_the_list};
use crate::chance::mint_id;
use crate::domain::{
    Caller, Command, Currency, DisputeId, DisputeRef, Money, Opening, OrderId, OrderReport, Parties, Reason,
    ReasonCode, Ruling, Scope, SettlementReport, Terms, text,
};
use crate::engine::{EventFilter, RequestKey, Start};
use crate::proto::v1;

/// How many orders one batch can have.
pub(super) const BATCH_ORDERS: usize = 500;

/// A command, and what makes it happen once.
pub(super) type IdempotentCommand = (Command, Option<RequestKey>);

/// The currencies of stored orders, as far as they had to be looked up.
pub(super) type Currencies = HashMap<OrderId, Currency>;

/// Whether the amounts of an order can only be read with the currency that it was stored with.
pub(super) fn needs_its_currency(order: &v1::Order) -> bool {
    let amounts = [&order.price, &order.paid, &order.refunded_elsewhere];
    amounts.into_iter().flatten().any(|amount| !is_of_the_list(amount))
}

pub(super) fn upsert_order(request: &v1::UpsertOrderRequest, currencies: &Currencies) -> Result<OrderReport, Failure> {
    let mut violations = Violations::default();
    let report = order_report(&mut violations, "order", request.order.as_ref(), currencies);
    violations.finish(report)
}

pub(super) fn batch_upsert_orders(
    request: &v1::BatchUpsertOrdersRequest,
    currencies: &Currencies,
) -> Result<Vec<OrderReport>, Failure> {
    let mut violations = Violations::default();
    if request.orders.len() > BATCH_ORDERS {
        violations.add("orders", format!("must have at most {BATCH_ORDERS} orders"));
        return violations.finish(None);
    }
    let mut ids = HashSet::new();
    let mut reports = Vec::with_capacity(request.orders.len());
    for (index, order) in request.orders.iter().enumerate() {
        let path = format!("orders[{index}]");
        if !order.order_id.is_empty() && !ids.insert(&order.order_id) {
            violations.add(format!("{path}.order_id"), "must appear only once in a batch");
        }
        reports.extend(order_report(&mut violations, &path, Some(order), currencies));
    }
    violations.finish(Some(reports))
}

fn order_report(
    violations: &mut Violations,
    path: &str,
    order: Option<&v1::Order>,
    currencies: &Currencies,
) -> Option<OrderReport> {
    let Some(order) = order else {
        violations.add(path, "must be set");
        return None;
    };
    let field = |name: &str| format!("{path}.{name}");
    let id = violations.order_id(&field("order_id"), &order.order_id);
    let buyer = violations.user_id(&field("buyer_id"), &order.buyer_id);
    let seller = violations.user_id(&field("seller_id"), &order.seller_id);
    if buyer.is_some() && buyer == seller {
        violations.add(field("seller_id"), "must differ from buyer_id");
    }
    let title = violations.title(&field("title"), &order.title);
    violations.set_order_currency(id.as_ref().and_then(|id| currencies.get(id)).copied());
    let price = violations.money(&field("price"), order.price.as_ref());
    if price.is_some_and(|price| price.minor < 0) {
        violations.add(field("price"), "must not be negative");
    }
    let paid = match &order.paid {
        None => price,
        paid => violations.money(&field("paid"), paid.as_ref()),
    };
    if let (Some(price), Some(paid)) = (price, paid) {
        if paid.currency != price.currency {
            violations.add(field("paid.currency_code"), "must be the currency of the price");
        } else if paid.minor < price.minor {
            violations.add(field("paid"), "must not be below the price");
        }
    }
    let refunded_elsewhere = match &order.refunded_elsewhere {
        None => price.map(|price| Money::new(0, price.currency)),
        refunded => violations.money(&field("refunded_elsewhere"), refunded.as_ref()),
    };
    if let (Some(price), Some(refunded)) = (price, refunded_elsewhere) {
        if refunded.currency != price.currency {
            violations.add(field("refunded_elsewhere.currency_code"), "must be the currency of the price");
        } else if refunded.minor < 0 {
            violations.add(field("refunded_elsewhere"), "must not be negative");
        }
    }
    let status = violations.value(&field("status"), order.status, v1::OrderStatus::known);
    let create_time = violations.instant(&field("create_time"), order.create_time.as_ref());
    let due_time = violations.instant(&field("due_time"), order.due_time.as_ref());
    let end_time = violations.instant(&field("end_time"), order.end_time.as_ref());
    if order.end_time.is_some() && status.is_some_and(|status| !status.is_ended()) {
        violations.add(field("end_time"), "must only be set with a status that ends the order");
    }
    if order.source_version < 1 {
        violations.add(field("source_version"), "must be at least 1");
    }
    Some(OrderReport {
        id: id?,
        parties: Parties { buyer: buyer?, seller: seller? },
        title: title?,
        price: price?,
        paid: paid?,
        refunded_elsewhere: refunded_elsewhere?,
        status: status?,
        create_time: create_time?,
        due_time: due_time?,
        end_time: end_time?,
        cancellation_counts: order.cancellation_counts.unwrap_or(true),
        source_version: order.source_version,
    })
}

pub(super) fn offer_partial_refund(
    caller: &Caller,
    request: &v1::OfferPartialRefundRequest,
    currency: Option<Currency>,
) -> Result<IdempotentCommand, Failure> {
    let mut violations = Violations::default();
    violations.set_order_currency(currency);
    let order = violations.order_id("order_id", &request.order_id);
    let amount = violations.money("amount", request.amount.as_ref());
    let message = violations.text("message", &request.message, &text::REQUIRED_TEXT);
    let reason = reason(&mut violations, request.reason, &request.reason_detail);
    let once = once(&mut violations, caller, "OfferPartialRefund", request, |request| &mut request.request_id);
    let opening = || {
        let terms = Terms::PartialRefund { amount: amount? };
        Some(Opening { order: order?, dispute: new_dispute(), terms, message: message?, reason: Some(reason?) })
    };
    let command = opening().map(|opening| Command::Open(Box::new(opening)));
    violations.finish(command.zip(once))
}

pub(super) fn request_cancellation(
    caller: &Caller,
    request: &v1::RequestCancellationRequest,
) -> Result<IdempotentCommand, Failure> {
    let mut violations = Violations::default();
    let order = violations.order_id("order_id", &request.order_id);
    // A buyer's is required, but who is the buyer only the order knows.
    let message = violations.text("message", &request.message, &text::OPTIONAL_TEXT);
    let reason = reason(&mut violations, request.reason, &request.reason_detail);
    let once = once(&mut violations, caller, "RequestCancellation", request, |request| &mut request.request_id);
    let opening = || {
        let terms = Terms::Cancellation;
        Some(Opening { order: order?, dispute: new_dispute(), terms, message: message?, reason: Some(reason?) })
    };
    let command = opening().map(|opening| Command::Open(Box::new(opening)));
    violations.finish(command.zip(once))
}

pub(super) fn request_order_update(
    caller: &Caller,
    request: &v1::RequestOrderUpdateRequest,
) -> Result<IdempotentCommand, Failure> {
    let mut violations = Violations::default();
    let order = violations.order_id("order_id", &request.order_id);
    let message = violations.text("message", &request.message, &text::REQUIRED_TEXT);
    let once = once(&mut violations, caller, "RequestOrderUpdate", request, |request| &mut request.request_id);
    let opening = || {
        let terms = Terms::OrderUpdate;
        Some(Opening { order: order?, dispute: new_dispute(), terms, message: message?, reason: None })
    };
    let command = opening().map(|opening| Command::Open(Box::new(opening)));
    violations.finish(command.zip(once))
}

pub(super) fn request_delivery_extension(
    caller: &Caller,
    request: &v1::RequestDeliveryExtensionRequest,
) -> Result<IdempotentCommand, Failure> {
    let mut violations = Violations::default();
    let order = violations.order_id("order_id", &request.order_id);
    let new_due_time = violations.required_instant("new_due_time", request.new_due_time.as_ref());
    let message = violations.text("message", &request.message, &text::REQUIRED_TEXT);
    let reason = reason(&mut violations, request.reason, &request.reason_detail);
    let once = once(&mut violations, caller, "RequestDeliveryExtension", request, |request| &mut request.request_id);
    let opening = || {
        let terms = Terms::DeliveryExtension { new_due_time: new_due_time? };
        Some(Opening { order: order?, dispute: new_dispute(), terms, message: message?, reason: Some(reason?) })
    };
    let command = opening().map(|opening| Command::Open(Box::new(opening)));
    violations.finish(command.zip(once))
}

pub(super) fn accept_dispute(
    caller: &Caller,
    request: &v1::AcceptDisputeRequest,
) -> Result<IdempotentCommand, Failure> {
    let mut violations = Violations::default();
    let target = dispute_ref(&mut violations, &request.dispute_id, &request.etag, Some(String::new()));
    let once = once(&mut violations, caller, "AcceptDispute", request, |request| &mut request.request_id);
    violations.finish(target.map(Command::Accept).zip(once))
}

pub(super) fn decline_dispute(
    caller: &Caller,
    request: &v1::DeclineDisputeRequest,
) -> Result<IdempotentCommand, Failure> {
    let mut violations = Violations::default();
    let message = violations.text("message", &request.message, &text::OPTIONAL_TEXT);
    let target = dispute_ref(&mut violations, &request.dispute_id, &request.etag, message);
    let once = once(&mut violations, caller, "DeclineDispute", request, |request| &mut request.request_id);
    violations.finish(target.map(Command::Decline).zip(once))
}

pub(super) fn answer_order_update(
    caller: &Caller,
    request: &v1::AnswerOrderUpdateRequest,
) -> Result<IdempotentCommand, Failure> {
    let mut violations = Violations::default();
    let message = violations.text("message", &request.message, &text::REQUIRED_TEXT);
    let target = dispute_ref(&mut violations, &request.dispute_id, &request.etag, message);
    let once = once(&mut violations, caller, "AnswerOrderUpdate", request, |request| &mut request.request_id);
    violations.finish(target.map(Command::AnswerOrderUpdate).zip(once))
}

pub(super) fn withdraw_dispute(
    caller: &Caller,
    request: &v1::WithdrawDisputeRequest,
) -> Result<IdempotentCommand, Failure> {
    let mut violations = Violations::default();
    let target = dispute_ref(&mut violations, &request.dispute_id, &request.etag, Some(String::new()));
    let once = once(&mut violations, caller, "WithdrawDispute", request, |request| &mut request.request_id);
    violations.finish(target.map(Command::Withdraw).zip(once))
}

pub(super) fn escalate_dispute(
    caller: &Caller,
    request: &v1::EscalateDisputeRequest,
) -> Result<IdempotentCommand, Failure> {
    let mut violations = Violations::default();
    let message = violations.text("message", &request.message, &text::REQUIRED_TEXT);
    let target = dispute_ref(&mut violations, &request.dispute_id, &request.etag, message);
    let once = once(&mut violations, caller, "EscalateDispute", request, |request| &mut request.request_id);
    violations.finish(target.map(Command::Escalate).zip(once))
}

pub(super) fn decide_dispute(
    caller: &Caller,
    request: &v1::DecideDisputeRequest,
    currency: Option<Currency>,
) -> Result<IdempotentCommand, Failure> {
    use v1::decide_dispute_request::Decision;
    let mut violations = Violations::default();
    violations.set_order_currency(currency);
    let message = violations.text("message", &request.message, &text::REQUIRED_TEXT);
    let target = dispute_ref(&mut violations, &request.dispute_id, &request.etag, message);
    let counts = request.counts_against_completion_rate;
    let ruling = match &request.decision {
        Some(Decision::NoAction(v1::NoAction {})) => Some(Ruling::NoAction),
        Some(Decision::Refund(refund)) => violations.money("refund", Some(refund)).map(Ruling::Refund),
        Some(Decision::CancelOrder(v1::CancelOrder {})) => Some(Ruling::CancelOrder { counts: counts.unwrap_or(true) }),
        None => {
            violations.add("decision", "must be set");
            None
        }
    };
    if counts.is_some() && !matches!(request.decision, Some(Decision::CancelOrder(_))) {
        violations.add("counts_against_completion_rate", "must only be set with cancel_order");
    }
    let once = once(&mut violations, caller, "DecideDispute", request, |request| &mut request.request_id);
    let command = target.zip(ruling).map(|(target, ruling)| Command::Decide(target, ruling));
    violations.finish(command.zip(once))
}

pub(super) fn postpone_deadline(
    caller: &Caller,
    request: &v1::PostponeDeadlineRequest,
) -> Result<IdempotentCommand, Failure> {
    let mut violations = Violations::default();
    let respond_by = violations.required_instant("respond_by", request.respond_by.as_ref());
    let message = violations.text("message", &request.message, &text::REQUIRED_TEXT);
    let target = dispute_ref(&mut violations, &request.dispute_id, &request.etag, message);
    let once = once(&mut violations, caller, "PostponeDeadline", request, |request| &mut request.request_id);
    let command = target.zip(respond_by).map(|(target, respond_by)| Command::Postpone(target, respond_by));
    violations.finish(command.zip(once))
}

pub(super) fn report_settlement(
    caller: &Caller,
    request: &v1::ReportSettlementRequest,
) -> Result<IdempotentCommand, Failure> {
    use v1::report_settlement_request::Result as Report;
    let mut violations = Violations::default();
    let dispute = violations.dispute_id("dispute_id", &request.dispute_id);
    let mut text = |field: &str, raw: &str| violations.text(field, raw, &text::SETTLEMENT_TEXT);
    let report = match &request.result {
        Some(Report::Settled(v1::Settled { reference })) => {
            text("settled.reference", reference).map(|reference| SettlementReport::Settled { reference })
        }
        Some(Report::Failed(v1::Failed { detail })) => {
            text("failed.detail", detail).map(|detail| SettlementReport::Failed { detail })
        }
        Some(Report::Returned(v1::Returned { detail })) => {
            text("returned.detail", detail).map(|detail| SettlementReport::Returned { detail })
        }
        Some(Report::Voided(v1::Voided { detail })) => {
            text("voided.detail", detail).map(|detail| SettlementReport::Voided { detail })
        }
        None => {
            violations.add("result", "must be set");
            None
        }
    };
    let attempt = violations.check("attempt", u32::try_from(request.attempt).map_err(|_| "must not be negative"));
    let once = once(&mut violations, caller, "ReportSettlement", request, |request| &mut request.request_id);
    let command = || Some(Command::ReportSettlement { dispute: dispute?, attempt: attempt?, report: report? });
    violations.finish(command().zip(once))
}

/// The field that says how much is to be refunded, if a command has one.
pub(super) fn field_of_the_amount(command: &Command) -> Option<&'static str> {
    match command {
        Command::Open(_) => Some("amount"),
        Command::Decide(..) => Some("refund"),
        Command::UpsertOrder(_)
        | Command::Accept(_)
        | Command::Decline(_)
        | Command::AnswerOrderUpdate(_)
        | Command::Withdraw(_)
        | Command::Escalate(_)
        | Command::Postpone(..)
        | Command::ReportSettlement { .. } => None,
    }
}

/// The filter of a subscriber and the place it starts from.
pub(super) fn event_filter(
    violations: &mut Violations,
    caller: &Caller,
    filter: Option<&v1::DisputeEventFilter>,
) -> Option<EventFilter> {
    let none = v1::DisputeEventFilter::default();
    let filter = filter.unwrap_or(&none);
    let orders = violations.list("filter.order_ids", &filter.order_ids, |v, field, id| v.order_id(field, id));
    let disputes = violations.list("filter.dispute_ids", &filter.dispute_ids, |v, field, id| v.dispute_id(field, id));
    let kinds =
        violations.list("filter.kinds", &filter.kinds, |v, field, kind| v.value(field, *kind, v1::DisputeKind::known));
    let event_types = violations
        .list("filter.event_types", &filter.event_types, |v, field, kind| v.value(field, *kind, v1::EventType::known));
    let party = violations.optional_user_id("filter.party_id", &filter.party_id)?;
    Some(EventFilter { caller: caller.clone(), orders, disputes, party, kinds, event_types })
}

/// Where to start: with what comes, with the oldest event, or after a token. An empty one is none.
pub(super) fn start(resume_token: &str, from_beginning: bool) -> Start<'_> {
    match resume_token {
        "" if from_beginning => Start::Beginning,
        "" => Start::Now,
        token => Start::After(token),
    }
}

/// Who asks to see what, whatever happened to it, digested.
pub(super) fn digest_of(filter: &EventFilter) -> Uuid {
    let EventFilter { caller, orders, disputes, party, kinds, event_types: _ } = filter;
    let mut seen = v1::DisputeEventFilter {
        order_ids: orders.iter().map(ToString::to_string).collect(),
        dispute_ids: disputes.iter().map(ToString::to_string).collect(),
        party_id: party.as_ref().map(ToString::to_string).unwrap_or_default(),
        kinds: kinds.iter().map(|kind| v1::DisputeKind::from(*kind).into()).collect(),
        event_types: Vec::new(),
    };
    seen.order_ids.sort_unstable();
    seen.dispute_ids.sort_unstable();
    seen.kinds.sort_unstable();
    // Whoever has a scope sees all.
    let visible_to = if caller.scope.is_some() { "" } else { caller.user.as_str() };
    digest(&[visible_to.as_bytes(), &seen.encode_to_vec()])
}

fn new_dispute() -> DisputeId {
    DisputeId(mint_id())
}

/// A reason: a code that is given, and a detail if and only if it is OTHER.
fn reason(violations: &mut Violations, code: i32, detail: &str) -> Option<Reason> {
    let code = violations.value("reason", code, v1::Reason::known);
    match code? {
        ReasonCode::Other => {
            let detail = violations.text("reason_detail", detail, &text::REASON_DETAIL)?;
            Some(Reason { code: ReasonCode::Other.into(), detail })
        }
        code => {
            if text::normalise(detail, &text::NO_TEXT).is_err() {
                violations.add("reason_detail", "must only be set with REASON_OTHER");
            }
            Some(Reason { code: code.into(), detail: String::new() })
        }
    }
}

fn dispute_ref(violations: &mut Violations, dispute: &str, etag: &str, message: Option<String>) -> Option<DisputeRef> {
    let dispute = violations.dispute_id("dispute_id", dispute);
    let etag = (!etag.is_empty()).then(|| etag.to_owned());
    Some(DisputeRef { dispute: dispute?, message: message?, etag })
}

/// What makes a command happen once: who sends it under which id, and what it says. The same id can be written in
/// more than one way.
#[expect(clippy::option_option, reason = "wrong, absent, there")]
fn once<M: Message + Clone>(
    violations: &mut Violations,
    caller: &Caller,
    rpc: &str,
    request: &M,
    request_id: fn(&mut M) -> &mut String,
) -> Option<Option<RequestKey>> {
    let mut rest = request.clone();
    let request_id = std::mem::take(request_id(&mut rest));
    let request_id = violations.request_id(&request_id)?;
    Some(request_id.map(|request_id| {
        let scope = caller.scope.map_or("party", Scope::name);
        RequestKey {
            key: digest(&[scope.as_bytes(), caller.user.as_str().as_bytes(), request_id.as_bytes()]),
            fingerprint: digest(&[rpc.as_bytes(), &rest.encode_to_vec()]),
        }
    }))
}

/// 128 bits of the SHA-256 of these parts, each with its length before it.
pub(super) fn digest(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut half = [0; 16];
    for (to, from) in half.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    Uuid::from_bytes(half)
}
