//! The flags of the clock.

use clap::{Args, ValueEnum};

use crate::domain::Timestamp;

/// The flags of the clock.
#[derive(Args, Clone, Copy, Debug)]
pub struct ClockFlags {
    /// What moves the clock; `manual` is for trying deadlines out, with `--auth dev` and one process on its database.
    #[arg(long, global = true, env = "DISPUTES_CLOCK", value_name = "CLOCK", default_value = "system")]
    clock: ClockMode,
    /// Where a manual clock starts, as in RFC 3339, or at the last stored time if that is later; now by default.
    #[arg(long, global = true, env = "DISPUTES_CLOCK_START", value_name = "TIME")]
    clock_start: Option<Timestamp>,
}

/// What moves the clock.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockMode {
    /// The machine, or the database if replicas share one.
    System,
    /// `TestClockService`.
    Manual,
}

/// The flags of the clock contradict others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockFlagsError {
    /// Callers are real.
    #[error("--clock manual (DISPUTES_CLOCK) is for trying things out: it needs --auth dev")]
    NotDev,
    /// There is nothing to start.
    #[error("--clock-start (DISPUTES_CLOCK_START) needs --clock manual")]
    StartWithoutManual,
}

impl ClockFlags {
    /// A clock that is moved by hand, from `start` on.
    pub(super) fn manual(start: Timestamp) -> Self {
        Self { clock: ClockMode::Manual, clock_start: Some(start) }
    }

    /// Whether the clock is moved by hand.
    pub fn is_manual(self) -> bool {
        self.clock == ClockMode::Manual
    }

    /// Where a manual clock starts; `None` for now.
    pub fn start(self) -> Option<Timestamp> {
        self.clock_start
    }

    /// The clock suits the way in which callers authenticate.
    pub(super) fn require_suited(self, is_dev: bool) -> Result<(), ClockFlagsError> {
        match (self.is_manual(), self.clock_start) {
            (true, _) if !is_dev => Err(ClockFlagsError::NotDev),
            (false, Some(_)) => Err(ClockFlagsError::StartWithoutManual),
            (true | false, _) => Ok(()),
        }
    }
}
