//! A resolution centre for marketplace orders, as a gRPC service.
//!
//! The rooms, in reading order; arrows only downward: `main → server → grpc → engine → repository → domain`.
//!
//! - [`domain`]: the rules, pure. Start with [`domain::decide`].
//! - [`repository`]: what is kept, on SQLite or PostgreSQL.
//! - [`engine`]: what happens between a command and its event.
//! - [`grpc`]: what clients see.
//! - [`server`]: wiring and lifecycle.
//!
//! Beside them: [`config`] (flags and policy file), [`clock`] (the time) and [`proto`] (generated code).

pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod grpc;
pub mod proto;
pub mod repository;
pub mod server;
