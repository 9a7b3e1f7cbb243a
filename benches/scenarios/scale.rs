//! How large the scenarios are: as large as their targets say or, with `--quick`, just large enough to show that they run and
//! that their checks hold.

use std::sync::OnceLock;
use std::time::Duration;

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

/// How many subscribers of everything there are.
pub(crate) fn crowd() -> usize {
    scaled(1_000, 100)
}

/// Waits for what goes on in the service after its last reply, so that it is no part of what is measured next.
pub(crate) async fn settle(seconds: u64) {
    let time = if quick() { Duration::from_millis(100) } else { Duration::from_secs(seconds) };
    tokio::time::sleep(time).await;
}
