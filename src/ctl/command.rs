//! `decide` and `postpone`: the commands of an agent. Each is sent with an id, so that it takes effect once however often it is
//! sent, and with the version of the dispute that the agent has seen.

use std::io::Write;
use std::time::Duration;

use prost_types::Timestamp;

use super::error::CtlError;
use super::json::Json;
use super::service::Service;
use super::show;
use super::table::{one_line, print_fields};
use super::words::{deadline, outcome, settlement, word};
use crate::chance::mint_id;
use crate::config::{Amount, CommandFlags, DecideFlags, PostponeFlags};
use crate::domain;
use crate::proto::v1::decide_dispute_request::Decision;
use crate::proto::{Money, v1};

/// Microseconds of a second.
const MICROS: i64 = 1_000_000;

/// Decides a dispute, or asks what would come of it.
pub(super) async fn decide(
    service: &Service,
    flags: &DecideFlags,
    json: Option<&Json>,
    out: &mut impl Write,
) -> Result<(), CtlError> {
    let command = &flags.command;
    let (dispute, now) = show::dispute(service, &command.dispute_id).await?;
    let decision = match flags.refund {
        Some(amount) => Decision::Refund(in_currency_of_the_order(service, &dispute, amount).await?),
        None if flags.cancel_order => Decision::CancelOrder(v1::CancelOrder {}),
        None => Decision::NoAction(v1::NoAction {}),
    };
    let request = v1::DecideDisputeRequest {
        dispute_id: dispute.dispute_id.clone(),
        message: command.message.clone(),
        etag: etag(command, &dispute),
        decision: Some(decision),
        counts_against_completion_rate: flags.does_not_count.then_some(false),
        request_id: mint_id().to_string(),
        validate_only: command.dry_run,
    };
    let response = service.disputes(async |mut client| client.decide_dispute(request.clone()).await).await;
    let decided = response.map_err(|error| uncertain(error, command))?.dispute.unwrap_or_default();
    print(command, "Decided", (&dispute, &decided), now.as_ref(), json, out)
}

/// Moves a deadline, or asks what would come of it.
pub(super) async fn postpone(
    service: &Service,
    flags: &PostponeFlags,
    json: Option<&Json>,
    out: &mut impl Write,
) -> Result<(), CtlError> {
    let command = &flags.command;
    let (dispute, now) = show::dispute(service, &command.dispute_id).await?;
    let later = match (flags.until, flags.by) {
        (Some(until), _) => Some(timestamp(until)),
        (None, Some(by)) => dispute.respond_by.map(|respond_by| plus(respond_by, by.0)),
        (None, None) => None,
    };
    let request = v1::PostponeDeadlineRequest {
        dispute_id: dispute.dispute_id.clone(),
        respond_by: later,
        message: command.message.clone(),
        etag: etag(command, &dispute),
        request_id: mint_id().to_string(),
        validate_only: command.dry_run,
    };
    let response = service.disputes(async |mut client| client.postpone_deadline(request.clone()).await).await;
    let postponed = response.map_err(|error| uncertain(error, command))?.dispute.unwrap_or_default();
    print(command, "Postponed", (&dispute, &postponed), now.as_ref(), json, out)
}

/// The version that the command is about: without a flag, the one that was just read.
fn etag(command: &CommandFlags, dispute: &v1::Dispute) -> String {
    command.etag.clone().unwrap_or_else(|| dispute.etag.clone())
}

/// A failure of the command itself, after which it is not known what came of it; unless it was only tried out.
fn uncertain(error: CtlError, command: &CommandFlags) -> CtlError {
    if command.dry_run { error } else { error.of_a_command() }
}

/// An agent does not repeat the currency: an order has one.
async fn in_currency_of_the_order(
    service: &Service,
    dispute: &v1::Dispute,
    Amount { units, nanos }: Amount,
) -> Result<Money, CtlError> {
    let order = show::order(service, &dispute.order_id).await?;
    let currency_code = order.price.unwrap_or_default().currency_code;
    Ok(Money { currency_code, units, nanos })
}

fn timestamp(time: domain::Timestamp) -> Timestamp {
    let nanos = i32::try_from(time.micros().rem_euclid(MICROS)).unwrap_or(0).saturating_mul(1_000);
    Timestamp { seconds: time.micros().div_euclid(MICROS), nanos }
}

/// The instant so much later: spans of flags are whole seconds.
fn plus(time: Timestamp, span: Duration) -> Timestamp {
    Timestamp { seconds: time.seconds.saturating_add_unsigned(span.as_secs()), ..time }
}

/// Prints the dispute as it was before a command and as it is after it, or would be.
fn print(
    command: &CommandFlags,
    done: &str,
    (before, dispute): (&v1::Dispute, &v1::Dispute),
    now: Option<&Timestamp>,
    json: Option<&Json>,
    out: &mut impl Write,
) -> Result<(), CtlError> {
    if let Some(json) = json {
        return Ok(writeln!(out, "{}", json.line("Dispute", dispute)?)?);
    }
    let id = one_line(&dispute.dispute_id);
    if command.dry_run {
        let etag = one_line(&before.etag);
        writeln!(
            out,
            "A dry run: nothing has happened. With --etag {etag} and without --dry-run, dispute {id} would be:"
        )?;
    } else {
        writeln!(out, "{done}. Dispute {id} now:")?;
    }
    let is_pending = dispute.status() == v1::DisputeStatus::Pending;
    print_fields(
        out,
        &[
            ("order", dispute.order_id.clone()),
            ("status", word(dispute.status, v1::DisputeStatus::as_str_name)),
            ("outcome", outcome(dispute.outcome.as_ref())),
            ("settlement", settlement(dispute.settlement.as_ref())),
            ("respond by", if is_pending { deadline(dispute.respond_by.as_ref(), now) } else { String::new() }),
            ("was", if is_pending { deadline(before.respond_by.as_ref(), now) } else { String::new() }),
            ("message", if is_pending { &dispute.postpone_message } else { &dispute.decision_message }.clone()),
        ],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_sent_exactly() {
        for (text, seconds, nanos) in
            [("2026-01-01T00:00:00.000001Z", 1_767_225_600, 1_000), ("1969-12-31T23:59:59.999999Z", -1, 999_999_000)]
        {
            assert_eq!(timestamp(text.parse().unwrap()), Timestamp { seconds, nanos });
        }
        let later = plus(Timestamp { seconds: 1, nanos: 7 }, Duration::from_secs(60));
        assert_eq!(later, Timestamp { seconds: 61, nanos: 7 });
        assert_eq!(plus(Timestamp { seconds: i64::MAX, nanos: 0 }, Duration::MAX).seconds, i64::MAX);
    }
}
