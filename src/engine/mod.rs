//! What happens between a command and its event.
//!
//! - [`Committer`]: takes the commands that are waiting in its `queue` and runs them in one transaction.
//! - [`Deadlines`]: wakes when a response window closes, and feeds the expiry through the committer.
//! - [`Feed`]: tails the event log once for all subscribers, into a `tail_cache`; each of them is a [`Subscription`], which is
//!   woken by `watchers` and reads what lies behind that cache from the `history`.
//! - [`Health`]: whether the service can do its work.
//! - [`run_listener`]: replicas wake each other.
//! - `retention`: prunes what need not be remembered.

mod committer;
mod deadlines;
mod error;
mod feed;
mod filter;
mod health;
mod history;
mod page;
mod queue;
mod replicas;
mod retention;
mod sealing;
mod subscription;
mod tail_cache;
mod time;
mod token;
mod trace;
mod unit_of_work;
mod watchers;

pub use committer::{Committer, EncodeEvent, Totals};
pub use deadlines::Deadlines;
pub use error::Error;
pub use feed::{Feed, FeedError, Start};
pub use filter::EventFilter;
pub use health::Health;
pub use history::{end_of, require_known};
pub use page::Page;
pub use queue::RequestKey;
pub use replicas::run_listener;
pub use retention::{prune_events, prune_requests};
pub use sealing::{Purpose, Sealer};
pub use subscription::Subscription;
pub use time::compare_with_log;
pub use token::{Position, ResumeToken, Shown, ShownPage, SnapshotState, TOKEN_PAGES, TokenError};
pub use trace::TraceParent;
