//! The event stream and everything that a subscriber may rely on.

mod catching_up;
#[cfg(feature = "client")]
mod client;
mod event_filters;
mod old_snapshots;
mod promises;
mod replay;
mod resuming;
mod snapshot;
mod subscribers;
mod tokens;
