//! Recognises events that a subscriber has already received.
//!
//! The revisions of a dispute grow with its events, and a snapshot carries the revision of the dispute's last event. So
//! the highest yielded revision of a dispute identifies both repeated events and those that a snapshot already showed.

use std::collections::HashMap;

/// How many disputes are remembered at least.
const DISPUTES: usize = 65_536;

/// The highest yielded revision of each dispute with a recent event: at least [`DISPUTES`] disputes, at most twice as
/// many.
#[derive(Debug, Default)]
pub(super) struct Deduplicator {
    recent: HashMap<String, i64>,
    /// The previous `recent`. Dropped when `recent` is full.
    earlier: HashMap<String, i64>,
}

impl Deduplicator {
    /// Whether this revision of a dispute is new: it was not yielded, and nothing yielded reflects it. From now on it
    /// counts as yielded.
    pub(super) fn is_new(&mut self, dispute: &str, revision: i64) -> bool {
        if let Some(highest) = self.recent.get_mut(dispute) {
            let is_new = revision > *highest;
            *highest = revision.max(*highest);
            return is_new;
        }
        let highest = self.earlier.get(dispute).copied();
        if self.recent.len() >= DISPUTES {
            self.earlier = std::mem::take(&mut self.recent);
        }
        self.recent.insert(dispute.to_owned(), highest.map_or(revision, |highest| highest.max(revision)));
        highest.is_none_or(|highest| revision > highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_dispute_only_higher_revisions_are_new() {
        let mut seen = Deduplicator::default();
        for (dispute, revision, is_new) in [
            ("a", 1, true),
            ("a", 1, false),
            ("b", 1, true),
            ("a", 2, true),
            // A snapshot, and the events it reflects.
            ("c", 3, true),
            ("c", 2, false),
            ("c", 3, false),
            ("c", 4, true),
            ("a", 2, false),
            ("a", 1, false),
        ] {
            assert_eq!(seen.is_new(dispute, revision), is_new, "{dispute} {revision}");
        }
    }

    #[test]
    fn the_disputes_that_last_had_an_event_are_remembered_and_not_many_more() {
        let mut seen = Deduplicator::default();
        assert!(seen.is_new("often", 1));
        for number in 0..3 * DISPUTES {
            assert!(seen.is_new(&number.to_string(), 1));
            assert!(!seen.is_new("often", 1), "after {number} others");
            assert!(seen.recent.len() <= DISPUTES && seen.earlier.len() <= DISPUTES);
        }
        for number in 2 * DISPUTES + 1..3 * DISPUTES {
            assert!(!seen.is_new(&number.to_string(), 1), "{number} was among the last");
        }
    }
}
