//! The kinds of disputes. Everything that is particular to a kind stands in its file, first of all in its `RULES`;
//! everything else in the domain asks here.
//!
//! A new kind is a file, which declares its rules, its policy and what its terms allow, and in this file a variant of
//! [`DisputeKind`] and of [`Terms`]; the compiler names each `match` below that has to know them.

mod cancellation;
mod delivery_extension;
mod order_update;
mod partial_refund;

pub use self::cancellation::CancellationPolicy;
pub use self::delivery_extension::DeliveryExtensionPolicy;
pub use self::partial_refund::PartialRefundPolicy;
pub(super) use self::partial_refund::range as refund_range;

use super::actor::PartyRole;
use super::code::codes;
use super::dispute::{Dispute, DisputeStatus, Outcome, Resolution, Silence};
use super::money::{Currency, Money};
use super::opening::Conflict;
use super::options::Effect;
use super::order::{Order, OrderStatus};
use super::policy::{KindPolicy, Policy};
use super::reason::ReasonCode;
use super::refusal::Refusal;
use super::rights::Operation;
use super::time::Timestamp;

codes! {
    /// What is asked for.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    pub enum DisputeKind {
        /// A seller offers to pay a part of the price back, or a buyer asks for it.
        PartialRefund = 1,
        /// A party asks to cancel the order.
        Cancellation = 2,
        /// A buyer asks how the work is going.
        OrderUpdate = 3,
        /// A seller asks for more time to deliver.
        DeliveryExtension = 4,
    }
}

/// What a kind asks for beyond its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Terms {
    /// Pay `amount` back.
    PartialRefund {
        /// At least one minor unit.
        amount: Money,
    },
    /// Cancel the order.
    Cancellation {
        /// Whether it shall not count against the seller's completion rate; both parties see that.
        no_fault: bool,
    },
    /// Say how the work is going.
    OrderUpdate,
    /// Agree on a later due time.
    DeliveryExtension {
        /// The new one.
        new_due_time: Timestamp,
    },
}

/// The rules that are particular to a kind. None has a default: a new kind states each of them.
pub(super) struct KindRules {
    /// What opens it: a right of parties.
    pub(super) opened_with: Operation,
    /// Which of them may open it; the other party is the responder.
    pub(super) openers: &'static [PartyRole],
    /// Whether this party may open it by this policy, if it is one of these.
    pub(super) is_open_to: fn(&Policy, PartyRole) -> bool,
    /// The statuses of an order in which it may be open.
    pub(super) order_statuses: &'static [OrderStatus],
    /// The group of kinds of which an order has at most one open dispute.
    pub(super) exclusion: Exclusion,
    /// What happens when this role opens one while a pending dispute of either party excludes it.
    pub(super) conflict: for<'a> fn(pending: &'a Dispute, opener: PartyRole) -> Conflict<'a>,
    /// Who must write a message.
    pub(super) message_required_of: &'static [PartyRole],
    /// The reasons of a buyer, in the order in which they are offered. Without any, none is given.
    pub(super) reasons_of_buyer: &'static [ReasonCode],
    /// The reasons of a seller.
    pub(super) reasons_of_seller: &'static [ReasonCode],
    /// Whose reason stays between the opener and support.
    pub(super) confidential_reason_of: &'static [PartyRole],
    /// How it is answered.
    pub(super) answered_with: AnsweredWith,
    /// Whether the parties can put other amounts on the table.
    pub(super) is_bargained: bool,
    /// What the operator has set.
    pub(super) policy: fn(&Policy) -> &KindPolicy,
    /// What silence will do, if this party opens it on this order now.
    pub(super) silence: fn(&Policy, PartyRole, &Order) -> Silence,
    /// What keeps it from being opened on this order now, whatever it would say; the first is judged first.
    pub(super) obstacles: fn(&Order, &Policy, Timestamp) -> Vec<Refusal>,
    /// Whether it takes effect as soon as this role opens it.
    pub(super) is_immediate: fn(&Order, PartyRole, &Policy, Timestamp) -> bool,
    /// What else opening one changes in the order.
    pub(super) on_opened: fn(&mut Order),
    /// A pending dispute that one of these opened keeps the order system from completing the order by a timer.
    pub(super) holds_completion_of: &'static [PartyRole],
    /// The least and the most that can be offered, where money is.
    pub(super) amounts: fn(&Order, &Policy) -> Option<(Money, Money)>,
    /// What acceptance does to the order before the terms are known: for what depends on them, an amount or a due time,
    /// [`Outcome::Nothing`]. `None` if the kind cannot be accepted.
    pub(super) outcome_without_terms: fn(&Order) -> Option<Outcome>,
    /// What choosing it can bring about beside that.
    pub(super) effects: &'static [Effect],
}

