//! No-fault cancellations: the parties agree that a cancellation shall not count against the seller's completion rate. That
//! needs the buyer's word, and a place in the seller's quota.

use super::actor::PartyRole;
use super::dispute::{Dispute, Outcome};
use super::expiry::outcome_of_silence;
use super::order_aggregate::OrderAggregate;
use super::policy::Policy;
use super::refusal::Refusal;
use super::time::Timestamp;

impl OrderAggregate {
    /// How many places of its seller's quota this order takes at `now`: a pending request takes one, and so does the order
    /// once it is cancelled as nobody's fault, until its end leaves the window of the seller's standing. Whether an expiry
    /// has been recorded never matters: a request whose window has closed has a place if and only if the silence cancels,
    /// and it was the buyer who asked.
    pub fn no_fault_places(&self, policy: &Policy, now: Timestamp) -> u32 {
        let is_asked_for = self.disputes.iter().any(|dispute| {
            let agreed = || outcome_of_silence(self, dispute) != Outcome::Nothing && dispute.opener == PartyRole::Buyer;
            dispute.is_pending() && dispute.terms.is_no_fault() && (!dispute.is_overdue(now) || agreed())
        });
        let window_start = policy.no_fault_window_start(now);
        let is_agreed = self.order.cancelled_no_fault && self.order.end_time.is_some_and(|end| end > window_start);
        u32::from(is_asked_for) + u32::from(is_agreed)
    }

    /// Whether a party can agree here on a no-fault cancellation that has no place yet: one that is with support.
    pub fn needs_no_fault_place(&self) -> bool {
        self.disputes.iter().any(|dispute| dispute.is_open() && !dispute.is_pending() && dispute.terms.is_no_fault())
    }

    /// Whether what the parties can do here can depend on the quota: there is a cancellation that was asked for so.
    pub fn knows_no_fault(&self) -> bool {
        self.disputes.iter().any(|dispute| dispute.terms.is_no_fault())
    }

    /// A party can ask for one: a cancellation that it crosses and that was asked for so has its place, else the quota needs one.
    pub(super) fn require_no_fault_place(
        &self,
        crossed: Option<&Dispute>,
        role: PartyRole,
        policy: &Policy,
    ) -> Result<(), Refusal> {
        let has_its_place = crossed.is_some_and(|first| first.terms.is_no_fault());
        if has_its_place { Ok(()) } else { self.require_no_fault_quota(role, policy) }
    }

    /// The quota of the seller has a place for one more. `role`: who is told.
    pub(super) fn require_no_fault_quota(&self, role: PartyRole, policy: &Policy) -> Result<(), Refusal> {
        let (used, max) = (self.no_fault_used, policy.cancellation.no_fault_per_window);
        if used < max {
            return Ok(());
        }
        Err(Refusal::NoFaultNotAvailable { used: (role == PartyRole::Seller).then_some(used), max })
    }
}

impl Policy {
    /// Orders that ended after this instant count in a seller's quota.
    pub fn no_fault_window_start(&self, now: Timestamp) -> Timestamp {
        now.minus(self.standing_window.get())
    }
}
