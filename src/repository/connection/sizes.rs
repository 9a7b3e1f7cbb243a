//! How many connections to PostgreSQL a process has, and for what.

/// How many connections there are for each kind of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Connections {
    /// For writes: sqlx pings a connection when it is released, so with two the next batch uses the other one.
    pub(super) writers: u32,
    /// For the callers' reads.
    pub(super) readers: u32,
    /// For the feed and the deadlines: no caller delays them.
    pub(super) background: u32,
    /// For LISTEN, which has one, and NOTIFY, which has one too unless there are few; then it uses the background's.
    pub(super) notifiers: u32,
}

impl Connections {
    /// The fewest that work: one for each kind of work.
    pub(super) const LEAST: u32 = 4;

    /// Allots `sum` connections. Each kind of work has two as soon as the readers have two as well; the rest, and the
    /// largest share, is for readers. `None` if there are too few.
    pub(super) fn share(sum: u32, notify: bool) -> Option<Self> {
        let notifiers = match (notify, sum) {
            (false, _) => 0,
            (true, 0..6) => 1,
            (true, _) => 2,
        };
        let rest = sum.checked_sub(notifiers)?;
        let writers = if rest >= 5 { 2 } else { 1 };
        let background = if rest >= 6 { 2 } else { 1 };
        let readers = rest.checked_sub(writers)?.checked_sub(background).filter(|readers| *readers > 0)?;
        Some(Self { writers, readers, background, notifiers })
    }

    /// The same with a smaller sum.
    pub(super) fn within(self, sum: u32) -> Option<Self> {
        Self::share(sum, self.notifiers > 0)
    }

    /// Their sum.
    pub(super) fn sum(&self) -> u32 {
        [self.readers, self.background, self.notifiers].into_iter().fold(self.writers, u32::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_out_to_the_last() {
        for notify in [false, true] {
            for sum in 0..100 {
                let least = if notify { Connections::LEAST } else { Connections::LEAST - 1 };
                let Some(shared) = Connections::share(sum, notify) else {
                    assert!(sum < least, "{sum}");
                    continue;
                };
                assert!(sum >= least);
                assert_eq!(shared.sum(), sum);
                let Connections { writers, readers, background, notifiers } = shared;
                assert_eq!(notifiers > 0, notify);
                assert!((1..=2).contains(&writers) && (1..=2).contains(&background) && readers >= 1, "{shared:?}");
                assert!(readers >= writers.max(background), "{shared:?}");
            }
        }
        let usual = Connections { writers: 2, readers: 10, background: 2, notifiers: 2 };
        assert_eq!(Connections::share(16, true), Some(usual));
    }
}
