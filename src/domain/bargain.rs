//! Bargaining over a partial refund: the parties put amounts on the table by turns, until one of them accepts or declines
//! what is there, the opener withdraws, or time runs out. Amounts only converge.

use super::actor::{Caller, PartyRole};
use super::answering::may_respond;
use super::command::DisputeRef;
use super::dispute::Dispute;
use super::event::Event;
use super::kinds::{DisputeKind, KindRules, refund_range};
use super::money::Money;
use super::order::Order;
use super::order_aggregate::OrderAggregate;
use super::policy::Policy;
use super::postponing::next_reminder;
use super::refusal::{AmountOf, Refusal};
use super::rights::Operation;
use super::time::Timestamp;

/// What the parties have offered each other since the opening.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Bargain {
    /// How many counter-offers there can be, of both parties together: fixed at the opening.
    pub max_counter_offers: u32,
    /// The amount of the opening; set if and only if another one has taken its place.
    pub opened_with: Option<Money>,
    /// The counter-offers, by turns: first that of the responder. The last one is what the dispute now asks for.
    pub counter_offers: Vec<CounterOffer>,
}

/// An amount that a party has put in the place of the other's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CounterOffer {
    /// The amount.
    pub amount: Money,
    /// What the party says about it; may be empty.
    pub message: String,
    /// When.
    pub time: Timestamp,
}

/// An amount that was on the table at some time, or is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer<'a> {
    /// Who put it there.
    pub by: PartyRole,
    /// The amount.
    pub amount: Money,
    /// What the party said about it; may be empty for a counter-offer.
    pub message: &'a str,
    /// When.
    pub time: Timestamp,
}

impl Bargain {
    /// How many counter-offers there can still be.
    pub fn rounds_left(&self) -> u32 {
        let made = u32::try_from(self.counter_offers.len()).unwrap_or(u32::MAX);
        self.max_counter_offers.saturating_sub(made)
    }

    /// Every amount that was on the table, in order, of a dispute with this opening and this amount on the table now.
    pub fn offers<'a>(
        &'a self,
        opener: PartyRole,
        amount: Option<Money>,
        message: &'a str,
        time: Timestamp,
    ) -> impl Iterator<Item = Offer<'a>> {
        let first = self.opened_with.or(amount).map(|amount| Offer { by: opener, amount, message, time });
        let turns = [opener.other(), opener].into_iter().cycle();
        let counters = self.counter_offers.iter().zip(turns).map(|(counter, by)| {
            let CounterOffer { amount, message, time } = counter;
            Offer { by, amount: *amount, message, time: *time }
        });
        first.into_iter().chain(counters)
    }
}

impl Dispute {
    /// Every amount that was on the table, in order: the first is the opening, the last is there now. None for other kinds.
    pub fn offers(&self) -> impl Iterator<Item = Offer<'_>> {
        self.bargain.offers(self.opener, self.terms.amount(), &self.message, self.create_time)
    }

    /// The least and the most that the party whose turn it is can offer, or what keeps it from that: the guards of countering
    /// from the deadline on, in their order.
    pub(super) fn require_counterable(
        &self,
        order: &Order,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<(Money, Money), Refusal> {
        self.require_in_time(now)?;
        if self.bargain.rounds_left() == 0 {
            return Err(Refusal::TooManyRounds { max: self.bargain.max_counter_offers });
        }
        let (mut min, mut max) = refund_range(order, policy);
        for offer in self.offers() {
            match offer.by {
                PartyRole::Seller => min.minor = min.minor.max(offer.amount.minor.saturating_add(1)),
                PartyRole::Buyer => max.minor = max.minor.min(offer.amount.minor.saturating_sub(1)),
            }
        }
        if min.minor > max.minor { Err(Refusal::AmountOutOfRange { min, max }) } else { Ok((min, max)) }
    }
}

/// The party whose turn it is puts another amount on the table: then it is the other's turn, with a window and reminders
/// of its own.
pub(super) fn counter(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    amount: Money,
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let range = may_counter(aggregate, caller, target, policy, now);
    if let Ok((_, max)) | Err(Refusal::AmountOutOfRange { max, .. }) = &range {
        amount.require_currency(AmountOf::Offer, max.currency)?;
    }
    let (min, max) = range?;
    if !(min.minor..=max.minor).contains(&amount.minor) {
        return Err(Refusal::AmountOutOfRange { min, max });
    }
    let respond_by = now.plus(policy.response_window(DisputeKind::PartialRefund));
    let remind_at = next_reminder(respond_by, policy, now);
    let (dispute, message) = (target.dispute, target.message.clone());
    Ok(vec![Event::Countered { dispute, time: now, amount, message, respond_by, remind_at }])
}

/// The guards of countering that do not depend on the amount. Returns the least and the most that can be offered.
pub(super) fn may_counter(
    aggregate: &OrderAggregate,
    caller: &Caller,
    target: &DisputeRef,
    policy: &Policy,
    now: Timestamp,
) -> Result<(Money, Money), Refusal> {
    let is_bargained = |rules: &KindRules| rules.is_bargained;
    let (dispute, _) = may_respond(aggregate, caller, target, Operation::CounterOffer, is_bargained)?;
    dispute.require_counterable(&aggregate.order, policy, now)
}
