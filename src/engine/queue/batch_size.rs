//! How large a batch is: as many orders as can be judged and written within [`TARGET`], since commands that arrive
//! meanwhile wait for it.
//!
//! The time per order differs by machine, database and command. So the last batch that was full or too slow determines
//! the size, and batches grow until they reach the target. The commit does not count: its price does not depend on the
//! size of the batch. Neither should round trips to the database, but their share is not known separately: so on
//! PostgreSQL, where a batch has a dozen of them, the minimum is larger.

use std::time::Duration;

/// How long a batch should take until its commit, which takes a few milliseconds more. An unlucky command waits for two
/// batches.
const TARGET: Duration = Duration::from_millis(6);

/// The most orders in a batch, however fast they are …
const MOST: usize = 512;

/// … and the least, however slow they are, in the same process …
const LEAST_EMBEDDED: usize = 8;
/// … and on a remote database: with round trips of a millisecond, some four thousand orders a second.
const LEAST_REMOTE: usize = 64;

/// How many orders a batch may touch.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchSize {
    orders: usize,
    least: usize,
}

impl BatchSize {
    /// The most orders in a batch that nobody waits for.
    pub(super) const LARGEST: usize = MOST;

    /// The size for a database in this process, or for a remote one. It starts at the minimum and grows soon.
    pub(super) fn new(is_remote: bool) -> Self {
        let least = if is_remote { LEAST_REMOTE } else { LEAST_EMBEDDED };
        Self { orders: least, least }
    }

    /// A size that has grown to the maximum.
    #[cfg(test)]
    pub(super) fn grown() -> Self {
        Self { orders: MOST, least: LEAST_EMBEDDED }
    }

    /// Records that so many orders took this long. A batch that could have been larger tells nothing, unless it was
    /// already too slow.
    pub(super) fn has_written(&mut self, orders: usize, took: Duration) {
        let were_too_many = orders > self.least && took > TARGET;
        if orders < self.orders && !were_too_many {
            return;
        }
        let moment = u128::try_from(orders).unwrap_or(u128::MAX).saturating_mul(TARGET.as_nanos());
        let in_a_moment = moment.checked_div(took.as_nanos()).unwrap_or(u128::MAX);
        let in_a_moment = usize::try_from(in_a_moment).unwrap_or(usize::MAX);
        self.orders = in_a_moment.min(self.orders.saturating_mul(2)).clamp(self.least, MOST);
    }

    /// How many orders the next batch may touch.
    pub(super) fn orders(&self) -> usize {
        self.orders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates full batches with a fixed price each and a price per order.
    fn settled(size: &mut BatchSize, own: Duration, each: Duration) -> usize {
        for _ in 0..12 {
            let orders = size.orders();
            size.has_written(orders, own + each * u32::try_from(orders).unwrap());
        }
        size.orders()
    }

    #[test]
    fn a_batch_grows_until_it_takes_a_moment() {
        let (fast, slow) = (Duration::from_micros(5), Duration::from_micros(80));
        let size = &mut BatchSize::new(false);
        assert_eq!(size.orders(), LEAST_EMBEDDED, "nothing is known");
        assert_eq!(settled(size, Duration::from_millis(2), fast), MOST);
        let orders = settled(size, Duration::from_millis(2), slow);
        assert!((46..=54).contains(&orders), "{orders}: (6 - 2) / 0.08");
        assert_eq!(settled(size, Duration::from_millis(100), slow), LEAST_EMBEDDED);
        assert_eq!(settled(&mut BatchSize::new(true), Duration::from_millis(100), slow), LEAST_REMOTE);
        assert_eq!(settled(size, Duration::from_millis(2), fast), MOST);
    }

    #[test]
    fn batches_shrink_before_one_of_them_is_full() {
        let size = &mut BatchSize::grown();
        size.has_written(200, Duration::from_millis(20));
        assert_eq!(size.orders(), 60);
        size.has_written(50, Duration::from_millis(6));
        assert_eq!(size.orders(), 60, "it was not too large, and could have been larger");
    }

    #[test]
    fn lone_commands_and_a_hiccup_do_not_keep_the_batches_small() {
        let size = &mut BatchSize::grown();
        for _ in 0..100 {
            size.has_written(1, Duration::from_millis(30));
        }
        assert_eq!(size.orders(), MOST);
        size.has_written(MOST, Duration::from_secs(3));
        assert_eq!(size.orders(), LEAST_EMBEDDED);
        let mut grown = Vec::new();
        for _ in 0..5 {
            let orders = size.orders();
            size.has_written(
                orders,
                Duration::from_millis(1) + Duration::from_micros(40) * u32::try_from(orders).unwrap(),
            );
            grown.push(orders);
        }
        assert!(grown.is_sorted() && grown.last() > Some(&100), "{grown:?}");
    }
}
