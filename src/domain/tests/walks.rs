//! Random walks over every command: whatever happens to an order, these hold.

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
    /// What, by whom, to which of the last disputes, and with which number.
    Act(u8, u8, u8, i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0_u64..100_000).prop_map(Step::Wait),
        1 => (0_usize..8, 0_i64..5_000, 0_i64..12_000)
            .prop_map(|(status, more, elsewhere)| Step::Upsert(status, more, elsewhere)),
        3 => (any::<bool>(), 0_u8..6, -10_i64..7_000).prop_map(|(buyer, kind, amount)| Step::Open(buyer, kind, amount)),
        4 => (0_u8..10, 0_u8..4, 0_u8..4, -10_i64..12_000)
            .prop_map(|(what, who, back, number)| Step::Act(what, who, back, number)),
    ];
    prop::collection::vec(step, 1..80)
}

/// Every policy that decides something else than the default.
fn policies() -> impl Strategy<Value = Policy> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (flags, 0_u32..3).prop_map(|((accepts, limits, immediate, disabled, asks), quota)| {
        let mut policy = Policy::default();
        if accepts {
            policy.partial_refund.silence_rule = SilenceRule::Accept;
            policy.cancellation.silence_rule_after_delivery = SilenceRule::Accept;
        }
        if limits {
            let attempts = Attempts { cool_down: Span(Duration::from_secs(50_000)), max: 3 };
            policy.partial_refund.kind.attempts = attempts;
            policy.cancellation.kind.attempts = attempts;
            policy.order_update.attempts = attempts;
            policy.delivery_extension.kind.attempts = attempts;
        }
        if immediate {
            policy.cancellation.immediate_before_start = true;
            policy.cancellation.immediate_when_late = Span(Duration::from_secs(100_000));
        }
        policy.delivery_extension.kind.enabled = !disabled;
        policy.partial_refund.buyer_may_ask = asks;
        policy.partial_refund.max_counter_offers = Rounds(2 * quota);
        policy.cancellation.no_fault_per_window = quota;
        policy
    })
}

/// A report of one of the first attempts, or of the current one, in a few words that come again.
fn report_of(dispute: u128, number: i64) -> Command {
    let text = (number / 16 % 2).to_string();
    let report = match number % 4 {
        0 => SettlementReport::Settled { reference: text },
        1 | -1 => SettlementReport::Failed { detail: text },
        2 | -2 => SettlementReport::Returned { detail: text },
        _ => SettlementReport::Voided { detail: text },
    };
    reported(dispute, u32::try_from((number / 4).max(0) % 4).unwrap(), report)
}

/// The same end of an order, which counts or does not.
fn counting(outcome: Outcome, counts: bool) -> Outcome {
    match outcome {
        Outcome::Cancellation { refund, .. } => Outcome::Cancellation { refund, counts },
        other => other,
    }
}

struct Walk {
    story: Story,
    opened: u128,
    /// The sum of the refunds that were decided until the last check …
    decided: i64,
    /// … and of those that will not be paid.
    voided: i64,
    /// Which reasons are given in confidence.
    secret: usize,
}

