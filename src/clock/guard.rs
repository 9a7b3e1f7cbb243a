//! Guards the clock: compares the wall clock with the time since the machine was started, which nobody can set, to
//! detect jumps.
//!
//! The difference between the two is expected to stay constant. This module decides, from readings alone, how far and
//! for how long it may deviate; `super` takes the readings.

/// A wall clock further than this from its expected time has jumped. NTP corrects by less, a few seconds on a machine
/// that was just started, and judging an answer by half a minute too much or too little harms nobody.
const TOLERATED: i64 = 30 * SECOND;

/// A jump that has lasted this long is accepted: the operator, or NTP, meant it.
const ACCEPTED_AFTER: i64 = 10 * 60 * SECOND;

/// The expected offset follows the wall clock by one part in this many of the time that passes. So a deviation within
/// the tolerance is accepted as soon as a jump is, and small steps that come faster add up to a jump. It is twice what
/// two NTP-steered clocks need, and most of the fastest slew of one of them.
const FOLLOWS: i64 = ACCEPTED_AFTER / TOLERATED;

const SECOND: i64 = 1_000_000;

/// A reading of a wall clock between two readings of the time since the machine was started; in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reading {
    /// The time since the machine was started, before the wall clock was read.
    pub(super) asked: i64,
    /// What the wall clock showed at some time between the two.
    pub(super) wall: i64,
    /// The time since the machine was started, when the wall clock's time had arrived.
    pub(super) answered: i64,
}

impl Reading {
    /// How far the wall clock is ahead of the time since the start.
    pub(super) fn offset(self) -> i64 {
        let took = self.answered.saturating_sub(self.asked).max(0);
        self.wall.saturating_sub(self.asked.saturating_add(took / 2))
    }

    /// How far the wall clock is at least ahead of its expected time: a slow reading is less precise.
    fn deviation(self, expected: i64) -> i64 {
        let earliest = self.asked.saturating_add(expected);
        let latest = self.answered.saturating_add(expected).max(earliest);
        self.wall.saturating_sub(self.wall.clamp(earliest, latest))
    }
}

/// Whether a clock this far from its expected time has jumped.
pub(super) fn is_jump(deviation: i64) -> bool {
    deviation.saturating_abs() > TOLERATED
}

/// The result of a reading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Observation {
    /// The clock shows its expected time.
    Steady,
    /// It has just jumped by this many microseconds.
    Jumped(i64),
    /// It jumped before, and has not come back.
    Persists,
    /// It had jumped, and is back.
    Back,
    /// It had jumped, and that has lasted so long that the new time is accepted.
    Accepted,
}

impl Observation {
    /// Whether commands may be judged by the clock's time.
    pub(super) fn is_certain(self) -> bool {
        match self {
            Self::Steady | Self::Back | Self::Accepted => true,
            Self::Jumped(_) | Self::Persists => false,
        }
    }
}

/// Evaluates readings. Trusts the first one.
#[derive(Default, Debug)]
pub(super) struct Guard(Option<Watched>);

#[derive(Clone, Copy, Debug)]
struct Watched {
    /// How far the wall clock is expected to be ahead of the time since the start.
    expected: i64,
    /// The time since the start at the last reading.
    observed_at: i64,
    jump: Option<Jump>,
}

#[derive(Clone, Copy, Debug)]
struct Jump {
    /// How far the wall clock has been ahead of the time since the start since the jump.
    to: i64,
    /// The time since the start when the jump was noticed.
    since: i64,
}

impl Guard {
    /// How far the wall clock is expected to be ahead of the time since the start; `None` before the first reading.
    pub(super) fn expected(&self) -> Option<i64> {
        self.0.map(|watched| watched.expected)
    }

    /// Evaluates a reading.
    pub(super) fn observe(&mut self, reading: Reading) -> Observation {
        let new = Watched { expected: reading.offset(), observed_at: reading.answered, jump: None };
        let watched = self.0.get_or_insert(new);
        let passed = reading.answered.saturating_sub(watched.observed_at).max(0);
        watched.observed_at = watched.observed_at.max(reading.answered);
        let deviation = reading.deviation(watched.expected);
        if !is_jump(deviation) {
            let most = passed / FOLLOWS;
            watched.expected = watched.expected.saturating_add(deviation.clamp(-most, most));
            return if watched.jump.take().is_some() { Observation::Back } else { Observation::Steady };
        }
        match watched.jump.filter(|jump| !is_jump(reading.deviation(jump.to))) {
            None => {
                watched.jump = Some(Jump { to: reading.offset(), since: reading.answered });
                Observation::Jumped(deviation)
            }
            Some(jump) if reading.answered.saturating_sub(jump.since) < ACCEPTED_AFTER => Observation::Persists,
            Some(_) => {
                *watched = new;
                Observation::Accepted
            }
        }
    }
}

/// How many jumps are logged in a row, and how long until another one is: a database behind an address that alternates
/// between two servers jumps with every reading.
const LOGGED_AT_ONCE: i64 = 10;
const LOGGED_AGAIN_AFTER: i64 = 60 * SECOND;

/// Limits how many jumps are logged.
#[derive(Default, Debug)]
pub(super) struct LogLimit {
    /// When the allowance will be full again.
    full_until: i64,
}

