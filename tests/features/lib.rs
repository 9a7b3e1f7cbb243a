//! This crate turns on features, see its Cargo.toml; and it has the one crate that tests alone call.

#[cfg(feature = "grpc")]
pub use rcgen;
