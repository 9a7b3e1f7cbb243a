//! What the messages say, in words.

use std::time::Duration;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

use crate::domain;
use crate::proto::{Money, v1};

/// The name of a value without its enumeration's, `partial refund`; nothing for UNSPECIFIED.
pub(super) fn word<T: TryFrom<i32>>(number: i32, name: impl Fn(&T) -> &'static str) -> String {
    let named = |number| T::try_from(number).ok().map(|value| name(&value));
    let prefix = named(0).unwrap_or_default().trim_end_matches("UNSPECIFIED");
    match (number, named(number)) {
        (0, _) => String::new(),
        (_, Some(name)) => name.trim_start_matches(prefix).to_lowercase().replace('_', " "),
        (_, None) => format!("{number} (of a newer release)"),
    }
}

/// An amount as its currency is written, `12.50 USD`.
pub(super) fn money(money: &Money) -> String {
    let Money { currency_code: code, units, nanos } = money;
    let known =
        domain::Currency::from_code(code).and_then(|known| domain::Money::from_units(*units, *nanos, known).ok());
    // A currency that this release does not know.
    known.map_or_else(|| format!("{units}.{:09} {code}", nanos.unsigned_abs()), |known| known.to_string())
}

/// An amount that may be absent.
pub(super) fn amount(amount: Option<&Money>) -> String {
    amount.map(money).unwrap_or_default()
}