impl LogLimit {
    /// Whether a jump noticed at `now`, in time since the start, is logged.
    pub(super) fn allows(&mut self, now: i64) -> bool {
        let full_until = self.full_until.max(now).saturating_add(LOGGED_AGAIN_AFTER);
        let allows = full_until.saturating_sub(now) <= LOGGED_AT_ONCE.saturating_mul(LOGGED_AGAIN_AFTER);
        if allows {
            self.full_until = full_until;
        }
        allows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60 * SECOND;
    const DAY: i64 = 24 * 60 * MINUTE;
    const NOON: i64 = 1_000 * DAY;

    /// A machine that was started a while ago at noon, and how far its wall clock was set since.
    struct Machine {
        guard: Guard,
        up: i64,
        set: i64,
    }

    impl Machine {
        fn steady() -> Self {
            let mut machine = Self { guard: Guard::default(), up: DAY, set: 0 };
            assert_eq!(machine.observe(), Observation::Steady);
            machine
        }

        fn observe(&mut self) -> Observation {
            self.guard.observe(Reading { asked: self.up, wall: NOON + self.up + self.set, answered: self.up })
        }

        fn observe_after(&mut self, span: i64) -> Observation {
            self.up += span;
            self.observe()
        }
    }

    #[test]
    fn thirty_seconds_are_tolerated_and_a_microsecond_more_is_a_jump_in_either_direction() {
        for way in [1, -1] {
            let mut machine = Machine::steady();
            machine.set = way * TOLERATED;
            assert_eq!(machine.observe(), Observation::Steady);
            machine.set = way * (TOLERATED + 1);
            assert_eq!(machine.observe(), Observation::Jumped(way * (TOLERATED + 1)));
            assert_eq!(machine.observe_after(SECOND), Observation::Persists);
            machine.set = 0;
            assert_eq!(machine.observe(), Observation::Back);
            assert_eq!(machine.observe(), Observation::Steady);
        }
    }

    #[test]
    fn a_jump_is_accepted_when_it_has_lasted_ten_minutes_and_not_before() {
        let mut machine = Machine::steady();
        machine.set = -3 * DAY;
        assert_eq!(machine.observe(), Observation::Jumped(-3 * DAY));
        assert_eq!(machine.observe_after(10 * MINUTE - 1), Observation::Persists);
        assert_eq!(machine.observe_after(1), Observation::Accepted);
        assert_eq!(machine.observe_after(MINUTE), Observation::Steady);
        // From now on going back is a jump.
        machine.set = 0;
        assert_eq!(machine.observe(), Observation::Jumped(3 * DAY));
    }

    #[test]
    fn a_clock_that_jumps_on_begins_its_ten_minutes_again() {
        let mut machine = Machine::steady();
        machine.set = DAY;
        assert_eq!(machine.observe(), Observation::Jumped(DAY));
        machine.set = 2 * DAY;
        assert_eq!(machine.observe_after(9 * MINUTE), Observation::Jumped(2 * DAY));
        assert_eq!(machine.observe_after(9 * MINUTE), Observation::Persists);
        assert_eq!(machine.observe_after(MINUTE), Observation::Accepted);
    }

    #[test]
    fn a_suspended_machine_has_not_jumped() {
        let mut machine = Machine::steady();
        assert_eq!(machine.observe_after(30 * DAY), Observation::Steady);
    }

    #[test]
    fn a_clock_that_drifts_is_followed_and_steps_that_come_fast_add_up() {
        let mut machine = Machine::steady();
        for _ in 0..DAY / MINUTE {
            machine.set += MINUTE / FOLLOWS;
            assert_eq!(machine.observe_after(MINUTE), Observation::Steady);
        }
        // A deviation at the bound for ten minutes is accepted.
        machine.set += TOLERATED;
        assert_eq!(machine.observe(), Observation::Steady);
        assert_eq!(machine.observe_after(10 * MINUTE), Observation::Steady);
        machine.set += TOLERATED;
        assert_eq!(machine.observe(), Observation::Steady);
        machine.set += 2 * SECOND;
        assert_eq!(machine.observe_after(MINUTE / 2), Observation::Jumped(TOLERATED + 2 * SECOND));
    }

    #[test]
    fn an_answer_that_took_its_time_is_no_jump() {
        let mut guard = Guard::default();
        let at = |asked, wall, answered| Reading { asked, wall: NOON + wall, answered };
        assert_eq!(guard.observe(at(0, 0, 0)), Observation::Steady);
        // Asked, then frozen for an hour on the way there or back.
        assert_eq!(guard.observe(at(MINUTE, 61 * MINUTE, 61 * MINUTE)), Observation::Steady);
        assert_eq!(guard.observe(at(62 * MINUTE, 62 * MINUTE, 122 * MINUTE)), Observation::Steady);
        assert_eq!(guard.observe(at(123 * MINUTE, 123 * MINUTE, 123 * MINUTE)), Observation::Steady);
        assert_eq!(guard.expected(), Some(NOON));
        let late = at(124 * MINUTE, 125 * MINUTE + TOLERATED + 1, 125 * MINUTE);
        assert_eq!(guard.observe(late), Observation::Jumped(TOLERATED + 1));
    }

    #[test]
    fn a_clock_that_flaps_is_logged_ten_times_and_then_once_a_minute() {
        let mut log_limit = LogLimit::default();
        let logged = |log_limit: &mut LogLimit, now| (0..1_000).filter(|_| log_limit.allows(now)).count();
        assert_eq!(logged(&mut log_limit, DAY), 10);
        assert_eq!(logged(&mut log_limit, DAY + MINUTE - 1), 0);
        assert_eq!(logged(&mut log_limit, DAY + MINUTE), 1);
        assert_eq!(logged(&mut log_limit, DAY + 4 * MINUTE), 3);
        assert_eq!(logged(&mut log_limit, 2 * DAY), 10);
    }
}
