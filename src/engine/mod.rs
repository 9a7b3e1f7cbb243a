//! What happens between a command and its event.
//!
//! - [`Committer`]: takes the commands that are waiting and runs them in one transaction.
//! - [`Deadlines`]: wakes when a response window closes, and feeds the expiry through the committer.
//! - [`Feed`]: tails the event log once for all subscribers, who read it by [`Position`]s.

mod committer;
mod deadlines;
mod docket;
mod error;
mod feed;
mod filter;
mod token;
mod trace;

pub use committer::{Committer, EncodeEvent, RequestKey, Totals};
pub use deadlines::{Deadlines, forget_requests};
pub use error::Error;
pub use feed::{Feed, Page, Start, StartError};
pub use filter::EventFilter;
pub use token::{InvalidToken, Position, ResumeToken, Shown, ShownPage, SnapshotState, TOKEN_PAGES};
pub use trace::TraceParent;
