//! What an operator can set about the rules. The defaults are those of the rules themselves.

use std::time::Duration;

use super::actor::PartyRole;
use super::bounds::Window;
use super::dispute::Silence;
use super::kinds::{CancellationPolicy, DeliveryExtensionPolicy, DisputeKind, PartialRefundPolicy};
use super::order::Order;
use super::settings::settings;
use super::span::Span;

settings! {
    /// The settings that decide.
    pub struct Policy {
        /// How long the responder has: an integer and s, m, h or d; a kind's table may set its own
        response_window: Window = Window::hours(48),
        /// How long before the deadline the responder is reminded; [] for never
        reminders: Vec<Window> = vec![Window::hours(24), Window::hours(2)],
        /// How long after its end a dispute can be escalated
        escalation_window: Window = Window::days(14),
        /// Over how long a seller's completion rate is taken
        standing_window: Window = Window::days(60),
    }
    tables {
        /// About partial refunds.
        partial_refund: PartialRefundPolicy,
        /// About cancellations.
        cancellation: CancellationPolicy,
        /// About requests for an update.
        order_update: KindPolicy,
        /// About extensions of the delivery.
        delivery_extension: DeliveryExtensionPolicy,
    }
}

settings! {
    /// What can be set for every kind.
    pub struct KindPolicy {
        /// Whether disputes of this kind can be opened; those that are open go on
        enabled: bool = true,
        /// How long the responder has, if it is not as long as for every kind
        response_window: Option<Window> = None,
        /// How soon and how often the same can be tried again
        attempts: Attempts = Attempts::default(),
    }
}

settings! {
    /// How soon and how often the same can be tried again on the same order, after it was declined, withdrawn or
    /// left without an answer.
    #[derive(Copy)]
    pub struct Attempts {
        /// How long to wait; 0s for not at all
        cool_down: Span = Span::default(),
        /// How often at the most; 0 for without a limit
        max: u32 = 0,
    }
}

impl Attempts {
    /// Whether earlier attempts matter.
    pub fn are_limited(self) -> bool {
        self != Self::default()
    }
}

impl Policy {
    /// What is set for this kind.
    pub fn for_kind(&self, kind: DisputeKind) -> &KindPolicy {
        (kind.rules().policy)(self)
    }

    /// How long the responder to a dispute of this kind has.
    pub fn response_window(&self, kind: DisputeKind) -> Duration {
        self.for_kind(kind).response_window.unwrap_or(self.response_window).get()
    }

    /// The kinds of which earlier attempts matter.
    pub fn kinds_with_limited_attempts(&self) -> Vec<DisputeKind> {
        DisputeKind::ALL.into_iter().filter(|kind| self.for_kind(*kind).attempts.are_limited()).collect()
    }

    /// What silence will do to a dispute of this kind that this party opens on this order now.
    pub fn silence(&self, kind: DisputeKind, opener: PartyRole, order: &Order) -> Silence {
        (kind.rules().silence)(self, opener, order)
    }
}
