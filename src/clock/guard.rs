//! The guard of the clock: a wall clock that leaps is noticed by the clock that counts since the machine was started, which
//! nobody can set.
//!
//! What the wall clock shows beside that one is expected to stay as it is. By how much it may differ, and for how long, is
//! decided here, from readings alone: where they come from is the concern of `super`.

/// A wall clock that is further than this from where it is expected has leapt. NTP sets a clock right by less, a few seconds
/// where a machine is just started, and an answer that counts by half a minute is nobody's loss.
const TOLERATED: i64 = 30 * SECOND;

/// A leap that has stood for so long is believed: the operator, or NTP, meant it.
const BELIEVED_AFTER: i64 = 10 * 60 * SECOND;

/// What is expected follows the wall clock by one part in so many of the time that passes. So what is tolerated is believed as
/// soon as a leap is, and small steps add up to one if they come faster. It is twice what the clocks of two machines need
/// that NTP steers, and most of what it does when it slews one of them as fast as it can.
const FOLLOWS: i64 = BELIEVED_AFTER / TOLERATED;

const SECOND: i64 = 1_000_000;

/// A reading of a wall clock, between two of the clock that counts since the machine was started; in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reading {
    /// Since the machine was started, before the wall clock was asked.
    pub(super) asked: i64,
    /// What the wall clock showed at some time between the two.
    pub(super) wall: i64,
    /// Since the machine was started, when the answer was there.
    pub(super) answered: i64,
}

impl Reading {
    /// How far the wall clock is ahead of the other one.
    pub(super) fn offset(self) -> i64 {
        let took = self.answered.saturating_sub(self.asked).max(0);
        self.wall.saturating_sub(self.asked.saturating_add(took / 2))
    }

    /// How far the wall clock is ahead of where it is expected, at least: an answer that took its time tells that less well.
    fn deviation(self, expected: i64) -> i64 {
        let earliest = self.asked.saturating_add(expected);
        let latest = self.answered.saturating_add(expected).max(earliest);
        self.wall.saturating_sub(self.wall.clamp(earliest, latest))
    }
}

/// Whether a clock that is so far from where it is expected has leapt.
pub(super) fn is_leap(deviation: i64) -> bool {
    deviation.saturating_abs() > TOLERATED
}

/// What a reading shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sight {
    /// The clock is where it is expected.
    Steady,
    /// It has just leapt by so many microseconds.
    Leapt(i64),
    /// It leapt before, and that stands.
    Stands,
    /// It leapt, and is back.
    Back,
    /// It leapt, and that has stood for so long that it is believed.
    Believed,
}

impl Sight {
    /// Whether what the clock showed can be judged by.
    pub(super) fn is_certain(self) -> bool {
        match self {
            Self::Steady | Self::Back | Self::Believed => true,
            Self::Leapt(_) | Self::Stands => false,
        }
    }
}

/// Looks at readings. Believes the first.
#[derive(Default, Debug)]
pub(super) struct Guard(Option<Watched>);

#[derive(Clone, Copy, Debug)]
struct Watched {
    /// How far the wall clock is expected to be ahead of the other one.
    expected: i64,
    /// When it was looked at last, by the other one.
    looked: i64,
    leap: Option<Leap>,
}

#[derive(Clone, Copy, Debug)]
struct Leap {
    /// How far the wall clock is ahead of the other one since.
    to: i64,
    /// When it was noticed, by the other one.
    since: i64,
}

impl Guard {
    /// How far the wall clock is expected to be ahead of the other one, once it was looked at.
    pub(super) fn expected(&self) -> Option<i64> {
        self.0.map(|watched| watched.expected)
    }

    /// Takes in a reading.
    pub(super) fn look(&mut self, reading: Reading) -> Sight {
        let new = Watched { expected: reading.offset(), looked: reading.answered, leap: None };
        let watched = self.0.get_or_insert(new);
        let passed = reading.answered.saturating_sub(watched.looked).max(0);
        watched.looked = watched.looked.max(reading.answered);
        let deviation = reading.deviation(watched.expected);
        if !is_leap(deviation) {
            let most = passed / FOLLOWS;
            watched.expected = watched.expected.saturating_add(deviation.clamp(-most, most));
            return if watched.leap.take().is_some() { Sight::Back } else { Sight::Steady };
        }
        match watched.leap.filter(|leap| !is_leap(reading.deviation(leap.to))) {
            None => {
                watched.leap = Some(Leap { to: reading.offset(), since: reading.answered });
                Sight::Leapt(deviation)
            }
            Some(leap) if reading.answered.saturating_sub(leap.since) < BELIEVED_AFTER => Sight::Stands,
            Some(_) => {
                *watched = new;
                Sight::Believed
            }
        }
    }
}

