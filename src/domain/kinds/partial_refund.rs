//! A partial refund: the seller offers to pay a part of the price back, or the buyer asks for it, and the order goes on.
//!
//! When to use it: the scope has changed, a delay is to be made up for, or the buyer is not satisfied with a part of
//! the work. At most one is accepted per order; declined, withdrawn and expired ones do not count.

use std::collections::BTreeMap;

use super::{AnsweredWith, Exclusion, KindRules};
use crate::domain::actor::PartyRole;
use crate::domain::bounds::{BasisPoints, CurrencyCode, MinorUnits, Rounds};
use crate::domain::dispute::{Outcome, Silence, SilenceRule};
use crate::domain::money::{Currency, Money};
use crate::domain::opening::Conflict;
use crate::domain::options::Effect;
use crate::domain::order::{Order, OrderStatus};
use crate::domain::policy::{KindPolicy, Policy};
use crate::domain::reason::ReasonCode;
use crate::domain::refusal::{AmountOf, Refusal};
use crate::domain::rights::Operation;
use crate::domain::settings::settings;

pub(super) static RULES: KindRules = KindRules {
    opened_with: Operation::OfferPartialRefund,
    openers: &PartyRole::ALL,
    // A buyer asks only where the operator lets it: the source gives this option to the seller alone.
    is_open_to: |policy, role| role == PartyRole::Seller || policy.partial_refund.buyer_may_ask,
    order_statuses: &[OrderStatus::InProgress, OrderStatus::Delivered, OrderStatus::InRevision],
    exclusion: Exclusion::Money,
    conflict: |pending, _| Conflict::Blocked(pending.id),
    message_required_of: &PartyRole::ALL,
    reasons_of_buyer: &[
        ReasonCode::NotAsDescribed,
        ReasonCode::LateDelivery,
        ReasonCode::DeliveredPartially,
        ReasonCode::QualityBelowAgreed,
        ReasonCode::SellerUnresponsive,
        ReasonCode::Other,
    ],
    reasons_of_seller: &[
        ReasonCode::ScopeChanged,
        ReasonCode::DelayCompensation,
        ReasonCode::BuyerPartlyDissatisfied,
        ReasonCode::DeliveredPartially,
        ReasonCode::QualityBelowAgreed,
        ReasonCode::Goodwill,
        ReasonCode::Other,
    ],
    confidential_reason_of: &[PartyRole::Seller],
    answered_with: AnsweredWith::YesOrNo,
    is_bargained: true,
    policy: |policy| &policy.partial_refund.kind,
    silence,
    obstacles: |order, policy, _| obstacles(order, policy),
    is_immediate: |_, _, _, _| false,
    on_opened: |_| {},
    holds_completion_of: &[],
    amounts: |order, policy| Some(range(order, policy)),
    outcome_without_terms: |_| Some(Outcome::Nothing),
    effects: &[Effect::NoFurtherRefund],
};

settings! {
    /// About partial refunds.
    pub struct PartialRefundPolicy with kind: KindPolicy {
        /// The most that can be offered, in basis points of the original price: 1 to 10000
        cap_bps: BasisPoints = BasisPoints(6_000),
        /// What the buyer's silence does: "no_effect" or "accept"
        silence_rule: SilenceRule = SilenceRule::NoEffect,
        /// Whether a buyer may ask for a partial refund
        buyer_may_ask: bool = false,
        /// How many counter-offers there can be, of both parties together: up to 20; 0 for none
        max_counter_offers: Rounds = Rounds(0),
        /// The smallest refund in minor units by currency, e.g. { USD = 500 }
        smallest_refund: BTreeMap<CurrencyCode, MinorUnits> = BTreeMap::new(),
        /// The smallest price, likewise, of an order on which refunds can be offered
        smallest_price: BTreeMap<CurrencyCode, MinorUnits> = BTreeMap::new(),
    }
}

impl PartialRefundPolicy {
    /// The least that can be offered: at least one minor unit.
    pub fn smallest_refund(&self, currency: Currency) -> Money {
        let MinorUnits(smallest) = self.smallest_refund.get(currency.code()).copied().unwrap_or(MinorUnits(1));
        Money::new(smallest.max(1), currency)
    }

    /// The smallest price of an order on which a refund can be offered.
    pub fn smallest_price(&self, currency: Currency) -> Money {
        let MinorUnits(smallest) = self.smallest_price.get(currency.code()).copied().unwrap_or(MinorUnits(0));
        Money::new(smallest, currency)
    }
}

/// Unless the operator says otherwise, silence moves no money; that of a seller who is asked never does.
fn silence(policy: &Policy, opener: PartyRole, _: &Order) -> Silence {
    Silence::always(match opener {
        PartyRole::Seller => policy.partial_refund.silence_rule,
        PartyRole::Buyer => SilenceRule::NoEffect,
    })
}

/// The cap: 60 % of the original price with the default policy, rounded down to the minor unit.
fn cap(order: &Order, policy: &Policy) -> Money {
    order.price.share(policy.partial_refund.cap_bps.get())
}

/// The least and the most that can be offered: up to the cap, and never more than what is left.
pub(in crate::domain) fn range(order: &Order, policy: &Policy) -> (Money, Money) {
    let cap = cap(order, policy);
    let most = cap.minor.min(order.left().minor);
    (policy.partial_refund.smallest_refund(cap.currency), Money::new(most, cap.currency))
}

/// None was accepted on this order before; the cap is at least the smallest refund, and the price the smallest price;
/// and enough is left.
fn obstacles(order: &Order, policy: &Policy) -> Vec<Refusal> {
    let accepted = order.refund_accepted.map(|dispute| Refusal::RefundAlreadyAccepted { dispute });
    let cap = cap(order, policy);
    let (min, max) = range(order, policy);
    let smallest_price = policy.partial_refund.smallest_price(order.price.currency);
    let too_small = if cap.minor < min.minor || order.price.minor < smallest_price.minor {
        Some(Refusal::RefundCapBelowMinimum { cap })
    } else if max.minor < min.minor {
        Some(Refusal::AmountOutOfRange { min, max })
    } else {
        None
    };
    accepted.into_iter().chain(too_small).collect()
}

/// The amount is in the order's currency and in range.
pub(super) fn require_in_range(order: &Order, amount: Money, policy: &Policy) -> Result<(), Refusal> {
    let (min, max) = range(order, policy);
    amount.require_currency(AmountOf::Offer, max.currency)?;
    if (min.minor..=max.minor).contains(&amount.minor) { Ok(()) } else { Err(Refusal::AmountOutOfRange { min, max }) }
}

/// The amount is refunded, if none was accepted before and so much is still left. The cap is not judged again: an offer that
/// was within it when it was made stays good, whatever the policy says since.
pub(super) fn outcome_if_accepted(order: &Order, amount: Money) -> Result<Outcome, Refusal> {
    if let Some(dispute) = order.refund_accepted {
        return Err(Refusal::RefundAlreadyAccepted { dispute });
    }
    let left = order.left();
    if amount.minor > left.minor {
        return Err(Refusal::AmountOutOfRange { min: Money::new(1, left.currency), max: left });
    }
    Ok(Outcome::Refund(amount))
}