/// An instant in UTC to the second.
pub(super) fn instant(time: Option<&Timestamp>) -> String {
    let Some(time) = time else { return String::new() };
    let known = DateTime::<Utc>::from_timestamp(time.seconds, u32::try_from(time.nanos).unwrap_or(0));
    known.map_or_else(|| format!("{} s", time.seconds), |known| known.format("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// An instant to the minute, and how far it is from now.
pub(super) fn deadline(time: Option<&Timestamp>, now: Option<&Timestamp>) -> String {
    match (time, now) {
        (Some(at), Some(now)) => format!("{}, {}", instant(time), distance(at, now)),
        (_, _) => instant(time),
    }
}

/// How far an instant is from now: `in 5 h`, `2 h ago`.
fn distance(time: &Timestamp, now: &Timestamp) -> String {
    let seconds = time.seconds.saturating_sub(now.seconds);
    let span = span(Duration::from_secs(seconds.unsigned_abs()));
    if seconds < 0 { format!("{span} ago") } else { format!("in {span}") }
}

/// A span in its largest unit, of which there are at least two, rounded down.
fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// What a dispute asks for.
pub(super) fn on_the_table(dispute: &v1::Dispute) -> String {
    let due = dispute.new_due_time.as_ref().map(|due| format!("due {}", instant(Some(due))));
    let cancelled = (dispute.kind() == v1::DisputeKind::Cancellation).then(|| "cancellation".to_owned());
    dispute.refund_amount.as_ref().map(money).or(due).or(cancelled).unwrap_or_default()
}

/// Whose turn it is. Support decides what was escalated; until then the party that had to answer can still do so.
pub(super) fn awaiting(dispute: &v1::Dispute) -> String {
    let party = word(dispute.awaiting, v1::PartyRole::as_str_name);
    if dispute.status() == v1::DisputeStatus::Escalated { format!("support, or the {party}") } else { party }
}

/// What an outcome does to the order; nothing if there is none.
pub(super) fn outcome(outcome: Option<&v1::DisputeOutcome>) -> String {
    let Some(outcome) = outcome else { return String::new() };
    let cancelled = match (outcome.order_cancelled, outcome.counts_against_completion_rate) {
        (true, true) => Some("the order is cancelled and counts against the seller's completion rate".to_owned()),
        (true, false) => {
            Some("the order is cancelled and does not count against the seller's completion rate".to_owned())
        }
        (false, _) => None,
    };
    let refund = outcome.refund.as_ref().map(|refund| format!("{} is refunded", money(refund)));
    let due = outcome.new_due_time.as_ref().map(|due| format!("the order is due {}", instant(Some(due))));
    let parts: Vec<_> = [cancelled, refund, due].into_iter().flatten().collect();
    if parts.is_empty() { "nothing changes".to_owned() } else { parts.join("; ") }
}

/// How much is refunded, and whether it is paid.
pub(super) fn settlement_status(settlement: Option<&v1::Settlement>) -> String {
    let Some(settlement) = settlement else { return String::new() };
    let status = word(settlement.status, v1::SettlementStatus::as_str_name);
    format!("{} {status}", amount(settlement.amount.as_ref()))
}

/// The same with everything that the platform has reported.
pub(super) fn settlement(settlement: Option<&v1::Settlement>) -> String {
    let Some(settlement) = settlement else { return String::new() };
    let about = [&settlement.reference, &settlement.detail].into_iter().filter(|text| !text.is_empty());
    let about: String = about.map(|text| format!(", {text}")).collect();
    format!("{}, attempt {}{about}", settlement_status(Some(settlement)), settlement.attempt)
}

/// Who did it.
pub(super) fn actor(actor: Option<&v1::Actor>) -> String {
    let Some(actor) = actor else { return String::new() };
    let role = word(actor.role, v1::ActorRole::as_str_name);
    if actor.id.is_empty() { role } else { format!("{role} {}", actor.id) }
}

/// What an event has changed, and what was written with it.
pub(super) fn change(event: &v1::DisputeEvent) -> (String, &str) {
    use v1::EventType;
    let Some(dispute) = &event.dispute else { return (String::new(), "") };
    let paid = || settlement(dispute.settlement.as_ref());
    let happened = || outcome(dispute.outcome.as_ref());
    match event.r#type() {
        EventType::Opened | EventType::Snapshot => (on_the_table(dispute), &dispute.message),
        EventType::Countered => (on_the_table(dispute), dispute.offers.last().map_or("", |offer| &offer.message)),
        EventType::Accepted => (happened(), &dispute.answer_message),
        EventType::Declined | EventType::Answered => (String::new(), &dispute.answer_message),
        EventType::DeadlineApproaching => (format!("by {}", instant(dispute.respond_by.as_ref())), ""),
        EventType::DeadlineMoved => (format!("to {}", instant(dispute.respond_by.as_ref())), &dispute.postpone_message),
        EventType::DeadlineExpired | EventType::Superseded => (happened(), ""),
        EventType::Escalated => (String::new(), &dispute.escalation_message),
        EventType::Decided => (happened(), &dispute.decision_message),
        EventType::Settled
        | EventType::SettlementFailed
        | EventType::SettlementReturned
        | EventType::SettlementVoided => (paid(), ""),
        EventType::Withdrawn | EventType::Unspecified => (String::new(), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    #[test]
    fn values_are_words_and_those_of_a_newer_release_are_numbers() {
        let kind = |number| word(number, v1::DisputeKind::as_str_name);
        assert_eq!(["", "partial refund", "99 (of a newer release)"].map(str::to_owned), [0, 1, 99].map(kind));
    }

    #[test]
    fn amounts_have_the_decimals_of_their_currency() {
        for (code, units, nanos, expected) in [
            ("USD", 12, 500_000_000, "12.50 USD"),
            ("JPY", 18_000, 0, "18000 JPY"),
            ("KWD", 0, 1_000_000, "0.001 KWD"),
            ("ZZZ", 1, 500_000_000, "1.500000000 ZZZ"),
        ] {
            assert_eq!(money(&Money { currency_code: code.to_owned(), units, nanos }), expected);
        }
    }

    #[test]
    fn a_deadline_says_how_far_it_is_in_a_unit_that_fits() {
        for (seconds, expected) in [
            (0, "in 0 s"),
            (119, "in 119 s"),
            (120, "in 2 min"),
            (7_199, "in 119 min"),
            (5 * 3_600 + 59, "in 5 h"),
            (2 * 86_400, "in 2 d"),
            (-7_200, "2 h ago"),
            (-1, "1 s ago"),
        ] {
            assert_eq!(distance(&at(seconds), &at(0)), expected, "{seconds}");
        }
        assert_eq!(deadline(Some(&at(7_200)), Some(&at(0))), "1970-01-01 02:00:00Z, in 2 h");
        assert_eq!(deadline(None, Some(&at(0))), "");
        assert_eq!(instant(Some(&at(i64::MAX))), format!("{} s", i64::MAX), "whatever comes, it is shown");
        assert_eq!(distance(&at(i64::MIN), &at(i64::MAX)), format!("{} d ago", 9_223_372_036_854_775_808_u64 / 86_400));
    }

    #[test]
    fn an_outcome_says_everything_that_it_does() {
        let refund = Some(Money { currency_code: "USD".to_owned(), units: 40, nanos: 0 });
        assert_eq!(outcome(None), "");
        assert_eq!(outcome(Some(&v1::DisputeOutcome::default())), "nothing changes");
        let cancelled = v1::DisputeOutcome { refund, order_cancelled: true, ..Default::default() };
        let expected =
            "the order is cancelled and does not count against the seller's completion rate; 40.00 USD is refunded";
        assert_eq!(outcome(Some(&cancelled)), expected);
    }
}