/// How many leaps are told of at once, and how long it takes until another one is: a database behind an address that leads
/// now here, now there, leaps with every look.
const TOLD_AT_ONCE: i64 = 10;
const TOLD_AGAIN_AFTER: i64 = 60 * SECOND;

/// Whether a leap is told of in the log.
#[derive(Default, Debug)]
pub(super) struct Telling {
    /// When all that was told would be forgotten.
    full_until: i64,
}

impl Telling {
    /// Whether one that is noticed at `now` is, by the clock that counts since the machine was started.
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
    fn thirty_seconds_are_tolerated_and_a_microsecond_more_is_a_leap_in_either_direction() {
        for way in [1, -1] {
            let mut machine = Machine::steady();
            machine.set = way * TOLERATED;
            assert_eq!(machine.look(), Sight::Steady);
            machine.set = way * (TOLERATED + 1);
            assert_eq!(machine.look(), Sight::Leapt(way * (TOLERATED + 1)));
            assert_eq!(machine.look_after(SECOND), Sight::Stands);
            machine.set = 0;
            assert_eq!(machine.look(), Sight::Back);
            assert_eq!(machine.look(), Sight::Steady);
        }
    }

    #[test]
    fn a_leap_is_believed_when_it_has_stood_for_ten_minutes_and_not_before() {
        let mut machine = Machine::steady();
        machine.set = -3 * DAY;
        assert_eq!(machine.look(), Sight::Leapt(-3 * DAY));
        assert_eq!(machine.look_after(10 * MINUTE - 1), Sight::Stands);
        assert_eq!(machine.look_after(1), Sight::Believed);
        assert_eq!(machine.look_after(MINUTE), Sight::Steady);
        // From now on the way back is a leap.
        machine.set = 0;
        assert_eq!(machine.look(), Sight::Leapt(3 * DAY));
    }

    #[test]
    fn a_clock_that_leaps_on_begins_its_ten_minutes_again() {
        let mut machine = Machine::steady();
        machine.set = DAY;
        assert_eq!(machine.look(), Sight::Leapt(DAY));
        machine.set = 2 * DAY;
        assert_eq!(machine.look_after(9 * MINUTE), Sight::Leapt(2 * DAY));
        assert_eq!(machine.look_after(9 * MINUTE), Sight::Stands);
        assert_eq!(machine.look_after(MINUTE), Sight::Believed);
    }

    #[test]
    fn a_suspended_machine_has_not_leapt() {
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
        // What stood at the bound for ten minutes is believed.
        machine.set += TOLERATED;
        assert_eq!(machine.look(), Sight::Steady);
        assert_eq!(machine.look_after(10 * MINUTE), Sight::Steady);
        machine.set += TOLERATED;
        assert_eq!(machine.look(), Sight::Steady);
        machine.set += 2 * SECOND;
        assert_eq!(machine.look_after(MINUTE / 2), Sight::Leapt(TOLERATED + 2 * SECOND));
    }

    #[test]
    fn an_answer_that_took_its_time_is_no_leap() {
        let mut guard = Guard::default();
        let at = |asked, wall, answered| Reading { asked, wall: NOON + wall, answered };
        assert_eq!(guard.look(at(0, 0, 0)), Sight::Steady);
        // Asked, then frozen for an hour on the way there, or back.
        assert_eq!(guard.look(at(MINUTE, 61 * MINUTE, 61 * MINUTE)), Sight::Steady);
        assert_eq!(guard.look(at(62 * MINUTE, 62 * MINUTE, 122 * MINUTE)), Sight::Steady);
        assert_eq!(guard.look(at(123 * MINUTE, 123 * MINUTE, 123 * MINUTE)), Sight::Steady);
        assert_eq!(guard.expected(), Some(NOON));
        let late = at(124 * MINUTE, 125 * MINUTE + TOLERATED + 1, 125 * MINUTE);
        assert_eq!(guard.look(late), Sight::Leapt(TOLERATED + 1));
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
