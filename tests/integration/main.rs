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

mod auth;
mod commands;
mod ctl;
mod deadlines;
mod demo;
mod faults;
mod lists;
mod observed;
mod storage;
mod support;
mod tls;
mod watch;
mod wire;
