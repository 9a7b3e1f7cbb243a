//! How much a batch takes in: as much as is judged and written in a moment, since whoever comes meanwhile waits for it.
//!
//! What an order takes differs by machine, database and command. So what the last batch of any size took decides, and
//! batches grow until they take that moment. The commit does not count: its price is that of a batch, however large.

use std::time::Duration;

use tokio::time::Instant;

/// How long a batch should take until it is committed, which takes a few milliseconds more. Whoever is unlucky waits for
/// two batches.
const MOMENT: Duration = Duration::from_millis(6);

/// A batch takes in no more once it touches so many orders, however fast they are …
const MOST: usize = 512;

/// … and no less than so many, however slow they are: else a database far away would do little.
const LEAST: usize = 16;

/// How many orders a batch may touch.
#[derive(Debug)]
pub(super) struct BatchSize {
    orders: usize,
    /// When the batch at hand was taken, and how many orders it touches.
    begun: Option<(Instant, usize)>,
}

impl Default for BatchSize {
    fn default() -> Self {
        // Nothing is known yet, and it soon grows.
        Self { orders: LEAST, begun: None }
    }
}

impl BatchSize {
    /// One that has grown as far as it can.
    #[cfg(test)]
    pub(super) fn grown() -> Self {
        Self { orders: MOST, begun: None }
    }

    /// A batch with so many orders is taken now.
    pub(super) fn begin(&mut self, now: Instant, orders: usize) {
        self.begun = Some((now, orders));
    }

    /// The batch at hand is about to be committed. One that was not full tells nothing, unless it was too large already.
    pub(super) fn end(&mut self, now: Instant) {
        let Some((begun, orders)) = self.begun.take() else { return };
        let took = now.saturating_duration_since(begun);
        let was_too_large = orders > LEAST && took > MOMENT;
        if orders < self.orders && !was_too_large {
            return;
        }
        let took = took.as_nanos();
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
        let (fast, slow) = (Duration::from_micros(5), Duration::from_micros(80));
        let size = &mut BatchSize::default();
        assert_eq!(size.orders(), LEAST, "nothing is known");
        assert_eq!(settled(size, Duration::from_millis(2), fast), MOST);
        let orders = settled(size, Duration::from_millis(2), slow);
        assert!((46..=54).contains(&orders), "{orders}: (6 - 2) / 0.08");
        assert_eq!(settled(size, Duration::from_millis(100), slow), LEAST);
        assert_eq!(settled(size, Duration::from_millis(2), fast), MOST);
    }

    #[test]
    fn batches_shrink_before_one_of_them_is_full() {
        let (size, now) = (&mut BatchSize::grown(), real_now());
        size.begin(now, 200);
        size.end(now + Duration::from_millis(20));
        assert_eq!(size.orders(), 60);
        size.begin(now, 50);
        size.end(now + Duration::from_millis(6));
        assert_eq!(size.orders(), 60, "it was not too large, and could have been larger");
    }

    #[test]
    fn lone_commands_and_a_hiccup_do_not_keep_the_batches_small() {
        let (size, now) = (&mut BatchSize::grown(), real_now());
        for _ in 0..100 {
            size.begin(now, 1);
            size.end(now + Duration::from_millis(30));
        }
        assert_eq!(size.orders(), MOST);
        size.begin(now, MOST);
        size.end(now + Duration::from_secs(3));
        assert_eq!(size.orders(), LEAST);
        let mut grown = Vec::new();
        for _ in 0..5 {
            let orders = size.orders();
            size.begin(now, orders);
            size.end(now + Duration::from_millis(1) + Duration::from_micros(40) * u32::try_from(orders).unwrap());
            grown.push(orders);
        }
        assert!(grown.is_sorted() && grown.last() > Some(&100), "{grown:?}");
    }
}
