//! What an operator can set about the rules. The defaults are those of the rules themselves.

use std::time::Duration;

use super::dispute::Silence;
use super::kinds::{CancellationPolicy, DeliveryExtensionPolicy, DisputeKind, PartialRefundPolicy};
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

impl Default for Policy {
    fn default() -> Self {
        Self {
            reminders: vec![HOUR.saturating_mul(24), HOUR.saturating_mul(2)],
            escalation_window: DAY.saturating_mul(14),
            standing_window: DAY.saturating_mul(60),
            event_retention: Duration::ZERO,
            support_url: String::new(),
            partial_refund: PartialRefundPolicy::default(),
            cancellation: CancellationPolicy::default(),
            order_update: KindPolicy::default(),
            delivery_extension: DeliveryExtensionPolicy::default(),
        }
    }
}

impl Policy {
    /// What is set for this kind.
    pub fn for_kind(&self, kind: DisputeKind) -> &KindPolicy {
        (kind.rules().policy)(self)
    }

    /// The kinds of which earlier attempts matter.
    pub fn kinds_with_limited_attempts(&self) -> Vec<DisputeKind> {
        DisputeKind::ALL.into_iter().filter(|kind| self.for_kind(*kind).attempts.are_limited()).collect()
    }

    /// What silence will do to a dispute of this kind that is opened on this order now.
    pub fn silence(&self, kind: DisputeKind, order: &Order) -> Silence {
        (kind.rules().silence)(self, order)
    }
}
