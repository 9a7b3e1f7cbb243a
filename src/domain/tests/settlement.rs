//! Settlement: whether the money has moved, apart from the decision. A story of reports is written as `F S1 R=…`: the
//! result, the attempt if one is named, and the text where that matters.

use proptest::prelude::*;

use super::fixtures::*;
use super::given::*;
use crate::domain::*;

fn refunded() -> Story {
    given(OrderStatus::InProgress).with(seller(), offer(1, 2_500)).when(buyer(), accept(1)).then([fact::accepted(
        1,
        0,
        Outcome::Refund(usd(2_500)),
    )])
}

fn settlement(story: &Story) -> Option<&Settlement> {
    story.dispute(1).settlement()
}

/// `S`, `F2`, `V=text`: what is reported, of which attempt (0 if none is named), with which text.
fn parse(step: &str) -> (u32, SettlementReport) {
    let (what, text) = step.split_once('=').unwrap_or((step, "text"));
    let (result, attempt) = what.split_at(1);
    let text = text.to_owned();
    let report = match result {
        "S" => SettlementReport::Settled { reference: text },
        "F" => SettlementReport::Failed { detail: text },
        "R" => SettlementReport::Returned { detail: text },
        "V" => SettlementReport::Voided { detail: text },
        _ => panic!("{step}"),
    };
    (if attempt.is_empty() { 0 } else { attempt.parse().unwrap() }, report)
}

fn tell(story: &mut Story, step: &str) -> Result<(), Refusal> {
    let (attempt, report) = parse(step);
    story.tell(&platform(), &reported(1, attempt, report)).map(drop)
}

/// The refund after these reports, each of which is taken or a repeat.
fn after(steps: &str) -> Story {
    let mut story = refunded();
    for step in steps.split_whitespace() {
        tell(&mut story, step).unwrap_or_else(|refusal| panic!("{steps}: {step} is refused: {refusal:?}"));
    }
    story
}

/// How the money stands: the status and the current attempt, `SETTLED 2`.
fn shown(story: &Story) -> String {
    let settlement = settlement(story).unwrap();
    let status = match settlement.status() {
        SettlementStatus::Due => "DUE",
        SettlementStatus::Settled => "SETTLED",
        SettlementStatus::Failed => "FAILED",
        SettlementStatus::Returned => "RETURNED",
        SettlementStatus::Voided => "VOIDED",
    };
    format!("{status} {}", settlement.attempt())
}

/// What a report is answered after others: how the money stands then, `=` if nothing changes, or why it is refused.
fn answer_to(before: &str, step: &str) -> String {
    let mut story = after(before);
    let unchanged = story.clone();
    match tell(&mut story, step) {
        Ok(()) if story.events.len() == unchanged.events.len() => {
            assert_eq!(story.aggregate, unchanged.aggregate, "{before}, then {step}: no event, no change");
            "=".to_owned()
        }
        Ok(()) => shown(&story),
        Err(refusal) => {
            assert_eq!(story.aggregate, unchanged.aggregate, "{before}, then {step}");
            match refusal {
                Refusal::AttemptUnknown { highest } => format!("attempt > {highest}"),
                Refusal::SettledTwice { attempt } => format!("twice: {attempt}"),
                Refusal::SettlementStatusNotAllowed { .. } => "no".to_owned(),
                refusal => panic!("{before}, then {step}: {refusal:?}"),
            }
        }
    }
}

