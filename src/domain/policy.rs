//! What an operator can set about the rules. The defaults are those of the rules themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use super::dispute::{DisputeKind, Silence, SilenceRule};
use super::money::{Currency, Money};
use super::order::Order;

/// Two days: how long the responder has, for every kind.
pub const RESPONSE_WINDOW: Duration = Duration::from_secs(48 * 60 * 60);

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings that decide.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// How long before `respond_by` the responder is reminded; each above zero.
    pub reminders: Vec<Duration>,
    /// How long after its end a dispute can be escalated.
    pub escalation_window: Duration,
    /// Over how long a seller's completion rate is taken.
    pub standing_window: Duration,
    /// How long events are kept; zero for ever.
    pub event_retention: Duration,
    /// Where a person reaches customer support; empty if this is not said.
    pub support_url: String,
    /// About offers of a partial refund.
    pub partial_refund: PartialRefundPolicy,
    /// About cancellations.
    pub cancellation: CancellationPolicy,
    /// About requests for an update.
    pub order_update: KindPolicy,
    /// About extensions of the delivery.
    pub delivery_extension: DeliveryExtensionPolicy,
}

/// What can be set for every kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KindPolicy {
    /// Whether disputes of this kind can be opened. Those that are open go on.
    pub enabled: bool,
    /// How long the responder has; above zero.
    pub response_window: Duration,
    /// How soon and how often the same can be tried again.
    pub attempts: Attempts,
}

/// How soon and how often the same can be tried again on the same order, after it was declined, withdrawn or
/// left without an answer.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Attempts {
    /// How long to wait; zero for not at all.
    pub cool_down: Duration,
    /// How often at the most; 0 for without a limit.
    pub max: u32,
}

impl Attempts {
    /// Whether earlier attempts matter.
    pub fn are_limited(self) -> bool {
        self != Self::default()
    }
}

impl Default for KindPolicy {
    fn default() -> Self {
        Self { enabled: true, response_window: RESPONSE_WINDOW, attempts: Attempts::default() }
    }
}

/// About offers of a partial refund.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartialRefundPolicy {
    /// What can be set for every kind.
    pub kind: KindPolicy,
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
    /// What can be set for every kind.
    pub kind: KindPolicy,
    /// What silence does before any work was delivered.
    pub silence_rule: SilenceRule,
    /// What silence does once work was delivered.
    pub silence_rule_after_delivery: SilenceRule,
    /// Whether the buyer cancels alone before the work has started.
    pub immediate_before_start: bool,
    /// How late an order must be, with nothing delivered, for the buyer to cancel alone; zero for never.
    pub immediate_when_late: Duration,
}

/// About extensions of the delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeliveryExtensionPolicy {
    /// What can be set for every kind.
    pub kind: KindPolicy,
    /// What the buyer's silence does to the first extensions of an order …
    pub silence_rule: SilenceRule,
    /// … namely to so many; silence has no effect on later ones.
    pub silent_grants: u32,
    /// How long after the effective due time the new one can be.
    pub max_extension: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            reminders: vec![HOUR.saturating_mul(24), HOUR.saturating_mul(2)],
            escalation_window: DAY.saturating_mul(14),
            standing_window: DAY.saturating_mul(60),
            event_retention: Duration::ZERO,
            support_url: String::new(),
            partial_refund: PartialRefundPolicy {
                kind: KindPolicy::default(),
                cap_bps: 6_000,
                silence_rule: SilenceRule::NoEffect,
                smallest_refund: BTreeMap::new(),
                smallest_price: BTreeMap::new(),
            },
            cancellation: CancellationPolicy {
                kind: KindPolicy::default(),
                silence_rule: SilenceRule::Accept,
                silence_rule_after_delivery: SilenceRule::NoEffect,
                immediate_before_start: false,
                immediate_when_late: Duration::ZERO,
            },
            order_update: KindPolicy::default(),
            delivery_extension: DeliveryExtensionPolicy {
                kind: KindPolicy::default(),
                silence_rule: SilenceRule::Accept,
                silent_grants: 1,
                max_extension: DAY.saturating_mul(30),
            },
        }
    }
}

impl Policy {
    /// What is set for this kind.
    pub fn for_kind(&self, kind: DisputeKind) -> &KindPolicy {
        match kind {
            DisputeKind::PartialRefund => &self.partial_refund.kind,
            DisputeKind::Cancellation => &self.cancellation.kind,
            DisputeKind::OrderUpdate => &self.order_update,
            DisputeKind::DeliveryExtension => &self.delivery_extension.kind,
        }
    }

    /// The kinds of which earlier attempts matter.
    pub fn kinds_with_limited_attempts(&self) -> Vec<DisputeKind> {
        DisputeKind::ALL.into_iter().filter(|kind| self.for_kind(*kind).attempts.are_limited()).collect()
    }

    /// What silence will do to a dispute of this kind that is opened on this order now.
    pub fn silence(&self, kind: DisputeKind, order: &Order) -> Silence {
        let always = |rule| Silence { rule, after_delivery: rule };
        match kind {
            DisputeKind::PartialRefund => always(self.partial_refund.silence_rule),
            DisputeKind::Cancellation if order.status.is_delivered() => {
                always(self.cancellation.silence_rule_after_delivery)
            }
            DisputeKind::Cancellation => Silence {
                rule: self.cancellation.silence_rule,
                after_delivery: self.cancellation.silence_rule_after_delivery,
            },
            DisputeKind::OrderUpdate => always(SilenceRule::NoEffect),
            DisputeKind::DeliveryExtension if order.extension_requests < self.delivery_extension.silent_grants => {
                always(self.delivery_extension.silence_rule)
            }
            DisputeKind::DeliveryExtension => always(SilenceRule::NoEffect),
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
