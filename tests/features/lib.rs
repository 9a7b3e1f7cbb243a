//! This crate turns on features, see its Cargo.toml; and it has the crates that only tests and benchmarks call.

#[cfg(feature = "grpc")]
pub use {hdrhistogram, opentelemetry_proto, plotters, rcgen, rusqlite};
