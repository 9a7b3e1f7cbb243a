//! A resolution centre for marketplace orders, as a gRPC service.
//!
//! The layers, in reading order; each uses only those below it: `main → server → grpc → engine → repository → domain`.
//!
//! - [`domain`]: the rules, pure. Start with [`domain::decide`].
//! - [`repository`]: what is kept, on SQLite or PostgreSQL.
//! - [`engine`]: what happens between a command and its event.
//! - [`grpc`]: what clients see.
//! - [`server`]: wiring and lifecycle.
//!
//! Beside them: [`config`] (flags and policy file), [`clock`] (the time), [`chance`] (ids), [`stderr`] (the log's way out)
//! and [`proto`] (generated code). `domain` is always there; `proto` comes with either of the two features, the rest with
//! `server`.
//!
//! For those who call the service: [`client`], with the feature of that name, which knows none of the layers.

#![cfg_attr(
    not(all(feature = "client", feature = "server")),
    allow(rustdoc::broken_intra_doc_links, reason = "not everything that is told of is built")
)]
#![deny(clippy::print_stderr, reason = "stderr.rs writes there: nothing may wait for it, or fail without it")]

#[cfg(feature = "server")]
pub mod chance;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod clock;
#[cfg(feature = "server")]
pub mod config;
pub mod domain;
#[cfg(feature = "server")]
pub mod engine;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "server")]
pub mod grpc;
#[cfg(feature = "proto")]
pub mod proto;
#[cfg(feature = "server")]
pub mod repository;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod stderr;
