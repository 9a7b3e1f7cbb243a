//! A dispute: one request that a party raises on an order and that the other party answers.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::actor::{ActorRole, Caller, Parties, PartyRole};
use super::bargain::Bargain;
use super::carried::Carried;
use super::code::codes;
use super::ids::{DisputeId, OrderId, UserId};
use super::kinds::{DisputeKind, Terms};
use super::money::Money;
use super::reason::{self, Reason};
use super::settlement::Settlement;
use super::time::Timestamp;

codes! {
    /// What happens when the response window closes with no answer.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum SilenceRule {
        /// Nothing.
        NoEffect = 1,
        /// The same as accepting.
        Accept = 2,
    }
}

/// As the policy file says it.
impl<'de> Deserialize<'de> for SilenceRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "no_effect" => Ok(Self::NoEffect),
            "accept" => Ok(Self::Accept),
            other => Err(D::Error::unknown_variant(other, &["no_effect", "accept"])),
        }
    }
}

/// What silence does, fixed when the dispute is opened: a change of policy never alters it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Silence {
    /// The rule, as long as no work was delivered after the opening.
    pub rule: SilenceRule,
    /// The rule if the work is delivered when the window closes.
    pub after_delivery: SilenceRule,
}

impl Silence {
    /// The same rule whenever the window closes.
    pub fn always(rule: SilenceRule) -> Self {
        Self { rule, after_delivery: rule }
    }
}

codes! {
    /// Where a dispute stands.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[expect(missing_docs, reason = "each status is explained by the way into it, see ResolvedBy and transitions.md")]
    pub enum DisputeStatus {
        Pending = 1,
        Escalated = 2,
        Accepted = 3,
        Declined = 4,
        Answered = 5,
        Withdrawn = 6,
        Expired = 7,
        Superseded = 8,
        Decided = 9,
    }
}

impl DisputeStatus {
    /// Whether the dispute is still to be answered or decided.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Escalated)
    }
}

codes! {
    /// What ended a dispute.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum ResolvedBy {
        /// The responder's answer.
        Responder = 1,
        /// The opener withdrew, or answered a counter-offer.
        Opener = 2,
        /// Both parties asked to cancel.
        Crossed = 3,
        /// The buyer could cancel alone.
        Immediate = 4,
        /// The response window closed.
        Deadline = 5,
        /// The order was completed by the order system.
        OrderCompleted = 6,
        /// The order was cancelled by the order system.
        OrderCancelled = 10,
        /// The order entered a status that does not allow the kind.
        OrderStatus = 7,
        /// The outcome of another dispute.
        OtherDispute = 8,
        /// Support decided, or withdrew what it had escalated.
        Support = 9,
    }
}

/// What a resolved dispute does to its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Nothing.
    Nothing,
    /// The order goes on, with so much paid back. Never counts against the completion rate.
    Refund(Money),
    /// The order is cancelled.
    Cancellation {
        /// What is paid back; above zero.
        refund: Option<Money>,
        /// Whether it counts against the seller's completion rate.
        counts: bool,
    },
    /// The delivery is due at this instant.
    NewDueTime(Timestamp),
}

impl Outcome {
    /// What is paid back, if anything is.
    pub fn refund(self) -> Option<Money> {
        match self {
            Self::Nothing | Self::NewDueTime(_) => None,
            Self::Refund(refund) => Some(refund),
            Self::Cancellation { refund, .. } => refund,
        }
    }
}

/// How a dispute ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolution {
    /// A status that is not open.
    pub status: DisputeStatus,
    /// When.
    pub time: Timestamp,
    /// What ended it.
    pub by: Carried<ResolvedBy>,
    /// What it did to the order.
    pub outcome: Outcome,
    /// Whether the money has moved; if and only if the outcome refunds some.
    pub settlement: Option<Settlement>,
}

impl Resolution {
    /// An end of a dispute. What it refunds is due.
    pub fn new(status: DisputeStatus, time: Timestamp, by: ResolvedBy, outcome: Outcome) -> Self {
        Self { status, time, by: by.into(), outcome, settlement: outcome.refund().map(|_| Settlement::due()) }
    }
}

