//! How a seller stands: the completion rate over the orders that ended within a window.

use super::dispute::Outcome;
use super::ids::UserId;
use super::time::Timestamp;

/// The orders of a seller that ended within a window.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SellerStanding {
    /// The seller.
    pub seller: UserId,
    /// Orders that were completed.
    pub completed: u64,
    /// Orders whose cancellation counts.
    pub cancelled: u64,
    /// Orders whose cancellation does not count.
    pub cancelled_not_counted: u64,
    /// The window begins after this instant …
    pub window_start: Timestamp,
    /// … and ends with this one.
    pub window_end: Timestamp,
}

impl SellerStanding {
    /// Completed ÷ (completed + counted cancellations) in basis points, rounded down; with no such order
    /// there is no rate.
    pub fn completion_rate_bps(&self) -> Option<u32> {
        let counted = u128::from(self.completed) + u128::from(self.cancelled);
        let rate = (u128::from(self.completed) * 10_000).checked_div(counted)?;
        u32::try_from(rate).ok()
    }

    /// The rate once another order has ended like this.
    pub fn completion_rate_bps_after(&self, outcome: Outcome) -> Option<u32> {
        let counts = matches!(outcome, Outcome::Cancellation { counts: true, .. });
        let cancelled = self.cancelled.saturating_add(u64::from(counts));
        Self { cancelled, ..self.clone() }.completion_rate_bps()
    }
}