/// Which open disputes exclude each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Exclusion {
    /// Those that move money.
    Money,
    /// Those of the same kind.
    SameKind,
}

/// How a kind is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AnsweredWith {
    /// It is accepted or declined.
    YesOrNo,
    /// It is answered with a message.
    Message,
}

impl DisputeKind {
    /// The rules that are particular to it.
    pub(super) fn rules(self) -> &'static KindRules {
        match self {
            Self::PartialRefund => &partial_refund::RULES,
            Self::Cancellation => &cancellation::RULES,
            Self::OrderUpdate => &order_update::RULES,
            Self::DeliveryExtension => &delivery_extension::RULES,
        }
    }

    /// Whether it moves money: of these, at most one is open per order.
    pub fn is_money(self) -> bool {
        self.rules().exclusion == Exclusion::Money
    }

    /// Whether two disputes of these kinds stand in each other's way: at most one open money dispute
    /// per order, and at most one open dispute of each other kind.
    pub fn excludes(self, other: Self) -> bool {
        self == other || (self.is_money() && other.is_money())
    }

    /// Whether this role may open a dispute of this kind, if the policy lets it.
    pub fn may_be_opened_by(self, role: PartyRole) -> bool {
        self.rules().openers.contains(&role)
    }

    /// Whether this role may open a dispute of this kind by this policy.
    pub fn is_open_to(self, role: PartyRole, policy: &Policy) -> bool {
        let is_enabled = policy.for_kind(self).enabled;
        is_enabled && self.may_be_opened_by(role) && (self.rules().is_open_to)(policy, role)
    }

    /// Whether a text must come with a dispute of this kind.
    pub fn requires_message(self, opener: PartyRole) -> bool {
        self.rules().message_required_of.contains(&opener)
    }

    /// Whether the order system should not complete the order by a timer while such a dispute is open.
    pub(super) fn holds_completion(self, opener: PartyRole) -> bool {
        self.rules().holds_completion_of.contains(&opener)
    }
}

impl Terms {
    /// The terms of a dispute of this kind with this amount, this new due time, and this being no fault; `None` if it is not
    /// a kind with exactly these.
    pub fn from_parts(
        kind: DisputeKind,
        amount: Option<Money>,
        new_due_time: Option<Timestamp>,
        no_fault: bool,
    ) -> Option<Self> {
        match (kind, amount, new_due_time, no_fault) {
            (DisputeKind::PartialRefund, Some(amount), None, false) => Some(Self::PartialRefund { amount }),
            (DisputeKind::Cancellation, None, None, no_fault) => Some(Self::Cancellation { no_fault }),
            (DisputeKind::OrderUpdate, None, None, false) => Some(Self::OrderUpdate),
            (DisputeKind::DeliveryExtension, None, Some(new_due_time), false) => {
                Some(Self::DeliveryExtension { new_due_time })
            }
            (
                DisputeKind::PartialRefund
                | DisputeKind::Cancellation
                | DisputeKind::OrderUpdate
                | DisputeKind::DeliveryExtension,
                Some(_) | None,
                Some(_) | None,
                _,
            ) => None,
        }
    }

