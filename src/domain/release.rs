//! Releases that run side by side: a release runs beside the one before and the one after.

use super::dispute::Dispute;

/// The number of this release: one more with each release that changes the rules or the schema.
pub const RELEASE: i16 = 1;

impl Dispute {
    /// The oldest release whose rules may judge this dispute. A release that gives a dispute what the one before would
    /// misjudge says so here: older replicas then show it, and leave it and its order to others.
    pub fn least_release(&self) -> i16 {
        1
    }
}
