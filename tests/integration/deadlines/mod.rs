//! Deadlines and the clock that they are judged by.

mod clock_leaps;
mod clock_steps;
mod expiry;
