//! How large the scenarios are: as large as their targets say or, with `--quick`, just large enough to show that they run and
//! that their checks hold.

use std::sync::OnceLock;

static QUICK: OnceLock<bool> = OnceLock::new();

/// Decides it, once.
pub(crate) fn set(quick: bool) {
    QUICK.set(quick).expect("it is decided once");
}

/// Whether `--quick` was given.
pub(crate) fn quick() -> bool {
    *QUICK.get().expect("it is decided first")
}

/// The one or the other number.
pub(crate) fn scaled(full: usize, small: usize) -> usize {
    if quick() { small } else { full }
}

/// How often each side of a comparison has its turn.
pub(crate) fn rounds() -> usize {
    scaled(5, 2)
}
