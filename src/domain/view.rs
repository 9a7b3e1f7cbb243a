//! What somebody is shown beside the facts: what would come of a dispute, and what this caller can do with
//! it now. Judged by the guards that will judge the command, so that nothing is promised that a command
//! would refuse.

use super::actor::Caller;
use super::answering::{self, outcome_of_agreeing};
use super::bargain;
use super::code::codes;
use super::command::DisputeRef;
use super::dispute::{Dispute, DisputeStatus, Outcome};
use super::escalation;
use super::expiry::{after_the_clock, outcome_of_silence};
use super::ids::DisputeId;
use super::kinds::AnsweredWith;
use super::money::Money;
use super::order::Order;
use super::order_aggregate::OrderAggregate;
use super::policy::Policy;
use super::postponing;
use super::release::{NewerDispute, StoredDispute};
use super::settlement;
use super::time::Timestamp;

codes! {
    /// Something that a caller can do with a dispute.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[expect(missing_docs, reason = "named after the commands")]
    pub enum DisputeAction {
        Accept = 1,
        Decline = 2,
        Counter = 9,
        Answer = 3,
        Withdraw = 4,
        Escalate = 5,
        Decide = 6,
        Postpone = 7,
        ReportSettlement = 8,
    }
}

/// What would come of an open dispute, as its order stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Consequences {
    /// What accepting would do; `None` if it cannot be accepted.
    pub if_accepted: Option<Outcome>,
    /// What silence would do; `None` if it is not pending.
    pub if_silent: Option<Outcome>,
}

/// A dispute as a caller is answered it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DisputeView {
    /// The dispute.
    pub dispute: Dispute,
    /// What would come of it.
    pub consequences: Consequences,
    /// What this caller can do with it now.
    pub allowed_actions: Vec<DisputeAction>,
    /// The least and the most that this caller can offer instead; `None` if it cannot counter.
    pub counter_range: Option<(Money, Money)>,
}

impl DisputeView {
    /// A dispute of which this release cannot say what comes of it, nor what can be done with it.
    fn alone(dispute: Dispute) -> Self {
        Self { dispute, consequences: Consequences::default(), allowed_actions: Vec::new(), counter_range: None }
    }
}

/// A dispute as a caller is shown it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ShownDispute {
    /// With what would come of it.
    Judged(Box<DisputeView>),
    /// As it is stored: only a newer release may judge it.
    Newer(Box<NewerDispute>),
}

impl StoredDispute {
    /// The dispute without its order, which could not be read.
    pub fn shown_alone(self) -> ShownDispute {
        match self {
            Self::Judged(dispute) => ShownDispute::Judged(Box::new(DisputeView::alone(*dispute))),
            Self::Newer(dispute) => ShownDispute::Newer(dispute),
        }
    }
}

/// An order as it is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderView {
    /// The order.
    pub order: Order,
    /// Its open disputes, oldest first.
    pub open_disputes: Vec<DisputeId>,
    /// Whether the order system should not complete the order by a timer: a buyer's cancellation is pending,
    /// or support has to decide.
    pub completion_hold: bool,
}

impl OrderAggregate {
    /// What would come of a dispute of which nothing is overdue, as the order stands.
    pub fn consequences(&self, dispute: &Dispute) -> Consequences {
        if !dispute.is_open() || !self.is_ours() {
            return Consequences::default();
        }
        let if_accepted = match dispute.kind().rules().answered_with {
            AnsweredWith::Message => None,
            AnsweredWith::YesOrNo => outcome_of_agreeing(self, dispute.terms).ok(),
        };
        Consequences { if_accepted, if_silent: dispute.is_pending().then(|| outcome_of_silence(self, dispute)) }
    }

    /// What will come of a dispute, once the clock has done what it has to do at `now`: what is overdue can no
    /// longer be accepted, whether or not that has been recorded yet.
    pub fn consequences_at(&self, dispute: &Dispute, now: Timestamp) -> Consequences {
        match after_the_clock(self, now) {
            Some(aggregate) => aggregate.consequences_of_stored(dispute),
            None => self.consequences(dispute),
        }
    }

