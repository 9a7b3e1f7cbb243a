//! Which events the pages of a snapshot show.

use std::collections::HashMap;

use crate::domain::{DisputeId, Timestamp};
use crate::engine::feed::token::ShownPage;

/// What a dispute is sorted by.
pub(super) type Key = (Timestamp, DisputeId);

/// Which events the pages of a snapshot show. With each page comes the end of the log at its moment: a dispute that
/// the page shows has every event up to that end behind it. One that it does not show was resolved by then, and its
/// events are still to be sent. Which of the two it is the log itself tells: so all there is to remember, here and in a
/// token, is where each page ended and when it was read.
///
/// What the log tells is found out for so many disputes at a time: a snapshot that is read slowly, while much happens,
/// costs time and no memory.
pub(super) struct Coverage {
    /// The pages, those that were read at the same end as one. Keys and ends grow.
    pages: Vec<ShownPage>,
    /// Disputes that have events after the place from which the log was looked at: each with its key, if the last event
    /// that its page can have behind it leaves it open.
    touched: HashMap<DisputeId, Option<Key>>,
    /// Up to this number it is known of every event whether it is covered.
    known_up_to: i64,
    /// How many disputes are looked at at a time.
    limit: usize,
}

/// How many disputes one look at the log follows: a table of this size has 16,384 places, and about 1 MB.
const TOUCHED: usize = 14_336;

impl Coverage {
    /// What these pages cover, of which no event was looked at yet.
    pub(super) fn of(pages: Vec<ShownPage>) -> Self {
        Self { pages, touched: HashMap::new(), known_up_to: i64::MAX, limit: TOUCHED }
    }

    /// The log is looked at once more, from a later place on, in any case for what it says of these disputes.
    pub(super) fn look_again(&mut self, disputes: impl IntoIterator<Item = DisputeId>) {
        self.touched.clear();
        self.touched.extend(disputes.into_iter().map(|dispute| (dispute, None)));
        self.known_up_to = i64::MAX;
    }

    /// The pages.
    pub(super) fn pages(&self) -> &[ShownPage] {
        &self.pages
    }

    pub(super) fn add_page(&mut self, page: ShownPage) {
        match self.pages.last_mut().filter(|last| last.last_seq == page.last_seq) {
            Some(last) => last.up_to = page.up_to,
            None => self.pages.push(page),
        }
    }

    /// Takes an event into account. They come in the order of the log, once every page was read.
    pub(super) fn add_event(&mut self, seq: i64, key: Key, leaves_open: bool) {
        if self.last_seq_for(key).is_none_or(|last_seq| last_seq < seq) {
            return;
        }
        let open = leaves_open.then_some(key);
        if let Some(touched) = self.touched.get_mut(&key.1) {
            *touched = open;
        } else if self.touched.len() < self.limit && seq <= self.known_up_to {
            self.touched.insert(key.1, open);
        } else {
            self.known_up_to = self.known_up_to.min(seq.saturating_sub(1));
        }
    }

    /// Whether it is known of everything up to `seq` whether it is covered.
    pub(super) fn knows(&self, seq: i64) -> bool {
        seq <= self.known_up_to
    }

    /// Whether every event up to `seq` is all that matters.
    pub(super) fn is_judged_at(&self, seq: i64) -> bool {
        self.pages.last().is_none_or(|last| last.last_seq <= seq)
    }

    /// Whether a page shows what came of this event.
    pub(super) fn covers(&self, seq: i64, dispute: DisputeId) -> bool {
        let open = self.touched.get(&dispute).copied().flatten();
        open.and_then(|key| self.last_seq_for(key)).is_some_and(|last_seq| seq <= last_seq)
    }

