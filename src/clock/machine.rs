//! The machine's clocks, and what is known of the database's clock if that decides.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

use super::guard::{Guard, LogLimit, Observation, Reading, is_jump};
use super::{Uncertain, wall_now};
use crate::domain::Timestamp;

/// A machine whose clock differs from the database's by more than this logs it.
const TOLERATED_OFFSET: Duration = Duration::from_secs(1);

/// Time that nobody can set and that advances even while the machine is suspended. Read without libc, because a library
/// can be preloaded in front of it.
#[cfg(target_os = "linux")]
const SINCE_START: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const SINCE_START: ClockId = ClockId::Monotonic;

/// Marks an unknown offset.
const UNKNOWN: i64 = i64::MIN;

/// The machine's wall clock and the time since it was started, with a guard that compares the deciding clock with the
/// latter.
#[derive(Debug)]
pub(super) struct Machine {
    shift: Option<Shift>,
    watched: Mutex<Watched>,
    /// How far the deciding clock is ahead of the machine's uptime, as the guard expects it; for readers that take no
    /// lock.
    expected: AtomicI64,
    /// How far ahead the database's clock was when it was last certain; unknown if it does not decide.
    database: AtomicI64,
    /// Whether the machine's clock is off and this was logged.
    is_off: AtomicBool,
    certainty: watch::Sender<bool>,
}

#[derive(Default, Debug)]
struct Watched {
    guard: Guard,
    log_limit: LogLimit,
    /// Whether the current jump was logged.
    is_logged: bool,
}

/// Makes the machine's clocks jump in a test.
#[derive(Clone, Default, Debug)]
pub struct Shift(Arc<Shifted>);

#[derive(Default, Debug)]
struct Shifted {
    wall: AtomicI64,
    up: AtomicI64,
}

impl Shift {
    /// Sets the wall clock ahead or back by this many microseconds.
    pub fn jump(&self, micros: i64) {
        self.0.wall.fetch_add(micros, Ordering::Relaxed);
    }

    /// Lets time pass on both clocks.
    pub fn pass(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        self.0.up.fetch_add(micros, Ordering::Relaxed);
        self.jump(micros);
    }
}

/// The instant this many microseconds after 1970, or the last one that can be represented.
fn instant(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap_or(Timestamp::MAX)
}

impl Machine {
    pub(super) fn new(shift: Option<Shift>) -> Self {
        Self {
            shift,
            watched: Mutex::default(),
            expected: AtomicI64::new(UNKNOWN),
            database: AtomicI64::new(UNKNOWN),
            is_off: AtomicBool::new(false),
            certainty: watch::Sender::new(true),
        }
    }

    /// Microseconds since the machine was started.
    pub(super) fn up(&self) -> i64 {
        let up = clock_gettime(SINCE_START);
        let micros = up.tv_sec.saturating_mul(1_000_000).saturating_add(up.tv_nsec / 1_000);
        micros.saturating_add(self.shift.as_ref().map_or(0, |shift| shift.0.up.load(Ordering::Relaxed)))
    }

    fn wall(&self) -> i64 {
        wall_now().saturating_add(self.shift.as_ref().map_or(0, |shift| shift.0.wall.load(Ordering::Relaxed)))
    }

    pub(super) fn certainty(&self) -> watch::Receiver<bool> {
        self.certainty.subscribe()
    }

    /// The time for display only.
    pub(super) fn now(&self) -> Timestamp {
        let up = self.up();
        let database = self.database.load(Ordering::Relaxed);
        if database != UNKNOWN {
            return instant(up.saturating_add(database));
        }
        let (wall, expected) = (self.wall(), self.expected.load(Ordering::Relaxed));
        let should_be = up.saturating_add(expected);
        instant(if expected != UNKNOWN && is_jump(wall.saturating_sub(should_be)) { should_be } else { wall })
    }

    /// The machine's time, to act by.
    pub(super) fn certain(&self) -> Result<Timestamp, Uncertain> {
        let reading = Reading { asked: self.up(), wall: self.wall(), answered: self.up() };
        self.observe(reading, "this machine's clock").map(instant)
    }

    /// The database's time, to act by: what it returned when asked.
    pub(super) fn certain_by_database(&self, asked: i64, returned: Timestamp) -> Result<Timestamp, Uncertain> {
        let reading = Reading { asked, wall: returned.micros(), answered: self.up() };
        self.compare_with(returned);
        self.observe(reading, "the database's clock")?;
        self.database.store(reading.offset(), Ordering::Relaxed);
        Ok(returned)
    }

    /// Logs that the machine's own clock is more than a second off, once until it is right again.
    fn compare_with(&self, database: Timestamp) {
        let ahead = database.micros().saturating_sub(self.wall());
        let is_off = u128::from(ahead.unsigned_abs()) > TOLERATED_OFFSET.as_micros();
        if is_off && !self.is_off.swap(is_off, Ordering::Relaxed) {
            tracing::warn!(
                ahead_micros = ahead,
                "the database's clock is more than a second ahead of or behind this machine's"
            );
        } else if !is_off {
            self.is_off.store(false, Ordering::Relaxed);
        }
    }

    /// Lets the guard evaluate a reading of the deciding clock. Returns the clock's time if it is certain.
    fn observe(&self, reading: Reading, clock: &str) -> Result<i64, Uncertain> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let observation = watched.guard.observe(reading);
        self.expected.store(watched.guard.expected().unwrap_or(UNKNOWN), Ordering::Relaxed);
        self.certainty
            .send_if_modified(|before| std::mem::replace(before, observation.is_certain()) != observation.is_certain());
        watched.log(observation, clock, reading.answered);
        if observation.is_certain() { Ok(reading.wall) } else { Err(Uncertain) }
    }
}

impl Watched {
    /// Logs what happened to the clock, and what to do about it.
    fn log(&mut self, observation: Observation, clock: &str, now: i64) {
        match observation {
            Observation::Steady | Observation::Persists => {}
            Observation::Jumped(micros) => {
                self.is_logged = self.log_limit.allows(now);
                if self.is_logged {
                    let seconds = micros.unsigned_abs().saturating_add(500_000) / 1_000_000;
                    let way = if micros < 0 { "back" } else { "ahead" };
                    tracing::error!(
                        "{clock} has jumped {seconds} s {way}: commands are refused (CLOCK_UNCERTAIN), nothing expires and \
                         nothing is pruned. Correct the clock, and everything resumes at once. If the new time is \
                         right, restart the service, or wait: it is accepted after ten minutes"
                    );
                }
            }
            Observation::Back if self.is_logged => {
                tracing::warn!("{clock} is right again: commands are accepted again");
            }
            Observation::Accepted => {
                tracing::warn!(
                    "the jump of {clock} has lasted ten minutes: its time is accepted, and so are commands again"
                );
            }
            Observation::Back => {}
        }
    }
}
