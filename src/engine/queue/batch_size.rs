//! How much a batch takes in: as much as is committed in a moment, since whoever comes meanwhile waits for all of it.
//!
//! A batch has a price of its own (the commit) and one for each order; both differ by machine, database and command. So
//! what the last full batch took decides, and batches grow until they take that moment.

use std::time::Duration;

use tokio::time::Instant;

/// How long a batch should take. A commit takes a few milliseconds, which should be the lesser part of it; whoever is
/// unlucky waits for two batches.
const MOMENT: Duration = Duration::from_millis(8);

/// A batch takes in no more once it touches so many orders, however fast they are …
const MOST: usize = 512;

/// … and no less than so many, however slow they are: a database that takes long over each batch needs large ones.
const LEAST: usize = 32;

/// How many orders a batch may touch.
#[derive(Debug)]
pub(super) struct BatchSize {
    orders: usize,
    /// When the batch at hand was taken, and how many orders it touches.
    begun: Option<(Instant, usize)>,
}

impl Default for BatchSize {
    fn default() -> Self {
        Self { orders: MOST, begun: None }
    }
}

impl BatchSize {
    /// A batch with so many orders is taken now.
    pub(super) fn begin(&mut self, now: Instant, orders: usize) {
        self.begun = Some((now, orders));
    }

    /// The batch at hand is done. One that was not full tells only of its own price.
    pub(super) fn end(&mut self, now: Instant) {
        let Some((begun, orders)) = self.begun.take().filter(|(_, orders)| *orders >= self.orders) else { return };
        let took = now.saturating_duration_since(begun).as_nanos();
        let moment = u128::try_from(orders).unwrap_or(u128::MAX).saturating_mul(MOMENT.as_nanos());
        let in_a_moment = usize::try_from(moment.checked_div(took).unwrap_or(u128::MAX)).unwrap_or(usize::MAX);
        self.orders = in_a_moment.min(self.orders.saturating_mul(2)).clamp(LEAST, MOST);
    }

    /// How many orders the next batch may touch.
    pub(super) fn orders(&self) -> usize {
        self.orders
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::real_now;

    /// What batches come to of which each takes in all that it may, and takes a price of its own and one for each order.
    fn settled(size: &mut BatchSize, own: Duration, each: Duration) -> usize {
        let now = real_now();
        for _ in 0..12 {
            let orders = size.orders();
            size.begin(now, orders);
            size.end(now + own + each * u32::try_from(orders).unwrap());
        }
        size.orders()
    }

    #[test]
    fn a_batch_grows_until_it_takes_a_moment() {
        let (fast, slow) = (Duration::from_micros(10), Duration::from_micros(80));
        let size = &mut BatchSize::default();
        assert_eq!(size.orders(), MOST, "nothing is known");
        assert_eq!(settled(size, Duration::from_millis(2), fast), MOST);
        let orders = settled(size, Duration::from_millis(2), slow);
        assert!((71..=79).contains(&orders), "{orders}: (8 - 2) / 0.08");
        assert_eq!(settled(size, Duration::from_millis(100), slow), LEAST);
        assert_eq!(settled(size, Duration::from_millis(2), fast), MOST);
    }

    #[test]
    fn lone_commands_and_a_hiccup_do_not_keep_the_batches_small() {
        let (size, now) = (&mut BatchSize::default(), real_now());
        for _ in 0..100 {
            size.begin(now, 1);
            size.end(now + Duration::from_millis(30));
        }
        assert_eq!(size.orders(), MOST);
        size.begin(now, MOST);
        size.end(now + Duration::from_secs(3));
        assert_eq!(size.orders(), LEAST);
        let mut grown = Vec::new();
        for _ in 0..4 {
            let orders = size.orders();
            size.begin(now, orders);
            size.end(now + Duration::from_millis(3) + Duration::from_micros(40) * u32::try_from(orders).unwrap());
            grown.push(orders);
        }
        assert!(grown.is_sorted() && grown.last() > Some(&100), "{grown:?}");
    }
}