#[test]
fn a_refund_above_nothing_is_due() {
    let story = refunded();
    assert_eq!(shown(&story), "DUE 1");
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
fn each_report_leads_where_the_table_says() {
    // Before it: the reports so far. Then: each report, and what it is answered.
    let table: &[(&str, &[(&str, &str)])] = &[
        (
            "",
            &[
                ("S", "SETTLED 1"),
                ("S1", "SETTLED 1"),
                ("S2", "attempt > 1"),
                ("F", "FAILED 2"),
                ("F1", "FAILED 2"),
                ("F2", "attempt > 1"),
                ("R", "no"),
                ("R1", "no"),
                ("R2", "attempt > 1"),
                ("V", "VOIDED 1"),
                ("V1", "VOIDED 1"),
                ("V2", "attempt > 1"),
            ],
        ),
        (
            "F F=again",
            &[
                ("S", "SETTLED 3"),
                ("S1", "SETTLED 1"),
                ("S2", "SETTLED 2"),
                ("S3", "SETTLED 3"),
                ("S4", "attempt > 3"),
                ("F", "FAILED 4"),
                ("F=again", "="),
                ("F3=again", "FAILED 4"),
                ("F1", "="),
                ("F2=other", "="),
                ("R", "no"),
                ("R1", "no"),
                ("V", "VOIDED 3"),
                ("V1", "VOIDED 3"),
                ("V3", "VOIDED 3"),
            ],
        ),
        (
            "F S=pay",
            &[
                ("S=pay", "="),
                ("S=other", "no"),
                ("S2=other", "="),
                ("S1", "twice: 2"),
                ("S1=pay", "twice: 2"),
                ("S3", "attempt > 2"),
                ("F", "no"),
                ("F2", "no"),
                ("F1=other", "="),
                ("R", "RETURNED 3"),
                ("R2", "RETURNED 3"),
                ("R1", "no"),
                ("V", "no"),
                ("V1", "no"),
                ("V2", "no"),
            ],
        ),
        (
            "F S1=late",
            &[
                ("S=late", "="),
                ("S2", "twice: 1"),
                ("F1=other", "="),
                ("F2", "="),
                ("F", "no"),
                ("R2", "no"),
                ("R", "RETURNED 3"),
                ("R1", "RETURNED 3"),
            ],
        ),
        (
            "S R=back",
            &[
                ("S", "SETTLED 2"),
                ("S1", "="),
                ("S2", "SETTLED 2"),
                ("F", "FAILED 3"),
                ("F1", "="),
                ("F2", "FAILED 3"),
                ("R=back", "="),
                ("R=other", "no"),
                ("R1=other", "="),
                ("R2", "no"),
                ("V", "VOIDED 2"),
                ("V1", "VOIDED 2"),
            ],
        ),
        (
            "F S1 R",
            &[
                ("S", "SETTLED 3"),
                ("S2", "SETTLED 2"),
                ("S1", "="),
                ("F2", "="),
                ("F1=other", "="),
                ("F3", "FAILED 4"),
                ("F", "FAILED 4"),
                ("R1", "="),
            ],
        ),
        (
            "F V=gone",
            &[
                ("S", "no"),
                ("S1", "no"),
                ("S2", "no"),
                ("F", "no"),
                ("F1=other", "="),
                ("F2", "no"),
                ("R", "no"),
                ("R2", "no"),
                ("V=gone", "="),
                ("V", "no"),
                ("V2=other", "="),
                ("V1", "no"),
                ("V3", "attempt > 2"),
            ],
        ),
        ("S R V1=gone", &[("S1", "="), ("R1=other", "="), ("V=gone", "="), ("V1", "="), ("V2", "no"), ("S2", "no")]),
    ];
    for (before, rows) in table {
        for (step, expected) in *rows {
            assert_eq!(answer_to(before, step), *expected, "after {before:?}: {step}");
        }
    }
}

#[test]
fn without_an_attempt_only_the_last_report_taken_is_the_same() {
    let cases = [
        ("F", "F", "=", "told twice"),
        ("F F1=other", "F", "=", "a repeat is not taken"),
        ("F F1=other", "F=other", "FAILED 3", "a repeat is not taken"),
        ("F F=other", "F", "FAILED 4", "a failure came between"),
        ("F F2", "F", "=", "the second one named its attempt"),
        ("S R S", "R", "RETURNED 3", "it came back once more"),
        ("S=a R S=a", "S=a", "=", "the last one taken"),
        ("F S1=late F2=x", "F=x", "no", "what changed nothing was not taken"),
    ];
    for (before, step, expected, name) in cases {
        assert_eq!(answer_to(before, step), expected, "{name}: after {before}, {step}");
    }
}

#[test]
fn each_report_is_an_event_with_its_text() {
    let story = after("F=a S1=b R=c F=d V=e");
    let types: Vec<_> = story.happened(2).into_iter().map(|(kind, _)| kind).collect();
    use EventType::{Settled, SettlementFailed, SettlementReturned, SettlementVoided};
    assert_eq!(types, [SettlementFailed, Settled, SettlementReturned, SettlementFailed, SettlementVoided]);
    let texts: Vec<_> = story.events[2..]
        .iter()
        .map(|recorded| {
            let last = recorded.dispute.settlement().unwrap().last().unwrap();
            (last.reference().to_owned(), last.detail().to_owned())
        })
        .collect();
    let expected = [("", "a"), ("b", ""), ("", "c"), ("", "d"), ("", "e")];
    assert_eq!(texts, expected.map(|(reference, detail)| (reference.to_owned(), detail.to_owned())));
    assert!(story.events.iter().all(|recorded| recorded.actor != Actor::System));
    assert_eq!(story.dispute(1).revision, 7);
}

#[test]
fn each_report_is_an_event_of_its_attempt() {
    let dispute = dispute_id(1);
    let cases = [
        ("F", "S1=paid", Event::Settled { dispute, attempt: 1, reference: "paid".to_owned() }),
        ("F", "F=no", Event::SettlementFailed { dispute, attempt: 2, detail: "no".to_owned() }),
        ("S", "R=back", Event::SettlementReturned { dispute, attempt: 1, detail: "back".to_owned() }),
        ("F F", "V2=gone", Event::SettlementVoided { dispute, attempt: 2, detail: "gone".to_owned() }),
    ];
    for (before, step, event) in cases {
        let (attempt, report) = parse(step);
        given(after(before)).named(step).when(platform(), reported(1, attempt, report.clone())).then([event]);
        let taken = given(after(&format!("{before} {step}"))).named(step);
        taken.when(platform(), reported(1, 0, report)).then([]);
    }
}

#[test]
fn reports_leave_the_decision_and_the_order_as_they_are() {
    let mut story = refunded();
    let (order, outcome) = (story.order().clone(), story.ending(1));
    for step in ["F", "S", "R", "S1", "F2", "F"] {
        drop(tell(&mut story, step));
        assert_eq!(*story.order(), order, "refunded counts what was decided: {step}");
        assert_eq!(story.ending(1), outcome, "{step}");
    }
}

#[test]
fn what_is_voided_is_left_again() {
    let mut story = refunded();
    let before = story.order().clone();
    assert_eq!((before.refunded, before.left()), (usd(2_500), usd(7_500)));
    let ending = story.ending(1);
    tell(&mut story, "V").unwrap();
    let order = story.order().clone();
    assert_eq!((order.refunded, order.left(), order.revision), (usd(0), usd(10_000), before.revision + 1));
    assert_eq!(Order { refunded: before.refunded, revision: before.revision, ..order }, before, "nothing else changes");
    assert_eq!(story.ending(1), ending, "the outcome stays as decided");
    tell(&mut story, "V").unwrap();
    assert_eq!(story.order().refunded, usd(0), "given back once");
    let again = story.refused(&seller(), &offer(2, 100));
    assert_eq!(again, Refusal::RefundAlreadyAccepted { dispute: dispute_id(1) }, "no second partial refund");
    story.done(&buyer(), &cancellation(3, PartyRole::Buyer));
    story.done(&seller(), &accept(3));
    assert_eq!(story.ending(3).2, cancelled(10_000), "a cancellation refunds it");
}

#[test]
fn what_is_voided_undoes_no_cancellation() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&buyer(), &cancellation(1, PartyRole::Buyer));
    story.done(&seller(), &accept(1));
    let before = story.order().clone();
    assert_eq!(before.left(), usd(0));
    tell(&mut story, "V").unwrap();
    let order = story.order();
    assert_eq!((order.status, order.cancelled_by), (OrderStatus::Cancelled.into(), Some(dispute_id(1))));
    assert_eq!((order.end_time, order.cancellation_counts), (before.end_time, true));
    assert_eq!((order.refunded, order.left()), (usd(0), usd(10_000)));
}

