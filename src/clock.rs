//! The time: the only module that reads a clock.
//!
//! A [`Clock`] is the machine's clock, or the database's if several replicas share one, watched by a `guard`; or a
//! manual clock that a test advances. Tokio's paused time would not do: it does not work with real I/O.

mod guard;
mod machine;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use self::machine::Machine;
pub use self::machine::Shift;
use crate::domain::Timestamp;

/// How long to sleep before reading the clock again, which may have been set meanwhile.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// The source of time, in microseconds UTC. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System(Arc<Machine>),
    Manual {
        time: Arc<watch::Sender<Timestamp>>,
        /// Whether spans too pass by hand alone.
        spans_too: bool,
    },
}

/// Advances a manual [`Clock`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<watch::Sender<Timestamp>>);

/// The clock has jumped, so the time is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uncertain;

/// When another clock was asked, in microseconds since the machine was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked(i64);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System(Arc::new(Machine::new(None))))
    }

    /// The machine's clock, which a test can make jump.
    pub fn shifted(shift: Shift) -> Self {
        Self(Source::System(Arc::new(Machine::new(Some(shift)))))
    }

    /// A clock that stands at `start` until it is advanced. The database's clock is not used.
    pub fn manual(start: Timestamp) -> (Self, ManualClock) {
        let time = Arc::new(watch::Sender::new(start));
        (Self(Source::Manual { time: time.clone(), spans_too: true }), ManualClock(time))
    }

    /// The same, but for spans, such as those between heartbeats: they pass in real time.
    pub fn by_hand(start: Timestamp) -> Self {
        Self(Source::Manual { time: Arc::new(watch::Sender::new(start)), spans_too: false })
    }

    /// What moves this clock, if it only advances by hand.
    pub fn hands(&self) -> Option<ManualClock> {
        match &self.0 {
            Source::System(_) => None,
            Source::Manual { time, .. } => Some(ManualClock(time.clone())),
        }
    }

    /// Whether this clock only advances by hand.
    pub fn is_manual(&self) -> bool {
        matches!(self.0, Source::Manual { .. })
    }

    /// Returns the current time, as close to the database's as known, for display only. While the clock is uncertain it
    /// continues as if the clock had not jumped.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System(machine) => machine.now(),
            Source::Manual { time, .. } => *time.borrow(),
        }
    }

    /// To be called just before the database is asked for its time.
    pub fn ask(&self) -> Asked {
        Asked(match &self.0 {
            Source::System(machine) => machine.up(),
            Source::Manual { .. } => 0,
        })
    }

    /// Returns the time to act by: what the database returned, if it has a deciding clock, else the machine's.
    /// [`Uncertain`] if that clock has jumped: nothing may be judged, dated or pruned by it. A manual clock may be
    /// moved freely.
    pub fn certain(&self, asked: Asked, database: Option<Timestamp>) -> Result<Timestamp, Uncertain> {
        match &self.0 {
            Source::System(machine) => match database {
                Some(told) => machine.certain_by_database(asked.0, told),
                None => machine.certain(),
            },
            Source::Manual { time, .. } => Ok(*time.borrow()),
        }
    }

    /// Whether the clock was certain when it was last read.
    pub fn certainty(&self) -> watch::Receiver<bool> {
        match &self.0 {
            Source::System(machine) => machine.certainty(),
            // Its sender is gone: it never changes.
            Source::Manual { .. } => watch::channel(true).1,
        }
    }

    /// Returns once the clock shows `instant` or later.
    pub async fn sleep_until(&self, instant: Timestamp) {
        match &self.0 {
            Source::System(_) => loop {
                let left = instant.since(self.now());
                if left.is_zero() {
                    return;
                }
                nap(left.min(LONGEST_NAP)).await;
            },
            Source::Manual { time, .. } => {
                // The sender lives as long as this clock: waiting cannot fail.
                let _ = time.subscribe().wait_for(|now| *now >= instant).await;
            }
        }
    }

    /// Returns after `span`, whatever happens to the machine's clock meanwhile; a manual clock has to be advanced.
    pub async fn sleep(&self, span: Duration) {
        match &self.0 {
            Source::System(_) | Source::Manual { spans_too: false, .. } => nap(span).await,
            Source::Manual { .. } => self.sleep_until(self.now().plus(span)).await,
        }
    }
}