/// How a dispute came to support, and what support made of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Escalation {
    /// Who asked for it: a party or support.
    pub by: Carried<ActorRole>,
    /// Why, shown to both parties.
    pub message: String,
    /// What support said when it decided.
    pub ruling: Option<Ruled>,
}

/// Support's words on its decision; the decision itself is the outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ruled {
    /// The agent, known to support alone.
    pub agent: UserId,
    /// Shown to both parties.
    pub message: String,
}

/// A dispute, with everything that its opener knows about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dispute {
    /// Its id.
    pub id: DisputeId,
    /// The order that it is about.
    pub order: OrderId,
    /// When that was created; `None` if an earlier release opened the dispute.
    pub order_create_time: Option<Timestamp>,
    /// The parties of that order.
    pub parties: Parties,
    /// Who raised it; the other party is the responder.
    pub opener: PartyRole,
    /// What is asked for now: of a partial refund the amount on the table, of a cancellation what was agreed once it has
    /// ended.
    pub terms: Terms,
    /// What the parties have offered each other since the opening.
    pub bargain: Bargain,
    /// The opener's text, shared with the responder. Empty only where it is optional.
    pub message: String,
    /// Why; never shown to others where [`reason::is_confidential`]. `None` for kinds without reasons.
    pub reason: Option<Reason>,
    /// The instant at which the response window closes: an answer counts before it, not at it.
    pub respond_by: Timestamp,
    /// When the party that has to answer is reminded next; `None` if never again.
    pub remind_at: Option<Timestamp>,
    /// How many of its events were reminders.
    pub reminders_sent: i64,
    /// Support's words on moving the deadline; empty if it never did.
    pub postpone_message: String,
    /// What silence does.
    pub silence: Silence,
    /// When it was opened.
    pub create_time: Timestamp,
    /// The time of its last event.
    pub update_time: Timestamp,
    /// 1, 2, 3 …: the number of its events.
    pub revision: i64,
    /// The text of an answer, a decline or a crossed cancellation; else empty.
    pub answer_message: String,
    /// How it came to support; `None` if it never did. That happens at most once.
    pub escalation: Option<Escalation>,
    /// How it ended; `None` while it is open.
    pub resolution: Option<Resolution>,
}

impl Dispute {
    /// The kind.
    pub fn kind(&self) -> DisputeKind {
        self.terms.kind()
    }

    /// The status.
    pub fn status(&self) -> DisputeStatus {
        match (&self.resolution, &self.escalation) {
            (Some(resolution), _) => resolution.status,
            (None, Some(_)) => DisputeStatus::Escalated,
            (None, None) => DisputeStatus::Pending,
        }
    }

    /// Whether it is still to be answered or decided.
    pub fn is_open(&self) -> bool {
        self.resolution.is_none()
    }

    /// The party that has to answer, or had to when the dispute left the parties: nobody answers the own offer.
    pub fn answering_party(&self) -> PartyRole {
        if self.bargain.counter_offers.len().is_multiple_of(2) { self.opener.other() } else { self.opener }
    }

    /// The party that has to answer, or can still accept what it did not answer before support has it; `None` once the
    /// dispute is resolved.
    pub fn awaiting(&self) -> Option<PartyRole> {
        self.is_open().then(|| self.answering_party())
    }

    /// Whether one of the parties has still to answer.
    pub fn is_pending(&self) -> bool {
        self.status() == DisputeStatus::Pending
    }

    /// The opaque version that a command may name, to be refused if the dispute has changed since. The same
    /// for every viewer, and not changed by a reminder.
    pub fn etag(&self) -> String {
        self.revision.saturating_sub(self.reminders_sent).to_string()
    }

    /// Whether the response window is over at `now`.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.is_pending() && self.respond_by <= now
    }

    /// The reason, if the caller may know it.
    pub fn reason_for(&self, caller: &Caller) -> Option<&Reason> {
        let is_told = caller.sees_reason(&self.parties, Some(self.opener));
        if is_told { self.reason.as_ref() } else { self.public_reason() }
    }

    /// The reason, if everybody who sees the dispute may know it.
    pub fn public_reason(&self) -> Option<&Reason> {
        self.reason.as_ref().filter(|_| !reason::is_confidential(self.kind(), self.opener))
    }
}