    /// The same on the aggregate as the clock leaves it, of a dispute as it is stored: that can still be pending.
    fn consequences_of_stored(&self, dispute: &Dispute) -> Consequences {
        let end = self.dispute(dispute.id).and_then(|dispute| dispute.resolution.as_ref());
        match end {
            Some(end) if dispute.is_pending() => Consequences { if_accepted: None, if_silent: Some(end.outcome) },
            Some(_) | None => self.consequences(dispute),
        }
    }

    /// A dispute of the aggregate, as this caller is answered it. The aggregate holds every open dispute of the order.
    /// What is overdue can still be shown as it was stored; what can be done with it is judged by the clock.
    pub fn view(&self, dispute: &Dispute, caller: &Caller, policy: &Policy, now: Timestamp) -> DisputeView {
        if !self.is_ours() {
            return DisputeView::alone(dispute.clone());
        }
        let after_the_clock = after_the_clock(self, now);
        let aggregate = after_the_clock.as_ref().unwrap_or(self);
        let target = DisputeRef { dispute: dispute.id, message: String::new(), etag: None };
        let counter_range = bargain::may_counter(aggregate, caller, &target, policy, now).ok();
        DisputeView {
            dispute: dispute.clone(),
            consequences: aggregate.consequences_of_stored(dispute),
            allowed_actions: allowed_actions(aggregate, &target, caller, policy, now, counter_range.is_some()),
            counter_range,
        }
    }

    /// A dispute of the aggregate, whoever may judge it, as this caller is shown it; `None` if there is no such dispute.
    pub fn show(&self, dispute: DisputeId, caller: &Caller, policy: &Policy, now: Timestamp) -> Option<ShownDispute> {
        match self.dispute(dispute) {
            Some(dispute) => Some(ShownDispute::Judged(Box::new(self.view(dispute, caller, policy, now)))),
            None => self.newer(dispute).map(|dispute| ShownDispute::Newer(Box::new(dispute.clone()))),
        }
    }

    /// The open disputes that this release may judge, oldest first.
    pub fn open_disputes(&self) -> Vec<&Dispute> {
        let mut open: Vec<&Dispute> = self.disputes.iter().filter(|dispute| dispute.is_open()).collect();
        open.sort_unstable_by_key(|dispute| (dispute.create_time, dispute.id));
        open
    }

    /// The order as it is answered. The aggregate holds every open dispute of the order.
    pub fn order_view(&self) -> OrderView {
        let open = self.open_disputes();
        let newer = self.newer.iter().filter(|dispute| dispute.is_open());
        let holds = |dispute: &&Dispute| {
            dispute.status() == DisputeStatus::Escalated || dispute.kind().holds_completion(dispute.opener)
        };
        let mut keys: Vec<_> = open.iter().map(|dispute| (dispute.create_time, dispute.id)).collect();
        keys.extend(newer.map(|dispute| (dispute.create_time, dispute.id)));
        keys.sort_unstable();
        OrderView {
            order: self.order.clone(),
            completion_hold: open.iter().any(holds) || self.newer.iter().any(NewerDispute::holds_completion),
            open_disputes: keys.into_iter().map(|(_, dispute)| dispute).collect(),
        }
    }
}

/// What the caller can do with a dispute now, in the order of the commands.
fn allowed_actions(
    aggregate: &OrderAggregate,
    target: &DisputeRef,
    caller: &Caller,
    policy: &Policy,
    now: Timestamp,
    may_counter: bool,
) -> Vec<DisputeAction> {
    let judged = [
        (DisputeAction::Accept, answering::may_accept(aggregate, caller, target, policy, now).is_ok()),
        (DisputeAction::Decline, answering::may_decline(aggregate, caller, target, now).is_ok()),
        (DisputeAction::Counter, may_counter),
        (DisputeAction::Answer, answering::may_answer(aggregate, caller, target, now).is_ok()),
        (DisputeAction::Withdraw, answering::may_withdraw(aggregate, caller, target, now).is_ok()),
        (DisputeAction::Escalate, escalation::may_escalate(aggregate, caller, target, policy, now).is_ok()),
        (DisputeAction::Decide, escalation::may_rule(aggregate, caller, target).is_ok()),
        (DisputeAction::Postpone, postponing::may_postpone(aggregate, caller, target, now).is_ok()),
        (DisputeAction::ReportSettlement, settlement::may_report(aggregate, caller, target.dispute).is_ok()),
    ];
    judged.into_iter().filter_map(|(action, is_allowed)| is_allowed.then_some(action)).collect()
}
