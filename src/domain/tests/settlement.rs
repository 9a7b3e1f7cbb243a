//! Settlement: whether the money has moved, apart from the decision.

use super::fixtures::*;
use crate::domain::*;

fn refunded() -> Story {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 2_500));
    story.done(&buyer(), &accept(1));
    story
}

fn settlement(story: &Story) -> Option<Settlement> {
    story.dispute(1).resolution.as_ref().unwrap().settlement.clone()
}

fn of(command: &Command) -> Option<Settlement> {
    let Command::ReportSettlement(_, report) = command else { panic!("no report") };
    Some(Settlement::Reported(report.clone()))
}

#[test]
fn a_refund_above_nothing_is_due() {
    assert_eq!(settlement(&refunded()), Some(Settlement::Due));
    let mut declined = Story::new(OrderStatus::InProgress);
    declined.done(&seller(), &offer(1, 100));
    declined.done(&buyer(), &decline(1));
    assert_eq!(settlement(&declined), None);
    let spent = OrderReport { refunded_elsewhere: usd(10_000), ..report(OrderStatus::InProgress, 1) };
    let mut nothing_left = Story::with_report(spent);
    nothing_left.done(&buyer(), &cancellation(1, PartyRole::Buyer));
    nothing_left.done(&seller(), &accept(1));
    assert_eq!(settlement(&nothing_left), None);
}

#[test]
fn the_platform_reports_what_became_of_the_money() {
    let (paid, other) = (settled(1, "pay-1"), settled(1, "pay-2"));
    let (first, second) = (failed(1, "no-1"), failed(1, "no-2"));
    let nothing: &[&Command] = &[];
    // What was reported before, what is reported now, and the type of its event.
    let cases = [
        ("DUE → SETTLED", nothing, &paid, Ok(Some(EventType::Settled))),
        ("DUE → FAILED", nothing, &first, Ok(Some(EventType::SettlementFailed))),
        ("FAILED → SETTLED", &[&first], &paid, Ok(Some(EventType::Settled))),
        ("FAILED → FAILED with another detail", &[&first], &second, Ok(Some(EventType::SettlementFailed))),
        ("FAILED again with the same one", &[&first], &first, Ok(None)),
        ("SETTLED again with the same reference", &[&first, &paid], &paid, Ok(None)),
        ("SETTLED with another", &[&paid], &other, Err(Refusal::AlreadySettled)),
        ("SETTLED → FAILED", &[&paid], &first, Err(Refusal::AlreadySettled)),
    ];
    for (name, before, report, expected) in cases {
        let mut story = refunded();
        for report in before {
            story.done(&platform(), report);
        }
        let (events, order, at_first) = (story.events.len(), story.order().clone(), settlement(&story));
        let result = story.tell(&platform(), report).map(|_| story.happened(events).first().map(|(kind, _)| *kind));
        let is_accepted = result.is_ok();
        assert_eq!(result, expected, "{name}");
        assert_eq!(settlement(&story), if is_accepted { of(report) } else { at_first }, "{name}");
        assert_eq!(*story.order(), order, "refunded counts what was decided: {name}");
        assert_eq!(story.dispute(1).status(), DisputeStatus::Accepted, "a failed refund opens nothing: {name}");
    }
}

#[test]
fn without_a_refund_there_is_nothing_to_settle() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 100));
    assert_eq!(story.refused(&platform(), &settled(1, "")), Refusal::NothingToSettle);
    story.done(&buyer(), &decline(1));
    assert_eq!(story.refused(&platform(), &failed(1, "")), Refusal::NothingToSettle);
}

#[test]
fn the_orders_status_does_not_matter() {
    for status in OrderStatus::ALL {
        let mut story = refunded();
        story.status(status);
        story.done(&platform(), &settled(1, "pay-1"));
    }
}

#[test]
fn only_the_platform_reports() {
    let mut story = refunded();
    for caller in [buyer(), seller(), support()] {
        assert_eq!(story.refused(&caller, &settled(1, "")), Refusal::WrongRole);
    }
    let unknown = Refusal::DisputeNotFound { dispute: dispute_id(1) };
    assert_eq!(story.refused(&stranger(), &settled(1, "")), unknown);
}

#[test]
fn every_attempt_to_pay_has_the_same_key_and_no_two_disputes_have() {
    let mut story = refunded();
    let key = story.dispute(1).settlement_key();
    story.done(&platform(), &failed(1, "no"));
    assert_eq!(story.dispute(1).settlement_key(), key);
    story.done(&buyer(), &update(2));
    assert_ne!(story.dispute(2).settlement_key(), key);
}
