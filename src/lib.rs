//! A resolution centre for marketplace orders, as a gRPC service.
//!
//! The layers, in reading order; each uses only those to its right: `main → demo → server → grpc → engine → repository → domain`.
//!
//! - [`domain`]: the rules, pure. Start with [`domain::decide`].
//! - [`repository`]: storage, on SQLite or PostgreSQL.
//! - [`engine`]: from a command to its event.
//! - [`grpc`]: the API that clients see.
//! - [`server`]: wiring and lifecycle.
//! - [`demo`]: the service with a story in it, to try things out.
//!
//! Beside them: [`config`] (flags and policy file), [`clock`] (the time), [`chance`] (ids), [`stderr`] (log output),
//! [`metrics`] and [`traces`] (what operators see), and [`proto`] (generated code). `domain` is always compiled; `proto` requires either of the two features, the rest requires
//! `server`.
//!
//! For callers of the service: [`client`], with the feature of that name, which knows none of the layers; and [`ctl`], the terminal of
//! the marketplace's agents, which is such a caller.

#![cfg_attr(
    not(all(feature = "client", feature = "server")),
    allow(rustdoc::broken_intra_doc_links, reason = "links to features that are not compiled")
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
#[cfg(feature = "server")]
pub mod ctl;
#[cfg(feature = "server")]
pub mod demo;
pub mod domain;
#[cfg(feature = "server")]
pub mod engine;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "server")]
pub mod grpc;
#[cfg(feature = "server")]
pub mod metrics;
#[cfg(feature = "proto")]
pub mod proto;
#[cfg(feature = "server")]
pub mod repository;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod stderr;
#[cfg(feature = "server")]
pub mod traces;