#[test]
fn each_refund_of_an_order_is_voided_by_itself() {
    let mut story = refunded();
    story.done(&buyer(), &update(2));
    story.done(&support(), &escalate(2));
    story.done(&support(), &rule(2, Ruling::Refund(usd(1_000))));
    assert_eq!(story.order().refunded, usd(3_500));
    story.done(&platform(), &voided(2, ""));
    assert_eq!((story.order().refunded, shown(&story).as_str()), (usd(2_500), "DUE 1"));
}

#[test]
fn without_a_refund_there_is_nothing_to_settle() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 100));
    assert_eq!(story.refused(&platform(), &settled(1, "")), Refusal::NothingToSettle);
    story.done(&buyer(), &decline(1));
    for step in ["S", "F", "R", "V", "S9"] {
        let (attempt, report) = parse(step);
        let refusal = story.refused(&platform(), &reported(1, attempt, report));
        assert_eq!(refusal, Refusal::NothingToSettle, "{step}: judged before the attempt");
    }
}

#[test]
fn the_orders_status_does_not_matter() {
    for status in OrderStatus::ALL {
        for (steps, expected) in [("S", "SETTLED 1"), ("F", "FAILED 2"), ("S R", "RETURNED 2"), ("V", "VOIDED 1")] {
            let mut story = refunded();
            story.status(status);
            for step in steps.split_whitespace() {
                tell(&mut story, step).unwrap();
            }
            assert_eq!(shown(&story), expected, "{status:?}");
            assert_eq!(story.order().status, status);
        }
    }
}

