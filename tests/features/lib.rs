//! Nothing: this crate turns on features, see its Cargo.toml.