impl ManualClock {
    /// Moves the clock to `instant`.
    pub fn set(&self, instant: Timestamp) {
        self.0.send_replace(instant);
    }

    /// Moves the clock to `instant`, unless it is there already.
    pub fn advance_to(&self, instant: Timestamp) {
        self.0.send_if_modified(|now| {
            let is_earlier = *now < instant;
            *now = (*now).max(instant);
            is_earlier
        });
    }

    /// Advances the clock by `span`.
    pub fn advance(&self, span: Duration) {
        self.0.send_modify(|now| *now = now.plus(span));
    }
}

/// An instant of real time.
pub type RealInstant = tokio::time::Instant;

/// The instant `span` from now in real time, which a manual clock does not affect: for clients' deadlines. `None` if
/// the machine cannot represent it.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn real_instant_after(span: Duration) -> Option<RealInstant> {
    tokio::time::Instant::now().checked_add(span)
}

/// The current real time, which a manual clock does not affect: for measuring how long something has waited.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn real_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The time that the machine's clock shows for an instant, as if it had not been set since: for spans of traces.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall_time(instant: RealInstant) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(instant.elapsed()).unwrap_or(now)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn wall_now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

/// Returns after `span` of real time, whatever any clock shows: for waits unrelated to the time of a test, such as
/// reconnecting.
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
    async fn a_sleeper_wakes_when_the_clock_reaches_its_instant_and_not_before() {
        let start = Timestamp::from_micros(1_000_000).unwrap();
        let (clock, manual) = Clock::manual(start);
        let deadline = start.plus(Duration::from_secs(10));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep_until(deadline).await;
                clock.now()
            }
        });
        manual.set(deadline.minus(Duration::from_micros(1)));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        manual.advance(Duration::from_micros(1));
        assert_eq!(sleeper.await.unwrap(), deadline);
    }

    #[test]
    fn the_clock_follows_the_database_whatever_the_machine_shows() {
        let shift = Shift::default();
        let clock = Clock::shifted(shift.clone());
        let tell = |time| clock.certain(clock.ask(), Some(time));
        let database = clock.now().plus(HOUR);
        assert_eq!(tell(database), Ok(database));
        shift.jump(-3 * HOUR_MICROS);
        assert!(clock.now().since(database) < Duration::from_secs(1), "{}", clock.now());
        shift.pass(HOUR);
        assert!(clock.now() >= database.plus(HOUR));
        assert!(tell(database.plus(HOUR)).is_ok());
    }

    #[test]
    fn what_is_shown_goes_on_as_if_the_clock_had_not_jumped() {
        for jump in [72 * HOUR_MICROS, -72 * HOUR_MICROS] {
            let shift = Shift::default();
            let clock = Clock::shifted(shift.clone());
            let before = clock.certain(clock.ask(), None).unwrap();
            shift.jump(jump);
            assert!(clock.now() >= before && clock.now().since(before) < Duration::from_secs(1));
            assert!(*clock.certainty().borrow(), "nobody has looked yet");
            assert_eq!(clock.certain(clock.ask(), None), Err(Uncertain));
            assert!(!*clock.certainty().borrow());
            shift.jump(-jump);
            let now = clock.certain(clock.ask(), None).unwrap();
            assert!(now >= before && now.since(before) < Duration::from_secs(1));
            assert!(*clock.certainty().borrow());
        }
    }

    #[test]
    fn a_database_that_jumps_is_not_followed_until_it_is_believed() {
        let shift = Shift::default();
        let clock = Clock::shifted(shift.clone());
        let tell = |time| clock.certain(clock.ask(), Some(time));
        let start = clock.now();
        tell(start).unwrap();
        let jumped = start.minus(HOUR);
        assert_eq!(tell(jumped), Err(Uncertain));
        assert!(clock.now() >= start);
        shift.pass(Duration::from_secs(600));
        assert!(clock.now() >= start.plus(Duration::from_secs(600)));
        let jumped = jumped.plus(Duration::from_secs(600));
        assert_eq!(tell(jumped), Ok(jumped));
        assert!(clock.now().since(jumped) < Duration::from_secs(1));
    }

    const HOUR: Duration = Duration::from_secs(3_600);
    const HOUR_MICROS: i64 = 3_600_000_000;
}
