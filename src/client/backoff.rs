//! How long to wait before reconnecting: exponentially longer, and never all clients at once.

use std::time::Duration;

/// The maximum of the first wait …
const FIRST: Duration = Duration::from_millis(100);
/// … and of any wait, besides the delay that the service requests.
const LONGEST: Duration = Duration::from_secs(10);

/// How many attempts have failed so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Returns the wait after another failure. `random` is from 0 to 1: the whole wait is jitter, except for the delay
    /// that the service requests.
    pub(super) fn delay(&mut self, asked_for: Option<Duration>, random: f64) -> Duration {
        let most = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        asked_for.unwrap_or_default().saturating_add(most.mul_f64(random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_that_a_wait_can_be_doubles_up_to_ten_seconds() {
        let mut backoff = Backoff::default();
        let most: Vec<_> = (0..10).map(|_| backoff.delay(None, 1.0).as_millis()).collect();
        assert_eq!(most, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.delay(None, 1.0), LONGEST, "however often it fails");
    }

    #[test]
    fn a_wait_is_random_but_never_shorter_than_the_service_asks_for() {
        let second = Duration::from_secs(1);
        for (failures, asked_for, random, expected) in [
            (0, None, 0.0, 0),
            (0, None, 0.5, 50),
            (3, None, 0.25, 200),
            (0, Some(second), 0.0, 1_000),
            (0, Some(second), 0.5, 1_050),
            (9, Some(second), 0.5, 6_000),
            (0, Some(60 * second), 0.5, 60_050),
        ] {
            let delay = Backoff { failures }.delay(asked_for, random);
            assert_eq!(delay.as_millis(), expected, "{failures} {asked_for:?} {random}");
        }
    }
}
