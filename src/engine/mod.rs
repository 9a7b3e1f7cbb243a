//! What happens between a command and its event.
//!
//! - [`Committer`]: takes the commands that are waiting in its `queue` and runs them in one transaction.
//! - [`Deadlines`]: wakes when a response window closes, and feeds the expiry through the committer.
//! - [`Feed`]: tails the event log once for all subscribers, into a `ring`; each of them is a [`Subscription`], which is
//!   woken by `wakeups` and reads what lies behind the ring from the `history`.
//! - [`Health`]: whether the service can do its work.
//! - [`keep_in_touch`]: replicas wake each other.
//! - `housekeeping`: forgets what need not be remembered.

mod committer;
mod deadlines;
mod docket;
mod error;
mod feed;
mod filter;
mod health;
mod history;
mod housekeeping;
mod page;
mod queue;
mod replicas;
mod ring;
mod sealing;
mod subscription;
mod time;
mod token;
mod trace;
mod wakeups;

pub use committer::{Committer, EncodeEvent, Totals};
pub use deadlines::Deadlines;
pub use error::Error;
pub use feed::{Feed, FeedError, Start};
pub use filter::EventFilter;
pub use health::Health;
pub use history::{head_of, require_known};
pub use housekeeping::{forget_events, forget_requests};
pub use page::Page;
pub use queue::RequestKey;
pub use replicas::keep_in_touch;
pub use sealing::{Purpose, Sealer};
pub use subscription::Subscription;
pub use time::compare_with_log;
pub use token::{Position, ResumeToken, Shown, ShownPage, SnapshotState, TOKEN_PAGES, TokenError};
pub use trace::TraceParent;