    /// The kind that has these terms.
    pub fn kind(self) -> DisputeKind {
        match self {
            Self::PartialRefund { .. } => DisputeKind::PartialRefund,
            Self::Cancellation { .. } => DisputeKind::Cancellation,
            Self::OrderUpdate => DisputeKind::OrderUpdate,
            Self::DeliveryExtension { .. } => DisputeKind::DeliveryExtension,
        }
    }

    /// The amount that is offered, if one is.
    pub fn amount(self) -> Option<Money> {
        match self {
            Self::PartialRefund { amount } => Some(amount),
            Self::Cancellation { .. } | Self::OrderUpdate | Self::DeliveryExtension { .. } => None,
        }
    }

    /// The new due time that is asked for, if one is.
    pub fn new_due_time(self) -> Option<Timestamp> {
        match self {
            Self::DeliveryExtension { new_due_time } => Some(new_due_time),
            Self::PartialRefund { .. } | Self::Cancellation { .. } | Self::OrderUpdate => None,
        }
    }

    /// Whether it is a cancellation that shall not count against the seller's completion rate.
    pub fn is_no_fault(self) -> bool {
        matches!(self, Self::Cancellation { no_fault: true })
    }

    /// What the other party's silence agrees on: a seller's cancellation is nobody's fault by the buyer's word alone.
    pub(super) fn if_silent(self, opener: PartyRole) -> Self {
        match self {
            Self::Cancellation { no_fault } => Self::Cancellation { no_fault: no_fault && opener == PartyRole::Buyer },
            Self::PartialRefund { .. } | Self::OrderUpdate | Self::DeliveryExtension { .. } => self,
        }
    }

    /// The same as a dispute shows them that has ended: whether a cancellation was agreed on as nobody's fault, or else
    /// asked for so.
    pub(super) fn once_ended(self, opener: PartyRole, end: &Resolution) -> Self {
        match (self, end.status) {
            (Self::Cancellation { .. }, DisputeStatus::Accepted) => {
                Self::Cancellation { no_fault: matches!(end.outcome, Outcome::Cancellation { counts: false, .. }) }
            }
            (Self::Cancellation { .. }, DisputeStatus::Decided) => Self::Cancellation { no_fault: false },
            (terms, DisputeStatus::Expired) => terms.if_silent(opener),
            (terms, _) => terms,
        }
    }

    /// The guards of opening that look at what is asked for.
    pub(super) fn require_in_range(self, order: &Order, policy: &Policy, now: Timestamp) -> Result<(), Refusal> {
        match self {
            Self::PartialRefund { amount } => partial_refund::require_in_range(order, amount, policy),
            Self::DeliveryExtension { new_due_time } => {
                delivery_extension::require_in_range(order, new_due_time, policy, now)
            }
            Self::Cancellation { .. } | Self::OrderUpdate => Ok(()),
        }
    }

    /// What accepting them does to the order now, or what keeps them from being accepted: the guards of opening that
    /// can have changed since, but for the order's status, which is judged before.
    pub(super) fn outcome_if_accepted(self, order: &Order) -> Result<Outcome, Refusal> {
        match self {
            Self::PartialRefund { amount } => partial_refund::outcome_if_accepted(order, amount),
            Self::Cancellation { no_fault } => Ok(order.outcome_of_cancelling(!no_fault)),
            Self::OrderUpdate => Ok(Outcome::Nothing),
            Self::DeliveryExtension { new_due_time } => Ok(Outcome::NewDueTime(new_due_time)),
        }
    }

    /// The same with an amount in the decimals of this currency, should the list of currencies have others by now.
    pub(super) fn in_decimals_of(self, currency: Currency) -> Self {
        match self {
            Self::PartialRefund { amount } => {
                Self::PartialRefund { amount: amount.of_order(currency).unwrap_or(amount) }
            }
            Self::Cancellation { .. } | Self::OrderUpdate | Self::DeliveryExtension { .. } => self,
        }
    }
}
