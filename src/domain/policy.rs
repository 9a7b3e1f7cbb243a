//! What an operator can set about the rules. The defaults are those of the rules themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use super::dispute::{DisputeKind, Silence, SilenceRule};
use super::money::{Currency, Money};
use super::order::OrderStatus;

/// Two days: how long the responder has, for every kind.
pub const RESPONSE_WINDOW: Duration = Duration::from_secs(48 * 60 * 60);

/// The settings that decide.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// How long the responder has, by kind.
    pub response_windows: ResponseWindows,
    /// About offers of a partial refund.
    pub partial_refund: PartialRefundPolicy,
    /// About cancellations.
    pub cancellation: CancellationPolicy,
}

/// How long the responder has, by kind. Each above zero.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named after the kinds")]
pub struct ResponseWindows {
    pub partial_refund: Duration,
    pub cancellation: Duration,
    pub order_update: Duration,
}

/// About offers of a partial refund.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartialRefundPolicy {
    /// The cap in basis points of the original price: 1 to 10,000.
    pub cap_bps: u32,
    /// What the buyer's silence does.
    pub silence_rule: SilenceRule,
    /// The smallest refund in minor units, by currency code. One minor unit where none is named.
    pub smallest_refund: BTreeMap<String, i64>,
    /// The smallest price in minor units, by currency code, of an order on which refunds can be offered.
    pub smallest_price: BTreeMap<String, i64>,
}

/// About cancellations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CancellationPolicy {
    /// What silence does before any work was delivered.
    pub silence_rule: SilenceRule,
    /// What silence does once work was delivered.
    pub silence_rule_after_delivery: SilenceRule,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            response_windows: ResponseWindows {
                partial_refund: RESPONSE_WINDOW,
                cancellation: RESPONSE_WINDOW,
                order_update: RESPONSE_WINDOW,
            },
            partial_refund: PartialRefundPolicy {
                cap_bps: 6_000,
                silence_rule: SilenceRule::NoEffect,
                smallest_refund: BTreeMap::new(),
                smallest_price: BTreeMap::new(),
            },
            cancellation: CancellationPolicy {
                silence_rule: SilenceRule::Accept,
                silence_rule_after_delivery: SilenceRule::NoEffect,
            },
        }
    }
}

impl Policy {
    /// How long the responder has to answer a dispute of this kind.
    pub fn response_window(&self, kind: DisputeKind) -> Duration {
        match kind {
            DisputeKind::PartialRefund => self.response_windows.partial_refund,
            DisputeKind::Cancellation => self.response_windows.cancellation,
            DisputeKind::OrderUpdate => self.response_windows.order_update,
        }
    }

    /// What silence will do to a dispute of this kind that is opened on an order in this status.
    pub fn silence(&self, kind: DisputeKind, status: OrderStatus) -> Silence {
        let always = |rule| Silence { rule, after_delivery: rule };
        match kind {
            DisputeKind::PartialRefund => always(self.partial_refund.silence_rule),
            DisputeKind::Cancellation if status.is_delivered() => always(self.cancellation.silence_rule_after_delivery),
            DisputeKind::Cancellation => Silence {
                rule: self.cancellation.silence_rule,
                after_delivery: self.cancellation.silence_rule_after_delivery,
            },
            DisputeKind::OrderUpdate => always(SilenceRule::NoEffect),
        }
    }
}

impl PartialRefundPolicy {
    /// The least that can be offered: at least one minor unit.
    pub fn smallest_refund(&self, currency: Currency) -> Money {
        let smallest = self.smallest_refund.get(currency.code()).copied().unwrap_or(1);
        Money::new(smallest.max(1), currency)
    }

    /// The smallest price of an order on which a refund can be offered.
    pub fn smallest_price(&self, currency: Currency) -> Money {
        Money::new(self.smallest_price.get(currency.code()).copied().unwrap_or(0), currency)
    }
}
