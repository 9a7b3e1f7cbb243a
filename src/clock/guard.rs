//! Guards the clock: compares the wall clock with the time since the machine was started, which nobody can set, to
//! detect jumps.
//!
//! The difference between the two is expected to stay constant. This module decides, from readings alone, how far and
//! for how long it may deviate; `super` takes the readings.

/// A wall clock further than this from its expected time has jumped. NTP corrects by less, a few seconds on a machine
/// that was just started, and judging an answer by half a minute too much or too little harms nobody.
const TOLERATED: i64 = 30 * SECOND;

/// A jump that has lasted this long is accepted: the operator, or NTP, meant it.
const BELIEVED_AFTER: i64 = 10 * 60 * SECOND;

/// The expected offset follows the wall clock by one part in this many of the time that passes. So a deviation within
/// the tolerance is accepted as soon as a jump is, and small steps that come faster add up to a jump. It is twice what
/// two NTP-steered clocks need, and most of the fastest slew of one of them.
const FOLLOWS: i64 = BELIEVED_AFTER / TOLERATED;

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
pub(super) enum Sight {
    /// The clock shows its expected time.
    Steady,
    /// It has just jumped by this many microseconds.
    Jumped(i64),
    /// It jumped before, and has not come back.
    Stands,
    /// It had jumped, and is back.
    Back,
    /// It had jumped, and that has lasted so long that the new time is accepted.
    Believed,
}

