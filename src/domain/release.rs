//! Releases that run side by side: a release runs beside the one before and the one after. What only a newer one may
//! judge is shown as it is stored, and left to it.

use super::actor::{ActorRole, Caller, Parties, PartyRole};
use super::bargain::Bargain;
use super::carried::Carried;
use super::command::{Command, Subject};
use super::dispute::{Dispute, DisputeStatus, ResolvedBy, SilenceRule};
use super::ids::{DisputeId, OrderId, UserId};
use super::kinds::DisputeKind;
use super::money::Money;
use super::order_aggregate::OrderAggregate;
use super::policy::Policy;
use super::reason::{Reason, is_confidential};
use super::refusal::Refusal;
use super::settlement::SettlementStatus;
use super::time::Timestamp;

/// The number of this release: one more with each release that changes the rules or the schema.
pub const RELEASE: i16 = 2;

/// A dispute that only a newer release may judge: its row says so, or has a value on which the rules depend and which
/// this release does not know. It is shown as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named after the fields of Dispute, of Resolution and of Outcome")]
pub struct NewerDispute {
    pub id: DisputeId,
    pub order: OrderId,
    pub parties: Parties,
    pub opener: Carried<PartyRole>,
    pub kind: Carried<DisputeKind>,
    pub status: Carried<DisputeStatus>,
    pub message: String,
    pub reason: Option<Reason>,
    pub amount: Option<Money>,
    pub no_fault: bool,
    pub bargain: Bargain,
    pub new_due_time: Option<Timestamp>,
    pub respond_by: Timestamp,
    pub reminders_sent: i64,
    pub postpone_message: String,
    pub silence_rule: Carried<SilenceRule>,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
    pub revision: i64,
    pub answer_message: String,
    pub escalated_by: Option<Carried<ActorRole>>,
    pub escalation_message: String,
    pub decided_by: Option<UserId>,
    pub decision_message: String,
    /// `None` while it is open.
    pub resolve_time: Option<Timestamp>,
    pub resolved_by: Option<Carried<ResolvedBy>>,
    pub refund: Option<Money>,
    pub order_cancelled: bool,
    pub counts: bool,
    pub agreed_due_time: Option<Timestamp>,
    pub settlement: Option<NewerSettlement>,
}

/// How the money of such a dispute stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewerSettlement {
    /// In one word.
    pub status: Carried<SettlementStatus>,
    /// The payment, as the platform calls it.
    pub reference: String,
    /// Why it has not moved; for support and the platform alone.
    pub detail: String,
    /// The attempt to pay it.
    pub attempt: u32,
}

/// A dispute as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoredDispute {
    /// One that this release may judge.
    Judged(Box<Dispute>),
    /// One that only a newer release may judge.
    Newer(Box<NewerDispute>),
}

impl StoredDispute {
    /// Its id.
    pub fn id(&self) -> DisputeId {
        match self {
            Self::Judged(dispute) => dispute.id,
            Self::Newer(dispute) => dispute.id,
        }
    }

    /// Its order.
    pub fn order(&self) -> &OrderId {
        match self {
            Self::Judged(dispute) => &dispute.order,
            Self::Newer(dispute) => &dispute.order,
        }
    }

    /// When it was opened.
    pub fn create_time(&self) -> Timestamp {
        match self {
            Self::Judged(dispute) => dispute.create_time,
            Self::Newer(dispute) => dispute.create_time,
        }
    }

    /// The parties of its order.
    pub fn parties(&self) -> &Parties {
        match self {
            Self::Judged(dispute) => &dispute.parties,
            Self::Newer(dispute) => &dispute.parties,
        }
    }
}

impl Dispute {
    /// The oldest release whose rules may judge this dispute. A release that gives a dispute what the one before would
    /// misjudge says so here: older replicas then show it, and leave it and its order to others.
    pub fn least_release(&self) -> i16 {
        let is_bargained = !self.bargain.counter_offers.is_empty();
        let is_asked_for = self.kind() == DisputeKind::PartialRefund && self.opener == PartyRole::Buyer;
        if is_bargained || is_asked_for || self.terms.is_no_fault() { 2 } else { 1 }
    }
}

