//! The whole service over real gRPC, on SQLite and on PostgreSQL.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that fails says so by panicking"
)]
#![allow(unreachable_pub, missing_docs, reason = "modules of one test")]

mod batches;
#[cfg(feature = "client")]
mod client;
mod commands;
mod confidentiality;
mod crash;
mod deadlines;
mod errors;
mod escalation;
mod event_filters;
mod filters;
mod lists;
mod options;
mod order_filters;
mod orders;
mod page_sizes;
mod policy;
mod refusals;
mod replay;
mod snapshot;
mod standing;
mod storage;
mod support;
mod watch;
