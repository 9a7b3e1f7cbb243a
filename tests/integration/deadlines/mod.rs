//! Deadlines and the clock that they are judged by.

mod clock_jumps;
mod clock_steps;
mod expiry;
mod test_clock;
