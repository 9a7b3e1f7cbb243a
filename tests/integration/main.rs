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
mod bodies;
mod catching_up;
mod checker;
#[cfg(feature = "client")]
mod client;
mod clock_leaps;
mod clock_steps;
mod commands;
mod confidentiality;
mod connections;
mod corrupt;
mod crash;
mod crowds;
mod currencies;
mod database_connections;
mod deadlines;
mod dropped;
mod errors;
mod escalation;
mod event_filters;
mod faults;
mod files;
mod filters;
mod floods;
mod health;
mod lists;
mod locked;
mod log_lines;
mod newer;
mod old_snapshots;
mod options;
mod order_filters;
mod orders;
mod outages;
mod page_sizes;
mod pasts;
mod policy;
mod poolers;
mod process;
mod rates;
mod readers;
mod refusals;
mod replay;
mod replicas;
mod resets;
mod restores;
mod resuming;
mod retention;
mod roles;
mod secrets;
mod settlement;
mod snapshot;
mod standing;
mod startup;
mod stopping;
mod storage;
mod subscribers;
mod support;
mod texts;
mod tokens;
mod traces;
mod transcripts;
mod untaken;
mod upgrade;
mod watch;
mod wire;
