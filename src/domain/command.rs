//! What callers ask for.

use std::borrow::Cow;

use super::actor::PartyRole;
use super::ids::{DisputeId, OrderId};
use super::kinds::Terms;
use super::money::{Currency, Money};
use super::order::OrderReport;
use super::reason::Reason;
use super::settlement::SettlementReport;
use super::time::Timestamp;

/// How often the text of a counter-offer is written, on average of the twenty that there can be.
const COUNTERS_WRITTEN: usize = 11;

/// A command about one order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// The order system says how an order stands.
    UpsertOrder(Box<OrderReport>),
    /// A party raises a dispute.
    Open(Box<Opening>),
    /// Who has to answer accepts.
    Accept(DisputeRef),
    /// Who has to answer declines; the message may be empty.
    Decline(DisputeRef),
    /// Who has to answer puts another amount on the table; the message may be empty.
    Counter(DisputeRef, Money),
    /// The responder answers a request for an update; the message is there.
    AnswerOrderUpdate(DisputeRef),
    /// The opener withdraws a pending dispute, or who escalated it an escalated one.
    Withdraw(DisputeRef),
    /// A party or support hands the dispute to support; the message is there.
    Escalate(DisputeRef),
    /// Support decides an escalated dispute; the message is there.
    Decide(DisputeRef, Ruling),
    /// Support moves the deadline of a pending dispute to a later instant; the message is there.
    Postpone(DisputeRef, Timestamp),
    /// The platform says what became of the money.
    ReportSettlement {
        /// The dispute.
        dispute: DisputeId,
        /// The attempt to pay, from 1; 0 for the current one.
        attempt: u32,
        /// What became of it.
        report: SettlementReport,
    },
}

/// What support decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// Everything stays as it is.
    NoAction,
    /// So much is paid back.
    Refund(Money),
    /// The order is cancelled, and what is left is paid back.
    CancelOrder {
        /// Whether it counts against the seller's completion rate.
        counts: bool,
    },
}

/// A dispute that is to be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// The order that it is about.
    pub order: OrderId,
    /// The id that it will have.
    pub dispute: DisputeId,
    /// The party that can ask for it this way; `None` if either can.
    pub by: Option<PartyRole>,
    /// What is asked for.
    pub terms: Terms,
    /// The opener's text, normalised.
    pub message: String,
    /// Why; `None` for the kinds that know no reasons.
    pub reason: Option<Reason>,
}

/// What somebody says about a dispute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DisputeRef {
    /// The dispute.
    pub dispute: DisputeId,
    /// The text, normalised; empty where none is given.
    pub message: String,
    /// The version of the dispute that the caller has seen, if it says so.
    pub etag: Option<String>,
}

/// What a command is about.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// An order by its id.
    Order(OrderId),
    /// The order of this dispute.
    Dispute(DisputeId),
}

impl Command {
    /// The same with its amounts in the decimals of an order's currency, should the list have others by now.
    pub(super) fn of_order(&self, currency: Currency) -> Cow<'_, Self> {
        let of_order = |amount: Money| amount.of_order(currency).unwrap_or(amount);
        if let Self::UpsertOrder(report) = self
            && report.price.currency != currency
        {
            let (price, paid) = (of_order(report.price), of_order(report.paid));
            let refunded_elsewhere = of_order(report.refunded_elsewhere);
            let report = OrderReport { price, paid, refunded_elsewhere, ..OrderReport::clone(report) };
            return Cow::Owned(Self::UpsertOrder(Box::new(report)));
        }
        if let Self::Open(opening) = self
            && let terms = opening.terms.in_decimals_of(currency)
            && terms != opening.terms
        {
            return Cow::Owned(Self::Open(Box::new(Opening { terms, ..Opening::clone(opening) })));
        }
        if let Self::Decide(target, Ruling::Refund(amount)) = self
            && amount.currency != currency
        {
            return Cow::Owned(Self::Decide(target.clone(), Ruling::Refund(of_order(*amount))));
        }
        if let Self::Counter(target, amount) = self
            && amount.currency != currency
        {
            return Cow::Owned(Self::Counter(target.clone(), of_order(*amount)));
        }
        Cow::Borrowed(self)
    }

    /// What the command is about.
    pub fn subject(&self) -> Subject {
        match self {
            Self::UpsertOrder(report) => Subject::Order(report.id.clone()),
            Self::Open(opening) => Subject::Order(opening.order.clone()),
            Self::Accept(target)
            | Self::Decline(target)
            | Self::Counter(target, _)
            | Self::AnswerOrderUpdate(target)
            | Self::Withdraw(target)
            | Self::Escalate(target)
            | Self::Decide(target, _)
            | Self::Postpone(target, _) => Subject::Dispute(target.dispute),
            Self::ReportSettlement { dispute, .. } => Subject::Dispute(*dispute),
        }
    }

    /// How many bytes are written of its texts by and by: that of a counter-offer is in each later event of its dispute.
    pub fn written_bytes(&self) -> usize {
        let times = if matches!(self, Self::Counter(..)) { COUNTERS_WRITTEN } else { 1 };
        self.text_bytes().saturating_mul(times)
    }

    /// How many bytes its texts have: what it takes beside a fixed size.
    pub fn text_bytes(&self) -> usize {
        match self {
            Self::UpsertOrder(report) => report.text_bytes(),
            Self::Open(opening) => {
                let detail = opening.reason.as_ref().map_or(0, |reason| reason.detail.len());
                opening.message.len().saturating_add(detail)
            }
            Self::Accept(target)
            | Self::Decline(target)
            | Self::Counter(target, _)
            | Self::AnswerOrderUpdate(target)
            | Self::Withdraw(target)
            | Self::Escalate(target)
            | Self::Decide(target, _)
            | Self::Postpone(target, _) => {
                target.message.len().saturating_add(target.etag.as_ref().map_or(0, String::len))
            }
            Self::ReportSettlement { dispute: _, attempt: _, report } => report.text_bytes(),
        }
    }
}