    /// The end at which the page was read in which a dispute with this key is, if it was open then.
    fn last_seq_for(&self, key: Key) -> Option<i64> {
        self.pages.get(self.pages.partition_point(|page| page.up_to < key)).map(|page| page.last_seq)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const DISPUTES: u8 = 12;

    #[derive(Clone, Debug)]
    enum Happens {
        /// Something to a dispute, which is open or not after it; its first event opens it.
        Event(u8, bool),
        /// Of so many disputes that are looked at, a page shows so many at the most, but at least one.
        Page(usize, usize),
    }

    fn happens() -> impl Strategy<Value = Vec<Happens>> {
        let one = prop_oneof![
            4 => (0..DISPUTES, any::<bool>()).prop_map(|(dispute, is_open)| Happens::Event(dispute, is_open)),
            1 => (1_usize..5, 1_usize..5).prop_map(|(size, shown)| Happens::Page(size, shown)),
        ];
        prop::collection::vec(one, 0..120)
    }

    /// Some were created at the same instant.
    fn key(dispute: u8) -> Key {
        (Timestamp::from_micros(i64::from(dispute / 3)).unwrap(), DisputeId(Uuid::from_u128(dispute.into())))
    }

    /// The log, from number 1 on: of which dispute, and whether it is open after that.
    type Log = Vec<(u8, bool)>;

    fn judge(coverage: &mut Coverage, log: &Log, judged: &mut i64, up_to: i64) {
        while *judged < up_to {
            let (dispute, is_open) = log[usize::try_from(*judged).unwrap()];
            *judged += 1;
            coverage.add_event(*judged, key(dispute), is_open);
        }
    }

    fn last_seq(log: &Log) -> i64 {
        i64::try_from(log.len()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_096, ..ProptestConfig::default() })]

        #[test]
        fn what_the_pages_show_is_covered_and_nothing_else(before in happens(), during in happens(), resumed in 0_i64..9) {
            let mut log = Log::new();
            let mut seen = HashSet::new();
            let mut event = |log: &mut Log, dispute, is_open| log.push((dispute, seen.insert(dispute) || is_open));
            for happens in before {
                if let Happens::Event(dispute, is_open) = happens {
                    event(&mut log, dispute, is_open);
                }
            }
            let start = last_seq(&log);
            let limit = 3;
            let mut coverage = Coverage { limit, ..Coverage::of(Vec::new()) };
            let (mut judged, mut all_read, mut last_key) = (start, false, None);
            // Up to which event each dispute was shown.
            let mut shown: HashMap<u8, i64> = HashMap::new();
            for happens in during.into_iter().chain(std::iter::repeat_n(Happens::Page(3, 3), 5)) {
                match happens {
                    Happens::Event(dispute, is_open) => event(&mut log, dispute, is_open),
                    Happens::Page(_, _) if all_read => {}
                    Happens::Page(size, most) => {
                        let behind = |dispute: &u8| coverage.pages.last().is_none_or(|last| last.up_to < key(*dispute));
                        let within = |dispute: &u8| last_key.is_none_or(|last| key(*dispute) <= last);
                        let is_open = |dispute: &u8| {
                            log.iter().rev().find(|(other, _)| other == dispute).is_some_and(|(_, is_open)| *is_open)
                        };
                        let open = (0..DISPUTES).filter(behind).filter(within).filter(is_open);
                        let mut found: Vec<u8> = open.take(size).collect();
                        if found.len() == size && last_key.is_none() {
                            // As it is at the moment of the first page. What is opened behind it comes by the log.
                            last_key = (0..DISPUTES).filter(is_open).map(key).max();
                        }
                        let is_cut = most < found.len();
                        all_read = !is_cut && (found.len() < size || found.last().map(|last| key(*last)) == last_key);
                        found.truncate(most);
                        if let Some(last) = found.last() {
                            shown.extend(found.iter().map(|dispute| (*dispute, last_seq(&log))));
                            coverage.add_page(ShownPage { up_to: key(*last), last_seq: last_seq(&log) });
                        }
                    }
                }
            }
            let end = coverage.pages.last().map_or(start, |last| last.last_seq);
            judge(&mut coverage, &log, &mut judged, end);
            prop_assert!(coverage.is_judged_at(judged));
            // Who resumes later knows the same of what follows.
            let resumed = (start + resumed).min(last_seq(&log));
            let mut again = Coverage { limit, ..Coverage::of(coverage.pages.clone()) };
            judge(&mut again, &log, &mut resumed.clone(), end);
            for (seq, (dispute, _)) in (1..).zip(&log).filter(|(seq, _)| *seq > start) {
                let is_shown = shown.get(dispute).is_some_and(|last_seq| seq <= *last_seq);
                for (coverage, start) in [(&mut coverage, start), (&mut again, resumed)] {
                    prop_assert!(coverage.touched.len() <= limit);
                    if seq > start && !coverage.knows(seq) {
                        // From further back than it must be, too.
                        coverage.look_again([key(*dispute).1]);
                        judge(coverage, &log, &mut start.max(seq - 5), end);
                    }
                }
                prop_assert_eq!(coverage.covers(seq, key(*dispute).1), is_shown, "event {} of {}", seq, dispute);
                if seq > resumed {
                    prop_assert_eq!(again.covers(seq, key(*dispute).1), is_shown, "resumed: event {} of {}", seq, dispute);
                }
            }
        }
    }
}