impl Walk {
    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Wait(seconds) => {
                self.story.now = self.story.now.plus(Duration::from_secs(*seconds));
                self.sweep()?;
            }
            Step::Upsert(status, more, elsewhere) => {
                // Orders end seldom, so that walks are long.
                let status = OrderStatus::ALL[if *status < 6 { status % 4 } else { status - 2 }];
                let version = self.story.order().source_version + 1;
                let (paid, due_time) = (usd(10_000 + more), Some(at(400_000)));
                let report =
                    OrderReport { paid, refunded_elsewhere: usd(*elsewhere), due_time, ..report(status, version) };
                self.story.upsert(report).unwrap();
            }
            Step::Open(is_buyer, kind, amount) => {
                let role = if *is_buyer { PartyRole::Buyer } else { PartyRole::Seller };
                self.opened += 1;
                let command = match kind {
                    0 => offer(self.opened, *amount),
                    1 => cancellation(self.opened, role),
                    2 => update(self.opened),
                    3 => ask(self.opened, *amount),
                    4 => no_fault(self.opened, role),
                    _ => extension(self.opened, u64::try_from((*amount).max(0)).unwrap() * 700),
                };
                self.open(role, &command)?;
            }
            Step::Act(what, who, back, number) => self.act(*what, *who, *back, *number)?,
        }
        Ok(())
    }

    /// What time brings: silence does what was promised.
    fn sweep(&mut self) -> Result<(), TestCaseError> {
        let before = self.story.aggregate().clone();
        let events = self.story.events.len();
        self.story.sweep();
        let is_expiry = |first: &&RecordedEvent| first.event_type == EventType::DeadlineExpired;
        if let Some(first) = self.story.events.get(events).filter(is_expiry) {
            let promised = before.consequences(before.dispute(first.dispute.id).unwrap()).if_silent;
            let outcome = first.dispute.resolution.as_ref().map(|resolution| resolution.outcome);
            prop_assert_eq!(promised, outcome, "silence does what if_silent says");
        }
        for recorded in &self.story.events[events..] {
            if recorded.event_type == EventType::DeadlineApproaching {
                prop_assert!(self.story.now < recorded.dispute.respond_by, "no reminder once the window is over");
                prop_assert_eq!(recorded.dispute.etag(), before.dispute(recorded.dispute.id).unwrap().etag());
            }
        }
        Ok(())
    }

    /// Does something with a dispute, and compares with what was said to be allowed and to follow.
    fn act(&mut self, what: u8, who: u8, back: u8, number: i64) -> Result<(), TestCaseError> {
        let caller = [buyer(), seller(), support(), platform()][usize::from(who)].clone();
        let dispute = self.opened.saturating_sub(back.into());
        let later = u64::try_from(number.max(0)).unwrap() * 100;
        let (action, command) = match what {
            0 => (DisputeAction::Accept, accept(dispute)),
            1 => (DisputeAction::Decline, decline(dispute)),
            2 => (DisputeAction::Answer, reply(dispute)),
            3 => (DisputeAction::Withdraw, withdraw(dispute)),
            4 => (DisputeAction::Escalate, escalate(dispute)),
            5 => {
                let ruling = match number % 3 {
                    0 => Ruling::NoAction,
                    1 => Ruling::Refund(usd(number)),
                    _ => Ruling::CancelOrder { counts: number % 2 == 0 },
                };
                (DisputeAction::Decide, rule(dispute, ruling))
            }
            6 => (DisputeAction::Postpone, postpone(dispute, later)),
            7 | 8 => (DisputeAction::Counter, counter(dispute, number)),
            _ => (DisputeAction::ReportSettlement, report_of(dispute, number)),
        };
        self.story.expire_overdue();
        let exists = self.story.aggregate().dispute(dispute_id(dispute)).is_some();
        let view = exists.then(|| self.story.view(&caller, dispute));
        let left = self.story.order().left().minor;
        let result = self.story.tell(&caller, &command);
        let Some(view) = view else {
            prop_assert_eq!(result, Err(Refusal::DisputeNotFound { dispute: dispute_id(dispute) }));
            return Ok(());
        };
        let is_allowed = view.allowed_actions.contains(&action);
        match result {
            Ok(answered) => {
                let answered = answered.unwrap();
                let outcome = answered.resolution.as_ref().map_or(Outcome::Nothing, |resolution| resolution.outcome);
                match action {
                    DisputeAction::Accept => {
                        prop_assert_eq!(Some(outcome), view.consequences.if_accepted, "as if_accepted says");
                    }
                    DisputeAction::ReportSettlement => {
                        let same = answered == view.dispute;
                        prop_assert!(is_allowed || same, "only the same report again is more than what is offered");
                        return Ok(());
                    }
                    DisputeAction::Counter => {
                        let (min, max) = view.counter_range.unwrap();
                        prop_assert!((min.minor..=max.minor).contains(&number), "as counter_min and counter_max say");
                        prop_assert_ne!(answered.awaiting(), view.dispute.awaiting(), "the turn passes");
                    }
                    _ => {}
                }
                prop_assert!(is_allowed, "{:?} was done, and not offered to {:?}", action, caller);
                prop_assert!(outcome.refund().map_or(0, |refund| refund.minor) <= left, "no more than is left");
                let is_answer = matches!(
                    action,
                    DisputeAction::Accept | DisputeAction::Decline | DisputeAction::Answer | DisputeAction::Counter
                );
                if is_answer && view.dispute.is_pending() {
                    prop_assert!(self.story.now < view.dispute.respond_by, "an answer counts only before the deadline");
                }
            }
            // What the form says can be wrong; everything else was known before.
            Err(Refusal::AmountOutOfRange { .. } | Refusal::DeadlineNotLater { .. }) if is_allowed => {
                prop_assert!(matches!(
                    action,
                    DisputeAction::Decide | DisputeAction::Postpone | DisputeAction::Counter
                ));
            }
            Err(
                Refusal::AttemptUnknown { .. }
                | Refusal::SettledTwice { .. }
                | Refusal::SettlementStatusNotAllowed { .. },
            ) if is_allowed => prop_assert_eq!(action, DisputeAction::ReportSettlement),
            Err(refusal) => prop_assert!(!is_allowed, "{:?} was offered to {:?}: {:?}", action, caller, refusal),
        }
        Ok(())
    }

    /// The same with another reason, where that is confidential.
    fn with_secret(&self, command: &Command, opener: PartyRole) -> Command {
        let Command::Open(opening) = command else { return command.clone() };
        let kind = opening.terms.kind();
        if !is_confidential(kind, opener) {
            return command.clone();
        }
        let code = reasons(kind, opener)[self.secret];
        let reason = Some(Reason { code: code.into(), detail: format!("secret {}", self.secret) });
        open(Opening { reason, ..Opening::clone(opening) })
    }

    /// Opens, and compares with what the options said before.
    fn open(&mut self, role: PartyRole, command: &Command) -> Result<(), TestCaseError> {
        self.story.expire_overdue();
        let command = &self.with_secret(command, role);
        let Command::Open(opening) = command else { return Ok(()) };
        let option = self.story.option(role, opening.terms.kind());
        let result = self.story.tell(&party(role), command);
        let option = option.filter(|_| opening.by.is_none_or(|by| by == role));
        let Some(option) = option else {
            prop_assert_eq!(result, Err(Refusal::WrongRole), "what is not offered is not for this role");
            return Ok(());
        };
        if !option.blockers.is_empty() {
            // What the form says is judged before how often it was tried.
            let refusal = result.unwrap_err();
            let is_of_the_form =
                matches!(refusal, Refusal::AmountOutOfRange { .. } | Refusal::NewDueTimeOutOfRange { .. });
            prop_assert!(option.blockers[0] == refusal || is_of_the_form, "the first blocker is the refusal");
            return Ok(());
        }
        if let Err(Refusal::NoFaultNotAvailable { used, max }) = result {
            prop_assert!(opening.terms.is_no_fault() && !option.no_fault_available, "it was said before");
            prop_assert_eq!(
                (used.is_some(), max),
                (role == PartyRole::Seller, self.story.policy.cancellation.no_fault_per_window)
            );
            return Ok(());
        }
        let answered = match (result, option.amounts) {
            (Err(Refusal::NewDueTimeOutOfRange { after, latest }), None) => {
                prop_assert!(after < latest, "some due time can be agreed on");
                return Ok(());
            }
            (Err(Refusal::AmountOutOfRange { min, max }), Some(amounts)) => {
                prop_assert_eq!((min, max), amounts);
                let Terms::PartialRefund { amount } = opening.terms else { unreachable!() };
                prop_assert!(!(min.minor..=max.minor).contains(&amount.minor));
                return Ok(());
            }
            (result, _) => result.map_err(|refusal| TestCaseError::fail(format!("offered, but {refusal:?}")))?.unwrap(),
        };
        prop_assert_eq!(answered.id, option.accepts.unwrap_or(opening.dispute));
        match &answered.resolution {
            // Taken at once: crossed, or the buyer cancels alone.
            Some(resolution) => {
                prop_assert!(option.waits.is_none());
                // Whether it shall count the buyer says, in the form or before.
                let expected = match role {
                    PartyRole::Seller => option.if_accepted,
                    PartyRole::Buyer => {
                        option.if_accepted.map(|outcome| counting(outcome, !opening.terms.is_no_fault()))
                    }
                };
                prop_assert_eq!(Some(resolution.outcome), expected);
            }
            None => {
                let (window, rule) = option.waits.unwrap();
                prop_assert_eq!(answered.respond_by, self.story.now.plus(window));
                prop_assert_eq!(answered.silence.rule, rule);
                if answered.kind() == DisputeKind::Cancellation {
                    let consequences = self.story.aggregate().consequences(&answered);
                    let counts = !opening.terms.is_no_fault();
                    let expected = option.if_accepted.map(|outcome| counting(outcome, counts));
                    prop_assert_eq!(consequences.if_accepted, expected);
                }
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let aggregate = self.story.aggregate();
        let open: Vec<&Dispute> = aggregate.disputes.iter().filter(|dispute| dispute.is_open()).collect();
        for (index, dispute) in open.iter().enumerate() {
            let may_be_open = if dispute.is_pending() {
                aggregate.order.status.allows(dispute.kind())
            } else {
                aggregate.order.status != OrderStatus::Cancelled
            };
            prop_assert!(may_be_open, "open on an order that does not allow it");
            let rivals = open[index + 1..].iter().filter(|other| other.kind().excludes(dispute.kind()));
            prop_assert_eq!(rivals.count(), 0, "two open disputes that exclude each other");
        }
        let ended = || aggregate.disputes.iter().filter_map(|dispute| dispute.resolution.as_ref());
        let is_voided = |end: &&Resolution| {
            end.settlement.as_ref().is_some_and(|settlement| settlement.status() == SettlementStatus::Voided)
        };
        let sum = |of: &dyn Fn(&&Resolution) -> bool| -> i64 {
            ended().filter(of).filter_map(|end| end.outcome.refund()).map(|refund| refund.minor).sum()
        };
        let (decided, voided) = (sum(&|_| true), sum(&is_voided));
        let refunded = aggregate.order.refunded.minor;
        prop_assert_eq!(decided - voided, refunded, "refunded is the sum of the refunds less what was voided");
        let over = refunded + aggregate.order.refunded_elsewhere.minor - aggregate.order.paid.minor;
        prop_assert!(decided == self.decided || over <= 0, "what is refunded was paid, at the moment of each refund");
        prop_assert!(
            decided >= self.decided && voided >= self.voided,
            "no refund is taken back, and nothing paid that was voided"
        );
        prop_assert_eq!(aggregate.order.left(), usd((-over).max(0)));
        prop_assert_eq!(aggregate.order.over_refunded(), (over > 0).then(|| usd(over)));
        for end in ended() {
            prop_assert_eq!(end.settlement.is_some(), end.outcome.refund().is_some(), "what is refunded is settled");
        }
        let accepted =
            ended().filter(|end| end.status != DisputeStatus::Decided && matches!(end.outcome, Outcome::Refund(_)));
        prop_assert!(accepted.count() <= 1, "one accepted refund per order");
        prop_assert_eq!(aggregate.order.end_time.is_some(), aggregate.order.status.is_ended());
        let view = aggregate.order_view();
        prop_assert_eq!(view.open_disputes.len(), open.len());
        let holds = open.iter().any(|dispute| {
            !dispute.is_pending() || (dispute.kind(), dispute.opener) == (DisputeKind::Cancellation, PartyRole::Buyer)
        });
        prop_assert_eq!(view.completion_hold, holds);
        (self.decided, self.voided) = (decided, voided);
        Ok(())
    }

    /// Replays what is logged on the order as it was first reported, and compares the disputes and what they did to the
    /// order.
    fn check_log(&self) -> Result<(), TestCaseError> {
        let mut replayed = None;
        let (first, _) = &self.story.facts[0];
        evolve(&mut replayed, first, at(0));
        let logged = self.story.facts.iter().filter(|(event, _)| event.event_type().is_some());
        prop_assert_eq!(logged.clone().count(), self.story.events.len());
        for ((event, time), recorded) in logged.zip(&self.story.events) {
            prop_assert_eq!(event.event_type(), Some(recorded.event_type));
            prop_assert_eq!(*time, recorded.time);
            let before = replayed.as_ref().unwrap().dispute(recorded.dispute.id).cloned();
            prop_assert_eq!(before.as_ref().map(Dispute::status), recorded.previous_status);
            evolve(&mut replayed, event, *time);
            let after = replayed.as_ref().unwrap().dispute(recorded.dispute.id).unwrap();
            prop_assert_eq!(after, &recorded.dispute, "the log keeps the dispute after the event");
            prop_assert_eq!(after.revision, before.map_or(1, |before| before.revision + 1), "revisions have no holes");
            prop_assert_eq!(after.update_time, recorded.time);
        }
        let (replayed, now) = (replayed.unwrap(), self.story.aggregate());
        prop_assert_eq!(&replayed.disputes, &now.disputes);
        prop_assert_eq!(replayed.order.refunded, now.order.refunded);
        prop_assert_eq!(replayed.order.refund_accepted, now.order.refund_accepted);
        prop_assert_eq!(replayed.order.cancelled_by, now.order.cancelled_by);
        prop_assert_eq!(replayed.order.agreed_due_time, now.order.agreed_due_time);
        prop_assert_eq!(replayed.order.extension_requests, now.order.extension_requests);
        Ok(())
    }

    /// Replays everything from nothing: what was decided on is what the events make of it.
    fn check_replay(&self) -> Result<(), TestCaseError> {
        let mut replayed = None;
        for (event, time) in &self.story.facts {
            evolve(&mut replayed, event, *time);
        }
        prop_assert_eq!(&replayed, &self.story.aggregate);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, ..ProptestConfig::default() })]

    #[test]
    fn on_every_walk_the_rules_hold_and_the_log_replays(policy in policies(), steps in steps()) {
        let mut story = Story::new(OrderStatus::InProgress);
        story.policy = policy;
        let mut walk = Walk { story, opened: 0, decided: 0, voided: 0, secret: 0 };
        for step in &steps {
            walk.take(step)?;
            walk.check()?;
        }
        walk.check_replay()?;
        walk.check_log()?;
    }

    #[test]
    fn on_no_walk_does_anything_that_others_see_depend_on_what_was_said_in_confidence(policy in policies(), steps in steps()) {
        let mut story = Story::new(OrderStatus::InProgress);
        story.policy = policy;
        let mut walks = [0, 1].map(|secret| Walk { story: story.clone(), opened: 0, decided: 0, voided: 0, secret });
        for step in &steps {
            for walk in &mut walks {
                walk.take(step)?;
            }
        }
        let [one, other] = walks.each_ref().map(|walk| &walk.story);
        prop_assert_eq!(one.events.len(), other.events.len());
        for (one, other) in one.events.iter().zip(&other.events) {
            prop_assert_eq!(one.dispute.public_reason(), other.dispute.public_reason());
            let without = |recorded: &RecordedEvent| {
                let dispute = Dispute { reason: None, ..recorded.dispute.clone() };
                RecordedEvent { dispute, ..recorded.clone() }
            };
            prop_assert_eq!(without(one), without(other));
        }
        prop_assert_eq!(one.order(), other.order());
        for role in PartyRole::ALL {
            for kind in DisputeKind::ALL {
                prop_assert_eq!(one.option(role, kind), other.option(role, kind));
            }
        }
        for dispute in &one.aggregate().disputes {
            let caller = party(dispute.opener.other());
            for viewer in [caller, platform()] {
                let views = [one, other].map(|story| story.judged().unwrap().view(
                    story.aggregate().dispute(dispute.id).unwrap(), &viewer, &story.policy, story.now,
                ));
                let [first, second] = views.each_ref().map(|view| view.dispute.reason_for(&viewer));
                prop_assert_eq!(first, second);
                let [first, second] = views.map(|view| {
                    let dispute = Dispute { reason: None, ..view.dispute };
                    DisputeView { dispute, ..view }
                });
                prop_assert_eq!(first, second);
            }
        }
    }
}
