//! From a command to its event.
//!
//! - [`Committer`]: takes the commands waiting in its `queue` and runs them in one transaction.
//! - [`Deadlines`]: wakes when a response window closes, and passes the expiry through the committer.
//! - [`Reads`]: callers' reads, except those of the log.
//! - [`Feed`]: tails the event log once for all subscribers; each of them has a [`Watch`].
//! - [`Health`]: whether the service can do its work.
//! - [`run_listener`]: lets replicas wake each other.
//! - `retention`: prunes data that need not be kept.

mod backfill;
mod committer;
mod deadlines;
mod error;
mod feed;
mod fitting;
mod health;
mod judge;
mod outage;
mod queue;
mod quotas;
mod reads;
mod replicas;
mod retention;
mod test_clock;
mod time;
mod trial;
mod unit_of_work;
mod wanted;

pub use backfill::backfill_order_times;
pub use committer::{Committer, EncodeEvent, Totals};
pub use deadlines::Deadlines;
pub use error::Error;
pub use feed::filter::EventFilter;
pub use feed::sealing::{Purpose, Sealer};
pub use feed::snapshot::SnapshotCodec;
pub use feed::token::{Position, ResumeToken, Shown, ShownPage, SnapshotState, TokenError};
pub use feed::watch::{News, Watch, WatchRequest};
pub use feed::{EventPage, Feed, FeedError, Progress, Start};
pub use fitting::Fitting;
pub use health::Health;
pub use queue::{Backlog, RequestKey};
pub use reads::{DisputePage, OptionsFound, Reads};
pub use replicas::run_listener;
pub use retention::{prune_audit, prune_events, prune_requests};
pub use test_clock::TestClock;
pub use time::compare_with_log;

/// What is looked for, and what is found.
pub use crate::repository::{DisputeQuery, Found, LogId, LoggedEvent, OrderQuery, Row, Side, Sort};
