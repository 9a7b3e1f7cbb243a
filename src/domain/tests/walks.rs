//! Random walks: whatever happens to an order, these hold.

use std::time::Duration;

use proptest::prelude::*;

use super::fixtures::*;
use crate::domain::*;

/// A step of a walk. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Upsert(usize, i64, i64),
    Open(bool, u8, i64),
    Answer(bool, u8, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0_u64..100_000).prop_map(Step::Wait),
        (0_usize..8, 0_i64..5_000, 0_i64..12_000)
            .prop_map(|(status, more, elsewhere)| Step::Upsert(status, more, elsewhere)),
        (any::<bool>(), 0_u8..3, -10_i64..7_000).prop_map(|(buyer, kind, amount)| Step::Open(buyer, kind, amount)),
        (any::<bool>(), 0_u8..4, 0_usize..4).prop_map(|(buyer, what, back)| Step::Answer(buyer, what, back)),
    ];
    prop::collection::vec(step, 1..60)
}

struct Walk {
    story: Story,
    opened: u128,
}

impl Walk {
    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Wait(seconds) => self.story.now = self.story.now.plus(Duration::from_secs(*seconds)),
            Step::Upsert(status, more, elsewhere) => {
                // Orders end seldom, so that walks are long.
                let status = OrderStatus::ALL[if *status < 6 { status % 4 } else { status - 2 }];
                let version = self.story.order().source_version + 1;
                let paid = usd(10_000 + more);
                let report = OrderReport { paid, refunded_elsewhere: usd(*elsewhere), ..report(status, version) };
                self.story.upsert(report).unwrap();
            }
            Step::Open(is_buyer, kind, amount) => {
                let role = if *is_buyer { PartyRole::Buyer } else { PartyRole::Seller };
                self.opened += 1;
                let command = match kind {
                    0 => offer(self.opened, *amount),
                    1 => cancellation(self.opened, role),
                    _ => update(self.opened),
                };
                self.open(role, &command)?;
            }
            Step::Answer(is_buyer, what, back) => {
                let caller = if *is_buyer { buyer() } else { seller() };
                let dispute = self.opened.saturating_sub(*back as u128);
                let command = [accept, decline, reply, withdraw][usize::from(*what)](dispute);
                let respond_by = self.story.case().dispute(dispute_id(dispute)).map(|dispute| dispute.respond_by);
                let left = self.left_after_the_clock();
                if let Ok(answered) = self.story.tell(&caller, &command) {
                    prop_assert!(self.story.now < respond_by.unwrap(), "an answer counts only before the deadline");
                    let refund = answered
                        .and_then(|dispute| dispute.resolution?.outcome.refund())
                        .map_or(0, |refund| refund.minor);
                    prop_assert!(refund <= left, "no more is refunded than is left");
                }
            }
        }
        Ok(())
    }

    /// Opens, and compares with what the options said before.
    fn open(&mut self, role: PartyRole, command: &Command) -> Result<(), TestCaseError> {
        self.story.first_the_clock();
        let Command::Open(opening) = command else { return Ok(()) };
        let offered = options(self.story.case(), role, &self.story.policy);
        let option = offered.into_iter().find(|option| option.kind == opening.terms.kind());
        let result = self.story.tell(&party(role), command);
        let Some(option) = option else {
            prop_assert_eq!(result, Err(Refusal::WrongRole), "what is not offered is not for this role");
            return Ok(());
        };
        if let Some(first) = option.blockers.first() {
            prop_assert_eq!(result, Err(first.clone()), "the first blocker is the refusal");
            return Ok(());
        }
        let amount = match opening.terms {
            Terms::PartialRefund { amount } => amount.minor,
            Terms::Cancellation | Terms::OrderUpdate => 1,
        };
        match option.amounts {
            Some((min, max)) if !(min.minor..=max.minor).contains(&amount) => {
                prop_assert_eq!(result, Err(Refusal::AmountOutOfRange { min, max }));
            }
            Some(_) | None => {
                let answered = result.map_err(|refusal| TestCaseError::fail(format!("offered, but {refusal:?}")))?;
                prop_assert_eq!(answered.map(|dispute| dispute.id), Some(option.accepts.unwrap_or(opening.dispute)));
            }
        }
        Ok(())
    }

    fn left_after_the_clock(&self) -> i64 {
        let case = self.story.case();
        expire_overdue(case, self.story.now).map_or(case.order.left(), |decision| decision.case.order.left()).minor
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let case = self.story.case();
        let pending: Vec<&Dispute> = case.disputes.iter().filter(|dispute| dispute.is_pending()).collect();
        for (index, dispute) in pending.iter().enumerate() {
            prop_assert!(case.order.status.allows(dispute.kind()), "pending on an order that does not allow it");
            let rivals = pending[index + 1..].iter().filter(|other| other.kind().excludes(dispute.kind()));
            prop_assert_eq!(rivals.count(), 0, "two open disputes that exclude each other");
        }
        let refunds: i64 = case
            .disputes
            .iter()
            .filter_map(|dispute| dispute.resolution.as_ref()?.outcome.refund())
            .map(|refund| refund.minor)
            .sum();
        prop_assert_eq!(refunds, case.order.refunded.minor, "refunded is the sum of the refunds");
        let accepted = case.disputes.iter().filter(|dispute| {
            dispute.resolution.as_ref().is_some_and(|resolution| matches!(resolution.outcome, Outcome::Refund(_)))
        });
        prop_assert!(accepted.count() <= 1, "one accepted refund per order");
        prop_assert_eq!(case.order.end_time.is_some(), case.order.status.is_ended());
        Ok(())
    }

    /// Replays the log on the order as it was, and compares the disputes and what they did to the order.
    fn check_replay(&self, beginning: &Case) -> Result<(), TestCaseError> {
        let mut replayed = beginning.clone();
        for recorded in &self.story.events {
            let before = replayed.dispute(recorded.event.dispute).cloned();
            prop_assert_eq!(before.as_ref().map(Dispute::status), recorded.previous_status);
            replayed.apply(&recorded.event);
            let after = replayed.dispute(recorded.event.dispute).unwrap();
            prop_assert_eq!(after, &recorded.dispute, "the log keeps the dispute after the event");
            prop_assert_eq!(after.revision, before.map_or(1, |before| before.revision + 1), "revisions have no holes");
            prop_assert_eq!(after.update_time, recorded.event.time);
        }
        let now = self.story.case();
        prop_assert_eq!(&replayed.disputes, &now.disputes);
        prop_assert_eq!(replayed.order.refunded, now.order.refunded);
        prop_assert_eq!(replayed.order.refund_accepted, now.order.refund_accepted);
        prop_assert_eq!(replayed.order.cancelled_by, now.order.cancelled_by);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn on_every_walk_the_rules_hold_and_the_log_replays(steps in steps()) {
        let story = Story::new(OrderStatus::InProgress);
        let beginning = story.case().clone();
        let mut walk = Walk { story, opened: 0 };
        for step in &steps {
            walk.take(step)?;
            walk.check()?;
        }
        walk.check_replay(&beginning)?;
    }
}