#[test]
fn only_the_platform_reports() {
    let refunded = || given(refunded());
    for caller in [buyer(), seller(), support()] {
        refunded().when(caller.clone(), settled(1, "")).then_refused(Refusal::WrongRole);
        refunded().when(caller, voided(1, "")).then_refused(Refusal::WrongRole);
    }
    let unknown = |dispute| Refusal::DisputeNotFound { dispute: dispute_id(dispute) };
    refunded().when(stranger(), settled(1, "")).then_refused(unknown(1));
    refunded().when(platform(), settled(9, "")).then_refused(unknown(9));
}

#[test]
fn every_attempt_has_a_key_of_its_own() {
    let story = refunded();
    let dispute = story.dispute(1);
    assert_eq!(dispute.id.settlement_key(1), format!("refund-{}-1", dispute_id(1)));
    assert_eq!(dispute.id.settlement_key(12), format!("refund-{}-12", dispute_id(1)));
}

/// The rules once more, by reading everything that was ever taken.
#[derive(Default)]
struct Model(Vec<(u32, SettlementReport)>);

impl Model {
    fn highest(&self) -> u32 {
        let begins = |(_, report): &&(u32, SettlementReport)| {
            matches!(report, SettlementReport::Failed { .. } | SettlementReport::Returned { .. })
        };
        1 + u32::try_from(self.0.iter().filter(begins).count()).unwrap()
    }

    fn shown(&self) -> String {
        match self.0.last() {
            None => "DUE 1".to_owned(),
            Some((attempt, SettlementReport::Settled { .. })) => format!("SETTLED {attempt}"),
            Some((_, SettlementReport::Failed { .. })) => format!("FAILED {}", self.highest()),
            Some((_, SettlementReport::Returned { .. })) => format!("RETURNED {}", self.highest()),
            Some((_, SettlementReport::Voided { .. })) => format!("VOIDED {}", self.highest()),
        }
    }

    fn tell(&mut self, named: u32, report: &SettlementReport) -> String {
        if named > self.highest() {
            return format!("attempt > {}", self.highest());
        }
        let same = |taken: &SettlementReport| std::mem::discriminant(taken) == std::mem::discriminant(report);
        if self.0.iter().any(|(attempt, taken)| *attempt == named && same(taken))
            || (named == 0 && self.0.last().is_some_and(|(_, taken)| taken == report))
        {
            return "=".to_owned();
        }
        let shown = self.shown();
        let (status, current) = shown.split_once(' ').unwrap();
        let current = current.parse().unwrap();
        let attempt = if named == 0 { current } else { named };
        let is_taken = match (status, report) {
            ("DUE" | "FAILED" | "RETURNED", SettlementReport::Settled { .. } | SettlementReport::Voided { .. }) => true,
            ("DUE" | "FAILED" | "RETURNED" | "SETTLED", SettlementReport::Failed { .. }) if attempt != current => {
                return "=".to_owned();
            }
            ("DUE" | "FAILED" | "RETURNED", SettlementReport::Failed { .. }) => true,
            ("SETTLED", SettlementReport::Returned { .. }) => attempt == current,
            ("SETTLED", SettlementReport::Settled { .. }) if attempt != current => return format!("twice: {current}"),
            _ => false,
        };
        if !is_taken {
            return "no".to_owned();
        }
        self.0.push((attempt, report.clone()));
        self.shown()
    }
}

proptest! {
    #[test]
    fn reports_lead_where_a_naive_model_says(
        steps in prop::collection::vec(("[SSFFRRV]", 0_u32..6, "[ab]"), 1..30),
    ) {
        let (mut model, mut before) = (Model::default(), String::new());
        for (result, attempt, text) in steps {
            let step = if attempt == 0 { format!("{result}={text}") } else { format!("{result}{attempt}={text}") };
            let (named, report) = parse(&step);
            let expected = model.tell(named, &report);
            prop_assert_eq!(answer_to(&before, &step), expected.clone(), "after {}: {}", before, step);
            let is_taken = expected.starts_with(char::is_uppercase);
            if is_taken || expected == "=" {
                before = format!("{before} {step}");
            }
        }
    }
}
