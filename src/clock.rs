//! The time, and everything that is made of it: the only place that asks for it.
//!
//! A [`Clock`] is the machine's, kept in step with the database's where there is one for all replicas,
//! or a manual one that a test moves. tokio's paused time would not do: it does not work with real I/O.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use crate::domain::Timestamp;

/// A clock that is further from the database's than this says so.
const TOLERATED_OFFSET: Duration = Duration::from_secs(1);

/// How long a sleep lasts before it looks at the clock again, which may have been set.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// Where the service gets the time from, in microseconds of UTC. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The machine's clock, and how many microseconds the database's is ahead of it.
    System {
        ahead_micros: Arc<AtomicI64>,
    },
    Manual(Arc<watch::Sender<Timestamp>>),
}

/// Moves a manual [`Clock`].
#[derive(Clone, Debug)]
pub struct Hand(Arc<watch::Sender<Timestamp>>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System { ahead_micros: Arc::default() })
    }

    /// A clock that stands at `start` until its hand is moved. The database's clock is not asked.
    pub fn manual(start: Timestamp) -> (Self, Hand) {
        let time = Arc::new(watch::Sender::new(start));
        (Self(Source::Manual(time.clone())), Hand(time))
    }

    /// Whether a hand moves this clock.
    pub fn is_manual(&self) -> bool {
        matches!(self.0, Source::Manual(_))
    }

    /// The time now, as close to the database's as is known.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System { ahead_micros } => {
                let micros = machine_now().micros().saturating_add(ahead_micros.load(Ordering::Relaxed));
                Timestamp::from_micros(micros).unwrap_or(Timestamp::MAX)
            }
            Source::Manual(time) => *time.borrow(),
        }
    }

    /// Takes note of the database's time, which decides when several replicas share it. A machine whose
    /// own clock is more than a second off says so in the log, once until it is right again.
    pub fn keep_in_step_with(&self, database: Timestamp) {
        let Source::System { ahead_micros } = &self.0 else { return };
        let ahead = database.micros().saturating_sub(machine_now().micros());
        let before = ahead_micros.swap(ahead, Ordering::Relaxed);
        let is_off = |micros: i64| u128::from(micros.unsigned_abs()) > TOLERATED_OFFSET.as_micros();
        if is_off(ahead) && !is_off(before) {
            tracing::warn!(
                ahead_micros = ahead,
                "the database's clock is more than a second ahead of or behind this machine's"
            );
        }
    }

    /// Returns once the clock shows `instant` or later.
    pub async fn sleep_until(&self, instant: Timestamp) {
        match &self.0 {
            Source::System { .. } => loop {
                let left = instant.since(self.now());
                if left.is_zero() {
                    return;
                }
                nap(left.min(LONGEST_NAP)).await;
            },
            Source::Manual(time) => {
                // The sender lives as long as this clock: waiting cannot fail.
                let _ = time.subscribe().wait_for(|now| *now >= instant).await;
            }
        }
    }

    /// Returns after `span`, whatever is done to the machine's clock meanwhile; a manual clock has to be moved.
    pub async fn sleep(&self, span: Duration) {
        match &self.0 {
            Source::System { .. } => nap(span).await,
            Source::Manual(_) => self.sleep_until(self.now().plus(span)).await,
        }
    }
}

impl Hand {
    /// Moves the clock to `instant`.
    pub fn set(&self, instant: Timestamp) {
        self.0.send_replace(instant);
    }

    /// Moves the clock forward by `span`.
    pub fn advance(&self, span: Duration) {
        self.0.send_modify(|now| *now = now.plus(span));
    }
}

/// A new id, a UUIDv7.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn mint_id() -> Uuid {
    Uuid::now_v7()
}

/// A new id of a trace, which is never 0.
pub fn mint_trace_id() -> u128 {
    fastrand::u128(1..)
}

/// A new id of a span, which is never 0.
pub fn mint_span_id() -> u64 {
    fastrand::u64(1..)
}

/// Random bytes for a secret, from the operating system.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// An instant of real time.
pub type RealInstant = tokio::time::Instant;

/// The instant `span` from now in real time, which no manual clock moves: for the deadlines of clients.
/// `None` if it is beyond what the machine can tell.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn real_instant_after(span: Duration) -> Option<RealInstant> {
    tokio::time::Instant::now().checked_add(span)
}

/// Now in real time, which no manual clock moves: for how long something has been waited for.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn real_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn machine_now() -> Timestamp {
    Timestamp::from_micros(chrono::Utc::now().timestamp_micros()).unwrap_or(Timestamp::MAX)
}

/// A span that is up to a half longer or shorter, at random: what many do after the same event does not come at once.
pub fn jittered(span: Duration) -> Duration {
    span.mul_f64(0.5 + fastrand::f64())
}

/// Returns after `span` of real time, whatever any clock shows: for what has nothing to do with the time of a story, as
/// trying a lost connection again.
pub async fn pause(span: Duration) {
    nap(span).await;
}

/// Returns at `instant`, whatever any clock shows.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub async fn pause_until(instant: RealInstant) {
    tokio::time::sleep_until(instant).await;
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
async fn nap(span: Duration) {
    tokio::time::sleep(span).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_hand_reaches_its_instant_and_not_before() {
        let start = Timestamp::from_micros(1_000_000).unwrap();
        let (clock, hand) = Clock::manual(start);
        let deadline = start.plus(Duration::from_secs(10));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep_until(deadline).await;
                clock.now()
            }
        });
        hand.set(deadline.minus(Duration::from_micros(1)));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        hand.advance(Duration::from_micros(1));
        assert_eq!(sleeper.await.unwrap(), deadline);
    }

    #[test]
    fn the_clock_follows_the_database() {
        let clock = Clock::system();
        let ahead = Duration::from_secs(3_600);
        clock.keep_in_step_with(clock.now().plus(ahead));
        let off = clock.now().since(machine_now());
        assert!(off > ahead - Duration::from_secs(1) && off <= ahead, "{off:?}");
    }
}