impl Sight {
    /// Whether commands may be judged by the clock's time.
    pub(super) fn is_certain(self) -> bool {
        match self {
            Self::Steady | Self::Back | Self::Believed => true,
            Self::Jumped(_) | Self::Stands => false,
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
    looked: i64,
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
    pub(super) fn look(&mut self, reading: Reading) -> Sight {
        let new = Watched { expected: reading.offset(), looked: reading.answered, jump: None };
        let watched = self.0.get_or_insert(new);
        let passed = reading.answered.saturating_sub(watched.looked).max(0);
        watched.looked = watched.looked.max(reading.answered);
        let deviation = reading.deviation(watched.expected);
        if !is_jump(deviation) {
            let most = passed / FOLLOWS;
            watched.expected = watched.expected.saturating_add(deviation.clamp(-most, most));
            return if watched.jump.take().is_some() { Sight::Back } else { Sight::Steady };
        }
        match watched.jump.filter(|jump| !is_jump(reading.deviation(jump.to))) {
            None => {
                watched.jump = Some(Jump { to: reading.offset(), since: reading.answered });
                Sight::Jumped(deviation)
            }
            Some(jump) if reading.answered.saturating_sub(jump.since) < BELIEVED_AFTER => Sight::Stands,
            Some(_) => {
                *watched = new;
                Sight::Believed
            }
        }
    }
}

/// How many jumps are logged in a row, and how long until another one is: a database behind an address that alternates
/// between two servers jumps with every reading.
const TOLD_AT_ONCE: i64 = 10;
const TOLD_AGAIN_AFTER: i64 = 60 * SECOND;

/// Limits how many jumps are logged.
#[derive(Default, Debug)]
pub(super) struct Telling {
    /// When the allowance will be full again.
    full_until: i64,
}

impl Telling {
    /// Whether a jump noticed at `now`, in time since the start, is logged.
    pub(super) fn allows(&mut self, now: i64) -> bool {
        let full_until = self.full_until.max(now).saturating_add(TOLD_AGAIN_AFTER);
        let allows = full_until.saturating_sub(now) <= TOLD_AT_ONCE.saturating_mul(TOLD_AGAIN_AFTER);
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
            assert_eq!(machine.look(), Sight::Steady);
            machine
        }

        fn look(&mut self) -> Sight {
            self.guard.look(Reading { asked: self.up, wall: NOON + self.up + self.set, answered: self.up })
        }

        fn look_after(&mut self, span: i64) -> Sight {
            self.up += span;
            self.look()
        }
    }

    #[test]
    fn thirty_seconds_are_tolerated_and_a_microsecond_more_is_a_jump_in_either_direction() {
        for way in [1, -1] {
            let mut machine = Machine::steady();
            machine.set = way * TOLERATED;
            assert_eq!(machine.look(), Sight::Steady);
            machine.set = way * (TOLERATED + 1);
            assert_eq!(machine.look(), Sight::Jumped(way * (TOLERATED + 1)));
            assert_eq!(machine.look_after(SECOND), Sight::Stands);
            machine.set = 0;
            assert_eq!(machine.look(), Sight::Back);
            assert_eq!(machine.look(), Sight::Steady);
        }
    }

    #[test]
    fn a_jump_is_believed_when_it_has_stood_for_ten_minutes_and_not_before() {
        let mut machine = Machine::steady();
        machine.set = -3 * DAY;
        assert_eq!(machine.look(), Sight::Jumped(-3 * DAY));
        assert_eq!(machine.look_after(10 * MINUTE - 1), Sight::Stands);
        assert_eq!(machine.look_after(1), Sight::Believed);
        assert_eq!(machine.look_after(MINUTE), Sight::Steady);
        // From now on going back is a jump.
        machine.set = 0;
        assert_eq!(machine.look(), Sight::Jumped(3 * DAY));
    }

    #[test]
    fn a_clock_that_jumps_on_begins_its_ten_minutes_again() {
        let mut machine = Machine::steady();
        machine.set = DAY;
        assert_eq!(machine.look(), Sight::Jumped(DAY));
        machine.set = 2 * DAY;
        assert_eq!(machine.look_after(9 * MINUTE), Sight::Jumped(2 * DAY));
        assert_eq!(machine.look_after(9 * MINUTE), Sight::Stands);
        assert_eq!(machine.look_after(MINUTE), Sight::Believed);
    }

    #[test]
    fn a_suspended_machine_has_not_jumped() {
        let mut machine = Machine::steady();
        assert_eq!(machine.look_after(30 * DAY), Sight::Steady);
    }

    #[test]
    fn a_clock_that_drifts_is_followed_and_steps_that_come_fast_add_up() {
        let mut machine = Machine::steady();
        for _ in 0..DAY / MINUTE {
            machine.set += MINUTE / FOLLOWS;
            assert_eq!(machine.look_after(MINUTE), Sight::Steady);
        }
        // A deviation at the bound for ten minutes is accepted.
        machine.set += TOLERATED;
        assert_eq!(machine.look(), Sight::Steady);
        assert_eq!(machine.look_after(10 * MINUTE), Sight::Steady);
        machine.set += TOLERATED;
        assert_eq!(machine.look(), Sight::Steady);
        machine.set += 2 * SECOND;
        assert_eq!(machine.look_after(MINUTE / 2), Sight::Jumped(TOLERATED + 2 * SECOND));
    }

    #[test]
    fn an_answer_that_took_its_time_is_no_jump() {
        let mut guard = Guard::default();
        let at = |asked, wall, answered| Reading { asked, wall: NOON + wall, answered };
        assert_eq!(guard.look(at(0, 0, 0)), Sight::Steady);
        // Asked, then frozen for an hour on the way there or back.
        assert_eq!(guard.look(at(MINUTE, 61 * MINUTE, 61 * MINUTE)), Sight::Steady);
        assert_eq!(guard.look(at(62 * MINUTE, 62 * MINUTE, 122 * MINUTE)), Sight::Steady);
        assert_eq!(guard.look(at(123 * MINUTE, 123 * MINUTE, 123 * MINUTE)), Sight::Steady);
        assert_eq!(guard.expected(), Some(NOON));
        let late = at(124 * MINUTE, 125 * MINUTE + TOLERATED + 1, 125 * MINUTE);
        assert_eq!(guard.look(late), Sight::Jumped(TOLERATED + 1));
    }

    #[test]
    fn a_clock_that_flaps_is_told_of_ten_times_and_then_once_a_minute() {
        let mut telling = Telling::default();
        let told = |telling: &mut Telling, now| (0..1_000).filter(|_| telling.allows(now)).count();
        assert_eq!(told(&mut telling, DAY), 10);
        assert_eq!(told(&mut telling, DAY + MINUTE - 1), 0);
        assert_eq!(told(&mut telling, DAY + MINUTE), 1);
        assert_eq!(told(&mut telling, DAY + 4 * MINUTE), 3);
        assert_eq!(told(&mut telling, 2 * DAY), 10);
    }
}