impl NewerDispute {
    /// Whether it is still to be answered or decided.
    pub fn is_open(&self) -> bool {
        self.resolve_time.is_none()
    }

    /// See [`Dispute::etag`].
    pub fn etag(&self) -> String {
        self.revision.saturating_sub(self.reminders_sent).to_string()
    }

    /// The reason, if the caller may know it: of what this release does not know, its opener and support.
    pub fn reason_for(&self, caller: &Caller) -> Option<&Reason> {
        let is_told = caller.sees_reason(&self.parties, self.opener.known());
        if is_told { self.reason.as_ref() } else { self.public_reason() }
    }

    /// The reason, if it is known that everybody who sees the dispute may know it.
    pub fn public_reason(&self) -> Option<&Reason> {
        let (kind, opener) = self.kind.known().zip(self.opener.known())?;
        self.reason.as_ref().filter(|_| !is_confidential(kind, opener))
    }

    /// Whether the order system should not complete its order by a timer.
    pub(super) fn holds_completion(&self) -> bool {
        let opened = self.kind.known().zip(self.opener.known());
        let holds = opened.is_some_and(|(kind, opener)| kind.holds_completion(opener));
        self.is_open() && (holds || self.status == DisputeStatus::Escalated)
    }
}

impl OrderAggregate {
    pub(super) fn newer(&self, id: DisputeId) -> Option<&NewerDispute> {
        self.newer.iter().find(|dispute| dispute.id == id)
    }

    /// What on this order only a newer release may judge, if there is anything: an open dispute, or the order itself.
    /// One that has ended stands in nobody's way: what came of it, the order shows.
    fn beyond_us(&self) -> Option<Subject> {
        let open = self.newer.iter().find(|dispute| dispute.is_open()).map(|dispute| Subject::Dispute(dispute.id));
        open.or_else(|| self.order.status.known().is_none().then(|| Subject::Order(self.order.id.clone())))
    }

    /// Whether the rules of this release may judge what happens on this order.
    pub fn is_ours(&self) -> bool {
        self.beyond_us().is_none()
    }

    fn has_open(&self) -> bool {
        self.newer.iter().any(NewerDispute::is_open) || self.disputes.iter().any(Dispute::is_open)
    }

    /// What keeps this release from judging the opening of a dispute of a kind: what is open on the order, and where
    /// attempts are limited such a dispute that ended.
    pub(super) fn beyond_us_to_open(&self, kind: DisputeKind, policy: &Policy) -> Option<Subject> {
        let is_attempt = |dispute: &&NewerDispute| dispute.kind == kind && policy.for_kind(kind).attempts.are_limited();
        let attempt = || self.newer.iter().find(is_attempt).map(|dispute| Subject::Dispute(dispute.id));
        self.beyond_us().or_else(attempt)
    }

    /// Refuses what only a newer release may judge; a stranger is told by the rules that there is nothing.
    pub(super) fn require_ours(&self, caller: &Caller, command: &Command, policy: &Policy) -> Result<(), Refusal> {
        let named = match command.subject() {
            Subject::Dispute(dispute) => self.newer(dispute).map(|dispute| Subject::Dispute(dispute.id)),
            Subject::Order(_) => None,
        };
        let beyond = match command {
            // It changes nothing.
            Command::UpsertOrder(report) if report.source_version <= self.order.source_version => None,
            // What the order system says takes the place of a status that it said before.
            Command::UpsertOrder(_) if !self.has_open() => None,
            Command::UpsertOrder(_) => self.beyond_us(),
            Command::Open(opening) => self.beyond_us_to_open(opening.terms.kind(), policy),
            Command::Accept(_)
            | Command::Decline(_)
            | Command::Counter(..)
            | Command::AnswerOrderUpdate(_)
            | Command::Withdraw(_)
            | Command::Escalate(_)
            | Command::Decide(..)
            | Command::Postpone(..)
            | Command::ReportSettlement { .. } => named.or_else(|| self.beyond_us()),
        };
        match beyond.filter(|_| self.order.parties.may_be_seen_by(caller)) {
            Some(subject) => Err(Refusal::NewerReleaseNeeded { subject }),
            None => Ok(()),
        }
    }
}
