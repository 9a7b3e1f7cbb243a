//! `show`: a dispute in full, with its order and its history.

use std::io::{self, Write};

use prost_types::Timestamp;

use super::error::CtlError;
use super::json::Json;
use super::service::Service;
use super::table::{self, lines, one_line, padded};
use super::words::{actor, amount, change, deadline, instant, on_the_table, outcome, settlement, word};
use crate::proto::Money;
use crate::proto::v1::{self, list_dispute_events_request::Start};

/// The columns of an event's type in the history.
const EVENT: usize = 20;

/// Prints the dispute.
pub(super) async fn run(
    service: &Service,
    dispute_id: &str,
    json: Option<&Json>,
    out: &mut impl Write,
) -> Result<(), CtlError> {
    let (dispute, now) = dispute(service, dispute_id).await?;
    let order = order(service, &dispute.order_id).await?;
    let events = events(service, &dispute.dispute_id).await?;
    if let Some(json) = json {
        let listed: Result<Vec<_>, _> = events.iter().map(|event| json.line("DisputeEvent", event)).collect();
        // As the response of GetDispute has it: `"serverTime":"…"`.
        let time = json.line("GetDisputeResponse", &v1::GetDisputeResponse { dispute: None, server_time: now })?;
        let members = [
            format!(r#""dispute":{}"#, json.line("Dispute", &dispute)?),
            format!(r#""order":{}"#, json.line("Order", &order)?),
            format!(r#""events":[{}]"#, listed?.join(",")),
            time.trim_matches(['{', '}']).to_owned(),
        ];
        let members: Vec<_> = members.into_iter().filter(|member| !member.is_empty()).collect();
        return Ok(writeln!(out, "{{{}}}", members.join(","))?);
    }
    print_dispute(&dispute, reason(service, &dispute).await?, now.as_ref(), out)?;
    print_order(&order, out)?;
    Ok(print_history(&dispute, &events, out)?)
}

/// Reads a dispute, and the service's time.
pub(super) async fn dispute(service: &Service, dispute_id: &str) -> Result<(v1::Dispute, Option<Timestamp>), CtlError> {
    let request = v1::GetDisputeRequest { dispute_id: dispute_id.to_owned() };
    let response = service.disputes(async |mut client| client.get_dispute(request.clone()).await).await?;
    Ok((response.dispute.unwrap_or_default(), response.server_time))
}

/// Reads an order.
pub(super) async fn order(service: &Service, order_id: &str) -> Result<v1::Order, CtlError> {
    let request = v1::GetOrderRequest { order_id: order_id.to_owned() };
    let response = service.orders(async |mut client| client.get_order(request.clone()).await).await?;
    Ok(response.order.unwrap_or_default())
}

/// Reads every event of a dispute that is kept.
async fn events(service: &Service, dispute_id: &str) -> Result<Vec<v1::DisputeEvent>, CtlError> {
    let filter = v1::DisputeEventFilter { dispute_ids: vec![dispute_id.to_owned()], ..Default::default() };
    let mut request = v1::ListDisputeEventsRequest {
        filter: Some(filter),
        start: Some(Start::FromBeginning(true)),
        ..Default::default()
    };
    let mut events = Vec::new();
    loop {
        let page = service.disputes(async |mut client| client.list_dispute_events(request.clone()).await).await?;
        events.extend(page.events);
        if !page.more {
            return Ok(events);
        }
        request.start = Some(Start::ResumeToken(page.resume_token));
    }
}

/// Why the dispute was raised, and whether the other party must not learn that.
async fn reason(service: &Service, dispute: &v1::Dispute) -> Result<String, CtlError> {
    let name = word(dispute.reason, v1::Reason::as_str_name);
    if name.is_empty() {
        return Ok(name);
    }
    let request = v1::ListReasonsRequest::default();
    let response = service.disputes(async |mut client| client.list_reasons(request.clone()).await).await?;
    let is_it = |listed: &&v1::DisputeReason| {
        (listed.kind, listed.role, listed.reason) == (dispute.kind, dispute.opened_by, dispute.reason)
    };
    let is_confidential = response.reasons.iter().find(is_it).is_some_and(|listed| listed.confidential);
    let note = if is_confidential { " (in confidence: the other party does not see it)" } else { "" };
    Ok(format!("{name}{note}\n{}", dispute.reason_detail).trim_end().to_owned())
}

fn print_dispute(
    dispute: &v1::Dispute,
    reason: String,
    now: Option<&Timestamp>,
    out: &mut impl Write,
) -> io::Result<()> {
    let v1::Dispute { buyer_id, seller_id, .. } = dispute;
    let party = |role: i32| match v1::PartyRole::try_from(role) {
        Ok(v1::PartyRole::Buyer) => format!("the buyer {buyer_id}"),
        Ok(v1::PartyRole::Seller) => format!("the seller {seller_id}"),
        Ok(v1::PartyRole::Unspecified) | Err(_) => String::new(),
    };
    let is_pending = dispute.status() == v1::DisputeStatus::Pending;
    let is_escalated = dispute.status() == v1::DisputeStatus::Escalated;
    let actions = dispute.allowed_actions.iter().map(|action| word(*action, v1::DisputeAction::as_str_name));
    writeln!(out, "Dispute {}", one_line(&dispute.dispute_id))?;
    table::print_fields(
        out,
        &[
            ("status", word(dispute.status, v1::DisputeStatus::as_str_name)),
            ("kind", word(dispute.kind, v1::DisputeKind::as_str_name)),
            ("opened by", format!("{}, {}", party(dispute.opened_by), instant(dispute.create_time.as_ref()))),
            ("on the table", on_the_table(dispute)),
            ("message", dispute.message.clone()),
            ("reason", reason),
            ("no fault", if dispute.no_fault { "shall not count against the seller" } else { "" }.to_owned()),
            ("offers", offers(dispute)),
            (
                "awaiting",
                if is_escalated { format!("support, or {}", party(dispute.awaiting)) } else { party(dispute.awaiting) },
            ),
            ("respond by", if is_pending { deadline(dispute.respond_by.as_ref(), now) } else { String::new() }),
            ("if accepted", outcome(dispute.if_accepted.as_ref())),
            ("if silent", outcome(dispute.if_silent.as_ref())),
            ("postponed", dispute.postpone_message.clone()),
            ("answer", dispute.answer_message.clone()),
            ("escalated by", word(dispute.escalated_by, v1::ActorRole::as_str_name)),
            ("escalation", dispute.escalation_message.clone()),
            ("resolved", instant(dispute.resolve_time.as_ref())),
            ("resolved by", word(dispute.resolved_by, v1::ResolvedBy::as_str_name)),
            ("decided by", dispute.decided_by.clone()),
            ("decision", dispute.decision_message.clone()),
            ("outcome", outcome(dispute.outcome.as_ref())),
            ("settlement", settlement(dispute.settlement.as_ref())),
            ("payment key", dispute.settlement.as_ref().map_or("", |paid| &paid.idempotency_key).to_owned()),
            ("you can", actions.collect::<Vec<_>>().join(", ")),
            ("etag", dispute.etag.clone()),
        ],
    )
}

/// Every amount that was on the table, where there was more than the first one; a line each, and what was written with it.
fn offers(dispute: &v1::Dispute) -> String {
    let line = |offer: &v1::Offer| {
        let by = word(offer.by, v1::PartyRole::as_str_name);
        let first = format!("{} by the {by}, {}", amount(offer.amount.as_ref()), instant(offer.create_time.as_ref()));
        let said = offer.message.lines().map(|line| format!("  {line}"));
        std::iter::once(first).chain(said).collect::<Vec<_>>().join("\n")
    };
    match dispute.offers.as_slice() {
        [] | [_] => String::new(),
        offers => offers.iter().map(line).collect::<Vec<_>>().join("\n"),
    }
}

fn print_order(order: &v1::Order, out: &mut impl Write) -> io::Result<()> {
    let is_zero = |money: &&Money| money.units == 0 && money.nanos == 0;
    let unless_zero = |money: &Option<Money>| amount(money.as_ref().filter(|money| !is_zero(money)));
    let due = [&order.due_time, &order.agreed_due_time].into_iter().flatten();
    let due = due.max_by_key(|time| (time.seconds, time.nanos));
    writeln!(out, "\nOrder {}", one_line(&order.order_id))?;
    table::print_fields(
        out,
        &[
            ("title", order.title.clone()),
            ("status", word(order.status, v1::OrderStatus::as_str_name)),
            ("buyer", order.buyer_id.clone()),
            ("seller", order.seller_id.clone()),
            ("price", amount(order.price.as_ref())),
            ("paid", amount(order.paid.as_ref())),
            ("refunded", amount(order.refunded.as_ref())),
            ("refunded elsewhere", unless_zero(&order.refunded_elsewhere)),
            ("over-refunded", unless_zero(&order.over_refunded)),
            ("due", instant(due)),
            ("ended", instant(order.end_time.as_ref())),
            ("open disputes", order.open_dispute_ids.join("\n")),
            ("on hold", if order.completion_hold { "should not be completed by timer" } else { "" }.to_owned()),
        ],
    )
}

fn print_history(dispute: &v1::Dispute, events: &[v1::DisputeEvent], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nHistory")?;
    let first = events.first().map_or(dispute.revision.saturating_add(1), |event| event.revision);
    if first > 1 {
        writeln!(out, "  Events 1 to {} are no longer kept.", first.saturating_sub(1))?;
    }
    for event in events {
        let (changed, said) = change(event);
        let what = padded(&word(event.r#type, v1::EventType::as_str_name), EVENT);
        let by = one_line(&actor(event.actor.as_ref()));
        writeln!(out, "  {}  {what}  by {by}", instant(event.event_time.as_ref()))?;
        for line in lines(&changed) {
            writeln!(out, "      {line}")?;
        }
        // What somebody wrote is told from what has happened.
        for line in lines(said) {
            writeln!(out, "      > {line}")?;
        }
    }
    Ok(())
}
